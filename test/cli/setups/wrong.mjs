/** Much is wrong here: the order, the loss, the rate; and examples mix. */
import { adam, crossEntropy, linear, loadMnist, module } from "glissade";

const { train: digits } = await loadMnist();
const labels = digits.columns[1].values;
const train = digits.take([...labels.keys()].sort((a, b) => labels[a] - labels[b]));
const parts = { first: linear(784, 16), last: linear(16, 10) };
const model = module("Wrong", parts, (x) => {
  const h = parts.first(x).relu();
  return parts.last(h.sub(h.mean(0, { keepDims: true })));
});
const loss = (images, classes) => crossEntropy(model(images), classes, { reduction: "sum" });

export default { model, loss, train, validation: digits.take([1, 2, 3]), optimizer: adam(model, { learningRate: 5 }) };
