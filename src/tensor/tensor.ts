/**
 * The user's handle on a value in the graph: immutable and lazy. A tensor knows its shape and dtype at once. Its values are
 * computed when they are read. Methods and free functions apply the same ops.
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

/** The sizes as TypeScript compares them: axis by axis when the rank is known; any sizes are accepted when it is not. */
// biome-ignore lint/suspicious/noExplicitAny: `any` is the one type that passes for every tuple and that every tuple passes for.
type Axes<S extends Shape> = number extends S["length"] ? any : { readonly [K in keyof S]: Axis<S[K]> };

/** The JavaScript value of one element: boolean for `bool`, otherwise number. Where TypeScript does not know the dtype: number. */
export type Scalar<D extends DType> = DType extends D ? number : D extends "bool" ? boolean : number;

type ShowOrder<P extends readonly number[]> = Show<P> extends `[${infer Axes}]` ? `(${Axes})` : never;

/** A message where indices and tensor are known to differ in rank; otherwise `unknown`. */
type SameRank<Op extends string, T extends Shape, S extends Shape, A extends number> = Agree<
  T["length"],
  S["length"],
  `${Op}: indices ${Show<T>} along axis ${A} of ${Show<S>}`
>;

/** The parts of a split tensor: as many as there are sizes. */
type Split<S extends Shape, D extends DType, N extends readonly number[], A extends number> = {
  -readonly [K in keyof N]: Tensor<Part<S, N[number], A>, D>;
};

/** One axis of a slice: `null` for the whole axis, or `[start, stop)`, with an optional step. Negative positions count from the end. */
export type Range = null | readonly [start: number, stop?: number | undefined, step?: number];

/** Computes the values of tensors. The compiler installs its function here, so that this file need not import the compiler. */
export type Evaluator = (tensors: readonly Tensor[]) => Promise<Values[]>;
let evaluator: Evaluator;
export function setEvaluator(evaluate: Evaluator): void {
  evaluator = evaluate;
}

/** The methods of a tensor that its ops give it. */
// biome-ignore lint/correctness/noUnusedVariables: the parameters of both declarations must have the same names.
export interface Tensor<S extends Shape = Shape, D extends DType = DType> extends Methods {}

