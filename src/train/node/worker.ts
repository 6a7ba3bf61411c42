/** The worker thread of `fitInWorker`: makes the setup from a module and trains it. */
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { ConfigError } from "../../errors.ts";
import { encodeWeights } from "../../files/weights.ts";
import { seed } from "../../nn/generator.ts";
import { isModule } from "../../nn/module.ts";
import type { TrainingSetup } from "../setup.ts";
import { fit } from "./fit.ts";
import { sendable, type WorkerMessage, type WorkerTask } from "./worker-messages.ts";

async function setupOf({ module, data }: WorkerTask): Promise<TrainingSetup> {
  const { default: exported } = (await import(module)) as { readonly default?: unknown };
  if (exported === undefined)
    throw new ConfigError(
      "fitInWorker",
      `${module} has no default export`,
      "export default { model, loss, train }, or a function that returns it",
    );
  const isMaker = typeof exported === "function" && !isModule(exported);
  return (await (isMaker ? (exported as (data: unknown) => unknown)(data) : exported)) as TrainingSetup;
}

if (!isMainThread && parentPort) {
  const port = parentPort;
  const task = workerData as WorkerTask;
  const send = (message: WorkerMessage, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
  const stop = new AbortController();
  port.on("message", () => stop.abort());
  if (task.isStopped) stop.abort();
  try {
    if (task.options.seed !== undefined) seed(task.options.seed);
    const setup = await setupOf(task);
    const result = await fit(setup, {
      ...task.options,
      signal: stop.signal,
      onEvent: (event) => task.wantsEvents && send({ type: "event", event }),
    });
    const weights = new Uint8Array(await encodeWeights(setup.model));
    send({ type: "done", result, weights }, [weights.buffer]);
  } catch (error) {
    send({ type: "failed", error: sendable(error) });
  } finally {
    port.close();
  }
}
