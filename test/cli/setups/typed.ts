import { crossEntropy, linear, loadMnist, type Tensor, type TrainingSetup } from "glissade";

const model = linear(784, 10);
const loss = (images: Tensor<[number, 784], "float32">, labels: Tensor<[number], "int32">): Tensor =>
  crossEntropy(model(images), labels);

const { train, test: validation } = await loadMnist();
const setup: TrainingSetup = { model, loss, train, validation };
export default setup;
