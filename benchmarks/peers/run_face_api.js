// npm @vladmandic/face-api: its FaceExpressionNet under node, in WebAssembly of one thread; it resizes (112x112) and
// subtracts its mean colour itself. What is printed and written, and why: answering.py.
const fs = require("fs");
const path = require("path");
const { createRequire } = require("module");

const [, , facesFile, out, rounds, folder] = process.argv;
const BATCH = 32; // as in answering.py
const SIDE = 48, CLASSES = 7;

async function main() {
  const fromFolder = createRequire(path.join(folder, "package.json"));
  const wasm = fromFolder("@tensorflow/tfjs-backend-wasm");
  const home = path.dirname(fromFolder.resolve("@tensorflow/tfjs-backend-wasm/package.json"));
  wasm.setWasmPaths(path.join(home, "dist/"));
  wasm.setThreadsCount(1);
  const package_ = path.dirname(fromFolder.resolve("@vladmandic/face-api/package.json"));
  const faceapi = fromFolder(path.join(package_, "dist/face-api.node-wasm.js"));
  await faceapi.tf.setBackend("wasm");
  await faceapi.tf.ready();
  const net = faceapi.nets.faceExpressionNet;
  await net.loadFromDisk(path.join(package_, "model"));
  const bytes = fs.readFileSync(facesFile);
  const count = bytes.length / (SIDE * SIDE);

  async function answer(first, size) {
    const faces = [];
    for (let face = first; face < first + size; face++) {
      const colours = new Float32Array(SIDE * SIDE * 3);
      for (let i = 0; i < SIDE * SIDE; i++) colours.fill(bytes[face * SIDE * SIDE + i], 3 * i, 3 * i + 3);
      faces.push(faceapi.tf.tensor3d(colours, [SIDE, SIDE, 3]));
    }
    const rows = await net.forward(faces);
    const values = rows.dataSync();
    faceapi.tf.dispose([...faces, rows]);
    return values;
  }

  async function seconds(size) {
    const start = process.hrtime.bigint();
    for (let first = 0; first < count; first += size) await answer(first, Math.min(size, count - first));
    return Number(process.hrtime.bigint() - start) / 1e9;
  }

  await answer(0, 1);
  console.log("answered");
  const all = new Float64Array(count * CLASSES);
  for (let first = 0; first < count; first += BATCH) {
    all.set(await answer(first, Math.min(BATCH, count - first)), first * CLASSES);
  }
  fs.writeFileSync(out, Buffer.from(all.buffer));
  const single = [], batch = [];
  for (let round = 0; round < Number(rounds); round++) {
    single.push(await seconds(1));
    batch.push(await seconds(BATCH));
  }
  const megabytes = fs.statSync(path.join(package_, "model/face_expression_model.bin")).size / 1e6;
  console.log(JSON.stringify({ classes: CLASSES, megabytes, seconds_single: single, seconds_batch: batch }));
}

main();
