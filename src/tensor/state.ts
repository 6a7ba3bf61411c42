/** Variables: tensors whose value can be assigned. Parameters, running statistics, optimizer moments, counters. */

import type { Engine, EngineBuffer } from "../engine/engine.ts";
import { DTypeError, EngineError, GlissadeError, GraphError, ShapeError } from "../errors.ts";
import { input } from "../graph/leaf.ts";
import { makeNode, type Node } from "../graph/node.ts";
import { currentPath, currentScope } from "../graph/scope.ts";
import { type DType, type Shape, sameShape, showType, type TensorType, type Values } from "../graph/types.ts";
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
 * A variable. In expressions it stands for its current value; `assign` says what the value will be once the graph that is
 * being built has run. A run writes the buffer that it reads where the graph allows it; otherwise two buffers take turns.
 */
export class State<S extends Shape = Shape, D extends DType = DType> extends Tensor<S, D> {
  /** What messages call it; modules set the path under which they hold it. */
  label: string;
  readonly persistent: boolean;
  #storage: Storage;
  #spare: { readonly engine: Engine; readonly buffer: EngineBuffer } | undefined;
  #version = 0;
  /** Made when an expression needs it: a training step replaces values that no new expression looks at. */
  #leaf: Tensor | undefined;

  /** A variable that starts with `values`, which it copies. */
  constructor(
    type: { readonly shape: readonly [...S]; readonly dtype: D },
    values: Values,
    options: StateOptions = {},
  ) {
    const plain: TensorType = { shape: [...type.shape], dtype: type.dtype };
    const leaf = leafNode(plain);
    super(leaf);
    this.label = options.name ?? "state";
    this.persistent = options.persistent ?? true;
    this.#storage = Storage.ofValues(plain, values.slice());
    bindings.set(leaf, { state: this, version: 0 });
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
    const node = leafNode(this.#storage.type, trace);
    bindings.set(node, { state: this, version: this.#version });
    const leaf = new Tensor(node);
    if (trace) leaves.set(this, leaf);
    else this.#leaf = leaf;
    return leaf as Tensor<S, D>;
  }

  /** Increases with every run that assigned to it. */
  get version(): number {
    return this.#version;
  }

  /** The value once the graph has run. Throws ShapeError or DTypeError when `value` is of another type. */
  assign(value: Tensor<NoInfer<S>, NoInfer<D>>): void {
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
   * Replaces the value at once, from JavaScript; for loading files. Copies `values`. Runs that are still queued see it too:
   * await them first. Throws GraphError inside a trace, ShapeError for another number of values.
   */
  write(values: Values): void {
    if (currentScope().trace)
      throw new GraphError("write", `${this.label} is written inside a traced function`, "use assign(tensor) there");
    if (values.length !== this.size)
      throw new ShapeError(
        "write",
        `${values.length} values for ${this.label}, ${showType(this)}`,
        "give one for each element",
      );
    currentScope().assigned.delete(this);
    this.#replace(Storage.ofValues(this.#storage.type, values.slice()));
  }

  /**
   * A variable of its own that begins with this one's value; the value is shared, not copied, until either gets another. While a run is
   * writing it in place, that is the value which the run leaves.
   */
  fork(): State<S, D> {
    const fork = new State<S, D>(this.#storage.type as never, new Uint8Array(0), {
      name: this.label,
      persistent: this.persistent,
    });
    this.#storage.isShared = true;
    fork.#replace(this.#storage);
    return fork;
  }

  /** What holds the current value. */
  get storage(): Storage {
    return this.#storage;
  }

  /**
   * The buffer that the next run on `engine` writes. It may be the one that the run reads only if `inPlace`, and is unless somebody
   * else holds the value.
   */
  targetOn(engine: Engine, inPlace: boolean): EngineBuffer {
    const spare = this.#spare;
    this.#spare = undefined;
    const own = inPlace ? this.#storage.ownBufferOn(engine) : undefined;
    if (!own && spare?.engine === engine) return spare.buffer;
    spare?.buffer.release();
    return own ?? engine.buffer(this.#storage.type);
  }

  /**
   * After a run that failed. The value stays, unless the run was writing it in place and nobody knows how far it got: `error`, the
   * reason, is then what readers are told. It is absent when the run stopped before it wrote.
   */
  giveUp(engine: Engine, target: EngineBuffer, error?: unknown): void {
    const isInPlace = this.#storage.isIn(target);
    if (!isInPlace) this.#spare = { engine, buffer: target };
    if (!isInPlace || error === undefined) return;
    this.#storage.lose(lossOf(this.label, error));
    this.#replace(this.#storage);
  }

  /** After a run: `written` holds the new value. Where that is another buffer, the old one waits for the run after. */
  commit(engine: Engine, written: EngineBuffer): void {
    const old = this.#storage;
    const isInPlace = old.isIn(written);
    const isFree = !isInPlace && !old.isShared && !old.isForeignTo(engine);
    this.#spare = isFree ? { engine, buffer: old.bufferOn(engine) } : undefined;
    this.#replace(isInPlace ? old : Storage.ofBuffer(engine, written));
  }

  #replace(storage: Storage): void {
    this.#storage = storage;
    this.#version++;
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

const bindings = new WeakMap<Node, { readonly state: State; readonly version: number }>();

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
export function stateOf(node: Node): { readonly state: State; readonly version: number } {
  return bindings.get(node)!;
}
