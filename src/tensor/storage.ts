/** Values at rest: in JavaScript, in a buffer of an engine, or on their way from a run that has not finished. */
import type { Engine, EngineBuffer } from "../engine/engine.ts";
import { allocate, type TensorType, type Values } from "../graph/types.ts";
import { type Steps, wait } from "../task.ts";
import type { Run } from "./run.ts";

export class Storage {
  readonly type: TensorType;
  /** The run that makes the values; none when they were given. */
  readonly run: Run | undefined;
  #values: Values | undefined;
  /** Makes the values when they are first needed. */
  #make: (() => Values) | undefined;
  #buffer: EngineBuffer | undefined;
  #engine: Engine | undefined;
  /** Why there are no values, and will be none. */
  #loss: { readonly error: unknown } | undefined;
  /** Whether several variables, or a reader, hold it: then its buffer is nobody's to write to. */
  isShared = false;
  /** How many entries of the queue wait with it. */
  uses = 0;

  private constructor(type: TensorType, run?: Run) {
    this.type = type;
    this.run = run;
  }

  /** Values that JavaScript has. The storage keeps the array: it must not be written to afterwards. */
  static ofValues(type: TensorType, values: Values): Storage {
    const storage = new Storage(type);
    storage.#values = values;
    return storage;
  }

  /** Values that are made when they are first needed. */
  static ofMaker(type: TensorType, make: () => Values): Storage {
    const storage = new Storage(type);
    storage.#make = make;
    return storage;
  }

  /** Values in an engine's buffer. */
  static ofBuffer(engine: Engine, buffer: EngineBuffer): Storage {
    const storage = new Storage(buffer.type);
    storage.#engine = engine;
    storage.#buffer = buffer;
    return storage;
  }

  /** Values that a run in the queue makes. */
  static ofRun(type: TensorType, run: Run): Storage {
    return new Storage(type, run);
  }

  /** The values, when JavaScript has them already. */
  get values(): Values | undefined {
    const make = this.#make;
    this.#make = undefined;
    if (make) this.#values = make();
    return this.#values;
  }

  /** Waits for the run that makes the values and gives a look at them; who hands them on must copy. */
  async read(): Promise<Values> {
    this.run?.observe();
    if (!this.values) await this.run?.done;
    return this.#values ?? this.#copy();
  }

  /** The values once their run has been made, as part of what is done in the queue. Throws the error of a run that failed. */
  *take(): Steps<Values> {
    this.expectArrived();
    return this.values ?? (yield* wait(this.#copy()));
  }

  /** Throws the error of the run that should have made the values, if it failed. For what comes after it in the queue. */
  expectArrived(): void {
    if (this.#loss) throw this.#loss.error;
    if (!this.run?.failure) return;
    this.run.observe();
    throw this.run.failure.error;
  }

  #copy(): ReturnType<EngineBuffer["read"]> {
    if (this.#loss) throw this.#loss.error;
    return this.#buffer!.read();
  }

  /** The values have arrived in JavaScript; an engine's buffer that had them is somebody else's from now on. */
  settle(values: Values): void {
    this.#values = values;
    this.#buffer = undefined;
    this.#engine = undefined;
  }

  /** The values have arrived in an engine's buffer, which the storage keeps. */
  settleIn(engine: Engine, buffer: EngineBuffer): void {
    this.#engine = engine;
    this.#buffer = buffer;
  }

  /** The values are gone; whoever wants them gets the error. */
  lose(error: unknown): void {
    this.#loss = { error };
    this.#buffer = undefined;
  }

  /** Brings the values into JavaScript for good and lets go of the engine's buffer. */
  *moveToHost(): Steps<void> {
    this.settle(yield* this.take());
  }

  /** The buffer that a run on `engine` binds. Values in another engine's buffer must have been read first. */
  bufferOn(engine: Engine): EngineBuffer {
    if (this.#buffer && this.#engine === engine) return this.#buffer;
    const values = this.values ?? allocate(this.type);
    this.#buffer = engine.buffer(this.type, values, true);
    this.#engine = engine;
    return this.#buffer;
  }

  /** Whether the values are in that very buffer. */
  isIn(buffer: EngineBuffer): boolean {
    return this.#buffer === buffer;
  }

  /**
   * The buffer on `engine` that holds the values, to be written to; nothing where a reader or another variable holds them too. JavaScript
   * lets go of its own array, such as one of initial values, which may be the buffer's memory.
   */
  ownBufferOn(engine: Engine): EngineBuffer | undefined {
    if (this.#engine !== engine || this.isShared) return undefined;
    this.#values = undefined;
    return this.#buffer;
  }

  /** Whether `bufferOn(engine)` needs the values brought over from another engine first. */
  isForeignTo(engine: Engine): boolean {
    return this.#engine !== undefined && this.#engine !== engine && this.#values === undefined;
  }
}
