/** `fitInWorker`: training in a separate thread. */
import { statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { ConfigError, EngineError, printable } from "../../errors.ts";
import { described } from "../../graph/arguments.ts";
import type { TrainingEvent } from "../events.ts";
import type { FitResult } from "../fit.ts";
import { completeRunOptions, type RunOptions } from "./options.ts";
import { received, type WorkerMessage, type WorkerTask } from "./worker-messages.ts";

/** Options of `fitInWorker`: those of `fit`, and data for the module. */
export interface WorkerOptions extends Omit<RunOptions, "onEvent"> {
  /** The argument of the function that the module exports: any value that can be cloned. */
  readonly data?: unknown;
  /** Called for each event. The training does not wait for it. */
  readonly onEvent?: (event: TrainingEvent) => unknown;
}

/** How a training in a worker ended. */
export interface WorkerResult extends FitResult {
  /** The model's weights as safetensors: `decodeWeights(model, weights)`. */
  readonly weights: Uint8Array;
}

/**
 * Trains in a worker thread, so that this thread stays free. The result is bit-identical to that of `fit` in this thread. `module` is the
 * path or URL of a module that Node can import. Its default export is a setup, or a function that makes a setup from `options.data`. If
 * `seed` is given, the default generator is seeded with it before the setup is made. Throws ConfigError for options that are invalid or
 * cannot be sent, the errors of the module and of `fit`, and EngineError when the worker ends without a result.
 */
export async function fitInWorker(module: string | URL, options: WorkerOptions = {}): Promise<WorkerResult> {
  if (typeof module !== "string" && !(module instanceof URL))
    throw new ConfigError("fitInWorker", `the module is ${described(module)}`, "give the path or URL of a module");
  const { signal, onEvent, data, ...rest } = options;
  completeRunOptions({ ...rest, ...(signal && { signal }), ...(onEvent && { onEvent }) });
  const url = module instanceof URL ? module.href : pathToFileURL(path.resolve(module)).href;
  if (url.startsWith("file:") && !statSync(fileURLToPath(url), { throwIfNoEntry: false })?.isFile())
    throw new ConfigError(
      "fitInWorker",
      `there is no module ${printable(fileURLToPath(url))}`,
      "give the path or URL of a module that exports a function that makes the setup",
    );
  const task: WorkerTask = {
    module: url,
    data,
    options: rest,
    wantsEvents: onEvent !== undefined,
    isStopped: signal?.aborted ?? false,
  };
  const worker = startWorker(task);
  const stop = (): void => worker.postMessage("stop");
  signal?.addEventListener("abort", stop);
  try {
    return await outcomeOf(worker, onEvent);
  } finally {
    signal?.removeEventListener("abort", stop);
    await worker.terminate();
  }
}

function startWorker(task: WorkerTask): Worker {
  try {
    return new Worker(new URL("./worker.js", import.meta.url), { workerData: task });
  } catch (cause) {
    if (!(cause instanceof DOMException)) throw cause;
    throw new ConfigError(
      "fitInWorker",
      `what the worker is given cannot be sent: ${printable(cause.message)}`,
      "give plain values and arrays; functions belong into the module",
      "",
      { cause },
    );
  }
}

function outcomeOf(worker: Worker, onEvent: WorkerOptions["onEvent"]): Promise<WorkerResult> {
  return new Promise((resolve, reject) => {
    worker.on("message", (message: WorkerMessage) => {
      if (message.type === "failed") reject(received(message.error));
      else if (message.type === "done") resolve({ ...message.result, weights: message.weights });
      else
        try {
          Promise.resolve(onEvent?.(message.event)).catch(reject);
        } catch (error) {
          reject(error);
        }
    });
    worker.on("error", reject);
    worker.on("exit", (code) =>
      reject(
        new EngineError(
          "fitInWorker",
          `the worker ended with code ${code} and without a result`,
          "look at what the module does: it may have called process.exit",
        ),
      ),
    );
  });
}
