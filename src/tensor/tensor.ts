/**
 * The user's handle on a value in the graph: immutable and lazy. It knows its shape and dtype at once and its values when
 * asked. Methods and free functions are the same ops.
 */

import { ShapeError } from "../errors.ts";
import { apply, applyAll, setTensorMaker } from "../graph/apply.ts";
import { setTensorClass } from "../graph/arguments.ts";
import type { Node, Value } from "../graph/node.ts";
import { expectElement, type Op } from "../graph/op.ts";
import { currentPath, forbidInTrace } from "../graph/scope.ts";
import type {
  Agree,
  AnySizes,
  Axis,
  BroadcastsInto,
  Diagonal,
  Element,
  Flattened,
  Inserted,
  IsOne,
  Lead,
  Matches,
  MatmulMessage,
  NestedArray,
  Part,
  Reduced,
  Replaced,
  Reshaped,
  Show,
  Sliced,
  Squeezed,
  Swapped,
  Transposed,
} from "../graph/shape-types.ts";
import {
  type DType,
  resolveAxis,
  type Shape,
  showShape,
  showType,
  sizeOf,
  type TensorType,
  type Values,
} from "../graph/types.ts";
import * as arithmetic from "../ops/arithmetic.ts";
import * as elementwise from "../ops/elementwise.ts";
import * as indexing from "../ops/indexing.ts";
import { matmul } from "../ops/matmul.ts";
import * as movement from "../ops/movement.ts";
import * as normalize from "../ops/normalize.ts";
import * as reduce from "../ops/reduce.ts";
import { axisList, halves } from "./axes.ts";
import { madeWide } from "./broadcasting.ts";
import { diagonal } from "./matrices.ts";
import type { Methods } from "./methods.ts";
import { type PadOptions, pad } from "./padding.ts";
import * as pairs from "./pairs.ts";
import * as pointwise from "./pointwise.ts";
import * as predicates from "./predicates.ts";
import { formatValues, nest } from "./print.ts";
import type { ReducedAxes } from "./reductions.ts";
import * as reductions from "./reductions.ts";
import * as repeats from "./repeats.ts";

/** The sizes as the compiler compares them: axis by axis when the rank is known, no question asked when it is not. */
// biome-ignore lint/suspicious/noExplicitAny: `any` is the one type that passes for every tuple and that every tuple passes for.
type Axes<S extends Shape> = number extends S["length"] ? any : { readonly [K in keyof S]: Axis<S[K]> };

/** The JavaScript value of one element; a number where the dtype is not known, as it nearly always is. */
export type Scalar<D extends DType> = DType extends D ? number : D extends "bool" ? boolean : number;

type ShowOrder<P extends readonly number[]> = Show<P> extends `[${infer Axes}]` ? `(${Axes})` : never;

/** `unknown` unless indices are known to have another number of axes than the tensor. */
type SameRank<Op extends string, T extends Shape, S extends Shape, A extends number> = Agree<
  T["length"],
  S["length"],
  `${Op}: indices ${Show<T>} along axis ${A} of ${Show<S>}`
>;

/** The parts of a split tensor: as many as there are sizes. */
type Split<S extends Shape, D extends DType, N extends readonly number[], A extends number> = {
  -readonly [K in keyof N]: Tensor<Part<S, N[number], A>, D>;
};

/** One axis of a slice: everything, one `[start, stop)` or one with a step; negative positions count from the end. */
export type Range = null | readonly [start: number, stop?: number | undefined, step?: number];

/** How values are computed; the compiler installs itself here, so that a tensor need not know it. */
export type Evaluator = (tensors: readonly Tensor[]) => Promise<Values[]>;
let evaluator: Evaluator;
export function setEvaluator(evaluate: Evaluator): void {
  evaluator = evaluate;
}

// biome-ignore lint/correctness/noUnusedVariables: the parameters of both declarations must have the same names.
export interface Tensor<S extends Shape = Shape, D extends DType = DType> extends Methods {}

