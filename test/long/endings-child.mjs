/** A process that ends in the middle of a training, in the way and after the milliseconds that its arguments say. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { compile, fromValues, nodeEngine, tensor, useEngine } from "../../dist/node.js";
import { trainForEver } from "./training.mjs";

const [way, threads, onTheSpot, delay] = process.argv.slice(2).map((word, i) => (i ? Number(word) : word));
const options = { threads, onTheSpot };

/** Starts a worker that trains; it is under way when this is done. */
async function trainInWorker(more = {}) {
  const worker = new Worker(new URL("./endings-worker.mjs", import.meta.url), { workerData: { ...options, ...more } });
  await once(worker, "message");
  return worker;
}

const after = (action) => setTimeout(action, delay);

const ways = {
  /** One step and nothing else: the shortest process. */
  async short() {
    useEngine(nodeEngine(options));
    const double = compile((x) => x.mul(2));
    const [first] = await double(tensor([1, 2])).array();
    if (first !== 2) process.exitCode = 1;
  },
  /** A run that nobody waits for is under way when the program has come to its end. */
  async unawaited() {
    useEngine(nodeEngine(options));
    const double = compile((x) => x.mul(2));
    double(tensor([1, 2]));
  },
  exit: () => trainForEver(options, () => after(() => process.exit(7))),
  /** The delay counts from the start: the library is being loaded, or a session made. */
  early() {
    after(() => process.exit(7));
    return trainForEver(options);
  },
  error: () =>
    trainForEver(options, () =>
      after(() => {
        throw new Error("on purpose");
      }),
    ),
  rejection: () => trainForEver(options, () => after(() => Promise.reject(new Error("on purpose")))),
  /** Somebody presses Ctrl-C, and the program ends itself. */
  interrupt() {
    process.on("SIGINT", () => process.exit(130));
    return trainForEver(options, () => after(() => process.kill(process.pid, "SIGINT")));
  },
  terminate: () => trainForEver(options, () => after(() => process.kill(process.pid, "SIGTERM"))),
  kill: () => trainForEver(options, () => after(() => process.kill(process.pid, "SIGKILL"))),
  /** One run takes half a minute or more. */
  async "long-run"() {
    useEngine(nodeEngine(options));
    const long = compile((x) => {
      let y = x;
      for (let i = 0; i < 1500; i++) y = y.matmul(x);
      return y.sum();
    });
    const run = long(fromValues(new Float32Array(1024 * 1024), [1024, 1024])).item();
    setTimeout(() => process.exit(7), 1500);
    await run;
  },
  /** Two workers and the main thread train; the process ends. */
  async together() {
    await Promise.all([trainInWorker(), trainInWorker()]);
    await trainForEver(options, () => after(() => process.exit(9)));
  },
  /** A worker trains, the main thread never loads the engine. */
  async worker() {
    await trainInWorker();
    after(() => process.exit(7));
  },
  /** A worker ends itself in the middle of a run; the main thread goes on. */
  async "worker-exit"() {
    const worker = await trainInWorker({ exitAfter: 10 + delay });
    const [code] = await once(worker, "exit");
    process.exitCode = code === 5 ? 0 : 3;
  },
  async "worker-error"() {
    const worker = await trainInWorker({ throwAfter: 10 + delay });
    const [error] = await once(worker, "error");
    process.exitCode = error.message === "on purpose" ? 0 : 3;
  },
};

await ways[way]();
