// npm @vladmandic/face-api: its FaceExpressionNet under node, in WebAssembly of one thread; it resizes (112x112) and
// subtracts its mean colour itself. What is printed and written, and why: answering.py.
const path = require("path");
const { createRequire } = require("module");
const { run, wasm } = require("./answering.js");

const folder = process.argv[5];
const SIDE = 48, CLASSES = 7;

async function main() {
  const fromFolder = createRequire(path.join(folder, "package.json"));
  const package_ = path.dirname(fromFolder.resolve("@vladmandic/face-api/package.json"));
  const faceapi = fromFolder(path.join(package_, "dist/face-api.node-wasm.js"));
  await wasm(fromFolder, faceapi.tf);
  const net = faceapi.nets.faceExpressionNet;
  await net.loadFromDisk(path.join(package_, "model"));

  async function answer(faces) {
    const tensors = faces.map((face) => {
      const colours = new Float32Array(SIDE * SIDE * 3);
      for (let i = 0; i < SIDE * SIDE; i++) colours.fill(face[i], 3 * i, 3 * i + 3);
      return faceapi.tf.tensor3d(colours, [SIDE, SIDE, 3]);
    });
    const rows = await net.forward(tensors);
    const values = rows.dataSync();
    faceapi.tf.dispose([...tensors, rows]);
    return values;
  }

  await run(answer, CLASSES, path.join(package_, "model/face_expression_model.bin"));
}

main();
