/** A loss with a slip of the pen. */
import * as glissade from "glissade";

const model = glissade.linear(784, 10);
const { train } = await glissade.loadMnist();

export default { model, loss: (images, labels) => glissade.crossEntrpy(model(images), labels), train };
