/** The native engine: ONNX Runtime over memory that JavaScript owns, with nothing copied on the way in or out. */
import koffi from "koffi";
import { EngineError } from "../../errors.ts";
import { allocate, sameShape, showType, type TensorType, type Values } from "../../graph/types.ts";
import type { Engine, EngineBuffer, Port, Program, Session } from "../engine.ts";
import { elementTypes, loadOrt, type Ort, type Pointer } from "./ort.ts";
import { Runner } from "./runner.ts";

export interface DirectOptions {
  /** Threads inside an op. */
  readonly threads: number;
  /** Where sessions write what each node took, in Chrome's tracing format: a path without ending. */
  readonly profile?: string | undefined;
}

/** A native handle and its release, in an object that the finalizer may hold without keeping the owner alive. */
interface Handle {
  pointer: Pointer | undefined;
  readonly free: (pointer: Pointer) => void;
}

function free(handle: Handle): void {
  const { pointer } = handle;
  handle.pointer = undefined;
  if (pointer !== undefined) handle.free(pointer);
}

/** Frees what was dropped without a release. */
const dropped = new FinalizationRegistry<Handle>(free);

/** A tensor over a typed array. ONNX Runtime knows only the address, so this object keeps the array. */
class DirectBuffer implements EngineBuffer {
  readonly type: TensorType;
  readonly #handle: Handle;
  #values: Values | undefined;
  #runs = 0;
  #released = false;

  constructor(ort: Ort, type: TensorType, values: Values) {
    this.type = type;
    this.#values = values;
    // An empty tensor has no memory, but the C API wants an address.
    const memory = values.length === 0 ? new Uint8Array(8) : values;
    const shape = BigInt64Array.from(type.shape, BigInt);
    this.#handle = {
      pointer: ort.create(
        "CreateTensorWithDataAsOrtValue",
        ort.cpuMemory,
        memory,
        values.byteLength,
        shape,
        shape.length,
        elementTypes[type.dtype],
      ),
      free: (pointer) => ort.release("ReleaseValue", pointer),
    };
    dropped.register(this, this.#handle, this);
  }

