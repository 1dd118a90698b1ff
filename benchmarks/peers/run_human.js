// npm @vladmandic/human: its emotion model in tfjs under node, in WebAssembly of one thread, fed as its
// src/gear/emotion.ts does: grey, resized to 64x64, -1 to 1. Not through its class, which finds faces first and cuts
// its answers to two places.
const fs = require("fs");
const path = require("path");
const { createRequire } = require("module");
const { run, wasm } = require("./answering.js");

const folder = process.argv[5];
const SIDE = 48, TAKEN = 64, CLASSES = 7;

async function main() {
  const fromFolder = createRequire(path.join(folder, "package.json"));
  const tf = fromFolder("@tensorflow/tfjs");
  await wasm(fromFolder, tf);
  const models = path.join(folder, "node_modules/@vladmandic/human/models");
  const described = JSON.parse(fs.readFileSync(path.join(models, "emotion.json")));
  const weights = fs.readFileSync(path.join(models, "emotion.bin"));
  const model = await tf.loadGraphModel(tf.io.fromMemory({
    modelTopology: described.modelTopology,
    weightSpecs: described.weightsManifest.flatMap((group) => group.weights),
    weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.length),
  }));

  async function answer(faces) {
    const rows = tf.tidy(() => {
      const grey = tf.tensor4d(Float32Array.from(Buffer.concat(faces)), [faces.length, SIDE, SIDE, 1]);
      return model.execute(tf.image.resizeBilinear(grey, [TAKEN, TAKEN], false).div(255).sub(0.5).mul(2));
    });
    const values = rows.dataSync();
    rows.dispose();
    return values;
  }

  await run(answer, CLASSES, path.join(models, "emotion.bin"));
}

main();
