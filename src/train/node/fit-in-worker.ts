/** `fitInWorker`: training in a thread of its own. */
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

/** Options of `fitInWorker`: those of `fit`, and what the module is given. */
export interface WorkerOptions extends Omit<RunOptions, "onEvent"> {
  /** Given to the function that the module exports: whatever can be cloned. */
  readonly data?: unknown;
  /** Hears what happens. The training does not wait for it. */
  readonly onEvent?: (event: TrainingEvent) => unknown;
}

/** How a training in a worker ended. */
export interface WorkerResult extends FitResult {
  /** The model's weights as safetensors: `decodeWeights(model, weights)`. */
  readonly weights: Uint8Array;
}

/**
 * Trains in a worker thread, so that this one stays free for other things: the same bits as `fit` in this thread. `module` is the path or
 * URL of a module that Node can import, whose default export is a setup, or a function that makes one of `options.data`; with `seed`
 * the default generator begins from it before the setup is made. Throws ConfigError for options that cannot be or cannot be sent, what
 * the module throws, what `fit` throws there, and EngineError when the worker ends without a word.
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
  const task: WorkerTask = { module: url, data, options: rest, wantsEvents: onEvent !== undefined };
  const worker = startWorker(task);
  const stop = (): void => worker.postMessage("stop");
  if (signal?.aborted) stop();
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
