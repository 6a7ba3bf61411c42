/** A model for other images than there are. */
import { crossEntropy, linear, loadMnist } from "glissade";

const model = linear(700, 10);
const { train } = await loadMnist();

export default { model, loss: (images, labels) => crossEntropy(model(images), labels), train };
