/**
 * 5,000 compiled steps of the perceptron in a process of its own, from the build. Prints resident memory by thousand steps, in MB:
 * means over moments at which the garbage has just been collected, for what counts is what stays.
 */
import { adam, compile, crossEntropy, fromValues, linear, relu, seed, sequential } from "../../dist/node.js";

seed(0);
const model = sequential(linear(784, 256), relu, linear(256, 128), relu, linear(128, 10));
const optimizer = adam(model);
const step = compile((x, y) => {
  const loss = crossEntropy(model(x), y);
  optimizer.minimize(loss);
  return loss;
});
const batch = 64;
const pixels = Float32Array.from({ length: batch * 784 }, (_, i) => ((i * 2654435761) % 1000) / 1000);
const labels = Int32Array.from({ length: batch }, (_, i) => i % 10);
const means = [];
let first;
let last;
for (let thousand = 0; thousand < 5; thousand++) {
  let sum = 0;
  for (let i = 0; i < 1000; i++) {
    // A new batch each time, as a loader gives them.
    last = await step(fromValues(pixels, [batch, 784]), fromValues(labels, [batch])).item();
    first ??= last;
    if (i % 50 < 49) continue;
    globalThis.gc();
    sum += process.memoryUsage.rss() / 1e6;
  }
  means.push(sum / 20);
}
console.log(JSON.stringify({ means, first, last }));
