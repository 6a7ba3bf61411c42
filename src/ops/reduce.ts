/** Sums and extremes over axes. */

import { ShapeError } from "../errors.ts";
import type { Data, Sample, Sampler } from "../graph/op.ts";
import { defineOp, expectType, floats, numeric, type OnnxGraph, type OnnxValue, type Op } from "../graph/op.ts";
import { type Shape, showType, sizeOf, stridesOf } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { concat } from "./movement.ts";
import {
  inFloat64,
  longestRow,
  type ReduceParams,
  reducedShape,
  reduceNode,
  sumNodes,
  sumOfSquaresNodes,
} from "./sums.ts";

export interface AxisParams {
  readonly axis: number;
}

/** For each position of x, the position of the reduced element it belongs to. */
export function reducedPosition(shape: Shape, axes: readonly number[]): (position: number) => number {
  const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const from = stridesOf(shape);
  const to = stridesOf(kept);
  return (position) =>
    shape.reduce(
      (at, size, axis) => at + (kept[axis] === 1 ? 0 : (Math.floor(position / from[axis]!) % size) * to[axis]!),
      0,
    );
}

function fold(x: Data, y: Data, axes: readonly number[], start: number, f: (a: number, b: number) => number): void {
  const at = reducedPosition(x.shape, axes);
  y.values.fill(start);
  for (let i = 0; i < x.values.length; i++) y.values[at(i)] = f(y.values[at(i)]!, x.values[i]!);
}

const samples = (random: Sampler): Sample<ReduceParams>[] => [
  { inputs: [random.real(2, 3)], params: { axes: [1], keepAxes: false } },
  { inputs: [random.real(4, 2, 3)], params: { axes: [0, 2], keepAxes: true } },
  { inputs: [random.real(2, 3)], params: { axes: [0, 1], keepAxes: false } },
  { inputs: [random.real()], params: { axes: [], keepAxes: false } },
];

export const sum: Op<ReduceParams> = defineOp<ReduceParams>({
  name: "sum",
  shape: ([x], params) => reducedShape(x!, params),
  gradient: ([x], _y, dy, params) => [
    dy.reshape(reducedShape(x!, { ...params, keepAxes: true })).expandTo(x!.shape), //  each element's share is dy
  ],
  onnx: (graph, [x], { params, inputTypes: [type] }) => sumNodes(graph, x!, type!, params),
  evaluate: ([x], y, { axes }) => fold(x!, y, axes, 0, x!.dtype === "int32" ? (a, b) => (a + b) | 0 : (a, b) => a + b),
  samples: (random) => [...samples(random), { inputs: [random.real(0, 3)], params: { axes: [0], keepAxes: false } }],
});

/** Σ x² over all elements in one pass; what the compiler makes of a sum of products of a tensor with itself. */
export const sumOfSquares: Op<undefined> = defineOp<undefined>({
  name: "sumOfSquares",
  dtypes: floats,
  shape: () => [],
  onnx: (graph, [x], { inputTypes: [type] }) => sumOfSquaresNodes(graph, x!, type!),
  evaluate: ([x], y) => (y.values[0] = x!.values.reduce((total, value) => total + value * value, 0)),
  samples: (random) =>
    [random.real(2, 3), random.real(), random.real(0, 3)].map((x) => ({ inputs: [x], params: undefined })),
});

/**
 * Σ (x − x̄)² over axes, with the mean x̄ over the same axes. An op of its own for the sake of its gradient, 2·(x − x̄)·dy: the share of
 * the mean in it is Σ (x − x̄), which is 0 for every x and so in every further derivative, and is not computed. The compiler writes the op out.
 */
export const squaredDeviations: Op<ReduceParams> = defineOp<ReduceParams>({
  name: "squaredDeviations",
  dtypes: floats,
  shape: ([x], params) => reducedShape(x!, params),
  gradient([x], _y, dy, params) {
    const kept = dy.reshape(reducedShape(x!, { ...params, keepAxes: true }));
    return [deviations(x!, params).mul(kept.mul(2))];
  },
  onnx(graph, [x], { params, inputTypes: [type], outputTypes: [y] }) {
    const share = graph.constant(type!.dtype, [], [sizeOf(y!.shape) / sizeOf(type!.shape)]);
    const mean = graph.node("Mul", [sumNodes(graph, x!, type!, { ...params, keepAxes: true }), share]);
    const centered = graph.node("Sub", [x, mean]);
    return sumNodes(graph, graph.node("Mul", [centered, centered]), type!, params);
  },
  evaluate([x], y, { axes }) {
    const at = reducedPosition(x!.shape, axes);
    const means = new Float64Array(y.values.length);
    const share = y.values.length / x!.values.length;
    x!.values.forEach((value, i) => (means[at(i)]! += value * share));
    x!.values.forEach((value, i) => (y.values[at(i)]! += (value - means[at(i)]!) ** 2));
  },
  samples: (random) => [...samples(random), { inputs: [random.real(0, 3)], params: { axes: [0], keepAxes: false } }],
});

