/**
 * The thread that makes sessions and runs them. It keeps the event loop free. It also limits the flushing of denormal floats to the
 * computation of networks: the processor keeps that setting for each thread. The threads of koffi's own asynchronous calls cannot be used
 * for this: they are Node's thread pool, any of its four threads may make the next call, and other code uses them too.
 */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { EngineError } from "../../errors.ts";
import type { Waiting } from "../../task.ts";
import { koffiFile } from "./library.ts";
import type { Entry, OrtApi, Pointer } from "./ort-api.ts";

/** The functions that the thread can call: functions of the C API whose parameters and results are only integers and pointers. */
const callable = ["CreateSessionFromArray", "Run", "SessionEndProfiling"] as const;

export type ThreadFunction = (typeof callable)[number];

/** The memory that both threads share. */
interface Shared {
  /** The phase of the thread: one of the numbers below. */
  readonly phase: Int32Array<SharedArrayBuffer>;
  /** How many calls were requested. */
  readonly requests: Int32Array<SharedArrayBuffer>;
  /** How many of them are done. */
  readonly answers: Int32Array<SharedArrayBuffer>;
  /** The call: number of the function, number of parameters, the parameters. The result replaces the function. */
  readonly words: BigUint64Array<SharedArrayBuffer>;
}

interface Start extends Shared {
  /** Path of koffi's native part. */
  readonly koffi: string;
  /** The functions' addresses and numbers of parameters. */
  readonly functions: readonly Entry[];
  /** How often the thread looks for the next call before it sleeps. */
  readonly looks: number;
}

/** Node is starting the thread. */
const starting = 0;
/** The thread waits until it may load koffi. */
const waiting = 1;
const loading = 2;
const ready = 3;

const mostParameters = 8;

/** Bytes of the stack that koffi uses for native calls. Its default, a megabyte, is small for optimizing a graph: other hosts give 8. */
const stackBytes = 8 * 2 ** 20;

/**
 * The thread's program: it loads koffi, then repeats: wait, call, answer. It is text because every bundler, loader and test runner would
 * have to find a separate module.
 *
 * The thread may be ended at any moment: by `process.exit`, by an uncaught error, by `terminate()` of the worker that it belongs to.
 * Node then waits until the native call under way returns. Most functions of koffi throw when their thread is being ended, and that
 * ends the process (SIGABRT). Native functions made by koffi do not throw if all their parameters and results are numbers: once the
 * thread is ready, it calls only these. Until it is ready, JavaScript's thread, the only one that could end it, waits in native code.
 *
 * Denormal floats are flushed on x64, by two bits of the register MXCSR, which the C library reaches through fesetenv (Linux) and
 * _controlfp_s (Windows). ONNX Runtime would set them itself for `session.set_denormal_as_zero`, but only on the thread that
 * makes the first session of a process, which need not be ours. On arm64 neither this program nor ONNX Runtime sets anything: those
 * processors compute denormal floats at nearly full speed, and with a setting on this thread alone results would depend on which thread
 * computed which part.
 */
const source = `
const { parentPort, workerData } = require("node:worker_threads");
const { koffi: file, functions, phase, requests, answers, words, looks } = workerData;
Atomics.store(phase, 0, ${waiting});
Atomics.notify(phase, 0);
parentPort.postMessage(undefined);
Atomics.wait(phase, 0, ${waiting});
const koffi = require(file);
koffi.config({ sync_stack_size: ${stackBytes} });
koffi.load(null); //  sets up this thread's calls

function flushDenormals() {
  if (process.arch !== "x64") return;
  if (process.platform === "win32") {
    const control = koffi.load("ucrtbase.dll").func("int _controlfp_s(void *current, uint32_t value, uint32_t mask)");
    control(new Uint32Array(1), 0x01000000 /* _DN_FLUSH */, 0x03000000 /* _MCW_DN */);
  } else if (process.platform === "linux") {
    const libm = koffi.load("libm.so.6");
    const environment = new Uint32Array(8); //  fenv_t: MXCSR is the last word
    libm.func("int fegetenv(void *environment)")(environment);
    environment[7] |= 0x8040; //  flush to zero, denormals are zero
    libm.func("int fesetenv(void *environment)")(environment);
  }
}

try {
  flushDenormals();
} catch {} //  then the first session does it, as a rule

const calls = functions.map(({ address, parameters }) =>
  koffi.decode(address, koffi.proto("uint64_t", Array.from({ length: parameters }, () => "uint64_t"))));
Atomics.store(phase, 0, ${ready});
for (let seen = 0; ; ) {
  // A step often follows the other at once, and waking up costs more than a small step takes.
  for (let i = 0; i < looks && Atomics.load(requests, 0) === seen; i++);
  Atomics.wait(requests, 0, seen);
  if (Atomics.load(requests, 0) === seen) continue;
  seen = Atomics.load(requests, 0);
  const count = Number(words[1]);
  words[0] = BigInt(calls[Number(words[0])](...words.subarray(2, 2 + count)));
  Atomics.add(answers, 0, 1);
  Atomics.notify(answers, 0);
  parentPort.postMessage(undefined);
}
`;

/** A call that waits in the queue or is under way. */
class Job implements Waiting<Pointer> {
  readonly name: ThreadFunction;
  readonly parameters: readonly (Pointer | number)[];
  /** Objects whose memory the call uses. This reference keeps them from being collected; it is dropped when the call is done. */
  keep: readonly unknown[];
  readonly #finish: (job: Job) => void;
  readonly #promise: Promise<Pointer>;
  #resolve: (result: Pointer) => void = () => {};
  #reject: (problem: EngineError) => void = () => {};
  #outcome: { readonly value: Pointer } | { readonly problem: EngineError } | undefined;

