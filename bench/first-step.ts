/** The perceptron's first step, in a process of its own: prints when it was done, and what came before. */
import { adam, compile, crossEntropy, linear, loader, loadMnist, relu, sequential, type Tensor } from "glissade";

const imported = performance.now();
const { train } = await loadMnist();
const read = performance.now();
const model = sequential(linear(784, 256), relu, linear(256, 128), relu, linear(128, 10));
const optimizer = adam(model);
const step = compile((x: Tensor<[number, 784], "float32">, y: Tensor<[number], "int32">) => {
  const loss = crossEntropy(model(x), y);
  optimizer.minimize(loss);
  return loss;
});
for (const [x, y] of loader(train, { batchSize: 64 })) {
  await step(x, y).item();
  break;
}
console.log(JSON.stringify({ imported, read, stepped: performance.now() }));