/**
 * A tensor of shape S and dtype D. `Tensor` without parameters accepts any.
 *
 * Operands of different shapes are widened to their common shape, as NumPy does: axes are compared from the last, and an axis of
 * size 1, or one that is not there, is repeated.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods that the interface declares are put on the prototype below.
export class Tensor<S extends Shape = Shape, D extends DType = DType> implements Value {
  // Types alone: these two fields are what the compiler compares, and do not exist at run time.
  declare readonly "~shape": Axes<S>;
  declare readonly "~dtype": Element<D>;
  readonly node: Node;
  readonly index: number;

  /** Internal: tensors come from `tensor`, `zeros`, … and from ops. */
  constructor(node: Node, index: number = 0) {
    this.node = node;
    this.index = index;
  }

  /** Sizes of the axes, outermost first. */
  get shape(): Shape {
    return this.node.outputs[this.index]!.shape;
  }

  /** The same sizes as a tuple of the tensor's rank: `const [batch, time] = x.sizes()`. */
  sizes<S extends Shape>(this: Tensor<S>): AnySizes<S> {
    return this.shape as AnySizes<S>;
  }

  get dtype(): DType {
    return this.node.outputs[this.index]!.dtype;
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((size, axis) => size * axis, 1);
  }

  /** The value this handle stands for now. Itself, except for a state variable that has been assigned to. */
  current(): this {
    return this;
  }

  // ── Values ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A copy of the values, row-major; `bool` as 0 and 1. Throws GraphError inside a traced function. */
  data(): Promise<Values> {
    return valuesOf("data()", this).then((values) => values.slice());
  }

  /** The values as nested arrays of numbers (booleans for `bool`); a scalar gives the number itself. */
  array<S extends Shape, D extends DType>(this: Tensor<S, D>): Promise<NestedArray<S, Scalar<D>>> {
    return valuesOf("array()", this).then(
      (values) => nest(this.shape, this.dtype, values) as NestedArray<S, Scalar<D>>,
    );
  }

  /** The value of a tensor with one element. Throws ShapeError when there are more or none. */
  item<D extends DType>(this: Tensor<Shape, D>): Promise<Scalar<D>> {
    if (this.size !== 1)
      throw new ShapeError("item", `${showType(this)} has ${this.size} elements`, "reduce it first, or use array()");
    return valuesOf("item()", this).then(([value]) => (this.dtype === "bool" ? value !== 0 : value) as Scalar<D>);
  }

  /** The values as text, as NumPy prints them: aligned, elided when there are more than 1,000. */
  text(): Promise<string> {
    return valuesOf("text()", this).then((values) => formatValues(this, values));
  }

  /** Values when JavaScript has them, otherwise the type: printing never runs a graph. */
  toString(): string {
    const { source } = this.node;
    const values = source?.kind === "host" ? source.storage.values : undefined;
    return values ? formatValues(this, values) : `Tensor ${showType(this)}, not evaluated: await its text()`;
  }

  // ── Any op ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Applies an op record to this tensor and `others`, and gives its first output; how an op of your own is called. */
  apply<P>(op: Op<P>, others: readonly Tensor[], params: P): Tensor {
    return apply(op, [this, ...others], params);
  }

  /** The same for an op with several outputs: all of them. */
  applyAll<P>(op: Op<P>, others: readonly Tensor[], params: P): Tensor[] {
    return applyAll(op, [this, ...others], params);
  }

  /** A scalar of this tensor's dtype. */
  scalar<D extends DType>(this: Tensor<Shape, D>, value: number): Tensor<[], D> {
    return apply(movement.full, [], { shape: [], value, dtype: this.dtype }) as Tensor<[], D>;
  }

  // ── Logic ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Logical not; for bool. */
  not<S extends Shape>(this: Tensor<S, "bool">): Tensor<S, "bool"> {
    return apply(arithmetic.not, [this], undefined) as Tensor<S, "bool">;
  }

  // ── Reduction ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whether any element is true, or not 0. */
  any<S extends Shape, const A extends ReducedAxes = undefined, const K extends boolean = false>(
    this: Tensor<S>,
    axis?: A,
    options?: { readonly keepDims?: K },
  ): Tensor<Reduced<S, A, K>, "bool"> {
    return this.countNonZero(axis, options).greater(0);
  }

  /** Whether all elements are true, or not 0. */
  all<S extends Shape, const A extends ReducedAxes = undefined, const K extends boolean = false>(
    this: Tensor<S>,
    axis?: A,
    options?: { readonly keepDims?: K },
  ): Tensor<Reduced<S, A, K>, "bool"> {
    return (this.cast("bool").not().any(axis, options) as Tensor<Shape, "bool">).not() as Tensor<
      Reduced<S, A, K>,
      "bool"
    >;
  }

  /** How many elements are true, or not 0. */
  countNonZero<S extends Shape, const A extends ReducedAxes = undefined, const K extends boolean = false>(
    this: Tensor<S>,
    axis?: A,
    options?: { readonly keepDims?: K },
  ): Tensor<Reduced<S, A, K>, "int32"> {
    return this.cast("bool").cast("int32").sum(axis, options) as Tensor<Reduced<S, A, K>, "int32">;
  }

  /** Position of the largest element along an axis, the first one among equals. */
  argmax<S extends Shape, const A extends number = -1>(
    this: Tensor<S>,
    axis?: A,
  ): Tensor<Reduced<S, A, false>, "int32"> {
    const at = resolveAxis("argmax", axis ?? -1, this.shape.length);
    return apply(reduce.argmax, [this], { axis: at }) as Tensor<Reduced<S, A, false>, "int32">;
  }

  /** Position of the smallest element along an axis, the first one among equals. */
  argmin<S extends Shape, const A extends number = -1>(
    this: Tensor<S>,
    axis?: A,
  ): Tensor<Reduced<S, A, false>, "int32"> {
    const at = resolveAxis("argmin", axis ?? -1, this.shape.length);
    return apply(reduce.argmin, [this], { axis: at }) as Tensor<Reduced<S, A, false>, "int32">;
  }

  /** Adds up whatever broadcasting to this shape's tensor repeated: the transpose of `expand`. */
  sumTo<S extends Shape, const T extends Shape, D extends DType>(
    this: Tensor<S, D>,
    shape: readonly [...T] & BroadcastsInto<T, S, `sumTo: ${Show<T>} does not broadcast into ${Show<S>}`>,
  ): Tensor<T, D> {
    return sumTo(this as Tensor, shape as Shape) as Tensor<T, D>;
  }

  /** Repeats along axes of size 1 and along new leading axes until the shape is reached. */
  expand<S extends Shape, const T extends Shape, D extends DType>(
    this: Tensor<S, D>,
    shape: readonly [...T] & BroadcastsInto<S, T, `expand: ${Show<S>} cannot be repeated to ${Show<T>}`>,
  ): Tensor<T, D> {
    return apply(movement.expand, [this], { shape: [...(shape as Shape)] }) as Tensor<T, D>;
  }

  // ── Products ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Matrix product over the last two axes. The leading axes are equal, or the right side is one matrix for all. */
  matmul<
    L extends Shape,
    M extends number,
    K extends number,
    R extends Shape,
    J extends number,
    N extends number,
    D extends DType,
  >(
    this: Tensor<[...L, M, K], D>,
    other: Tensor<[...R, J, N], NoInfer<D>> &
      Agree<K, J, MatmulMessage<[...L, M, K], [...R, J, N], K, J, N>> &
      BroadcastsInto<R, L, `matmul: ${Show<[...L, M, K]>} @ ${Show<[...R, J, N]>} — leading axes differ`>,
  ): Tensor<[...L, M, N], D> {
    return apply(matmul, [this, other as Tensor], {}) as Tensor<[...L, M, N], D>;
  }

  /** Σ x·y of two vectors. */
  dot<N extends number, M extends number, D extends DType>(
    this: Tensor<[N], D>,
    other: Tensor<[M], NoInfer<D>> & Agree<N, M, `dot: [${N}] and [${M}] differ`>,
  ): Tensor<[], D> {
    const [a, b] = [this as Tensor, other as Tensor];
    if (a.shape.length !== 1 || b.shape.length !== 1 || a.size !== b.size)
      throw new ShapeError(
        "dot",
        `${showShape(a.shape)} and ${showShape(b.shape)} differ`,
        "give two vectors of the same length",
      );
    return a.mul(b).sum() as Tensor<[], D>;
  }

  /** The diagonal of the last two axes, or the one `offset` places above it, as a last axis. */
  diagonal<S extends Shape, D extends DType>(this: Tensor<S, D>, offset: number = 0): Tensor<Diagonal<S>, D> {
    return diagonal(this, offset) as Tensor<Diagonal<S>, D>;
  }

  /** The sum of the diagonal of the last two axes. */
  trace<L extends Shape, M extends number, N extends number, D extends DType>(
    this: Tensor<[...L, M, N], D>,
  ): Tensor<L, D> {
    return diagonal(this as Tensor, 0).sum(-1) as Tensor<L, D>;
  }

  // ── Movement ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Swap the last two axes. */
  mT<L extends Shape, M extends number, N extends number, D extends DType>(
    this: Tensor<[...L, M, N], D>,
  ): Tensor<[...L, N, M], D> {
    const rank = (this as Tensor).shape.length;
    if (rank < 2)
      throw new ShapeError(
        "mT",
        `${showType(this as Tensor)} has no two axes to swap`,
        "reshape a vector to [1, n] first",
      );
    const permutation = [...Array(rank - 2).keys(), rank - 1, rank - 2];
    return apply(movement.transpose, [this], { permutation }) as Tensor<[...L, N, M], D>;
  }

  /** Axes in another order: `transpose(0, 2, 1)`; without arguments in reverse order. */
  transpose<S extends Shape, D extends DType, const P extends readonly number[]>(
    this: Tensor<S, D>,
    ...permutation: P &
      (P extends readonly []
        ? unknown
        : Agree<P["length"], S["length"], `transpose: ${ShowOrder<P>} does not name each axis of ${Show<S>} once`>)
  ): Tensor<Transposed<S, P>, D> {
    const rank = this.shape.length;
    const order =
      permutation.length === 0
        ? [...Array(rank).keys()].reverse()
        : permutation.map((axis) => resolveAxis("transpose", axis, rank));
    return apply(movement.transpose, [this], { permutation: order }) as Tensor<Transposed<S, P>, D>;
  }

  /** The same elements in another shape; one axis may be −1, "whatever is left". */
  reshape<const T extends Shape, D extends DType>(
    this: Tensor<Shape, D>,
    shape: readonly [...T],
  ): Tensor<Reshaped<T>, D> {
    const target = movement.resolveReshape(this.shape, shape);
    return apply(movement.reshape, [this], { shape: target }) as Tensor<Reshaped<T>, D>;
  }

  /** Two axes change places. */
  swapAxes<S extends Shape, D extends DType, const A extends number, const B extends number>(
    this: Tensor<S, D>,
    a: A,
    b: B,
  ): Tensor<Swapped<S, A, B>, D> {
    const rank = this.shape.length;
    const [from, to] = [resolveAxis("swapAxes", a, rank), resolveAxis("swapAxes", b, rank)];
    const order = [...Array(rank).keys()].map((axis) => (axis === from ? to : axis === to ? from : axis));
    return apply(movement.transpose, [this], { permutation: order }) as Tensor<Swapped<S, A, B>, D>;
  }

  /** Several axes, from `start` to `end`, as one. */
  flatten<S extends Shape, D extends DType, const A extends number = 0, const B extends number = -1>(
    this: Tensor<S, D>,
    start?: A,
    end?: B,
  ): Tensor<Flattened<S, A, B>, D> {
    const x = this as Tensor;
    const given = x.shape.length > 0 ? x.shape : [1];
    const [first, last] = [start ?? 0, end ?? -1].map((axis) => resolveAxis("flatten", axis, given.length)) as [
      number,
      number,
    ];
    if (last < first)
      throw new ShapeError("flatten", `from axis ${first} to axis ${last}`, "name the first axis first");
    const shape = [...given.slice(0, first), sizeOf(given.slice(first, last + 1)), ...given.slice(last + 1)];
    return apply(movement.reshape, [x], { shape }) as Tensor<Flattened<S, A, B>, D>;
  }

  /** Without an axis of size 1, or without all of them when none is named. */
  squeeze<S extends Shape, D extends DType, const A extends number | readonly number[] | undefined = undefined>(
    this: Tensor<S, D>,
    axis?: A & IsOne<S, A, `squeeze: axis ${A & number} of ${D}${Show<S>} is not 1`>,
  ): Tensor<Squeezed<S, A>, D> {
    const { shape } = this as Tensor;
    const axes =
      axis === undefined
        ? [...shape.keys()].filter((at) => shape[at] === 1)
        : axisList("squeeze", axis as number | readonly number[], shape.length);
    const large = axes.find((at) => shape[at] !== 1);
    if (large !== undefined)
      throw new ShapeError("squeeze", `axis ${large} of ${showType(this)} is not 1`, "name an axis of size 1");
    const kept = shape.filter((_, at) => !axes.includes(at));
    return apply(movement.reshape, [this], { shape: kept }) as Tensor<Squeezed<S, A>, D>;
  }

  /** With a new axis of size 1 at a place, which may count from the end. */
  unsqueeze<S extends Shape, D extends DType, const A extends number>(
    this: Tensor<S, D>,
    axis: A,
  ): Tensor<Inserted<S, A, 1>, D> {
    const { shape } = this as Tensor;
    const at = resolveAxis("unsqueeze", axis, shape.length + 1);
    const grown = [...shape.slice(0, at), 1, ...shape.slice(at)];
    return apply(movement.reshape, [this], { shape: grown }) as Tensor<Inserted<S, A, 1>, D>;
  }

  /** The whole tensor repeated along each axis: `tile([2, 3])`; more counts than axes make new leading axes. */
  tile<D extends DType>(this: Tensor<Shape, D>, counts: readonly number[]): Tensor<Shape, D> {
    return repeats.tile(this, counts) as Tensor<Shape, D>;
  }

  /** Each element repeated `count` times in a row along an axis. */
  repeat<S extends Shape, D extends DType>(this: Tensor<S, D>, count: number, axis: number): Tensor<AnySizes<S>, D> {
    return repeats.repeat(this, count, axis) as Tensor<AnySizes<S>, D>;
  }

  /**
   * Each axis made longer: `[before, after]` for the last axes of the tensor. What is added is `value` (default 0), or for the
   * modes "reflect" (mirrored, without the edge), "edge" (the edge repeated) and "circular" (from the other end) comes from x.
   */
  pad<S extends Shape, D extends DType>(
    this: Tensor<S, D>,
    widths: readonly (readonly [before: number, after: number])[],
    options: PadOptions = {},
  ): Tensor<AnySizes<S>, D> {
    return pad(this, widths, options) as Tensor<AnySizes<S>, D>;
  }

  /** A part of each axis: `x.slice([0, 2], null, [-1])` is `x[0:2, :, -1:]`. A step may be negative. */
  slice<S extends Shape, D extends DType, const R extends readonly Range[]>(
    this: Tensor<S, D>,
    ...ranges: R
  ): Tensor<Sliced<S, R>, D> {
    const params = movement.resolveSlice(this.shape, ranges);
    return apply(movement.slice, [this], params) as Tensor<Sliced<S, R>, D>;
  }

  /** Consecutive parts of the given sizes along an axis. The first form is for parts of one size, also in generic code. */
  split<
    S extends Shape,
    D extends DType,
    const H extends number,
    const R extends readonly NoInfer<H>[],
    const A extends number = -1,
  >(
    this: Tensor<S, D>,
    sizes: readonly [H, ...R],
    axis?: A,
  ): [Tensor<Replaced<S, A, [H]>, D>, ...{ -readonly [K in keyof R]: Tensor<Replaced<S, A, [H]>, D> }];
  split<S extends Shape, D extends DType, const N extends readonly number[], const A extends number = -1>(
    this: Tensor<S, D>,
    sizes: readonly [...N],
    axis?: A,
  ): Split<S, D, N, A>;
  split<S extends Shape, D extends DType, const N extends readonly number[], const A extends number = -1>(
    this: Tensor<S, D>,
    sizes: readonly [...N],
    axis?: A,
  ): Split<S, D, N, A> {
    const at = resolveAxis("split", axis ?? -1, (this as Tensor).shape.length);
    return applyAll(movement.split, [this], { sizes: [...sizes], axis: at }) as unknown as Split<S, D, N, A>;
  }

  // ── Indexing ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Entries along an axis by number: the axis is replaced by the axes of `indices`. Default axis 0: rows of a table. */
  take<S extends Shape, T extends Shape, D extends DType, const A extends number = 0>(
    this: Tensor<S, D>,
    indices: Tensor<T, "int32">,
    axis?: A,
  ): Tensor<Replaced<S, A, T>, D> {
    const at = resolveAxis("take", axis ?? 0, (this as Tensor).shape.length);
    return apply(indexing.take, [this, indices as Tensor], { axis: at }) as Tensor<Replaced<S, A, T>, D>;
  }

  /** One entry of the last axis for each position of the others: `y[i…] = x[i…, indices[i…]]`. */
  pick<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    indices: Tensor<R, "int32"> &
      Matches<R, Lead<S>, `pick: ${Show<S>} needs one index for each of ${Show<Lead<S>>}, and got ${Show<R>}`>,
  ): Tensor<Lead<S>, D> {
    return apply(indexing.pick, [this, indices as Tensor], undefined) as Tensor<Lead<S>, D>;
  }

  /** Elements along an axis by number, one index for each element of the result: y[i, j] = x[indices[i, j], j] for axis 0. */
  gather<S extends Shape, T extends Shape, D extends DType, const A extends number>(
    this: Tensor<S, D>,
    indices: Tensor<T, "int32"> & SameRank<"gather", T, S, A>,
    axis: A,
  ): Tensor<T, D> {
    const at = resolveAxis("gather", axis, (this as Tensor).shape.length);
    return apply(indexing.gather, [this, indices as Tensor], { axis: at }) as Tensor<T, D>;
  }

  /** This tensor with updates laid, or added, at the places that `gather` would take them from. */
  scatter<S extends Shape, T extends Shape, U extends Shape, D extends DType, const A extends number>(
    this: Tensor<S, D>,
    indices: Tensor<T, "int32"> & SameRank<"scatter", T, S, A>,
    updates: Tensor<U, NoInfer<D>> &
      Matches<U, T, `scatter: updates ${D}${Show<U>} at indices ${Show<T>} of ${D}${Show<S>}`>,
    axis: A,
    options: { readonly reduction?: indexing.ScatterParams["reduction"] } = {},
  ): Tensor<S, D> {
    const params = {
      axis: resolveAxis("scatter", axis, (this as Tensor).shape.length),
      reduction: options.reduction ?? "none",
    };
    return apply(indexing.scatter, [this, indices as Tensor, updates as Tensor], params) as Tensor<S, D>;
  }

  /** The k largest elements along an axis (or smallest), the first of them first, and where they were. */
  topK<S extends Shape, D extends DType, const N extends number, const A extends number = -1>(
    this: Tensor<S, D>,
    k: N,
    axis?: A,
    options: { readonly smallest?: boolean } = {},
  ): [values: Tensor<Replaced<S, A, [N]>, D>, indices: Tensor<Replaced<S, A, [N]>, "int32">] {
    const x = this as Tensor;
    const params = { k, axis: resolveAxis("topK", axis ?? -1, x.shape.length), smallest: options.smallest ?? false };
    return applyAll(indexing.topK, [x], params) as [
      Tensor<Replaced<S, A, [N]>, D>,
      Tensor<Replaced<S, A, [N]>, "int32">,
    ];
  }

  /** Sorted along an axis, equal elements in their order, and where each was. */
  sort<S extends Shape, D extends DType>(
    this: Tensor<S, D>,
    axis: number = -1,
    options: { readonly descending?: boolean } = {},
  ): [values: Tensor<S, D>, indices: Tensor<S, "int32">] {
    const x = this as Tensor;
    const at = resolveAxis("sort", axis, x.shape.length);
    return x.topK(x.shape[at]!, at, { smallest: !options.descending }) as [Tensor<S, D>, Tensor<S, "int32">];
  }

  /** The order that sorts along an axis. */
  argsort<S extends Shape>(
    this: Tensor<S>,
    axis: number = -1,
    options: { readonly descending?: boolean } = {},
  ): Tensor<S, "int32"> {
    return this.sort(axis, options)[1];
  }

  /** float32 vectors of length `depth` with a one at each index. */
  oneHot<S extends Shape, const N extends number>(this: Tensor<S, "int32">, depth: N): Tensor<[...S, N], "float32"> {
    return apply(indexing.oneHot, [this], { depth, dtype: "float32" }) as Tensor<[...S, N], "float32">;
  }

  // ── Normalisation ─────────────────────────────────────────────────────────────────────────────────────────────

  /** exp(x) / Σ exp(x) along an axis, default the last. */
  softmax<S extends Shape, D extends DType>(this: Tensor<S, D>, axis: number = -1): Tensor<S, D> {
    const at = resolveAxis("softmax", axis, (this as Tensor).shape.length);
    return apply(normalize.softmax, [this], { axis: at }) as Tensor<S, D>;
  }

  /** x − log Σ exp(x) along an axis, default the last. */
  logSoftmax<S extends Shape, D extends DType>(this: Tensor<S, D>, axis: number = -1): Tensor<S, D> {
    const at = resolveAxis("logSoftmax", axis, (this as Tensor).shape.length);
    return apply(normalize.logSoftmax, [this], { axis: at }) as Tensor<S, D>;
  }

  // ── Other ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The first half of the last axis (or another) times the sigmoid of the second: the gated linear unit (Dauphin et al. 2016). */
  glu<S extends Shape, D extends DType>(this: Tensor<S, D>, axis: number = -1): Tensor<AnySizes<S>, D> {
    const [value, gate] = halves("glu", this as Tensor, axis);
    return value.mul(gate.sigmoid()) as Tensor<AnySizes<S>, D>;
  }

  /**
   * The same values in another dtype; towards int32 the fraction is cut off, and NaN and what int32 has not become −2³¹; towards bool
   * everything but 0 is true, NaN too.
   */
  cast<S extends Shape, const T extends DType>(this: Tensor<S>, dtype: T): Tensor<S, T> {
    if (this.dtype === (dtype as DType)) return this as unknown as Tensor<S, T>;
    return apply(movement.cast, [this], { dtype }) as Tensor<S, T>;
  }

  /** The same values, through which no gradient flows. */
  detach<S extends Shape, D extends DType>(this: Tensor<S, D>): Tensor<S, D> {
    return apply(movement.detach, [this], undefined) as Tensor<S, D>;
  }
}