  /** @param finish waits for the job on the caller's thread */
  constructor(
    name: ThreadFunction,
    parameters: readonly (Pointer | number)[],
    keep: readonly unknown[],
    finish: (job: Job) => void,
  ) {
    this.name = name;
    this.parameters = parameters;
    this.keep = keep;
    this.#finish = finish;
    this.#promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#promise.catch(() => {}); //  a caller may wait with `now` instead, and then nobody handles the promise's error
  }

  get isDone(): boolean {
    return this.#outcome !== undefined;
  }

  done(value: Pointer): void {
    this.keep = [];
    this.#outcome = { value };
    this.#resolve(value);
  }

  fail(problem: EngineError): void {
    this.keep = [];
    this.#outcome = { problem };
    this.#reject(problem);
  }

  // biome-ignore lint/suspicious/noThenProperty: it is awaited like a promise.
  get then(): Promise<Pointer>["then"] {
    return this.#promise.then.bind(this.#promise);
  }

  now(): { readonly value: Pointer } {
    this.#finish(this);
    const outcome = this.#outcome!;
    if ("problem" in outcome) throw outcome.problem;
    return outcome;
  }
}

/** The longest time that JavaScript's thread waits for the other thread to load koffi, in milliseconds. */
const longestLoad = 1000;

/** A thread that makes native calls, one at a time, in the order in which they were asked for. */
export class NativeThread {
  readonly #ort: OrtApi;
  readonly #shared: Shared = {
    phase: new Int32Array(new SharedArrayBuffer(4)),
    requests: new Int32Array(new SharedArrayBuffer(4)),
    answers: new Int32Array(new SharedArrayBuffer(4)),
    words: new BigUint64Array(new SharedArrayBuffer(8 * (2 + mostParameters))),
  };
  readonly #worker: Worker;
  readonly #jobs: Job[] = [];
  /** How many answers have been taken. */
  #taken = 0;
  #ended: EngineError | undefined;

  constructor(ort: OrtApi) {
    this.#ort = ort;
    const start: Start = {
      ...this.#shared,
      koffi: koffiFile(),
      functions: callable.map((name) => ort.entry(name)),
      looks: availableParallelism() > 1 ? 20_000 : 0,
    };
    // The new thread ignores this thread's loaders and NODE_OPTIONS.
    this.#worker = new Worker(source, { eval: true, name: "glissade", workerData: start, execArgv: [], env: {} });
    this.#worker.on("message", () => {
      this.#letLoad();
      this.#takeAnswers();
    });
    this.#worker.once("error", (cause) => this.#end(cause.message, cause));
    this.#worker.once("exit", (code) => this.#end(`exit code ${code}`));
    this.#worker.unref(); //  an idle thread does not keep the process alive
  }

  /** Lets the thread load koffi, and sleeps in native code until it is loaded: during that time neither thread can be ended. */
  #letLoad(): void {
    const { phase } = this.#shared;
    Atomics.wait(phase, 0, starting);
    if (Atomics.compareExchange(phase, 0, waiting, loading) !== waiting) return;
    Atomics.notify(phase, 0);
    const limit = performance.now() + longestLoad;
    while (Atomics.load(phase, 0) === loading && performance.now() < limit) this.#ort.sleep(1);
  }

  /** Whether no call is under way or waits. */
  get isIdle(): boolean {
    return this.#jobs.length === 0;
  }

  /**
   * Calls a function of the C API on the thread, and returns its result.
   * @param keep objects whose memory the call uses
   */
  call(name: ThreadFunction, parameters: readonly (Pointer | number)[], keep: readonly unknown[]): Waiting<Pointer> {
    const job = new Job(name, parameters, keep, (waited) => this.#finish(waited));
    if (this.#ended) {
      job.fail(this.#ended);
      return job;
    }
    this.#jobs.push(job);
    if (this.#jobs.length === 1) {
      this.#worker.ref(); //  a call under way keeps the process alive
      this.#start();
    }
    return job;
  }

  /** Waits on the caller's thread until a job is done. */
  #finish(job: Job): void {
    const { answers } = this.#shared;
    this.#letLoad();
    while (!job.isDone) {
      Atomics.wait(answers, 0, this.#taken);
      this.#takeAnswers();
    }
  }

  /** Hands the first call in the queue over to the thread. A thread that is still starting will find it too. */
  #start(): void {
    const { requests, words } = this.#shared;
    const { name, parameters } = this.#jobs[0]!;
    words[0] = BigInt(callable.indexOf(name));
    words[1] = BigInt(parameters.length);
    for (let i = 0; i < parameters.length; i++) words[2 + i] = BigInt(parameters[i]!);
    Atomics.add(requests, 0, 1);
    Atomics.notify(requests, 0);
  }

  /** Takes the answers that have come. `#finish` may have taken an answer already, before its message reaches the event loop. */
  #takeAnswers(): void {
    const { answers, words } = this.#shared;
    while (this.#taken < Atomics.load(answers, 0)) {
      this.#taken++;
      const job = this.#jobs.shift()!;
      const result = words[0]!;
      if (this.#jobs.length > 0) this.#start();
      else this.#worker.unref();
      job.done(result);
    }
  }

  /** Notes that the thread has ended: waiting calls fail with this error, and so will later ones. */
  #end(problem: string, cause?: Error): void {
    this.#ended ??= new EngineError("node engine", `its thread ended: ${problem}`, "report this", "", { cause });
    for (const job of this.#jobs.splice(0)) job.fail(this.#ended);
  }
}
