/** TensorFlow.js's side of the step-time comparison, on its WASM backend with SIMD. Arguments: workload, threads. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths, version_wasm as version } from "@tensorflow/tfjs-backend-wasm";
import { serve, type Workload } from "../server.ts";

const workloads: Readonly<Record<string, Workload>> = { mlp, conv };

async function mlp(): ReturnType<Workload> {
  tf.disposeVariables();
  const x = tf.keep(tf.randomNormal<tf.Rank.R2>([128, 784]));
  const y = randomClasses(128, 10);
  const [a, b, c] = [linear(784, 256), linear(256, 128), linear(128, 10)];
  return training(() => tf.losses.softmaxCrossEntropy(y, c(tf.relu(b(tf.relu(a(x)))))));
}

async function conv(): ReturnType<Workload> {
  tf.disposeVariables();
  const x = tf.keep(tf.randomNormal<tf.Rank.R4>([64, 28, 28, 1]));
  const y = randomClasses(64, 10);
  const [a, b, c] = [convolution(1, 16), convolution(16, 32), linear(1568, 10)];
  const block = (convolve: typeof a, h: tf.Tensor4D): tf.Tensor4D => tf.maxPool(tf.relu(convolve(h)), 2, 2, "valid");
  return training(() => tf.losses.softmaxCrossEntropy(y, c(block(b, block(a, x)).reshape([64, 1568]))));
}

/** Adam as PyTorch has it: learning rate 1e-3, β 0.9 and 0.999, ε 1e-8. */
function training(loss: () => tf.Tensor): () => Promise<number> {
  const optimizer = tf.train.adam(1e-3, 0.9, 0.999, 1e-8);
  return async () => {
    const value = optimizer.minimize(() => loss().asScalar(), true)!;
    const [number] = value.dataSync();
    value.dispose();
    return number!;
  };
}

function linear(inputs: number, outputs: number): (x: tf.Tensor2D) => tf.Tensor2D {
  const weight = uniform([inputs, outputs], inputs);
  const bias = uniform([outputs], inputs);
  return (x) => tf.matMul(x, weight as tf.Tensor2D).add(bias);
}

/** 5 × 5, with two rows and columns of zeros around. */
function convolution(inputs: number, outputs: number): (x: tf.Tensor4D) => tf.Tensor4D {
  const weight = uniform([5, 5, inputs, outputs], 25 * inputs);
  const bias = uniform([outputs], 25 * inputs);
  return (x) => tf.conv2d(x, weight as tf.Tensor4D, 1, "same").add(bias);
}

/** PyTorch's initial weights: uniform within ± 1 / √(number of inputs). */
function uniform(shape: number[], inputs: number): tf.Variable {
  const bound = 1 / Math.sqrt(inputs);
  return tf.variable(tf.randomUniform(shape, -bound, bound));
}

function randomClasses(examples: number, classes: number): tf.Tensor2D {
  const labels = Array.from({ length: examples }, () => Math.floor(Math.random() * classes));
  return tf.keep(tf.oneHot(labels, classes).toFloat()) as tf.Tensor2D;
}

/**
 * The WASM backend, on several threads where asked for. In Node it switches threads off, because it hands its worker over as
 * a blob URL; a file does. It also never takes more than half of the processors that it counts.
 */
async function startWasm(threads: number): Promise<void> {
  const require = createRequire(import.meta.url);
  const folder = path.dirname(path.dirname(require.resolve("@tensorflow/tfjs-backend-wasm")));
  setWasmPaths(`${path.join(folder, "dist")}/`);
  if (threads > 1) {
    const main = path.join(folder, "wasm-out/tfjs-backend-wasm-threaded-simd.js");
    const { wasmWorkerContents } = require(main.replace(/\.js$/, ".worker.js")) as { wasmWorkerContents: string };
    const temporary = mkdtempSync(path.join(os.tmpdir(), "glissade-tfjs-"));
    process.on("exit", () => rmSync(temporary, { recursive: true }));
    const worker = path.join(temporary, "worker.cjs");
    const source = wasmWorkerContents.replaceAll("\n", "\\n");
    writeFileSync(worker, `URL.createObjectURL = () => ${JSON.stringify(main)};\n${source}`);
    URL.createObjectURL = () => worker;
    const [processor] = os.cpus();
    os.cpus = () => Array.from({ length: 2 * threads }, () => processor!);
    tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", true);
    setThreadsCount(threads);
  }
  await tf.setBackend("wasm");
}

/**
 * The backend lacks the gradient of conv2d with respect to the filter, and its CPU backend takes many seconds for one. So it
 * gets it as a convolution in which examples and channels swap roles. Stride 1, odd filters, padding "same".
 */
function registerFilterGradient(): void {
  tf.registerKernel({
    kernelName: "Conv2DBackpropFilter",
    backendName: "wasm",
    kernelFunc: ({ inputs, attrs }) => {
      const [x, dy] = [inputs.x as tf.Tensor4D, inputs.dy as tf.Tensor4D];
      const [size] = attrs!.filterShape as tf.Tensor4D["shape"];
      const border: [number, number] = [(size - 1) / 2, (size - 1) / 2];
      const images = tf.transpose(tf.pad(x, [[0, 0], border, border, [0, 0]]), [3, 1, 2, 0]);
      const filters = tf.transpose(dy, [1, 2, 0, 3]);
      return tf.transpose(tf.conv2d(images, filters, 1, "valid"), [1, 2, 0, 3]);
    },
  });
}

const [workload, threads] = [process.argv[2]!, Number(process.argv[3])];
await startWasm(threads);
registerFilterGradient();
await serve(
  `tfjs-wasm ${version}`,
  workloads[workload]!,
  workload === "conv" ? ["TensorFlow.js has no filter gradient of conv2d on WASM; the bench supplies one"] : [],
);
