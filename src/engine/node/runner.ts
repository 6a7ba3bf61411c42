/**
 * The thread that runs sessions. It exists so that the event loop stays free and so that denormal floats can be flushed to
 * zero where networks are computed, and only there: the processor keeps that setting for each thread.
 */
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { EngineError } from "../../errors.ts";
import type { Pointer } from "./ort.ts";

/** Positions in the words that both threads see. */
const requested = 0;
const finished = 1;

interface Shared {
  /** Number of the call that was asked for, number of the call that is done. */
  readonly numbers: Int32Array<SharedArrayBuffer>;
  /** Address of the function, number of parameters, the parameters; the result comes back in the first. */
  readonly words: BigUint64Array<SharedArrayBuffer>;
}

interface Start extends Shared {
  readonly koffi: string;
}

const mostParameters = 8;
const wordCount = 2 + mostParameters;

/**
 * What the thread does: wait, call, answer. The function is sent as text, so it may use nothing but its arguments.
 * After a call it looks for the next one for a while before it sleeps, because waking up costs more than a small step.
 */
function serve(start: Start, require: (file: string) => unknown): void {
  const koffi = require(start.koffi) as {
    load(path: null): unknown;
    proto(result: string, parameters: readonly string[]): unknown;
    call(address: bigint, type: unknown, ...args: readonly bigint[]): bigint | null;
  };
  const { numbers, words } = start;
  const kept = koffi.load(null); //  koffi sets up a thread's calls when it first loads something there
  const types = Array.from({ length: 9 }, (_, n) => koffi.proto("void*", Array.from({ length: n }, () => "uintptr_t")));
  const looks = 20_000;
  for (let seen = 0; kept; ) {
    for (let i = 0; i < looks && Atomics.load(numbers, 0) === seen; i++);
    Atomics.wait(numbers, 0, seen);
    const number = Atomics.load(numbers, 0);
    if (number === seen) continue;
    seen = number;
    const count = Number(words[1]);
    const status = koffi.call(words[0]!, types[count], ...words.subarray(2, 2 + count));
    words[0] = status ?? 0n;
    Atomics.store(numbers, 1, number);
    Atomics.notify(numbers, 1);
  }
}

/** A thread that makes native calls, one at a time. */
export class Runner {
  readonly #shared: Shared = {
    numbers: new Int32Array(new SharedArrayBuffer(8)),
    words: new BigUint64Array(new SharedArrayBuffer(8 * wordCount)),
  };
  readonly #worker: Worker;
  readonly #online: Promise<void>;
  /** Never resolves; rejects when the thread has ended. */
  readonly #died: Promise<never>;
  #count = 0;
  #last: Promise<unknown> = Promise.resolve();
  #isOnline = false;
  #waiting = 0;

  constructor() {
    const koffi = createRequire(import.meta.url).resolve("koffi");
    const start: Start = { ...this.#shared, koffi };
    this.#worker = new Worker(`(${serve.toString()})(require("node:worker_threads").workerData, require)`, {
      eval: true,
      workerData: start,
      stdout: false,
    });
    this.#died = new Promise((_, reject) => {
      this.#worker.once("error", (cause) =>
        reject(new EngineError("node engine", `its thread ended: ${cause.message}`, "report this", "", { cause })),
      );
    });
    this.#died.catch(() => {}); //  who waits for a call learns of it
    const online = new Promise<void>((resolve) => {
      this.#worker.once("online", () => {
        this.#isOnline = true;
        resolve();
      });
    });
    this.#online = Promise.race([online, this.#died]);
    this.#online.catch(() => {});
    this.#worker.unref(); //  an idle thread does not keep the process alive
  }

  /** Calls a native function on the thread; parameters are addresses and sizes. Calls queue up. */
  call(address: Pointer, ...parameters: readonly (Pointer | number)[]): Promise<Pointer> {
    const idle = this.#waiting === 0 && this.#isOnline;
    if (this.#waiting++ === 0) this.#worker.ref(); //  the process stays for an answer it waits for
    const answer = (
      // The common case, one call at a time, starts before this returns.
      idle ? this.#call(address, parameters) : this.#last.then(() => this.#online).then(() => this.#call(address, parameters))
    ).finally(() => {
      if (--this.#waiting === 0) this.#worker.unref();
    });
    this.#last = answer.catch(() => {});
    return answer;
  }

  async #call(address: Pointer, parameters: readonly (Pointer | number)[]): Promise<Pointer> {
    const { numbers, words } = this.#shared;
    words[0] = address;
    words[1] = BigInt(parameters.length);
    parameters.forEach((parameter, i) => {
      words[2 + i] = BigInt(parameter);
    });
    const before = this.#count;
    this.#count = (before + 1) | 0;
    const done = Atomics.waitAsync(numbers, finished, before);
    Atomics.store(numbers, requested, this.#count);
    Atomics.notify(numbers, requested);
    if (done.async) await Promise.race([done.value, this.#died]);
    return words[0]!;
  }
}
