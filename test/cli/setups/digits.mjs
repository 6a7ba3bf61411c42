/** A setup of somebody's own, as a function. */
import { batchNorm, crossEntropy, linear, loadMnist, relu, sequential, sgd } from "glissade";

export default async () => {
  const model = sequential(linear(784, 32), batchNorm(32), relu, linear(32, 10));
  const loss = (images, labels) => crossEntropy(model(images), labels);
  const { train, test: validation } = await loadMnist();
  const optimizer = sgd(model, { learningRate: 0.05, momentum: 0.9 });
  return { model, loss, train, validation, optimizer };
};