// `console.log(tensor)` in Node shows what `toString` says.
Object.defineProperty(Tensor.prototype, Symbol.for("nodejs.util.inspect.custom"), {
  value(this: Tensor): string {
    return this.toString();
  },
});

setTensorMaker((node, index) => new Tensor(node, index));
setTensorClass(Tensor);

function install(name: string, method: (this: Tensor, ...args: never[]) => unknown): void {
  Object.defineProperty(Tensor.prototype, name, { configurable: true, writable: true, value: method });
}

for (const [name, op] of Object.entries(elementwise))
  install(name, function (this: Tensor) {
    return apply(op, [this], undefined);
  });

for (const functions of [pointwise, predicates, reductions])
  for (const [name, f] of Object.entries(functions) as [string, (x: Tensor, ...args: never[]) => Tensor][])
    install(name, function (this: Tensor, ...args) {
      return f(this, ...args);
    });

/**
 * The operands of a function of two: a number as a scalar of the left side's dtype, and the left side repeated to the common shape,
 * so that the right side can be widened into it. Throws ShapeError or DTypeError in the function's name.
 */
function operands(subject: string, left: Tensor, right: Tensor | number): readonly [left: Tensor, right: Tensor] {
  if (typeof right !== "number") return [madeWide(subject, left, right), right];
  expectElement(subject, right, left.dtype);
  return [left, left.scalar(right)];
}

