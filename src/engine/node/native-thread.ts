/**
 * The thread that makes sessions and runs them. It exists so that the event loop stays free, and so that denormal floats are
 * flushed to zero where networks are computed and nowhere else: the processor keeps that setting for each thread. The threads
 * behind koffi's own asynchronous calls will not do: they are Node's, any of four makes the next call, and they serve
 * everybody else too.
 */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { EngineError } from "../../errors.ts";
import type { Waiting } from "../../task.ts";
import { koffiFile } from "./library.ts";
import type { Entry, OrtApi, Pointer } from "./ort-api.ts";

/** What the thread can call: functions of the C API that take and return nothing but integers and pointers. */
const callable = ["CreateSessionFromArray", "Run", "SessionEndProfiling"] as const;

export type ThreadFunction = (typeof callable)[number];

/** What both threads see. */
interface Shared {
  /** How far the thread has come: one of the numbers below. */
  readonly phase: Int32Array<SharedArrayBuffer>;
  /** How many calls were asked for. */
  readonly requests: Int32Array<SharedArrayBuffer>;
  /** How many of them are done. */
  readonly answers: Int32Array<SharedArrayBuffer>;
  /** The call: number of the function, number of parameters, the parameters. The result replaces the function. */
  readonly words: BigUint64Array<SharedArrayBuffer>;
}

interface Start extends Shared {
  /** Path of koffi's native part. */
  readonly koffi: string;
  /** Of the functions: addresses and numbers of parameters. */
  readonly functions: readonly Entry[];
  /** How often the thread looks for the next call before it sleeps. */
  readonly looks: number;
}

/** Node sets the thread up. */
const starting = 0;
/** The thread waits until it may load koffi. */
const waiting = 1;
const loading = 2;
const ready = 3;

const mostParameters = 8;

/** Native calls run on a stack of koffi's. Its usual megabyte is little for optimizing a graph: other hosts give eight. */
const stackBytes = 8 * 2 ** 20;

/**
 * The thread's program: load koffi, then wait, call, answer. It is text because a module of its own would have to be found by every
 * bundler, loader and test runner.
 *
 * The thread may be ended at any moment: by `process.exit`, by an error that nobody catches, by `terminate()` of the worker that it
 * belongs to. Node then waits until the native call under way returns. Most functions of koffi throw when they find the thread at its
 * end, which ends the process (SIGABRT). The functions that koffi makes do not, if all that they take and return is numbers: no others
 * are called once the thread is ready. Until then JavaScript's thread, which would be the one to end this one, waits in native code.
 *
 * Denormal floats are flushed on x64, by two bits of the register MXCSR, which the C library reaches through fesetenv (Linux) and
 * _controlfp_s (Windows). ONNX Runtime would set them itself for `session.set_denormal_as_zero`, but only on the thread that
 * makes the first session of a process, which need not be ours. On arm64 nothing is set, here or by ONNX Runtime: those processors compute denormal
 * floats at nearly full speed, and a setting on this thread alone would make results depend on who computed which part.
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

/** A call that waits for its turn or is under way. */
class Job implements Waiting<Pointer> {
  readonly name: ThreadFunction;
  readonly parameters: readonly (Pointer | number)[];
  /** Objects whose memory the call addresses: they must not be collected before it is done, and are let go then. */
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
    this.#promise.catch(() => {}); //  it may be waited for in the other way
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

/** JavaScript's thread waits so many milliseconds at most for the other to load koffi. */
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
    // Neither loaders nor NODE_OPTIONS of this thread concern that one.
    this.#worker = new Worker(source, { eval: true, name: "glissade", workerData: start, execArgv: [], env: {} });
    this.#worker.on("message", () => {
      this.#letLoad();
      this.#takeAnswers();
    });
    this.#worker.once("error", (cause) => this.#end(cause.message, cause));
    this.#worker.once("exit", (code) => this.#end(`exit code ${code}`));
    this.#worker.unref(); //  an idle thread does not keep the process alive
  }

  /** Lets the thread load koffi, and sleeps in native code until it has: meanwhile nothing can end either thread. */
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
   * Calls a function of the C API on the thread; gives what it returns.
   * @param keep objects whose memory the call addresses
   */
  call(name: ThreadFunction, parameters: readonly (Pointer | number)[], keep: readonly unknown[]): Waiting<Pointer> {
    const job = new Job(name, parameters, keep, (waited) => this.#finish(waited));
    if (this.#ended) {
      job.fail(this.#ended);
      return job;
    }
    this.#jobs.push(job);
    if (this.#jobs.length === 1) {
      this.#worker.ref(); //  the process stays for an answer that it waits for
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

  /** Hands over the first call in line. The thread finds it also when it is still starting. */
  #start(): void {
    const { requests, words } = this.#shared;
    const { name, parameters } = this.#jobs[0]!;
    words[0] = BigInt(callable.indexOf(name));
    words[1] = BigInt(parameters.length);
    for (let i = 0; i < parameters.length; i++) words[2 + i] = BigInt(parameters[i]!);
    Atomics.add(requests, 0, 1);
    Atomics.notify(requests, 0);
  }

  /** Takes the answers that have come. Someone who waited may have taken one before the event loop was told of it. */
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

  /** The thread is no more: who waits for a call learns of it, and who asks for one later. */
  #end(problem: string, cause?: Error): void {
    this.#ended ??= new EngineError("node engine", `its thread ended: ${problem}`, "report this", "", { cause });
    for (const job of this.#jobs.splice(0)) job.fail(this.#ended);
  }
}
