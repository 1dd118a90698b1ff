// What answering.py says, for tools that run under node.
const fs = require("fs");

const BATCH = 32; // as in answering.py
const SIDE = 48;

// `answer(faces)` makes the probabilities, face after face, of faces that are arrays of SIDE * SIDE grey bytes.
exports.run = async function (answer, classes, weights) {
  const [, , facesFile, out, rounds] = process.argv;
  const bytes = fs.readFileSync(facesFile);
  const faces = [];
  for (let at = 0; at < bytes.length; at += SIDE * SIDE) faces.push(bytes.subarray(at, at + SIDE * SIDE));

  async function all(size, use) {
    for (let first = 0; first < faces.length; first += size) use(await answer(faces.slice(first, first + size)), first);
  }

  async function seconds(size) {
    const start = process.cpuUsage();
    await all(size, () => {});
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1e6;
  }

  await answer(faces.slice(0, 1));
  const { user, system } = process.cpuUsage();
  console.log("answered", (user + system) / 1e6);
  const rows = new Float64Array(faces.length * classes);
  await all(BATCH, (values, first) => rows.set(values, first * classes));
  fs.writeFileSync(out, Buffer.from(rows.buffer));
  const single = [], batch = [];
  for (let round = 0; round < Number(rounds); round++) {
    single.push(await seconds(1));
    batch.push(await seconds(BATCH));
  }
  const megabytes = fs.statSync(weights).size / 1e6;
  console.log(JSON.stringify({ classes, megabytes, seconds_single: single, seconds_batch: batch }));
};

// tfjs in WebAssembly of one thread, as npm has put it into `folder`; `tf` is the one to set up.
exports.wasm = async function (fromFolder, tf) {
  const path = require("path");
  const wasm = fromFolder("@tensorflow/tfjs-backend-wasm");
  const home = path.dirname(fromFolder.resolve("@tensorflow/tfjs-backend-wasm/package.json"));
  wasm.setWasmPaths(path.join(home, "dist/"));
  wasm.setThreadsCount(1);
  await tf.setBackend("wasm");
  await tf.ready();
};