  get values(): Values {
    if (!this.#values || this.#released)
      throw new EngineError("node engine", `a buffer of ${showType(this.type)} was used after its release`, "keep it until its last use");
    return this.#values;
  }

  get pointer(): Pointer {
    void this.values;
    return this.#handle.pointer!;
  }

  write(values: Values): void {
    if (values.length !== this.values.length)
      throw new EngineError("node engine", `${values.length} values for a buffer of ${showType(this.type)}`, "give one for each element");
    this.values.set(values);
  }

  async read(): Promise<Values> {
    return this.values.slice();
  }

  /** A run that is under way keeps the memory; the release takes effect when the last one is done. */
  hold(): void {
    this.#runs++;
  }

  unhold(): void {
    this.#runs--;
    if (this.#released && this.#runs === 0) this.#free();
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    if (this.#runs === 0) this.#free();
  }

  #free(): void {
    dropped.unregister(this);
    free(this.#handle);
    this.#values = undefined;
  }
}

/** C strings for names, and the array of their addresses. */
function nameTable(ports: readonly Port[]): { readonly table: BigUint64Array; readonly texts: readonly Uint8Array[] } {
  const texts = ports.map(({ name }) => new TextEncoder().encode(`${name}\0`));
  return { table: BigUint64Array.from(texts, (text) => koffi.address(text)), texts };
}

class DirectSession implements Session {
  readonly #ort: Ort;
  readonly #runner: Runner;
  readonly #handle: Handle;
  readonly #inputs: readonly Port[];
  readonly #outputs: readonly Port[];
  readonly #inputNames: ReturnType<typeof nameTable>;
  readonly #outputNames: ReturnType<typeof nameTable>;
  #runs = 0;
  #released = false;

  constructor(ort: Ort, runner: Runner, pointer: Pointer, program: Program) {
    this.#ort = ort;
    this.#runner = runner;
    this.#inputs = program.inputs;
    this.#outputs = program.outputs;
    this.#inputNames = nameTable(program.inputs);
    this.#outputNames = nameTable(program.outputs);
    this.#handle = { pointer, free: (session) => ort.release("ReleaseSession", session) };
    dropped.register(this, this.#handle, this);
  }

  async run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[]): Promise<void> {
    if (this.#released)
      throw new EngineError("node engine", "a session was run after its release", "keep it until its last use");
    const given = bound(inputs, this.#inputs, "input");
    const wanted = bound(outputs, this.#outputs, "output");
    // The arrays of addresses belong to this run: several may be queued.
    const values = BigUint64Array.from([...given, ...wanted], (buffer) => buffer.pointer);
    const address = koffi.address(values);
    const held = [...given, ...wanted];
    for (const buffer of held) buffer.hold();
    this.#runs++;
    try {
      const status = await this.#runner.call(
        this.#ort.address("Run"),
        this.#handle.pointer!,
        0,
        koffi.address(this.#inputNames.table),
        address,
        given.length,
        koffi.address(this.#outputNames.table),
        wanted.length,
        address + BigInt(8 * given.length),
      );
      this.#ort.check("the run", status || null);
    } finally {
      for (const buffer of held) buffer.unhold();
      this.#runs--;
      if (this.#released && this.#runs === 0) this.#free();
      keepAlive(values);
    }
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    if (this.#runs === 0) this.#free();
  }

  #free(): void {
    dropped.unregister(this);
    free(this.#handle);
  }
}

/** Keeps an object from being collected up to this point: the native side knew only its address. */
function keepAlive(_object: object): void {}

function bound(buffers: readonly EngineBuffer[], ports: readonly Port[], side: "input" | "output"): DirectBuffer[] {
  if (buffers.length !== ports.length)
    throw new EngineError("node engine", `${buffers.length} ${side}s for a program with ${ports.length}`, "give one for each");
  return buffers.map((buffer, i) => {
    const { name, type } = ports[i]!;
    if (!(buffer instanceof DirectBuffer))
      throw new EngineError("node engine", `${side} ${name} is a buffer of another engine`, "make it with this engine's buffer()");
    if (buffer.type.dtype !== type.dtype || !sameShape(buffer.type.shape, type.shape))
      throw new EngineError(
        "node engine",
        `${side} ${name} is ${showType(type)}, and got ${showType(buffer.type)}`,
        "bind a buffer of the port's type",
      );
    return buffer;
  });
}

/** Session settings that differ from ONNX Runtime's own; docs/benchmarks.md has the measurements. */
const settings: Readonly<Record<string, string>> = {
  // Denormal floats cost a network that has converged more than half of its speed.
  "session.set_denormal_as_zero": "1",
  // Between runs, threads sleep instead of spinning: kinder to JavaScript and to other processes.
  "session.force_spinning_stop": "1",
};

const allOptimizations = 99;

/** ONNX Runtime's C API through koffi. Throws EngineError where the library or koffi does not load. */
export function directEngine({ threads, profile }: DirectOptions): Engine {
  const ort = loadOrt();
  const runner = new Runner();

  const makeOptions = (): Pointer => {
    const options = ort.create("CreateSessionOptions");
    ort.call("SetIntraOpNumThreads", options, threads);
    ort.call("SetInterOpNumThreads", options, 1);
    ort.call("SetSessionGraphOptimizationLevel", options, allOptimizations);
    for (const [key, value] of Object.entries(settings)) ort.call("AddSessionConfigEntry", options, key, value);
    if (profile) ort.call("EnableProfiling", options, profile);
    return options;
  };

  return {
    name: "node",
    target: { contrib: true },
    buffer: (type, values) => new DirectBuffer(ort, type, values ?? allocate(type)),
    async load(program) {
      const model = program.onnx();
      const options = makeOptions();
      const session = new BigUint64Array(1);
      try {
        const status = await runner.call(
          ort.address("CreateSessionFromArray"),
          ort.environment,
          koffi.address(model),
          model.length,
          options,
          koffi.address(session),
        );
        ort.check("making a session", status || null);
      } finally {
        ort.release("ReleaseSessionOptions", options);
        keepAlive(model);
      }
      return new DirectSession(ort, runner, session[0]!, program);
    },
  };
}
