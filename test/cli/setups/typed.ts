import { crossEntropy, linear, loadMnist, type Tensor, type TrainingSetup } from "glissade";

const model = linear(784, 10);
const loss = (images: Tensor<[number, 784], "float32">, labels: Tensor<[number], "int32">): Tensor =>
  crossEntropy(model(images), labels);

const setup: TrainingSetup = { ...(await loadMnist()), model, loss };
export default setup;
