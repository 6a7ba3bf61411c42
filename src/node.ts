/** Glissade in Node: the core, files, data from packages, and the native engine as default. */
import { setDefaultEngine } from "./compile/runtime.ts";
import { nodeEngine } from "./engine/node/index.ts";
import { reportAtExit } from "./tensor/node/exit.ts";

export {
  type FashionMnist,
  type FashionMnistDataset,
  type FashionMnistOptions,
  loadFashionMnist,
} from "./data/node/fashion-mnist.ts";
export { readIdx } from "./data/node/idx.ts";
export { type Iris, type IrisDataset, loadIris } from "./data/node/iris.ts";
export { loadMnist, type MnistDataset, type MnistOptions } from "./data/node/mnist.ts";
export type { Implementation } from "./engine/node/environment.ts";
export { type NodeEngine, type NodeEngineOptions, nodeEngine } from "./engine/node/index.ts";
export { FileError, type FileLocation, writeFileAtomically } from "./files/node/atomic.ts";
export { loadWeights, saveWeights } from "./files/node/model.ts";
export * from "./index.ts";

setDefaultEngine(() => nodeEngine());
reportAtExit();
