/** A loss that is no number. */
import { linear, loadMnist } from "glissade";

const model = linear(784, 10);
const { train } = await loadMnist();

export default { model, loss: (images) => model(images).square().sum().neg().log(), train };
