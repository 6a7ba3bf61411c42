/** Storage of values: in JavaScript, in an engine's buffer, or still to come from a run that has not finished. */
import type { Engine, EngineBuffer } from "../engine/engine.ts";
import { GraphError } from "../errors.ts";
import { allocate, type TensorType, type Values } from "../graph/types.ts";
import { type Steps, wait } from "../task.ts";
import type { Run } from "./run.ts";

/** Made when it is thrown: most values that are discarded are never asked for. */
const wereDiscarded = (): GraphError =>
  new GraphError("values", "they were discarded, and their memory is used again", "do not keep them");

/** Values at rest: in JavaScript, in an engine's buffer, or still to come from a run. */
export class Storage {
  readonly type: TensorType;
  /** The run that computes the values; `undefined` when they were given. */
  readonly run: Run | undefined;
  #values: Values | undefined;
  /** Makes the values when they are first needed. */
  #make: (() => Values) | undefined;
  #buffer: EngineBuffer | undefined;
  #engine: Engine | undefined;
  /** Returns the error because of which the values are lost. */
  #loss: (() => unknown) | undefined;
  /** Whether several variables or a reader hold the storage: its buffer must not be written then. */
  isShared = false;
  /** How many waiting entries of the queue use this storage. */
  uses = 0;
  /** Buffers that later runs may write: the buffer goes there when the values have been discarded. */
  #spares: EngineBuffer[] | undefined;
  #isDiscarded = false;

  private constructor(type: TensorType, run?: Run) {
    this.type = type;
    this.run = run;
  }

  /** Makes a storage of values in JavaScript. It keeps the array, which must not be changed afterwards. */
  static ofValues(type: TensorType, values: Values): Storage {
    const storage = new Storage(type);
    storage.#values = values;
    return storage;
  }

  /** Makes a storage whose values `make` computes when they are first needed. */
  static ofMaker(type: TensorType, make: () => Values): Storage {
    const storage = new Storage(type);
    storage.#make = make;
    return storage;
  }

  /** Makes a storage of values in an engine's buffer. */
  static ofBuffer(engine: Engine, buffer: EngineBuffer): Storage {
    const storage = new Storage(buffer.type);
    storage.#engine = engine;
    storage.#buffer = buffer;
    return storage;
  }

  /** Makes a storage for values that a run in the queue computes. */
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

  /** Waits for the run that computes the values, and returns the stored array itself. The caller must copy it before passing it on. */
  async read(): Promise<Values> {
    this.run?.observe();
    if (!this.values) await this.run?.done;
    return this.#values ?? this.#copy();
  }

  /** Returns the values, for entries of the queue that come after the values' run. Throws the error of that run if it failed. */
  *take(): Steps<Values> {
    this.expectArrived();
    return this.values ?? (yield* wait(this.#copy()));
  }

  /** Throws the error of the run that should have computed the values, if it failed. For entries that come after it in the queue. */
  expectArrived(): void {
    if (this.#loss) throw this.#loss();
    if (!this.run?.failure) return;
    this.run.observe();
    throw this.run.failure.error;
  }

  #copy(): ReturnType<EngineBuffer["read"]> {
    if (this.#loss) throw this.#loss();
    return this.#buffer!.read();
  }

  /** Stores values that have arrived in JavaScript. The storage no longer owns the engine's buffer that held them. */
  settle(values: Values): void {
    this.#values = values;
    this.#buffer = undefined;
    this.#engine = undefined;
  }

  /** Stores values that have arrived in an engine's buffer, which the storage keeps until its values are discarded. */
  settleIn(engine: Engine, buffer: EngineBuffer, spares?: EngineBuffer[]): void {
    this.#engine = engine;
    this.#buffer = buffer;
    this.#spares = spares;
    this.#giveBack();
  }

  /**
   * Says that nobody will use the values any more except the entries that wait in the queue. The buffer is then written by a later run of
   * the same kind, instead of a new one: values that go from step to step take no memory from the garbage collector.
   */
  discard(): void {
    this.#isDiscarded = true;
    this.#giveBack();
  }

  /** Called when an entry of the queue that used the storage has left. Returns whether no other entry uses it. */
  leave(): boolean {
    this.uses--;
    this.#giveBack();
    return this.uses === 0;
  }

  #giveBack(): void {
    if (!this.#isDiscarded || this.uses > 0 || this.isShared || !this.#buffer || !this.#spares) return;
    this.#spares.push(this.#buffer);
    this.#loseDiscarded();
  }

  /**
   * Returns the buffer on `engine` for a run that reads the values and may overwrite them, if they have been discarded and no other entry
   * of the queue uses them; `undefined` otherwise.
   */
  yieldBufferOn(engine: Engine): EngineBuffer | undefined {
    if (!this.#isDiscarded || this.uses > 1 || this.isShared || this.#engine !== engine) return undefined;
    const buffer = this.#buffer;
    if (buffer) this.#loseDiscarded();
    return buffer;
  }

  #loseDiscarded(): void {
    this.#loss = wereDiscarded;
    this.#buffer = undefined;
  }

  /** Marks the values as lost: readers get the error. */
  lose(error: unknown): void {
    this.#loss = () => error;
    this.#buffer = undefined;
  }

  /** Moves the values to JavaScript and drops the engine's buffer. */
  *moveToHost(): Steps<void> {
    this.settle(yield* this.take());
  }

  /** Returns the buffer that a run on `engine` binds. Values in another engine's buffer must have been read first. */
  bufferOn(engine: Engine): EngineBuffer {
    if (this.#buffer && this.#engine === engine) return this.#buffer;
    const values = this.values ?? allocate(this.type);
    this.#buffer = engine.buffer(this.type, values, true);
    this.#engine = engine;
    return this.#buffer;
  }

  /** Returns whether the values are in this buffer. */
  isIn(buffer: EngineBuffer): boolean {
    return this.#buffer === buffer;
  }

  /**
   * Returns the buffer on `engine` that holds the values, so that a run may overwrite it; `undefined` if a reader or another variable also
   * holds the values. The storage drops its JavaScript array, such as initial values, which may share memory with the buffer.
   */
  ownBufferOn(engine: Engine): EngineBuffer | undefined {
    if (this.#engine !== engine || this.isShared) return undefined;
    this.#values = undefined;
    return this.#buffer;
  }

  /** Returns whether the values must be read from another engine before `bufferOn(engine)` is called. */
  isForeignTo(engine: Engine): boolean {
    return this.#engine !== undefined && this.#engine !== engine && this.#values === undefined;
  }
}
