/** Variables: tensors whose value can be assigned, such as parameters, running statistics, optimizer moments and counters. */

import type { Engine, EngineBuffer } from "../engine/engine.ts";
import { DTypeError, EngineError, GlissadeError, GraphError, ShapeError } from "../errors.ts";
import { aTensor, expectArguments, someValues } from "../graph/arguments.ts";
import { input } from "../graph/leaf.ts";
import { makeNode, type Node } from "../graph/node.ts";
import { currentPath, currentScope } from "../graph/scope.ts";
import {
  arrayTypes,
  copyOf,
  type DType,
  type Shape,
  sameShape,
  showType,
  sizeOf,
  type TensorType,
  type Values,
} from "../graph/types.ts";
import { Storage } from "./storage.ts";
import { Tensor } from "./tensor.ts";

/** Options of a variable. */
export interface StateOptions {
  /** The variable's name in messages until a module gives it a path. */
  readonly name?: string;
  /** Whether the variable is written to a model's file. Default true. */
  readonly persistent?: boolean;
  /**
   * Whether expressions that were built before an update go on with the value from then, as those on a generator's position do. Otherwise
   * they cannot be evaluated any more. Each such value is kept in memory as long as its expressions. Default false.
   */
  readonly keepsOldValues?: boolean;
}

/**
 * What a variable holds at one place of the queue. Runs that are queued after that place read this value, whenever they are executed.
 * If JavaScript wrote the value, it is known from the start; otherwise it is known once the run that computes it has ended.
 */
export class Version {
  #storage: Storage | undefined;
  #isShared = false;

  constructor(storage?: Storage) {
    this.#storage = storage;
  }

  /** The value. Only entries that come later in the queue may read it. */
  get storage(): Storage {
    return this.#storage!;
  }

  /** The value, if it is known already. */
  get known(): Storage | undefined {
    return this.#storage;
  }

