/** The native engine: ONNX Runtime's C API over memory that JavaScript owns. Inputs and outputs are not copied. */

import { EngineError } from "../../errors.ts";
import { described } from "../../graph/arguments.ts";
import { type Constant, elementsOf } from "../../graph/op.ts";
import type { Filling, Port } from "../../graph/target.ts";
import type { TensorType, Values } from "../../graph/types.ts";
import { type Steps, Task, wait } from "../../task.ts";
import { bind, expectProgram, failFilling, failReleased } from "../bind.ts";
import type { EngineBuffer, Program, Session } from "../engine.ts";
import { blockProbe } from "./blocks.ts";
import { NodeBuffer, subject } from "./buffers.ts";
import { type Flushed, flushedDenormals } from "./denormals.ts";
import type { NodeEngine } from "./index.ts";
import { type KernelDomain, Kernels } from "./jit/index.ts";
import { NativeThread } from "./native-thread.ts";
import { disabledOptimizers, isOptimized, isPatterned } from "./optimizers.ts";
import { elementTypes, loadOrt, type OrtApi, type Pointer } from "./ort-api.ts";
import { Pace } from "./pace.ts";
import { Profiles } from "./profiles.ts";
import { serialElements } from "./serial.ts";

export interface DirectOptions {
  /** Threads inside an op. */
  readonly threads: number;
  /** Prefix of the files into which sessions write how long each node took. */
  readonly profile?: string | undefined;
  /** Runs that take less than this many milliseconds, or twice as long if JavaScript is idle, are executed on the caller's thread. */
  readonly onTheSpot: number;
  /** Whether kernels are compiled, where that is possible. */
  readonly kernels: boolean;
}

/**
 * A native handle and its release. This is a separate object, so that the finalizer can hold it without keeping the owner alive. The
 * handle is also released when the thread ends.
 */
class Handle {
  readonly #release: (pointer: Pointer) => void;
  #pointer: Pointer | undefined;

  /** @param afterwards called after the handle was released, to release what belongs to it */
  constructor(ort: OrtApi, name: "ReleaseSession" | "ReleaseValue", pointer: Pointer, afterwards?: () => void) {
    this.#pointer = pointer;
    this.#release = (value) => {
      ort.release(name, value);
      afterwards?.();
    };
    ort.releaseAtEnd(name, pointer);
  }

  get pointer(): Pointer {
    return this.#pointer!;
  }

  /** Idempotent. */
  free(): void {
    const pointer = this.#pointer;
    this.#pointer = undefined;
    if (pointer !== undefined) this.#release(pointer);
  }
}

/** Frees handles whose owners were garbage-collected without a release. */
const dropped = new FinalizationRegistry<Handle>((handle) => handle.free());

/** The memory of tensors without elements: the C API needs an address. */
const nothing = new Uint8Array(8);

/** A tensor over a typed array. ONNX Runtime knows only the address, so this object keeps the array until the handle is freed. */
class DirectBuffer extends NodeBuffer {
  readonly #handle: Handle;

  constructor(ort: OrtApi, type: TensorType, given?: Values, isOwned?: boolean) {
    super(type, given, isOwned);
    const { values } = this;
    const memory = values.length === 0 ? nothing : values;
    const shape = BigInt64Array.from(type.shape, BigInt);
    const dtype = elementTypes[type.dtype];
    const { cpuMemory } = ort;
    const make = "CreateTensorWithDataAsOrtValue";
    const pointer = ort.create(make, cpuMemory, memory, values.byteLength, shape, shape.length, dtype);
    this.#handle = new Handle(ort, "ReleaseValue", pointer);
    dropped.register(this, this.#handle, this);
  }

  get pointer(): Pointer {
    return this.#handle.pointer;
  }

  protected override free(): void {
    dropped.unregister(this);
    this.#handle.free();
  }
}

/** Constants for a program's holes: ONNX Runtime values over memory that this object keeps. */
class DirectFilling implements Filling {
  readonly bytes: number;
  readonly handles: readonly Handle[];
  /** Kept here because ONNX Runtime knows only its address. */
  readonly memory: readonly unknown[];

