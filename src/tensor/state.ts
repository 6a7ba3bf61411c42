/** Variables: tensors whose value can be assigned. Parameters, running statistics, optimizer moments, counters. */

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

/** How a state takes part in training and in files. */
export interface StateOptions {
  /** What it is called in messages until a module gives it a path. */
  readonly name?: string;
  /** Whether it is written to a model's file. Default true. */
  readonly persistent?: boolean;
}

/**
 * What a variable holds at one place of the queue: runs that are asked for behind it read this value, whenever they are made. Known
 * from the start where JavaScript wrote it; otherwise once the run that makes it has ended.
 */
export class Version {
  #storage: Storage | undefined;
  #isShared = false;

  constructor(storage?: Storage) {
    this.#storage = storage;
  }

  /** The value. Only for what comes behind it in the queue. */
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

  /** From now on nobody may write where this value is. */
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
 * A variable. In expressions it stands for its current value; `assign` says what the value will be once the graph that is
 * being built has run. A run writes the buffer that it reads where the graph allows it; otherwise two buffers take turns.
 */
export class State<S extends Shape = Shape, D extends DType = DType> extends Tensor<S, D> {
  /** What messages call it; modules set the path under which they hold it. */
  label: string;
  readonly persistent: boolean;
  readonly #type: TensorType;
  #version: Version;
  #spare: { readonly engine: Engine; readonly buffer: EngineBuffer } | undefined;
  /** Made when an expression needs it: a training step replaces values that no new expression looks at. */
  #leaf: Tensor | undefined;

  /**
   * A variable that starts with `values`, which it copies, with what a function makes when they are first needed, or with what another
   * variable holds. Throws ShapeError or DTypeError for values that do not fit the type, those of a function when it is called.
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
    this.#type = leaf.outputs[0]!;
    this.#version = values instanceof Version ? values : this.#versionOf("State", values);
    bindings.set(leaf, { state: this, version: this.#version });
    this.#leaf = new Tensor(leaf);
  }

  override current(): this {
    // Typed as the state itself, whose shape and dtype it has.
    return (currentScope().assigned.get(this) ?? this.leaf) as this;
  }

  /**
   * The value at the start of the run, whatever has been assigned since. A trace has a leaf of its own, which is read anew at
   * every run; at the top the leaf stands for the present value and for no other.
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

  /** The value behind everything that has been asked for so far: the last write, or what the last run in the queue leaves. */
  get version(): Version {
    return this.#version;
  }

  /** The value once the graph has run. Throws ShapeError or DTypeError when `value` is of another type. */
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
   * Replaces the value from JavaScript; for loading files. Takes its place in the queue: runs that were asked for before see the
   * value before, later ones this one, and nothing has to be awaited. Copies `values`. Throws GraphError inside a trace, ShapeError
   * for another number of values, DTypeError for an array of another kind.
   */
  write(values: Values): void {
    if (currentScope().trace)
      throw new GraphError("write", `${this.label} is written inside a traced function`, "use assign(tensor) there");
    const version = this.#versionOf("write", values);
    currentScope().assigned.delete(this);
    this.#become(version);
  }

  /** A variable of its own that begins with this one's value; the value is shared, not copied, until either gets another. */
  fork(): State<S, D> {
    this.#version.share();
    return new State<S, D>(this.#type as never, this.#version, { name: this.label, persistent: this.persistent });
  }

  /**
   * Exchanges the values of two variables at this place of the queue; nothing is copied. Throws GraphError inside a trace and while an
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

  /** A run in the queue will write the variable: what comes behind it sees what the run leaves. */
  change(): Change {
    const before = this.#version;
    const after = new Version();
    this.#become(after);
    return { before, after };
  }

  /**
   * The buffer that a run on `engine` writes. It may be the one that the run reads only if `inPlace`, and is unless somebody else holds
   * the value.
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
   * After a run that failed. The value stays, unless the run was writing it in place and nobody knows how far it got: `error`, the
   * reason, is then what readers are told. It is absent when the run stopped before it wrote, the target where it had none yet.
   */
  giveUp(engine: Engine, { before, after }: Change, target?: EngineBuffer, error?: unknown): void {
    const { storage } = before;
    const isInPlace = target !== undefined && storage.isIn(target);
    if (target && !isInPlace) this.#spare = { engine, buffer: target };
    if (isInPlace && error !== undefined) storage.lose(lossOf(this.label, error));
    after.settle(storage);
  }

  /** After a run: `written` holds the new value. Where that is another buffer, the old one waits for the run after. */
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

  /** Whether optimizers update it. A compiled step notices a change and traces again. */
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

/** The state that a leaf reads, and the version of it that the leaf was made for. */
export function stateOf(node: Node): { readonly state: State; readonly version: Version } {
  return bindings.get(node)!;
}
