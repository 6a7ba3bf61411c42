/** Values at rest: in JavaScript, in a buffer of an engine, or on their way from a run that has not finished. */
import type { Engine, EngineBuffer } from "../engine/engine.ts";
import { allocate, type TensorType, type Values } from "../graph/types.ts";

/** A run that has been queued. */
export interface Pending {
  done: Promise<void>;
  /** Set when the run failed. */
  error: unknown;
  /** Whether somebody has waited for a result, and so learnt of a failure. */
  observed: boolean;
}

export class Storage {
  readonly type: TensorType;
  #values: Values | undefined;
  #buffer: EngineBuffer | undefined;
  #engine: Engine | undefined;
  #pending: Pending | undefined;
  /** Whether several variables hold it: then its buffer is nobody's to write to. */
  isShared = false;

  private constructor(type: TensorType) {
    this.type = type;
  }

  /** Values that JavaScript has. The storage keeps the array: it must not be written to afterwards. */
  static ofValues(type: TensorType, values: Values): Storage {
    const storage = new Storage(type);
    storage.#values = values;
    return storage;
  }

  /** Values in an engine's buffer, there at once or when a run is done. */
  static ofBuffer(engine: Engine, buffer: EngineBuffer, pending?: Pending): Storage {
    const storage = new Storage(buffer.type);
    storage.#engine = engine;
    storage.#buffer = buffer;
    storage.#pending = pending;
    return storage;
  }

  /** The values, when JavaScript has them already. */
  get values(): Values | undefined {
    return this.#values;
  }

  /** Waits for the run that makes the values and gives a look at them; who hands them on must copy. */
  async read(): Promise<Values> {
    if (this.#values) return this.#values;
    if (this.#pending) {
      this.#pending.observed = true;
      await this.#pending.done;
    }
    return this.#values ?? this.#buffer!.read();
  }

  /** Throws the error of the run that should have made the values, if it failed. For runs that come after it in the queue. */
  expectArrived(): void {
    if (this.#pending?.error === undefined) return;
    this.#pending.observed = true;
    throw this.#pending.error;
  }

  /** The values have arrived in JavaScript; the engine's buffer is somebody else's from now on. */
  settle(values: Values): void {
    this.#values = values;
    this.#buffer = undefined;
    this.#engine = undefined;
  }

  /** The values are gone; whoever wants them gets the error. */
  lose(error: unknown): void {
    const done = Promise.reject(error);
    done.catch(() => {}); //  told to readers, and to no one else
    this.#pending = { done, error, observed: true };
    this.#buffer = undefined;
  }

  /** Brings the values into JavaScript for good and lets go of the engine's buffer. */
  async moveToHost(): Promise<void> {
    this.settle(await this.read());
  }

  /** The buffer that a run on `engine` binds. Values in another engine's buffer must have been read first. */
  bufferOn(engine: Engine): EngineBuffer {
    if (this.#buffer && this.#engine === engine) return this.#buffer;
    const values = this.#values ?? allocate(this.type);
    this.#buffer = engine.buffer(this.type, values);
    this.#engine = engine;
    return this.#buffer;
  }

  /** Whether the values are in that very buffer. */
  isIn(buffer: EngineBuffer): boolean {
    return this.#buffer === buffer;
  }

  /** The buffer on `engine` that holds the values, when nothing else does and no other variable. */
  ownBufferOn(engine: Engine): EngineBuffer | undefined {
    return this.#engine === engine && !this.#values && !this.isShared ? this.#buffer : undefined;
  }

  /** Whether `bufferOn(engine)` needs the values brought over from another engine first. */
  isForeignTo(engine: Engine): boolean {
    return this.#engine !== undefined && this.#engine !== engine && this.#values === undefined;
  }
}