  constructor(ort: OrtApi, constants: readonly Constant[]) {
    const memory = constants.map(({ dtype, values }) => elementsOf(dtype, values));
    this.memory = memory;
    this.bytes = memory.reduce((total, { byteLength }) => total + byteLength + bytesOfValue, 0);
    this.handles = constants.map(({ dtype, shape }, i) => {
      const { byteLength } = memory[i]!;
      const dimensions = BigInt64Array.from(shape, BigInt);
      const place = byteLength === 0 ? nothing : memory[i]!;
      const { cpuMemory } = ort;
      const make = "CreateTensorWithDataAsOrtValue";
      const type = elementTypes[dtype];
      const pointer = ort.create(make, cpuMemory, place, byteLength, dimensions, shape.length, type);
      const handle = new Handle(ort, "ReleaseValue", pointer);
      dropped.register(this, handle);
      return handle;
    });
  }
}

/** About how many bytes a small ONNX Runtime value takes, with its handle. */
const bytesOfValue = 512;

/** Words that native code reads or writes, with their address. The object must live as long as native code uses the address. */
interface Words {
  readonly array: BigUint64Array;
  readonly address: Pointer;
}

function words({ koffi }: OrtApi, array: BigUint64Array): Words {
  return { array, address: koffi.address(array) };
}

/** The addresses of C strings with the ports' names. */
interface Names extends Words {
  readonly texts: readonly Uint8Array[];
}

function namesOf(ort: OrtApi, names: readonly string[]): Names {
  const texts = names.map((name) => new TextEncoder().encode(`${name}\0`));
  const addresses = BigUint64Array.from(texts, (text) => ort.koffi.address(text));
  return { texts, ...words(ort, addresses) };
}

/** The objects that exist once per JavaScript thread: the library and the native thread that calls it. */
interface Native {
  readonly ort: OrtApi;
  /** Undefined where this machine cannot have kernels. */
  readonly kernels: Kernels | undefined;
  readonly thread: NativeThread;
  readonly flushed: Flushed;
  /** The options of all runs; when the process ends, they are used to stop the run under way. */
  readonly runOptions: Pointer;
  /** The width of blocks; absent until it has been measured. */
  block?: { readonly width: number | undefined };
}

/** A run's buffers and the parameters of the native function. */
interface BoundRun {
  readonly buffers: readonly DirectBuffer[];
  readonly filling: Filling | undefined;
  readonly values: Words;
  readonly parameters: readonly (Pointer | number)[];
}

/** Returns the values for the holes of a program. Throws EngineError for a filling that does not fit. */
function fillingOf(filling: Filling | undefined, holes: number): readonly Handle[] {
  const handles = filling === undefined ? [] : filling instanceof DirectFilling ? filling.handles : undefined;
  if (handles?.length !== holes) failFilling(subject, holes);
  return handles;
}

class DirectSession implements Session {
  readonly #ort: OrtApi;
  readonly #thread: NativeThread;
  readonly #runOptions: Pointer;
  readonly #handle: Handle;
  readonly #ports: Pick<Program, "inputs" | "outputs" | "inPlace">;
  readonly #holes: number;
  readonly #inputNames: Names;
  readonly #outputNames: Names;
  /** Arrays of values that no run uses now: one, unless several runs of this session were queued at once. */
  readonly #spare: Words[] = [];
  /** How many native calls are under way; the handle lives until they are done. */
  #calls = 0;
  #released = false;

  readonly #flushed: Flushed;
  readonly #pace: Pace;