  settle(storage: Storage): void {
    this.#storage = storage;
    if (this.#isShared) storage.isShared = true;
  }

  /** Marks the value as shared: from now on its storage must not be overwritten. */
  share(): void {
    this.#isShared = true;
    if (this.#storage) this.#storage.isShared = true;
  }
}

/** The values of a variable before and after a run. */
export interface Change {
  readonly before: Version;
  readonly after: Version;
}

/**
 * A variable. In expressions it stands for its current value. `assign` sets the value that it will have once the graph that is
 * being built has run. Where the graph allows it, a run writes into the buffer that it reads; otherwise two buffers alternate.
 */
export class State<S extends Shape = Shape, D extends DType = DType> extends Tensor<S, D> {
  /** The variable's name in messages. A module sets it to the path under which the module holds the variable. */
  label: string;
  readonly persistent: boolean;
  readonly keepsOldValues: boolean;
  readonly #type: TensorType;
  #version: Version;
  #spare: { readonly engine: Engine; readonly buffer: EngineBuffer } | undefined;
  /** The leaf for the present value. It is made only when an expression needs it: training steps replace many values that none uses. */
  #leaf: Tensor | undefined;

  /**
   * Makes a variable. Its first value is a copy of `values`, or the result of a function that is called when the value is first needed,
   * or what another variable holds. Throws ShapeError or DTypeError for values that do not fit the type; for a function's values, when
   * the function is called.
   */
  constructor(
    type: { readonly shape: readonly [...S]; readonly dtype: D },
    values: Values | Version | (() => Values),
    options: StateOptions = {},
  ) {
    const leaf = leafNode({ shape: [...type.shape], dtype: type.dtype });
    super(leaf);
    this.label = options.name ?? "state";
    this.persistent = options.persistent ?? true;
    this.keepsOldValues = options.keepsOldValues ?? false;
    this.#type = leaf.outputs[0]!;
    this.#version = values instanceof Version ? values : this.#versionOf("State", values);
    bindings.set(leaf, { state: this, version: this.#version });
    this.#leaf = new Tensor(leaf);
  }

  override current(): this {
    // The result has the variable's shape and dtype, so it may be typed as `this`.
    return (currentScope().assigned.get(this) ?? this.leaf) as this;
  }

  /**
   * The leaf for the value at the start of the run, without later assignments. In a trace, the leaf is read again in every run.
   * Outside of a trace, the leaf stands for the present value only.
   */
  get leaf(): Tensor<S, D> {
    const { trace, leaves } = currentScope();
    const known = trace ? leaves.get(this) : this.#leaf;
    if (known) return known as Tensor<S, D>;
    const node = leafNode(this.#type, trace);
    bindings.set(node, { state: this, version: this.#version });
    const leaf = new Tensor(node);
    if (trace) leaves.set(this, leaf);
    else this.#leaf = leaf;
    return leaf as Tensor<S, D>;
  }

  /** The value after everything that is in the queue so far: the last one written, or the one that the last queued run computes. */
  get version(): Version {
    return this.#version;
  }

  /** Sets the value that the variable has once the graph has run. Throws ShapeError or DTypeError when `value` has another type. */
  assign(value: Tensor<NoInfer<S>, NoInfer<D>>): void {
    expectArguments("assign", [aTensor], [value]);
    const next = value.current();
    if (!sameShape(next.shape, this.shape))
      throw new ShapeError(
        "assign",
        `${this.label} is ${showType(this)}, the value ${showType(next)}`,
        "assign a value of the same shape",
        currentPath(),
      );
    if (next.dtype !== this.dtype)
      throw new DTypeError(
        "assign",
        `${this.label} is ${showType(this)}, the value ${showType(next)}`,
        `cast it: .cast("${this.dtype}")`,
        currentPath(),
      );
    currentScope().assigned.set(this, next);
  }

  /**
   * Replaces the value by a copy of `values`, for example from a file. The write takes its place in the queue: earlier runs see the
   * old value, later runs the new one; the caller need not wait. Throws GraphError inside a trace, ShapeError for a wrong number of
   * values, DTypeError for a typed array of another dtype.
   */
  write(values: Values): void {
    if (currentScope().trace)
      throw new GraphError("write", `${this.label} is written inside a traced function`, "use assign(tensor) there");
    const version = this.#versionOf("write", values);
    currentScope().assigned.delete(this);
    this.#become(version);
  }

  /** Returns a new variable with this one's value. Both share the value, without a copy, until one of them gets a new value. */
  fork(): State<S, D> {
    this.#version.share();
    const { label: name, persistent, keepsOldValues } = this;
    return new State<S, D>(this.#type as never, this.#version, { name, persistent, keepsOldValues });
  }

  /**
   * Exchanges the values of two variables at this place of the queue, without a copy. Throws GraphError inside a trace and while an
   * assignment to one of them waits, ShapeError or DTypeError for variables of different types.
   */
  exchange(other: State<S, D>): void {
    const { trace, assigned } = currentScope();
    if (trace)
      throw new GraphError("exchange", `${this.label} is exchanged inside a traced function`, "do it outside of it");
    if (assigned.has(this) || assigned.has(other))
      throw new GraphError(
        "exchange",
        `an assignment to ${assigned.has(this) ? this.label : other.label} waits to be run`,
        "await evaluate() first",
      );
    if (!sameShape(this.shape, other.shape))
      throw new ShapeError("exchange", `${showType(this)} and ${showType(other)}`, "exchange variables of one shape");
    if (this.dtype !== other.dtype)
      throw new DTypeError("exchange", `${showType(this)} and ${showType(other)}`, "exchange variables of one dtype");
    const own = this.#version;
    this.#become(other.#version);
    other.#become(own);
  }

  /** Registers that a queued run will write the variable: later entries of the queue see the new version. */
  change(): Change {
    const before = this.#version;
    const after = new Version();
    this.#become(after);
    return { before, after };
  }

  /**
   * Returns the buffer that a run on `engine` writes. With `inPlace`, it is the buffer that the run reads, unless a reader or another
   * variable also holds the value. Otherwise it is a different buffer.
   */
  targetOn(engine: Engine, { before }: Change, inPlace: boolean): EngineBuffer {
    const spare = this.#spare;
    this.#spare = undefined;
    const own = inPlace ? before.storage.ownBufferOn(engine) : undefined;
    if (!own && spare?.engine === engine) return spare.buffer;
    spare?.buffer.release();
    return own ?? engine.buffer(this.#type);
  }

  /**
   * Called after a run that failed. The variable keeps its value, unless the run may have overwritten part of it in place: the value is
   * then lost, and readers get an error with `error` as the reason. `error` is absent when the run stopped before it wrote; `target` is
   * absent when the run had no buffer to write yet.
   */
  giveUp(engine: Engine, { before, after }: Change, target?: EngineBuffer, error?: unknown): void {
    const { storage } = before;
    const isInPlace = target !== undefined && storage.isIn(target);
    if (target && !isInPlace) this.#spare = { engine, buffer: target };
    if (isInPlace && error !== undefined) storage.lose(lossOf(this.label, error));
    after.settle(storage);
  }

  /** Called after a run: `written` holds the new value. If that is another buffer, the old one is kept for the next run to write. */
  commit(engine: Engine, { before, after }: Change, written: EngineBuffer): void {
    const old = before.storage;
    const isInPlace = old.isIn(written);
    const isFree = !isInPlace && !old.isShared && !old.isForeignTo(engine);
    this.#spare = isFree ? { engine, buffer: old.bufferOn(engine) } : undefined;
    after.settle(isInPlace ? old : Storage.ofBuffer(engine, written));
  }

  #versionOf(subject: string, values: Values | (() => Values)): Version {
    if (typeof values === "function")
      return new Version(Storage.ofMaker(this.#type, () => this.#fitting(subject, values())));
    return new Version(Storage.ofValues(this.#type, copyOf(this.#fitting(subject, values), this.#type.dtype)));
  }

  #fitting(subject: string, values: Values): Values {
    const { shape, dtype } = this.#type;
    expectArguments(subject, [someValues], [values]);
    if (values.length !== sizeOf(shape))
      throw new ShapeError(
        subject,
        `${values.length} values for ${this.label}, ${showType(this.#type)}`,
        "give one for each element",
      );
    if (!(values instanceof arrayTypes[dtype]))
      throw new DTypeError(
        subject,
        `a ${(values as Values).constructor.name} for ${this.label}, ${showType(this.#type)}`,
        `give a ${arrayTypes[dtype].name}`,
      );
    return values;
  }

  #become(version: Version): void {
    if (this.keepsOldValues && this.#leaf) this.#version.share();
    this.#version = version;
    this.#leaf = undefined;
  }
}

function lossOf(label: string, cause: unknown): EngineError {
  const reason = cause instanceof GlissadeError ? `${cause.subject}: ${cause.problem}` : String(cause);
  return new EngineError(
    "the run",
    `it failed while it was writing ${label}, whose value is lost (${reason})`,
    "load the last checkpoint, or build the model and its optimizer again",
    "",
    { cause },
  );
}

/** A variable that optimizers update, unless it is frozen. */
export class Parameter<S extends Shape = Shape, D extends DType = DType> extends State<S, D> {
  #trainable = true;

  /** Whether optimizers update the parameter. A compiled step notices a change and traces again. */
  get trainable(): boolean {
    const value = this.#trainable;
    currentScope().settings.push(() => this.#trainable === value);
    return value;
  }

  set trainable(value: boolean) {
    this.#trainable = value;
  }
}

const bindings = new WeakMap<Node, { readonly state: State; readonly version: Version }>();

function leafNode(type: TensorType, trace?: object): Node {
  return makeNode({
    op: input,
    inputs: [],
    params: undefined,
    outputs: [type],
    path: "",
    trace,
    source: { kind: "state" },
  });
}

/** Returns the variable that a leaf reads, and the version that the leaf was made for. */
export function stateOf(node: Node): { readonly state: State; readonly version: Version } {
  return bindings.get(node)!;
}
