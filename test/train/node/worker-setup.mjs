/** A setup for a worker, and for the main thread: of the build, which workers run. */
import {
  adam,
  crossEntropy,
  dataset,
  dropout,
  linear,
  loader,
  metric,
  relu,
  seed,
  sequential,
} from "../../../dist/node.js";

export default function make({ width = 16, broken } = {}) {
  if (broken === "throw") throw new Error("the setup is not to be had");
  if (broken === "exit") process.exit(3);
  seed(5);
  const count = 60;
  const values = Float32Array.from({ length: 2 * count }, (_, i) => Math.sin(i * 12.9898 + 1));
  const labels = Int32Array.from({ length: count }, (_, i) => Number(values[2 * i] * values[2 * i + 1] > 0));
  if (broken === "data") values[7] = Number.NaN;
  const data = dataset(
    { shape: [count, 2], dtype: "float32", values },
    { shape: [count], dtype: "int32", values: labels },
  );
  const model = sequential(linear(2, width), relu, dropout(0.1), linear(width, 2));
  return {
    model,
    loss: (x, y) => crossEntropy(model(x), y),
    train: loader(data, { batchSize: 8, shuffle: true }),
    validation: data,
    optimizer: adam(model, { learningRate: 0.02 }),
    metrics: [metric.accuracy()],
  };
}
