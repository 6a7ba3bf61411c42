/** A worker that trains until somebody ends it, or ends itself. */
import { parentPort, workerData } from "node:worker_threads";
import { trainForEver } from "./training.mjs";

const { exitAfter, throwAfter, ...options } = workerData;
await trainForEver(options, () => {
  if (exitAfter !== undefined) setTimeout(() => process.exit(5), exitAfter);
  if (throwAfter !== undefined)
    setTimeout(() => {
      throw new Error("on purpose");
    }, throwAfter);
  parentPort.postMessage("started");
});