/**
 * A tensor of shape S and dtype D. `Tensor` without parameters accepts any.
 *
 * Operands of different shapes are widened to their common shape, as in NumPy: axes are compared from the last, and an axis that is
 * missing or has size 1 is repeated.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods that the interface declares are put on the prototype below.
export class Tensor<S extends Shape = Shape, D extends DType = DType> implements Value {
  // These two fields exist for TypeScript only, which compares them. They do not exist at run time.
  declare readonly "~shape": Axes<S>;
  declare readonly "~dtype": Element<D>;
  readonly node: Node;
  readonly index: number;

  /** Internal: users make tensors with `tensor`, `zeros`, … and with ops. */
  constructor(node: Node, index: number = 0) {
    this.node = node;
    this.index = index;
  }

  /** Sizes of the axes, outermost first. */
  get shape(): Shape {
    return this.node.outputs[this.index]!.shape;
  }

  /** Returns the shape as a tuple of the tensor's rank: `const [batch, time] = x.sizes()`. */
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

  /** Returns the tensor that this handle stands for now: the tensor itself, or a variable's current value. */
  current(): this {
    return this;
  }

  // ── Values ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Returns a copy of the values, row-major; `bool` as 0 and 1. Throws GraphError inside a traced function. */
  data(): Promise<Values> {
    return valuesOf("data()", this).then((values) => values.slice());
  }

  /** Returns the values as nested arrays of numbers (booleans for `bool`). A scalar gives the number itself. */
  array<S extends Shape, D extends DType>(this: Tensor<S, D>): Promise<NestedArray<S, Scalar<D>>> {
    return valuesOf("array()", this).then(
      (values) => nest(this.shape, this.dtype, values) as NestedArray<S, Scalar<D>>,
    );
  }

  /** Returns the value of a tensor with one element. Throws ShapeError for any other number of elements. */
  item<D extends DType>(this: Tensor<Shape, D>): Promise<Scalar<D>> {
    if (this.size !== 1)
      throw new ShapeError("item", `${showType(this)} has ${this.size} elements`, "reduce it first, or use array()");
    return valuesOf("item()", this).then(([value]) => (this.dtype === "bool" ? value !== 0 : value) as Scalar<D>);
  }

  /** Returns the values as text, as NumPy prints them: aligned, and shortened when there are more than 1,000. */
  text(): Promise<string> {
    return valuesOf("text()", this).then((values) => formatValues(this, values));
  }

  /** Returns the values as text when JavaScript has them, otherwise the type: printing never runs a graph. */
  toString(): string {
    const { source } = this.node;
    const values = source?.kind === "host" ? source.storage.values : undefined;
    return values ? formatValues(this, values) : `Tensor ${showType(this)}, not evaluated: await its text()`;
  }

  // ── Any op ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Applies an op to this tensor and `others`, and returns its first output. Use it to call ops that you define. */
  apply<P>(op: Op<P>, others: readonly Tensor[], params: P): Tensor {
    return apply(op, [this, ...others], params);
  }

  /** Applies an op to this tensor and `others`, and returns all its outputs. */
  applyAll<P>(op: Op<P>, others: readonly Tensor[], params: P): Tensor[] {
    return applyAll(op, [this, ...others], params);
  }

  /** Returns `value` as a scalar of this tensor's dtype. */
  scalar<D extends DType>(this: Tensor<Shape, D>, value: number): Tensor<[], D> {
    return apply(movement.full, [], { shape: [], value, dtype: this.dtype }) as Tensor<[], D>;
  }

  // ── Logic ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Returns the logical not of each element. For bool. */
  not<S extends Shape>(this: Tensor<S, "bool">): Tensor<S, "bool"> {
    return apply(arithmetic.not, [this], undefined) as Tensor<S, "bool">;
  }

  // ── Reduction ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Returns whether any element is true, or for numbers, not 0. */
  any<S extends Shape, const A extends ReducedAxes = undefined, const K extends boolean = false>(
    this: Tensor<S>,
    axis?: A,
    options?: { readonly keepDims?: K },
  ): Tensor<Reduced<S, A, K>, "bool"> {
    return this.countNonZero(axis, options).greater(0);
  }

  /** Returns whether all elements are true, or for numbers, not 0. */
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

  /** Returns how many elements are true, or for numbers, not 0. */
  countNonZero<S extends Shape, const A extends ReducedAxes = undefined, const K extends boolean = false>(
    this: Tensor<S>,
    axis?: A,
    options?: { readonly keepDims?: K },
  ): Tensor<Reduced<S, A, K>, "int32"> {
    return this.cast("bool").cast("int32").sum(axis, options) as Tensor<Reduced<S, A, K>, "int32">;
  }

  /** Returns the position of the largest element along an axis, default the last; the first position if several are equal. */
  argmax<S extends Shape, const A extends number = -1>(
    this: Tensor<S>,
    axis?: A,
  ): Tensor<Reduced<S, A, false>, "int32"> {
    const at = resolveAxis("argmax", axis ?? -1, this.shape.length);
    return apply(reduce.argmax, [this], { axis: at }) as Tensor<Reduced<S, A, false>, "int32">;
  }

  /** Returns the position of the smallest element along an axis, default the last; the first position if several are equal. */
  argmin<S extends Shape, const A extends number = -1>(
    this: Tensor<S>,
    axis?: A,
  ): Tensor<Reduced<S, A, false>, "int32"> {
    const at = resolveAxis("argmin", axis ?? -1, this.shape.length);
    return apply(reduce.argmin, [this], { axis: at }) as Tensor<Reduced<S, A, false>, "int32">;
  }

  /** Sums over the axes along which a tensor of the given shape would be repeated to this tensor's shape: the transpose of `expand`. */
  sumTo<S extends Shape, const T extends Shape, D extends DType>(
    this: Tensor<S, D>,
    shape: readonly [...T] & BroadcastsInto<T, S, `sumTo: ${Show<T>} does not broadcast into ${Show<S>}`>,
  ): Tensor<T, D> {
    return sumTo(this as Tensor, shape as Shape) as Tensor<T, D>;
  }

  /** Repeats the tensor along axes of size 1 and along new leading axes, so that it has the given shape. */
  expand<S extends Shape, const T extends Shape, D extends DType>(
    this: Tensor<S, D>,
    shape: readonly [...T] & BroadcastsInto<S, T, `expand: ${Show<S>} cannot be repeated to ${Show<T>}`>,
  ): Tensor<T, D> {
    return apply(movement.expand, [this], { shape: [...(shape as Shape)] }) as Tensor<T, D>;
  }

  // ── Products ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Returns the matrix product over the last two axes. The leading axes are equal, or the right side is one matrix for all of them. */
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

  /** Returns the scalar product Σ x·y of two vectors. */
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

  /** Returns the diagonal of the last two axes as a new last axis. `offset` selects the diagonal that many places above the main one. */
  diagonal<S extends Shape, D extends DType>(this: Tensor<S, D>, offset: number = 0): Tensor<Diagonal<S>, D> {
    return diagonal(this, offset) as Tensor<Diagonal<S>, D>;
  }

  /** Returns the sum of the diagonal of the last two axes. */
  trace<L extends Shape, M extends number, N extends number, D extends DType>(
    this: Tensor<[...L, M, N], D>,
  ): Tensor<L, D> {
    return diagonal(this as Tensor, 0).sum(-1) as Tensor<L, D>;
  }

  // ── Movement ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Swaps the last two axes. */
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

  /** Puts the axes in another order: `transpose(0, 2, 1)`. Without arguments it reverses their order. */
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

  /** Returns the same elements in another shape. One axis may be −1: its size then follows from the number of elements. */
  reshape<const T extends Shape, D extends DType>(
    this: Tensor<Shape, D>,
    shape: readonly [...T],
  ): Tensor<Reshaped<T>, D> {
    const target = movement.resolveReshape(this.shape, shape);
    return apply(movement.reshape, [this], { shape: target }) as Tensor<Reshaped<T>, D>;
  }

  /** Swaps two axes. */
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

  /** Joins the axes from `start` to `end`, both included, into one. Default: all axes. */
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

  /** Removes the named axes, which must have size 1. Without an argument it removes all axes of size 1. */
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

  /** Inserts an axis of size 1 at a position, which may count from the end. */
  unsqueeze<S extends Shape, D extends DType, const A extends number>(
    this: Tensor<S, D>,
    axis: A,
  ): Tensor<Inserted<S, A, 1>, D> {
    const { shape } = this as Tensor;
    const at = resolveAxis("unsqueeze", axis, shape.length + 1);
    const grown = [...shape.slice(0, at), 1, ...shape.slice(at)];
    return apply(movement.reshape, [this], { shape: grown }) as Tensor<Inserted<S, A, 1>, D>;
  }

  /** Repeats the whole tensor along each axis: `tile([2, 3])`. If there are more counts than axes, new leading axes are added. */
  tile<D extends DType>(this: Tensor<Shape, D>, counts: readonly number[]): Tensor<Shape, D> {
    return repeats.tile(this, counts) as Tensor<Shape, D>;
  }

  /** Repeats each element `count` times in a row along an axis. */
  repeat<S extends Shape, D extends DType>(this: Tensor<S, D>, count: number, axis: number): Tensor<AnySizes<S>, D> {
    return repeats.repeat(this, count, axis) as Tensor<AnySizes<S>, D>;
  }

  /**
   * Adds elements at the ends of the last axes: `[before, after]` for each. The added elements are `value` (default 0). The modes
   * "reflect" (mirrored, without the edge), "edge" (the edge repeated) and "circular" (from the opposite end) take them from x.
   */
  pad<S extends Shape, D extends DType>(
    this: Tensor<S, D>,
    widths: readonly (readonly [before: number, after: number])[],
    options: PadOptions = {},
  ): Tensor<AnySizes<S>, D> {
    return pad(this, widths, options) as Tensor<AnySizes<S>, D>;
  }

  /** Returns a part of each axis: `x.slice([0, 2], null, [-1])` is `x[0:2, :, -1:]` in NumPy. A step may be negative. */
  slice<S extends Shape, D extends DType, const R extends readonly Range[]>(
    this: Tensor<S, D>,
    ...ranges: R
  ): Tensor<Sliced<S, R>, D> {
    const params = movement.resolveSlice(this.shape, ranges);
    return apply(movement.slice, [this], params) as Tensor<Sliced<S, R>, D>;
  }

  /** Splits an axis, default the last, into consecutive parts of the given sizes. The first overload is for parts of equal size. */
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

  /** Returns the entries at `indices` of an axis, which the axes of `indices` replace. Default axis 0: rows of a table. */
  take<S extends Shape, T extends Shape, D extends DType, const A extends number = 0>(
    this: Tensor<S, D>,
    indices: Tensor<T, "int32">,
    axis?: A,
  ): Tensor<Replaced<S, A, T>, D> {
    const at = resolveAxis("take", axis ?? 0, (this as Tensor).shape.length);
    return apply(indexing.take, [this, indices as Tensor], { axis: at }) as Tensor<Replaced<S, A, T>, D>;
  }

  /** Returns one entry of the last axis for each position of the leading axes: `y[i…] = x[i…, indices[i…]]`. */
  pick<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    indices: Tensor<R, "int32"> &
      Matches<R, Lead<S>, `pick: ${Show<S>} needs one index for each of ${Show<Lead<S>>}, and got ${Show<R>}`>,
  ): Tensor<Lead<S>, D> {
    return apply(indexing.pick, [this, indices as Tensor], undefined) as Tensor<Lead<S>, D>;
  }

  /** Returns elements of an axis, with one index for each element of the result: y[i, j] = x[indices[i, j], j] for axis 0. */
  gather<S extends Shape, T extends Shape, D extends DType, const A extends number>(
    this: Tensor<S, D>,
    indices: Tensor<T, "int32"> & SameRank<"gather", T, S, A>,
    axis: A,
  ): Tensor<T, D> {
    const at = resolveAxis("gather", axis, (this as Tensor).shape.length);
    return apply(indexing.gather, [this, indices as Tensor], { axis: at }) as Tensor<T, D>;
  }

  /** Returns this tensor with `updates` written, or combined by `reduction`, at the positions that `gather` would read. */
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

  /** Returns the k largest (or smallest) elements along an axis, default the last, in descending (ascending) order, and their indices. */
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

  /** Returns the elements sorted along an axis, and the index that each had before. Equal elements keep their order. */
  sort<S extends Shape, D extends DType>(
    this: Tensor<S, D>,
    axis: number = -1,
    options: { readonly descending?: boolean } = {},
  ): [values: Tensor<S, D>, indices: Tensor<S, "int32">] {
    const x = this as Tensor;
    const at = resolveAxis("sort", axis, x.shape.length);
    return x.topK(x.shape[at]!, at, { smallest: !options.descending }) as [Tensor<S, D>, Tensor<S, "int32">];
  }

  /** Returns the indices that sort the tensor along an axis. */
  argsort<S extends Shape>(
    this: Tensor<S>,
    axis: number = -1,
    options: { readonly descending?: boolean } = {},
  ): Tensor<S, "int32"> {
    return this.sort(axis, options)[1];
  }

  /** Returns a float32 vector of length `depth` for each index: 1 at the index, 0 elsewhere. */
  oneHot<S extends Shape, const N extends number>(this: Tensor<S, "int32">, depth: N): Tensor<[...S, N], "float32"> {
    return apply(indexing.oneHot, [this], { depth, dtype: "float32" }) as Tensor<[...S, N], "float32">;
  }

  // ── Normalisation ─────────────────────────────────────────────────────────────────────────────────────────────

  /** Returns exp(x) / Σ exp(x) along an axis, default the last. */
  softmax<S extends Shape, D extends DType>(this: Tensor<S, D>, axis: number = -1): Tensor<S, D> {
    const at = resolveAxis("softmax", axis, (this as Tensor).shape.length);
    return apply(normalize.softmax, [this], { axis: at }) as Tensor<S, D>;
  }

  /** Returns x − log Σ exp(x) along an axis, default the last. */
  logSoftmax<S extends Shape, D extends DType>(this: Tensor<S, D>, axis: number = -1): Tensor<S, D> {
    const at = resolveAxis("logSoftmax", axis, (this as Tensor).shape.length);
    return apply(normalize.logSoftmax, [this], { axis: at }) as Tensor<S, D>;
  }

  // ── Other ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Returns the gated linear unit: the first half of an axis, default the last, times the sigmoid of the second (Dauphin et al. 2016). */
  glu<S extends Shape, D extends DType>(this: Tensor<S, D>, axis: number = -1): Tensor<AnySizes<S>, D> {
    const [value, gate] = halves("glu", this as Tensor, axis);
    return value.mul(gate.sigmoid()) as Tensor<AnySizes<S>, D>;
  }

  /**
   * Returns the values in another dtype. To int32: the fraction is cut off; NaN and values out of range become −2³¹. To bool: every
   * value except 0 becomes true, also NaN.
   */
  cast<S extends Shape, const T extends DType>(this: Tensor<S>, dtype: T): Tensor<S, T> {
    if (this.dtype === (dtype as DType)) return this as unknown as Tensor<S, T>;
    return apply(movement.cast, [this], { dtype }) as Tensor<S, T>;
  }

  /** Returns the same values, but no gradient flows back through them. */
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
 * Prepares the operands of a function of two: makes a number a scalar of the left side's dtype, and repeats the left side to the
 * common shape, so that the op can widen the right side. Throws ShapeError or DTypeError in the function's name.
 */
function operands(subject: string, left: Tensor, right: Tensor | number): readonly [left: Tensor, right: Tensor] {
  if (typeof right !== "number") return [madeWide(subject, left, right), right];
  expectElement(subject, right, left.dtype);
  return [left, left.scalar(right)];
}

for (const [name, op] of Object.entries(arithmetic) as [string, unknown][])
  if (isPair(op))
    install(name, function (this: Tensor, other: Tensor | number) {
      // If the op is commutative, the wider side comes first: then the left side need not be repeated.
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

/** Reads a tensor's values without a copy. Not `async`: in a trace, where nobody can await a promise, it throws the error at once. */
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

/** Returns the type of a tensor as plain data. */
export function typeOf(tensor: Tensor): TensorType {
  return { shape: tensor.shape, dtype: tensor.dtype };
}
