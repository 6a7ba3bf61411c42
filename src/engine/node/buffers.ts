/** Buffers in JavaScript's own memory, shared by both ways to ONNX Runtime, and how they are bound to a program. */
import { EngineError } from "../../errors.ts";
import {
  allocate,
  arrayTypes,
  copyOf,
  sameShape,
  showType,
  sizeOf,
  type TensorType,
  type Values,
} from "../../graph/types.ts";
import { Task } from "../../task.ts";
import type { EngineBuffer, Port, Program } from "../engine.ts";

/** Numbers the runs of the process; 0 is none. */
let run = 0;

/**
 * A buffer over a typed array: a copy of the one that was given or, handed over, that very one; or a new one full of zeros. A run that is under way holds the memory;
 * a release meanwhile takes effect when the last such run is done. Writing and reading do not wait for runs: await them first.
 */
export class NodeBuffer implements EngineBuffer {
  readonly type: TensorType;
  #values: Values | undefined;
  readonly #length: number;
  #released = false;
  #holds = 0;
  /** The last run that this buffer was bound to. */
  lastRun = 0;
  /** The last run that wrote to it. */
  lastWritten = 0;

  /**
   * Keeps `values` where they are owned, or else a copy. Throws EngineError when they are not what the type says, and for owned ones
   * whose memory can be resized.
   */
  constructor(type: TensorType, values?: Values, isOwned: boolean = false) {
    if (values) expectValues(type, values);
    if (values && isOwned) expectFixed(type, values);
    this.type = type;
    this.#values = values ? (isOwned ? values : copyOf(values, type.dtype)) : allocate(type);
    this.#length = this.#values.length;
  }

  /** The memory itself. Throws EngineError after the release, and when the memory has been taken away from the array. */
  get values(): Values {
    if (this.#released || !this.#values)
      throw new EngineError(
        "node engine",
        `a buffer of ${showType(this.type)} was used after its release`,
        "release it after its last use",
      );
    if (this.#values.length !== this.#length)
      throw new EngineError(
        "node engine",
        `the memory of a buffer of ${showType(this.type)} was taken away: its array has ${this.#values.length} elements left`,
        "do not hand an array over that is transferred to another thread afterwards; let the engine copy it",
      );
    return this.#values;
  }

  write(values: Values): void {
    expectValues(this.type, values);
    this.values.set(values);
  }

  read(): Task<Values> {
    return Task.done(this.values.slice());
  }

  /** Keeps the memory until `unhold`, whatever happens. */
  hold(): void {
    this.#holds++;
  }

  unhold(): void {
    this.#holds--;
    if (this.#released && this.#holds === 0) this.#free();
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    if (this.#holds === 0) this.#free();
  }

  /** Gives back what is native; called once. */
  protected free(): void {}

  #free(): void {
    this.free();
    this.#values = undefined;
  }
}

function expectFixed(type: TensorType, { buffer }: Values): void {
  const { resizable, growable } = buffer as { readonly resizable?: boolean; readonly growable?: boolean };
  if (resizable || growable)
    throw new EngineError(
      "node engine",
      `the memory of the values for ${showType(type)} can be resized`,
      "give an array of fixed size, or let the engine copy it",
    );
}

function expectValues(type: TensorType, values: Values): void {
  const wanted = sizeOf(type.shape);
  if (!(values instanceof arrayTypes[type.dtype]) || values.length !== wanted)
    throw new EngineError(
      "node engine",
      `a buffer of ${showType(type)} was given ${values.constructor.name} of length ${values.length}`,
      `give ${arrayTypes[type.dtype].name} of length ${wanted}`,
    );
}

/**
 * The buffers of one run: inputs, then outputs. Throws EngineError, naming the port, when they do not fit the program: number,
 * type, a buffer of another engine or one that was released, and a buffer that would be written while it is read though the
 * program does not allow it.
 */
export function bind<B extends NodeBuffer>(
  kind: abstract new (...args: never[]) => B,
  program: Pick<Program, "inputs" | "outputs" | "inPlace">,
  inputs: readonly EngineBuffer[],
  outputs: readonly EngineBuffer[],
): B[] {
  run++;
  const bound: B[] = [];
  const add = (side: "input" | "output", ports: readonly Port[], buffers: readonly EngineBuffer[]): void => {
    if (buffers.length !== ports.length)
      throw new EngineError(
        "node engine",
        `the program has ${ports.length} ${side}s and the run was given ${buffers.length}`,
        `give one buffer for each of ${ports.map(({ name }) => name).join(", ") || "none"}`,
      );
    for (let i = 0; i < ports.length; i++) {
      const buffer = fit(kind, side, ports[i]!, buffers[i]!);
      if (side === "output") {
        const replaced = program.inPlace?.get(i);
        expectFree(buffer, ports[i]!, replaced === undefined ? undefined : inputs[replaced]);
      }
      buffer.lastRun = run;
      bound.push(buffer);
    }
  };
  add("input", program.inputs, inputs);
  add("output", program.outputs, outputs);
  return bound;
}

function fit<B extends NodeBuffer>(
  kind: abstract new (...args: never[]) => B,
  side: "input" | "output",
  { name, type }: Port,
  buffer: EngineBuffer,
): B {
  if (!(buffer instanceof kind))
    throw new EngineError(
      "node engine",
      `${side} ${name} is a buffer of another engine`,
      "make it with this engine's buffer()",
    );
  if (buffer.type.dtype !== type.dtype || !sameShape(buffer.type.shape, type.shape))
    throw new EngineError(
      "node engine",
      `${side} ${name} is ${showType(type)} and was given ${showType(buffer.type)}`,
      "give a buffer of the port's type",
    );
  void buffer.values; //  throws after a release
  return buffer;
}

/** Throws when an output's buffer is in use by the run, otherwise than as the input that it may replace. */
function expectFree(buffer: NodeBuffer, { name }: Port, replaced: EngineBuffer | undefined): void {
  const isFree = buffer.lastRun !== run || (buffer === replaced && buffer.lastWritten !== run);
  if (!isFree)
    throw new EngineError(
      "node engine",
      `output ${name} was given a buffer that this run also reads, or writes as another output`,
      "give each output a buffer of its own: keep two sets and swap them after the run",
    );
  buffer.lastWritten = run;
}
