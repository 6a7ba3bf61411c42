/**
 * The user's handle on a value in the graph: immutable and lazy. It knows its shape and dtype at once and its values when
 * asked. Methods and free functions are the same ops.
 */

import { ShapeError } from "../errors.ts";
import type { Node, Value } from "../graph/node.ts";
import type { AnyOp, Op } from "../graph/op.ts";
import { forbidInTrace } from "../graph/scope.ts";
import type {
  Agree,
  Axis,
  BroadcastMessage,
  BroadcastsInto,
  Element,
  Lead,
  MatmulMessage,
  NestedArray,
  Reduced,
  Reshaped,
} from "../graph/shape-types.ts";
import { type DType, resolveAxis, type Shape, showType, type TensorType, type Values } from "../graph/types.ts";
import * as arithmetic from "../ops/arithmetic.ts";
import * as elementwise from "../ops/elementwise.ts";
import * as indexing from "../ops/indexing.ts";
import { matmul } from "../ops/matmul.ts";
import * as movement from "../ops/movement.ts";
import * as normalize from "../ops/normalize.ts";
import * as reduce from "../ops/reduce.ts";
import { apply, applyAll, setTensorMaker } from "./apply.ts";
import { formatValues, nest } from "./print.ts";
import type { Storage } from "./storage.ts";

/** The sizes as the compiler compares them: axis by axis when the rank is known, no question asked when it is not. */
// biome-ignore lint/suspicious/noExplicitAny: `any` is the one type that passes for every tuple and that every tuple passes for.
type Axes<S extends Shape> = number extends S["length"] ? any : { readonly [K in keyof S]: Axis<S[K]> };

/** What a number may stand for on the right side of an arithmetic op: a scalar of the left side's dtype. */
type Operand<Op extends string, S extends Shape, R extends Shape, D extends DType> =
  | (Tensor<R, D> & BroadcastsInto<R, S, BroadcastMessage<Op, R, S>>)
  | number;

/** The JavaScript value of one element; a number where the dtype is not known, as it nearly always is. */
export type Scalar<D extends DType> = DType extends D ? number : D extends "bool" ? boolean : number;

/** The same rank, sizes left to run time. */
export type AnySizes<S extends Shape> = { [K in keyof S]: number };

/** One axis of a slice: everything, one `[start, stop)` or one with a step; negative positions count from the end. */
export type Range = null | readonly [start: number, stop?: number, step?: number];

/** How values are computed; the compiler installs itself here, so that a tensor need not know it. */
export type Evaluator = (tensors: readonly Tensor[]) => Promise<Storage[]>;
let evaluator: Evaluator;
export function setEvaluator(evaluate: Evaluator): void {
  evaluator = evaluate;
}

type ElementwiseOps = typeof elementwise;

/** One method for each op of ops/elementwise.ts: `x.exp()`, `x.tanh()` and so on. */
type ElementwiseMethods = {
  [K in keyof ElementwiseOps as ElementwiseOps[K] extends elementwise.UnaryOp ? K : never]: <
    S extends Shape,
    D extends DType,
  >(
    this: Tensor<S, D>,
  ) => Tensor<S, D>;
};

// biome-ignore lint/correctness/noUnusedVariables: the parameters of both declarations must have the same names.
export interface Tensor<S extends Shape = Shape, D extends DType = DType> extends ElementwiseMethods {}