/** x − x̄ */
export function deviations(x: Tensor, { axes }: ReduceParams): Tensor {
  return x.sub(x.mean(axes, { keepAxes: true }));
}

/** The largest or smallest element; equals share the gradient. */
function extremum(
  name: string,
  onnx: string,
  what: string,
  start: number,
  f: (a: number, b: number) => number,
): Op<ReduceParams> {
  return defineOp<ReduceParams>({
    name,
    shape([x], params) {
      if (params.axes.some((axis) => x!.shape[axis] === 0))
        throw new ShapeError(name, `the ${what} of no elements: ${showType(x!)}`, "reduce an axis that has elements");
      return reducedShape(x!, params);
    },
    gradient([x], y, dy, params) {
      const kept = reducedShape(x!, { ...params, keepAxes: true });
      const winners = x!.equal(y.reshape(kept)).cast(x!.dtype);
      const share = winners.div(winners.apply(sum, [], { ...params, keepAxes: true }));
      return [share.mul(dy.reshape(kept))];
    },
    onnx: (graph, [x], { params }) => reduceNode(graph, onnx, x!, params),
    evaluate: ([x], y, { axes }) => fold(x!, y, axes, start, f),
    samples,
  });
}

export const max: Op<ReduceParams> = extremum("max", "ReduceMax", "largest", -Infinity, Math.max);

export const min: Op<ReduceParams> = extremum("min", "ReduceMin", "smallest", Infinity, Math.min);

/** The product over one axis, which stays with size 1. */
export const prod: Op<AxisParams> = defineOp<AxisParams>({
  name: "prod",
  shape: ([x], { axis }) => reducedShape(x!, { axes: [axis], keepAxes: true }),
  // An element's derivative is the product of all others: of those before and those behind, so that zeros do no harm.
  gradient([x], _y, dy, { axis }) {
    const size = x!.shape[axis]!;
    if (size === 0) return [x];
    const one = x!.scalar(1).expandTo(x!.shape.map((full, at) => (at === axis ? 1 : full)));
    const end = (from: number, to?: number): Tensor =>
      x!.slice(...x!.shape.map((_, at) => (at === axis ? ([from, to] as const) : null)));
    const before = one.apply(concat, [end(0, size - 1)], { axis }).cumprod(axis);
    const behind = end(1).apply(concat, [one], { axis }).flip(axis).cumprod(axis).flip(axis);
    return [before.mul(behind).mul(dy)];
  },
  onnx: (graph, [x], { params: { axis }, inputTypes: [type] }) =>
    type!.dtype === "int32" && sizeOf(type!.shape) > 0
      ? wrappedProduct(graph, x!, axis, type!.shape[axis]!)
      : reduceNode(graph, "ReduceProd", x!, { axes: [axis], keepAxes: true }),
  evaluate: ([x], y, { axis }) => fold(x!, y, [axis], 1, x!.dtype === "int32" ? Math.imul : (a, b) => a * b),
  samples: (random) => [
    { inputs: [random.real(2, 3)], params: { axis: 1 } },
    { inputs: [random.real(5, 2)], params: { axis: 0 } },
    { inputs: [{ ...random.real(1, 4), values: Float64Array.of(0, 2, -1, 3) }], params: { axis: 1 } },
    { inputs: [random.real(2, 0)], params: { axis: 1 } },
  ],
});