for (const [name, op] of Object.entries(arithmetic) as [string, unknown][])
  if (isPair(op))
    install(name, function (this: Tensor, other: Tensor | number) {
      // Where the order does not matter, the wider side comes first: nothing needs to be repeated.
      if (op.commutes && typeof other !== "number" && arithmetic.widens(this.shape, other.shape))
        return apply(op, [other, this], undefined);
      return apply(op, operands(name, this, other), undefined);
    });

function isPair(op: unknown): op is Op<undefined> & { readonly commutes: boolean } {
  return typeof op === "object" && op !== null && "pair" in op;
}

for (const [name, f] of Object.entries(pairs))
  install(name, function (this: Tensor, other: Tensor | number) {
    return f(...operands(name, this, other));
  });

install("notEqual", function (this: Tensor, other: Tensor | number) {
  return apply(arithmetic.not, [apply(arithmetic.equal, operands("notEqual", this, other), undefined)], undefined);
});

install("lerp", function (this: Tensor, end: Tensor, weight: Tensor | number) {
  const [both, to] = operands("lerp", this, end);
  const [x, share] = operands("lerp", both, weight);
  return x.add(to.expand(x.shape).sub(x).mul(share));
});

install("maskedFill", function (this: Tensor, mask: Tensor<Shape, "bool">, value: number) {
  expectElement("maskedFill", value, this.dtype);
  const x = madeWide("maskedFill", this, mask);
  return apply(arithmetic.where, [mask.not(), x, x.scalar(value)], undefined);
});

/** A look at a tensor's values. Not `async`: in a trace, where nobody can await it, the error is thrown at once. */
function valuesOf(subject: string, tensor: Tensor): Promise<Values> {
  forbidInTrace(subject, tensor.node.path);
  return evaluator([tensor]).then(([values]) => values!);
}

function sumTo(x: Tensor, shape: Shape): Tensor {
  if (!arithmetic.widens(shape, x.shape))
    throw new ShapeError(
      "sumTo",
      `${showShape(shape)} does not broadcast into ${showShape(x.shape)}`,
      "give a shape whose axes, counted from the last, are the tensor's own or 1",
      currentPath(),
    );
  const lead = x.shape.length - shape.length;
  const axes = [...x.shape.keys()].filter((axis) => axis < lead || (shape[axis - lead] === 1 && x.shape[axis] !== 1));
  const summed = axes.length === 0 ? x : apply(reduce.sum, [x], { axes, keepDims: true });
  return lead === 0 ? summed : apply(movement.reshape, [summed], { shape: [...shape] });
}

/** The type of a tensor as plain data. */
export function typeOf(tensor: Tensor): TensorType {
  return { shape: tensor.shape, dtype: tensor.dtype };
}
