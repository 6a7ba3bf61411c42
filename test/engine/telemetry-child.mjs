/** A process that computes something, in the way that its argument says, and then tells which sockets it has open. */
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, Worker, workerData } from "node:worker_threads";

async function compute(implementation) {
  const { nodeEngine, tensor, useEngine } = await import("../../dist/node.js");
  useEngine(nodeEngine({ implementation }));
  const [first] = await tensor([1, 2]).mul(2).array();
  if (first !== 2) throw new Error(`2 · 1 is ${first}`);
}

async function inWorker(implementation) {
  const worker = new Worker(new URL(import.meta.url), { workerData: implementation });
  const [code] = await once(worker, "exit");
  if (code !== 0) throw new Error(`the worker ended with ${code}`);
}

const scenarios = {
  main: () => compute("direct"),
  worker: () => inWorker("direct"),
  binding: () => compute("binding"),
  "binding-in-worker": () => inWorker("binding"),
  /** Without Glissade, to see that its traces would be found. */
  async "library-alone"() {
    const { InferenceSession } = await import("onnxruntime-node");
    await InferenceSession.create(new Uint8Array(4)).catch(() => {}); //  no model, but the library is set up
  },
};

if (isMainThread) {
  await scenarios[process.argv[2]]();
  await sleep(300); //  for what happens behind its back
  if (process.platform === "linux") {
    const open = readdirSync("/proc/self/fd").filter((number) => Number(number) > 2); //  0, 1 and 2 may be sockets of the parent's
    const links = open.map((number) => {
      try {
        return readlinkSync(`/proc/self/fd/${number}`);
      } catch {
        return ""; //  the folder itself, which is closed by now
      }
    });
    const sockets = links.filter((link) => link.startsWith("socket:"));
    if (sockets.length > 0) console.log(`sockets: ${sockets.join(" ")}`);
  }
} else {
  await compute(workerData);
}