  constructor(
    { ort, thread, flushed, runOptions }: Native,
    handle: Handle,
    { inputs, outputs, inPlace, holes = [] }: Program,
    onTheSpot: number,
  ) {
    this.#ort = ort;
    this.#thread = thread;
    this.#runOptions = runOptions;
    this.#flushed = flushed;
    this.#pace = new Pace(onTheSpot);
    this.#ports = { inputs, outputs, inPlace };
    this.#holes = holes.length;
    const named = (ports: readonly Pick<Port, "name">[]): Names =>
      namesOf(
        ort,
        ports.map(({ name }) => name),
      );
    this.#inputNames = named([...inputs, ...holes]);
    this.#outputNames = named(outputs);
    this.#handle = handle;
    dropped.register(this, handle, this);
  }

  run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[], filling?: Filling): Task<void> {
    return Task.started(this.#run(inputs, outputs, filling));
  }

  *#run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[], filling?: Filling): Steps<void> {
    const bound = this.#bind(inputs, outputs, filling);
    try {
      if (this.#pace.isOnTheSpot() && this.#thread.isIdle) yield* this.#pace.onTheSpot(() => this.#runHere(bound));
      else {
        const started = performance.now();
        yield* this.#call("Run", "the run", bound.parameters, [bound]);
        this.#pace.note(performance.now() - started);
      }
    } finally {
      this.#unbind(bound);
    }
  }

  /** Runs on the caller's thread, and returns when the run is done. */
  runNow(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[]): void {
    const bound = this.#bind(inputs, outputs);
    try {
      this.#runHere(bound);
    } finally {
      this.#unbind(bound);
    }
  }

  #bind(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[], filling?: Filling): BoundRun {
    if (this.#released) failReleased(subject);
    const buffers = bind(subject, DirectBuffer, this.#ports, inputs, outputs);
    const handles = fillingOf(filling, this.#holes);
    const given = inputs.length + handles.length;
    const values = this.#spare.pop() ?? words(this.#ort, new BigUint64Array(given + outputs.length));
    for (let i = 0; i < buffers.length; i++) {
      buffers[i]!.hold();
      values.array[i < inputs.length ? i : i + handles.length] = buffers[i]!.pointer;
    }
    for (let i = 0; i < handles.length; i++) values.array[inputs.length + i] = handles[i]!.pointer;
    const outputValues = values.address + BigInt(given * BigUint64Array.BYTES_PER_ELEMENT);
    const parameters = [
      this.#runOptions,
      this.#inputNames.address,
      values.address,
      given,
      this.#outputNames.address,
      outputs.length,
      outputValues,
    ];
    return { buffers, filling, values, parameters };
  }

  #runHere({ parameters }: BoundRun): void {
    this.#flushed(() => this.#ort.call("Run", this.#handle.pointer, ...parameters));
  }

  #unbind({ buffers, values }: BoundRun): void {
    for (const buffer of buffers) buffer.unhold();
    this.#spare.push(values);
  }

  /** Ends profiling, which writes its file. */
  async endProfiling(): Promise<void> {
    if (this.#released) return;
    const allocator = this.#ort.create("GetAllocatorWithDefaultOptions");
    const file = words(this.#ort, new BigUint64Array(1));
    await Task.started(this.#call("SessionEndProfiling", "ending the profile", [allocator, file.address], [file]));
    this.#ort.call("AllocatorFree", allocator, file.array[0]!);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#freeWhenIdle();
  }

  /** Calls a function of the C API on this session; `keep` holds the objects whose memory the parameters point to. */
  *#call(
    name: "Run" | "SessionEndProfiling",
    what: string,
    parameters: readonly (Pointer | number)[],
    keep: readonly unknown[],
  ): Steps<void> {
    this.#calls++;
    try {
      const status = yield* wait(this.#thread.call(name, [this.#handle.pointer, ...parameters], [this, keep]));
      this.#ort.check(what, status);
    } finally {
      this.#calls--;
      this.#freeWhenIdle();
    }
  }

  #freeWhenIdle(): void {
    if (!this.#released || this.#calls > 0) return;
    dropped.unregister(this);
    this.#handle.free();
  }
}

/** ORT_ENABLE_ALL. A training step takes the same time with it as with ORT_ENABLE_BASIC; a graph that no pass has rewritten gets faster. */
const allOptimizations = 99;

/** Session settings that differ from ONNX Runtime's own. */
const settings: Readonly<Record<string, string>> = {
  // This is for the threads inside an op; the thread that calls Run flushes denormals by itself. Denormal floats can halve the speed of a
  // network that has converged. Without this setting, ONNX Runtime would undo the flushing on the thread that makes its first session.
  "session.set_denormal_as_zero": "1",
  // Use the arena that all sessions share, also in sessions with their own thread pool.
  "session.use_env_allocators": "1",
  "optimization.disable_specified_optimizers": disabledOptimizers,
};

function plainOptions(ort: OrtApi, program: Program): Pointer {
  const options = ort.create("CreateSessionOptions");
  ort.call("SetInterOpNumThreads", options, 1);
  if (!isPatterned(program)) ort.call("DisableMemPattern", options);
  ort.call("SetSessionGraphOptimizationLevel", options, isOptimized(program) ? allOptimizations : 0);
  for (const [name, value] of Object.entries(settings)) ort.call("AddSessionConfigEntry", options, name, value);
  return options;
}

/** Returns the value of `Target.block`. It makes and runs a session on the caller's thread, which takes some milliseconds. */
function blockWidth(native: Native, environment: Pointer): number | undefined {
  const { ort, flushed } = native;
  const options = plainOptions(ort, blockProbe);
  const model = blockProbe.onnx();
  const pointer = new BigUint64Array(1);
  try {
    ort.call("SetIntraOpNumThreads", options, 1); //  no threads of its own
    flushed(() => ort.call("CreateSessionFromArray", environment, model, model.length, options, pointer));
  } catch {
    return undefined; //  ONNX Runtime has no blocked ops for this processor
  } finally {
    ort.release("ReleaseSessionOptions", options);
  }
  const handle = new Handle(ort, "ReleaseSession", pointer[0]!);
  const session = new DirectSession(native, handle, blockProbe, 0);
  const [x, shape] = [...blockProbe.inputs, ...blockProbe.outputs].map(({ type }) => new DirectBuffer(ort, type));
  session.runNow([x!], [shape!]);
  session.release();
  return shape!.values[1];
}

// Kept on the global object, so that it exists once even if this module is loaded twice: two native threads would slow each other down.
const kept = globalThis as { [key: symbol]: Native | undefined };
const key = Symbol.for("glissade.native");

function makeNative(): Native {
  const ort = loadOrt();
  const runOptions = ort.create("CreateRunOptions");
  ort.releaseAtEnd("ReleaseRunOptions", runOptions);
  // At its exit Node waits for the run under way. This call makes the run end after the node that is being computed.
  process.on("exit", () => ort.call("RunOptionsSetTerminate", runOptions));
  return { ort, kernels: Kernels.for(ort), thread: new NativeThread(ort), flushed: flushedDenormals(ort), runOptions };
}

/** Throws EngineError for a constant in a buffer of another engine. */
function expectDirect(name: string, buffer: EngineBuffer): DirectBuffer {
  if (buffer instanceof DirectBuffer) return buffer;
  throw new EngineError(
    subject,
    `the constant ${name} is a buffer of another engine`,
    "make it with this engine's buffer()",
  );
}

/** A program with its encoded model and the domain of its kernels. */
interface Model {
  readonly program: Program;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly domain: KernelDomain | undefined;
}

/** Returns the engine over ONNX Runtime's C API. Throws EngineError if the library or koffi does not load. */
export function directEngine({ threads, profile, onTheSpot, kernels: wanted }: DirectOptions): NodeEngine {
  kept[key] ??= makeNative();
  const native = kept[key];
  const { ort, thread } = native;
  const kernels = wanted ? native.kernels : undefined;
  const profiles = profile === undefined ? undefined : new Profiles(profile);
  const profiled = new Set<DirectSession>();

  const makeOptions = (shared: boolean, { program, domain }: Model): Pointer => {
    const options = plainOptions(ort, program);
    if (domain) ort.call("AddCustomOpDomain", options, domain.pointer);
    if (shared) ort.call("DisablePerSessionThreads", options);
    else ort.call("SetIntraOpNumThreads", options, threads);
    if (profiles) ort.call("EnableProfiling", options, profiles.next());
    return options;
  };

  function* makeSession(made: Model, shared: boolean): Steps<Pointer> {
    const { bytes: model, domain } = made;
    const environment = ort.environment(threads).pointer;
    const options = makeOptions(shared, made);
    const session = words(ort, new BigUint64Array(1));
    const given = [...(made.program.constants ?? [])].map(
      ([name, buffer]) => [name, expectDirect(name, buffer)] as const,
    );
    const names = namesOf(
      ort,
      given.map(([name]) => name),
    );
    const values = words(
      ort,
      BigUint64Array.from(given, ([, { pointer }]) => pointer),
    );
    if (given.length > 0) ort.call("AddExternalInitializers", options, names.address, values.address, given.length);
    for (const [, buffer] of given) buffer.hold();
    const parameters = [environment, ort.koffi.address(model), model.length, options, session.address];
    try {
      const status = yield* wait(
        thread.call("CreateSessionFromArray", parameters, [model, domain, session, names, values]),
      );
      ort.check("making a session", status);
    } finally {
      ort.release("ReleaseSessionOptions", options);
      for (const [, buffer] of given) buffer.unhold();
    }
    return session.array[0]!;
  }

  function* makeSessionInAnyPool(model: Model): Steps<Pointer> {
    const environment = ort.environment(threads);
    if (environment.poolThreads !== threads) return yield* makeSession(model, false);
    try {
      return yield* makeSession(model, true);
    } catch (error) {
      // Other code in this process, such as onnxruntime-node's binding, has made the environment already, without a thread pool.
      if (!(error as Error).message.includes("CreateEnvWithGlobalThreadPools")) throw error;
      environment.poolThreads = 0;
      return yield* makeSession(model, false);
    }
  }

  function* load(program: Program): Steps<Session> {
    expectProgram(subject, program);
    const bytes = program.onnx();
    if (!(bytes instanceof Uint8Array))
      throw new EngineError(subject, `a program's model is ${described(bytes)}`, "let onnx() give the encoded model");
    const { kernels: used = [] } = program;
    if (used.length > 0 && !kernels)
      throw new EngineError(
        subject,
        "a program with kernels came to an engine without",
        "compile it for this engine, or make the engine without kernels: false and GLISSADE_KERNELS=off",
      );
    const domain = used.length > 0 ? kernels?.domain(used, threads) : undefined;
    let pointer: Pointer;
    try {
      pointer = yield* makeSessionInAnyPool({ program, bytes, domain });
    } catch (error) {
      domain?.free();
      throw error;
    }
    const handle = new Handle(ort, "ReleaseSession", pointer, () => domain?.free());
    const session = new DirectSession(native, handle, program, onTheSpot);
    if (profiles) profiled.add(session);
    return session;
  }

  return {
    name: "node",
    target: {
      contrib: true,
      forgetsNaN: true,
      kernels: kernels?.limits,
      threads,
      serialElements: serialElements(threads),
      get block() {
        native.block ??= { width: blockWidth(native, ort.environment(threads).pointer) };
        return native.block.width;
      },
    },
    takesConstants: true,
    buffer: (type, values, isOwned) => new DirectBuffer(ort, type, values, isOwned),
    filling: (constants) => new DirectFilling(ort, constants),
    load: (program) => Task.started(load(program)),
    async endProfiling() {
      for (const session of profiled) await session.endProfiling();
      profiled.clear();
      return profiles?.files() ?? [];
    },
  };
}
