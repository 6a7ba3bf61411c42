/** Buffers in JavaScript's memory, used by both implementations of the node engine. */
import { EngineError } from "../../errors.ts";
import { allocate, copyOf, showType, type TensorType, type Values } from "../../graph/types.ts";
import { Task } from "../../task.ts";
import { type Bindable, expectType, expectValues } from "../bind.ts";

/** The name of Node's engines in messages. */
export const subject = "node engine";

/**
 * A buffer over a typed array: a copy of the given array, the given array itself if it is owned, or a new array of zeros. A run that is
 * under way holds the memory: if the buffer is released meanwhile, the memory is freed when the last such run is done. Writing and
 * reading do not wait for runs: await them first.
 */
export class NodeBuffer implements Bindable {
  readonly type: TensorType;
  #values: Values | undefined;
  readonly #length: number;
  #released = false;
  #holds = 0;
  lastRun = 0;
  lastWritten = 0;

  /**
   * Keeps `values` if they are owned, or else a copy. Throws EngineError when they do not fit the type, and for owned values whose memory
   * can be resized.
   */
  constructor(type: TensorType, values?: Values, isOwned: boolean = false) {
    expectType(subject, type);
    if (values !== undefined) expectValues(subject, type, values);
    if (values && isOwned) expectFixed(type, values);
    this.type = type;
    this.#values = values ? (isOwned ? values : copyOf(values, type.dtype)) : allocate(type);
    this.#length = this.#values.length;
  }

  /** The memory itself. Throws EngineError after the release, and when the array has lost its memory (transferred to another thread). */
  get values(): Values {
    if (this.#released || !this.#values)
      throw new EngineError(
        subject,
        `a buffer of ${showType(this.type)} was used after its release`,
        "release it after its last use",
      );
    if (this.#values.length !== this.#length)
      throw new EngineError(
        subject,
        `the memory of a buffer of ${showType(this.type)} was taken away: its array has ${this.#values.length} elements left`,
        "do not hand an array over that is transferred to another thread afterwards; let the engine copy it",
      );
    return this.#values;
  }

  write(values: Values): void {
    expectValues(subject, this.type, values);
    this.values.set(values);
  }

  read(): Task<Values> {
    return Task.done(this.values.slice());
  }

  /** Keeps the memory until `unhold`, even if the buffer is released. */
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

  /** Frees native memory; called once. */
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
      subject,
      `the memory of the values for ${showType(type)} can be resized`,
      "give an array of fixed size, or let the engine copy it",
    );
}
