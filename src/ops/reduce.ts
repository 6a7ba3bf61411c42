/** Sums and extremes over axes. */

import { ShapeError } from "../errors.ts";
import type { Data, Sample, Sampler } from "../graph/op.ts";
import { defineOp, type OnnxGraph, type OnnxValue, type Op } from "../graph/op.ts";
import { type Shape, showType, stridesOf, type TensorType } from "../graph/types.ts";

export interface ReduceParams {
  /** Axes to reduce, counted from the front. */
  readonly axes: readonly number[];
  /** Whether a reduced axis stays, with size 1. */
  readonly keepAxes: boolean;
}

function reducedShape(x: TensorType, { axes, keepAxes }: ReduceParams): Shape {
  if (keepAxes) return x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  return x.shape.filter((_, axis) => !axes.includes(axis));
}

/** For each position of x, the position of the reduced element it belongs to. */
function reducedPosition(shape: Shape, axes: readonly number[]): (position: number) => number {
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

const reduceNode = (graph: OnnxGraph, type: string, x: OnnxValue, { axes, keepAxes }: ReduceParams): OnnxValue =>
  axes.length === 0
    ? graph.node("Identity", [x])
    : graph.node(type, [x, graph.integers(axes)], { keepdims: Number(keepAxes) });

export const sum: Op<ReduceParams> = defineOp<ReduceParams>({
  name: "sum",
  shape: ([x], params) => reducedShape(x!, params),
  gradient: ([x], _y, dy, params) => [
    dy.reshape(reducedShape(x!, { ...params, keepAxes: true })).expandTo(x!.shape), //  each element's share is dy
  ],
  onnx: (graph, [x], { params }) => reduceNode(graph, "ReduceSum", x!, params),
  evaluate: ([x], y, { axes }) => fold(x!, y, axes, 0, (a, b) => a + b),
  samples: (random) => [...samples(random), { inputs: [random.real(0, 3)], params: { axes: [0], keepAxes: false } }],
});

export const max: Op<ReduceParams> = defineOp<ReduceParams>({
  name: "max",
  dtypes: ["float32", "float64", "int32"],
  shape([x], params) {
    if (params.axes.some((axis) => x!.shape[axis] === 0))
      throw new ShapeError("max", `the largest of no elements: ${showType(x!)}`, "reduce an axis that has elements");
    return reducedShape(x!, params);
  },
  gradient([x], y, dy, params) {
    const kept = reducedShape(x!, { ...params, keepAxes: true });
    const largest = x!.equal(y.reshape(kept)).cast(x!.dtype);
    const share = largest.div(largest.apply(sum, [], { ...params, keepAxes: true }));
    return [share.mul(dy.reshape(kept))]; //                          equals share the gradient
  },
  onnx: (graph, [x], { params }) => reduceNode(graph, "ReduceMax", x!, params),
  evaluate: ([x], y, { axes }) => fold(x!, y, axes, -Infinity, Math.max),
  samples,
});

export const argmax: Op<{ readonly axis: number }> = defineOp<{ readonly axis: number }>({
  name: "argmax",
  shape([x], { axis }) {
    if (x!.shape[axis] === 0)
      throw new ShapeError("argmax", `the largest of no elements: ${showType(x!)}`, "choose an axis that has elements");
    return reducedShape(x!, { axes: [axis], keepAxes: false });
  },
  dtype: () => "int32",
  onnx: (graph, [x], { params }) => graph.cast(graph.node("ArgMax", [x], { axis: params.axis, keepdims: 0 }), "int32"),
  evaluate([x], y, { axis }) {
    const at = reducedPosition(x!.shape, [axis]);
    const stride = stridesOf(x!.shape)[axis]!;
    const best = new Float64Array(y.values.length).fill(-Infinity);
    for (let i = 0; i < x!.values.length; i++) {
      if (x!.values[i]! <= best[at(i)]!) continue;
      best[at(i)] = x!.values[i]!;
      y.values[at(i)] = Math.floor(i / stride) % x!.shape[axis]!;
    }
  },
  samples: (random) => [
    { inputs: [random.real(2, 3)], params: { axis: 1 } },
    { inputs: [random.real(4, 2, 3)], params: { axis: 1 } },
  ],
});
