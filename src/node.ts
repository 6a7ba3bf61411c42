/** Glissade in Node: the core, files, data from packages, and the native engine as default. */
import { setDefaultEngine } from "./compile/runtime.ts";
import { reportAtExit } from "./engine/node/exit.ts";
import { nodeEngine } from "./engine/node/index.ts";

export { loadMnist } from "./data/node/mnist.ts";
export { type NodeEngineOptions, nodeEngine } from "./engine/node/index.ts";
export { FileError, type FileLocation, writeFileAtomically } from "./files/node/atomic.ts";
export { loadWeights, saveWeights } from "./files/node/model.ts";
export * from "./index.ts";

setDefaultEngine(() => nodeEngine());
reportAtExit();