/** ReduceProd of int32 stops at the largest number, and Mul wraps around: one half of an axis times the other, again and again. */
function wrappedProduct(graph: OnnxGraph, x: OnnxValue, axis: number, size: number): OnnxValue {
  if (size === 1) return graph.node("Identity", [x]);
  const half = Math.floor(size / 2);
  const sizes = [half, half, ...(size % 2 ? [1] : [])];
  const [a, b, ...rest] = graph.nodes("Split", [x, graph.integers(sizes)], sizes.length, { axis });
  const product = graph.node("Mul", [a, b]);
  if (rest.length === 0) return wrappedProduct(graph, product, axis, half);
  return wrappedProduct(graph, graph.node("Concat", [product, ...rest], { axis }), axis, half + 1);
}

export interface CumulativeParams extends AxisParams {
  /** From the end instead of from the beginning. */
  readonly reverse: boolean;
  /** Each sum without its own element. */
  readonly exclusive: boolean;
}

/** Running sums along an axis. */
export const cumsum: Op<CumulativeParams> = defineOp<CumulativeParams>({
  name: "cumsum",
  shape: ([x]) => x!.shape,
  gradient: (_x, _y, dy, params) => [dy.apply(cumsum, [], { ...params, reverse: !params.reverse })],
  onnx(graph, [x], { params: { axis, reverse, exclusive }, inputTypes: [type] }) {
    const running = (values: OnnxValue): OnnxValue =>
      graph.node("CumSum", [values, graph.constant("int32", [], [axis])], {
        reverse: Number(reverse),
        exclusive: Number(exclusive),
      });
    return type!.shape[axis]! > longestRow ? inFloat64(graph, type!, running, x!) : running(x!);
  },
  evaluate([x], y, { axis, reverse, exclusive }) {
    const { shape, values, dtype } = x!;
    const stride = stridesOf(shape)[axis]!;
    const size = shape[axis]!;
    for (let first = 0; first < values.length; first++) {
      if (Math.floor(first / stride) % size !== 0) continue;
      let total = 0;
      for (let j = 0; j < size; j++) {
        const at = first + (reverse ? size - 1 - j : j) * stride;
        const next = dtype === "int32" ? (total + values[at]!) | 0 : total + values[at]!;
        y.values[at] = exclusive ? total : next;
        total = next;
      }
    }
  },
  samples: (random) => [
    { inputs: [random.real(2, 5)], params: { axis: 1, reverse: false, exclusive: false } },
    { inputs: [random.real(2, 5)], params: { axis: 1, reverse: true, exclusive: false } },
    { inputs: [random.real(4, 2)], params: { axis: 0, reverse: false, exclusive: true } },
    { inputs: [random.real(4, 2, 2)], params: { axis: 0, reverse: true, exclusive: true } },
    { inputs: [random.real(0, 2)], params: { axis: 0, reverse: false, exclusive: false } },
  ],
});

/** Where the largest or smallest element of an axis is, the first of equals. */
function position(
  name: string,
  onnx: string,
  what: string,
  isBetter: (a: number, b: number) => boolean,
): Op<AxisParams> {
  return defineOp<AxisParams>({
    name,
    shape([x], { axis }) {
      if (x!.shape[axis] === 0)
        throw new ShapeError(name, `the ${what} of no elements: ${showType(x!)}`, "choose an axis that has elements");
      return reducedShape(x!, { axes: [axis], keepAxes: false });
    },
    dtype([x]) {
      expectType(name, x!, numeric);
      return "int32";
    },
    onnx: (graph, [x], { params }) => graph.cast(graph.node(onnx, [x], { axis: params.axis, keepdims: 0 }), "int32"),
    evaluate([x], y, { axis }) {
      const { shape, values } = x!;
      const at = reducedPosition(shape, [axis]);
      const stride = stridesOf(shape)[axis]!;
      for (let i = 0; i < values.length; i++) {
        const place = Math.floor(i / stride) % shape[axis]!;
        const best = i + (y.values[at(i)]! - place) * stride;
        if (isBetter(values[i]!, values[best]!)) y.values[at(i)] = place;
      }
    },
    samples: (random) => [
      { inputs: [random.real(2, 3)], params: { axis: 1 } },
      { inputs: [random.real(4, 2, 3)], params: { axis: 1 } },
      { inputs: [random.integers(2, 3, 7)], params: { axis: 1 } },
    ],
    limits: ([x], { axis }) => [0, x!.shape[axis]! - 1],
  });
}

export const argmax: Op<AxisParams> = position("argmax", "ArgMax", "largest", (a, b) => a > b);

export const argmin: Op<AxisParams> = position("argmin", "ArgMin", "smallest", (a, b) => a < b);