/**
 * A tensor of shape S and dtype D. `Tensor` without parameters accepts any.
 *
 * Arithmetic widens the right side into the left, never both ways; use `broadcast(a, b)` when an outer result is meant.
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

  /** Applies an op record to this tensor and `others`; how an op of your own is called. */
  apply<P>(op: Op<P>, others: readonly Tensor[], params: P): Tensor {
    return apply(op, [this, ...others], params);
  }

  /** A scalar of this tensor's dtype. */
  scalar<D extends DType>(this: Tensor<Shape, D>, value: number): Tensor<[], D> {
    return apply(movement.full, [], { shape: [], value, dtype: this.dtype }) as Tensor<[], D>;
  }

  // ── Arithmetic: the right side is widened into the left ───────────────────────────────────────────────────────

  add<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"add", S, R, NoInfer<D>>,
  ): Tensor<S, D> {
    return binary(arithmetic.add, this, other);
  }

  sub<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"sub", S, R, NoInfer<D>>,
  ): Tensor<S, D> {
    return binary(arithmetic.sub, this, other);
  }

  mul<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"mul", S, R, NoInfer<D>>,
  ): Tensor<S, D> {
    return binary(arithmetic.mul, this, other);
  }

  /** Quotient; for int32 truncated towards zero. */
  div<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"div", S, R, NoInfer<D>>,
  ): Tensor<S, D> {
    return binary(arithmetic.div, this, other);
  }

  pow<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"pow", S, R, NoInfer<D>>,
  ): Tensor<S, D> {
    return binary(arithmetic.pow, this, other);
  }

  maximum<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"maximum", S, R, NoInfer<D>>,
  ): Tensor<S, D> {
    return binary(arithmetic.maximum, this, other);
  }

  minimum<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"minimum", S, R, NoInfer<D>>,
  ): Tensor<S, D> {
    return binary(arithmetic.minimum, this, other);
  }

  // ── Comparison ────────────────────────────────────────────────────────────────────────────────────────────────

  equal<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"equal", S, R, NoInfer<D>>,
  ): Tensor<S, "bool"> {
    return binary(arithmetic.equal, this, other);
  }

  less<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"less", S, R, NoInfer<D>>,
  ): Tensor<S, "bool"> {
    return binary(arithmetic.less, this, other);
  }

  greater<S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    other: Operand<"greater", S, R, NoInfer<D>>,
  ): Tensor<S, "bool"> {
    return binary(arithmetic.greater, this, other);
  }

  /** Logical and; for bool. */
  and<S extends Shape, R extends Shape>(
    this: Tensor<S, "bool">,
    other: Tensor<R, "bool"> & BroadcastsInto<R, S, BroadcastMessage<"and", R, S>>,
  ): Tensor<S, "bool"> {
    return binary(arithmetic.and, this, other as Tensor);
  }

  /** Logical or; for bool. */
  or<S extends Shape, R extends Shape>(
    this: Tensor<S, "bool">,
    other: Tensor<R, "bool"> & BroadcastsInto<R, S, BroadcastMessage<"or", R, S>>,
  ): Tensor<S, "bool"> {
    return binary(arithmetic.or, this, other as Tensor);
  }

  /** Logical not; for bool. */
  not<S extends Shape>(this: Tensor<S, "bool">): Tensor<S, "bool"> {
    return apply(arithmetic.not, [this], undefined) as Tensor<S, "bool">;
  }

  // ── Reduction ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sum over one axis or, without one, over all. */
  sum<
    S extends Shape,
    D extends DType,
    const A extends number | undefined = undefined,
    const K extends boolean = false,
  >(this: Tensor<S, D>, axis?: A, options?: { readonly keepAxes?: K }): Tensor<Reduced<S, A, K>, D> {
    return reduction(reduce.sum, this, axis, options?.keepAxes) as Tensor<Reduced<S, A, K>, D>;
  }

  /** Mean over one axis or, without one, over all. The mean of no elements is NaN. */
  mean<
    S extends Shape,
    D extends DType,
    const A extends number | undefined = undefined,
    const K extends boolean = false,
  >(this: Tensor<S, D>, axis?: A, options?: { readonly keepAxes?: K }): Tensor<Reduced<S, A, K>, D> {
    const total = reduction(reduce.sum, this, axis, options?.keepAxes);
    const count = axis === undefined ? this.size : this.shape[resolveAxis("mean", axis, this.shape.length)]!;
    return total.mul(1 / count) as Tensor<Reduced<S, A, K>, D>;
  }

  /** Largest element along one axis or, without one, of all. Where several are largest they share the gradient. */
  max<
    S extends Shape,
    D extends DType,
    const A extends number | undefined = undefined,
    const K extends boolean = false,
  >(this: Tensor<S, D>, axis?: A, options?: { readonly keepAxes?: K }): Tensor<Reduced<S, A, K>, D> {
    return reduction(reduce.max, this, axis, options?.keepAxes) as Tensor<Reduced<S, A, K>, D>;
  }

  /** Position of the largest element along an axis, the first one among equals. */
  argmax<S extends Shape, const A extends number = -1>(
    this: Tensor<S>,
    axis?: A,
  ): Tensor<Reduced<S, A, false>, "int32"> {
    const at = resolveAxis("argmax", axis ?? -1, this.shape.length);
    return apply(reduce.argmax, [this], { axis: at }) as Tensor<Reduced<S, A, false>, "int32">;
  }

  /** Adds up whatever broadcasting to this shape's tensor repeated: the transpose of `expandTo`. */
  sumTo(shape: Shape): Tensor {
    return sumTo(this, shape);
  }

  /** Repeats along axes of size 1 and along new leading axes until the shape is reached. */
  expandTo<const T extends Shape, D extends DType>(this: Tensor<Shape, D>, shape: readonly [...T]): Tensor<T, D> {
    return apply(movement.expandTo, [this], { shape: [...shape] }) as Tensor<T, D>;
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
      BroadcastsInto<R, L, BroadcastMessage<"matmul: the leading axes", R, L>>,
  ): Tensor<[...L, M, N], D> {
    return apply(matmul, [this, other as Tensor], {}) as Tensor<[...L, M, N], D>;
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
  transpose<S extends Shape, D extends DType>(
    this: Tensor<S, D>,
    ...permutation: readonly number[]
  ): Tensor<AnySizes<S>, D> {
    const rank = this.shape.length;
    const order =
      permutation.length === 0
        ? [...Array(rank).keys()].reverse()
        : permutation.map((axis) => resolveAxis("transpose", axis, rank));
    return apply(movement.transpose, [this], { permutation: order }) as Tensor<AnySizes<S>, D>;
  }

  /** The same elements in another shape; one axis may be −1, "whatever is left". */
  reshape<const T extends Shape, D extends DType>(
    this: Tensor<Shape, D>,
    shape: readonly [...T],
  ): Tensor<Reshaped<T>, D> {
    const target = movement.resolveReshape(this.shape, shape);
    return apply(movement.reshape, [this], { shape: target }) as Tensor<Reshaped<T>, D>;
  }

  /** A part of each axis: `x.slice([0, 2], null, [-1])` is `x[0:2, :, -1:]`. */
  slice<S extends Shape, D extends DType>(this: Tensor<S, D>, ...ranges: readonly Range[]): Tensor<AnySizes<S>, D> {
    const params = movement.resolveSlice(this.shape, ranges);
    return apply(movement.slice, [this], params) as Tensor<AnySizes<S>, D>;
  }

  /** Consecutive parts of the given sizes along an axis. */
  split<S extends Shape, D extends DType>(
    this: Tensor<S, D>,
    sizes: readonly number[],
    axis: number = -1,
  ): Tensor<AnySizes<S>, D>[] {
    const at = resolveAxis("split", axis, this.shape.length);
    return applyAll(movement.split, [this], { sizes: [...sizes], axis: at }) as Tensor<AnySizes<S>, D>[];
  }

  // ── Indexing ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Entries along an axis by number: the axis is replaced by the axes of `indices`. Default axis 0: rows of a table. */
  gather<D extends DType>(this: Tensor<Shape, D>, indices: Tensor<Shape, "int32">, axis: number = 0): Tensor<Shape, D> {
    const at = resolveAxis("gather", axis, this.shape.length);
    return apply(indexing.gather, [this, indices], { axis: at }) as Tensor<Shape, D>;
  }

  /** One entry of the last axis for each position of the others: `y[i…] = x[i…, indices[i…]]`. */
  pick<S extends Shape, D extends DType>(this: Tensor<S, D>, indices: Tensor<Lead<S>, "int32">): Tensor<Lead<S>, D> {
    return apply(indexing.pick, [this, indices as Tensor], undefined) as Tensor<Lead<S>, D>;
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

  /** The same values in another dtype; towards int32 the fraction is cut off, towards bool everything but 0 is true. */
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

for (const [name, op] of Object.entries(elementwise)) {
  if (typeof op === "function") continue;
  Object.defineProperty(Tensor.prototype, name, {
    configurable: true,
    writable: true,
    value(this: Tensor): Tensor {
      return apply(op as AnyOp, [this], undefined);
    },
  });
}

/** A look at a tensor's values. Not `async`: in a trace, where nobody can await it, the error is thrown at once. */
function valuesOf(subject: string, tensor: Tensor): Promise<Values> {
  forbidInTrace(subject, tensor.node.path);
  return evaluator([tensor]).then(([storage]) => storage!.read());
}

function binary<S extends Shape, D extends DType>(
  op: Op<undefined>,
  left: Tensor,
  right: Tensor | number,
): Tensor<S, D> {
  const operand = typeof right === "number" ? left.scalar(right) : right;
  return apply(op, [left, operand], undefined) as Tensor<S, D>;
}

function reduction(
  op: Op<reduce.ReduceParams>,
  x: Tensor,
  axis: number | undefined,
  keepAxes: boolean = false,
): Tensor {
  const rank = x.shape.length;
  const axes = axis === undefined ? [...Array(rank).keys()] : [resolveAxis(op.name, axis, rank)];
  return apply(op, [x], { axes, keepAxes });
}

function sumTo(x: Tensor, shape: Shape): Tensor {
  const lead = x.shape.length - shape.length;
  const axes = [...x.shape.keys()].filter((axis) => axis < lead || (shape[axis - lead] === 1 && x.shape[axis] !== 1));
  const summed = axes.length === 0 ? x : apply(reduce.sum, [x], { axes, keepAxes: true });
  return lead === 0 ? summed : apply(movement.reshape, [summed], { shape: [...shape] });
}

/** The type of a tensor as plain data. */
export function typeOf(tensor: Tensor): TensorType {
  return { shape: tensor.shape, dtype: tensor.dtype };
}
