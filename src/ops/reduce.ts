/** Sums, products and extremes over axes, and running sums. */

import { ShapeError } from "../errors.ts";
import type { Data, Sample, Sampler } from "../graph/op.ts";
import { defineOp, expectType, floats, numeric, type OnnxGraph, type OnnxValue, type Op } from "../graph/op.ts";
import { type Shape, showType, sizeOf, stridesOf } from "../graph/types.ts";
import type { KernelValue, KernelWriter } from "../kernel/kernel.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { extreme } from "./arithmetic.ts";
import { concat } from "./movement.ts";
import { forNumbers, nanFlags } from "./nonfinite.ts";
import { partsKernel, partsOf } from "./parts.ts";
import {
  choice,
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

/** Returns a function from each position in x to the position of the reduced element that it belongs to. */
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
  { inputs: [random.real(2, 3)], params: { axes: [1], keepDims: false } },
  { inputs: [random.real(4, 2, 3)], params: { axes: [0, 2], keepDims: true } },
  { inputs: [random.real(2, 3)], params: { axes: [0, 1], keepDims: false } },
  { inputs: [random.real()], params: { axes: [], keepDims: false } },
];

export const sum: Op<ReduceParams> = defineOp<ReduceParams>({
  name: "sum",
  shape: ([x], params) => reducedShape(x!, params),
  gradient: ([x], _y, dy, params) => [
    dy.reshape(reducedShape(x!, { ...params, keepDims: true })).expand(x!.shape), //  every element gets dy
  ],
  onnx: (graph, [x], { params, inputTypes: [type] }) => sumNodes(graph, x!, type!, params),
  evaluate: ([x], y, { axes }) => fold(x!, y, axes, 0, x!.dtype === "int32" ? (a, b) => (a + b) | 0 : (a, b) => a + b),
  samples: (random) => [...samples(random), { inputs: [random.real(0, 3)], params: { axes: [0], keepDims: false } }],
});

/** Σ x² over all elements in one pass. The compiler puts it in place of a sum over the product of a tensor with itself. */
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
 * Σ (x − x̄)² over axes, where x̄ is the mean over the same axes. It is one op because its gradient is then simply 2·(x − x̄)·dy: the term
 * that comes from the mean has the factor Σ (x − x̄), which is 0 for every x, also in all further derivatives, and is not computed. The
 * compiler replaces the op by its parts.
 */
export const squaredDeviations: Op<ReduceParams> = defineOp<ReduceParams>({
  name: "squaredDeviations",
  dtypes: floats,
  shape: ([x], params) => reducedShape(x!, params),
  gradient([x], _y, dy, params) {
    const kept = dy.reshape(reducedShape(x!, { ...params, keepDims: true }));
    return [deviations(x!, params).mul(kept.mul(2))];
  },
  onnx(graph, [x], { params, inputTypes: [type], outputTypes: [y] }) {
    const share = graph.constant(type!.dtype, [], [sizeOf(y!.shape) / sizeOf(type!.shape)]);
    const mean = graph.node("Mul", [sumNodes(graph, x!, type!, { ...params, keepDims: true }), share]);
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
  samples: (random) => [...samples(random), { inputs: [random.real(0, 3)], params: { axes: [0], keepDims: false } }],
});

/** x − x̄ */
export function deviations(x: Tensor, { axes }: ReduceParams): Tensor {
  return x.sub(x.mean(axes, { keepDims: true }));
}

/** Makes an op for the largest or smallest element over axes. It is NaN if any element is NaN. Equal elements share the gradient. */
function extremum(
  name: "max" | "min",
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
      const kept = reducedShape(x!, { ...params, keepDims: true });
      const winners = x!.equal(y.reshape(kept)).cast(x!.dtype);
      const share = winners.div(winners.apply(sum, [], { ...params, keepDims: true }));
      return [share.mul(dy.reshape(kept))];
    },
    onnx(graph, [x], { params, inputTypes: [type], outputTypes }) {
      const [axis, ...more] = params.axes;
      const parts = axis !== undefined && more.length === 0 && partsOf(type!, axis, graph.target, 1);
      if (parts) {
        const largest = (write: KernelWriter, of: readonly KernelValue[]): KernelValue[] => [
          of.reduce((a, b) => extreme(write, name, a, b)),
        ];
        const kernel = partsKernel(parts, 0, largest, false);
        return graph.kernel(kernel, [outputTypes[0]!.shape], Array<OnnxValue>(parts.of).fill(x!))[0]!;
      }
      const quick = (branch: OnnxGraph): OnnxValue[] => [reduceNode(branch, onnx, x!, params)];
      const careful = (branch: OnnxGraph): OnnxValue[] => {
        const hasNaN = branch.cast(reduceNode(branch, "ReduceMax", nanFlags(branch, x!), params), "bool");
        const nan = branch.constant(type!.dtype, [], [Number.NaN]);
        return [branch.node("Where", [hasNaN, nan, reduceNode(branch, onnx, x!, params)])];
      };
      return forNumbers(graph, [x!], type!.dtype, outputTypes, quick, careful)[0]!;
    },
    evaluate: ([x], y, { axes }) => fold(x!, y, axes, start, f),
    samples,
  });
}

export const max: Op<ReduceParams> = extremum("max", "ReduceMax", "largest", -Infinity, Math.max);

export const min: Op<ReduceParams> = extremum("min", "ReduceMin", "smallest", Infinity, Math.min);

/**
 * Puts dy at the first maximum of x along an axis, or at the first NaN if there is one, and zeros elsewhere. Inputs: x, its maximum y, and
 * dy. Only the compiler makes this op, for max pooling.
 */
export const layAtMaximum: Op<AxisParams> = defineOp<AxisParams>({
  name: "layAtMaximum",
  dtypes: floats,
  shape: ([x]) => x!.shape,
  onnx(graph, [x, y, dy], { params: { axis }, inputTypes: [type], outputTypes }) {
    const { shape, dtype } = type!;
    const count = shape[axis]!;
    const parts = partsOf(type!, axis, graph.target, 2 + count);
    if (parts) {
      const laid = (write: KernelWriter, of: readonly KernelValue[], [most, given]: readonly KernelValue[]) => {
        const zero = write.constant(0);
        let rest = given!;
        return of.map((part, i) => {
          if (i === of.length - 1) return rest;
          const [isMost, isNoNumber] = [write.apply("equal", part, most!), write.apply("unordered", part, part)];
          const chosen = (a: KernelValue, b: KernelValue): KernelValue =>
            write.apply("select", isMost, a, write.apply("select", isNoNumber, a, b));
          const share = chosen(rest, zero);
          rest = chosen(zero, rest);
          return share;
        });
      };
      const kernel = partsKernel(parts, 2, laid, true);
      return graph.kernel(kernel, [shape], [y!, dy!, ...Array<OnnxValue>(count).fill(x!)])[0]!;
    }
    const kept = graph.integers(shape.map((size, at) => (at === axis ? 1 : size)));
    /** Takes the parts of x in order. `take` returns the share of the gradient for one part, and what is left for the parts after it. */
    const laid = (
      branch: OnnxGraph,
      take: (part: OnnxValue, most: OnnxValue, rest: OnnxValue) => readonly [share: OnnxValue, left: OnnxValue],
    ): OnnxValue[] => {
      const [most, given] = [y, dy].map((value) => branch.node("Reshape", [value, kept])) as [OnnxValue, OnnxValue];
      let rest = given;
      const shares = branch
        .nodes("Split", [x, branch.integers(Array<number>(count).fill(1))], count, { axis })
        .map((part, i) => {
          if (i === count - 1) return rest;
          const [share, left] = take(part, most, rest);
          rest = left;
          return share;
        });
      return [branch.node("Concat", shares, { axis })];
    };
    const quick = (branch: OnnxGraph): OnnxValue[] =>
      laid(branch, (part, most, rest) => {
        const share = branch.node("Mul", [branch.cast(branch.node("Equal", [part, most]), dtype), rest]);
        return [share, branch.node("Sub", [rest, share])];
      });
    const careful = (branch: OnnxGraph): OnnxValue[] =>
      laid(branch, (part, most, rest) => {
        const zero = branch.constant(dtype, [], [0]);
        const isFirst = branch.node("Or", [branch.node("Equal", [part, most]), branch.node("IsNaN", [part])]);
        return [branch.node("Where", [isFirst, rest, zero]), branch.node("Where", [isFirst, zero, rest])];
      });
    return forNumbers(graph, [y!, dy!], dtype, outputTypes, quick, careful)[0]!;
  },
  evaluate([x, y, dy], dx, { axis }) {
    const { shape, values } = x!;
    const at = reducedPosition(shape, [axis]);
    const isLaid = new Set<number>();
    for (let i = 0; i < values.length; i++) {
      const isMaximum = values[i] === y!.values[at(i)] || Number.isNaN(values[i]);
      if (!isMaximum || isLaid.has(at(i))) continue;
      isLaid.add(at(i));
      dx.values[i] = dy!.values[at(i)]!;
    }
  },
  samples: (random) =>
    (
      [
        [[4, 2, 3], 1],
        [[3, 2, 40], 1],
        [[2, 3], 0],
      ] as const
    ).map(([shape, axis]) => {
      const x = random.real(...shape);
      const params = { axes: [axis], keepDims: false };
      const kept = reducedShape(x, params);
      const most: Data = { ...x, shape: kept, values: new Float64Array(sizeOf(kept)) };
      max.evaluate([x], [most], params);
      return { inputs: [x, most, random.real(...kept)], params: { axis } };
    }),
});

/** The product over one axis, which stays with size 1. */
export const prod: Op<AxisParams> = defineOp<AxisParams>({
  name: "prod",
  shape: ([x], { axis }) => reducedShape(x!, { axes: [axis], keepDims: true }),
  // The derivative by an element is the product of all others: those before it times those after it. Nothing is divided by the element,
  // which may be 0.
  gradient([x], _y, dy, { axis }) {
    const size = x!.shape[axis]!;
    if (size === 0) return [x];
    const one = x!.scalar(1).expand(x!.shape.map((full, at) => (at === axis ? 1 : full)));
    const end = (from: number, to?: number): Tensor =>
      x!.slice(...x!.shape.map((_, at) => (at === axis ? ([from, to] as const) : null)));
    const before = one.apply(concat, [end(0, size - 1)], { axis }).cumprod(axis);
    const behind = end(1).apply(concat, [one], { axis }).flip(axis).cumprod(axis).flip(axis);
    return [before.mul(behind).mul(dy)];
  },
  onnx: (graph, [x], { params: { axis }, inputTypes: [type] }) =>
    type!.dtype === "int32" && sizeOf(type!.shape) > 0
      ? wrappedProduct(graph, x!, axis, type!.shape[axis]!)
      : reduceNode(graph, "ReduceProd", x!, { axes: [axis], keepDims: true }),
  evaluate: ([x], y, { axis }) => fold(x!, y, [axis], 1, x!.dtype === "int32" ? Math.imul : (a, b) => a * b),
  samples: (random) => [
    { inputs: [random.real(2, 3)], params: { axis: 1 } },
    { inputs: [random.real(5, 2)], params: { axis: 0 } },
    { inputs: [{ ...random.real(1, 4), values: Float64Array.of(0, 2, -1, 3) }], params: { axis: 1 } },
    { inputs: [random.real(2, 0)], params: { axis: 1 } },
  ],
});

/**
 * The product of int32 elements, which wraps around. ReduceProd saturates, but Mul wraps around: so one half of the axis is multiplied by
 * the other until one element is left.
 */
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
  /** Whether the sums run from the end to the beginning. */
  readonly reverse: boolean;
  /** Whether each sum leaves out the element at its own position. */
  readonly exclusive: boolean;
}

/** Running sums along an axis. */
export const cumsum: Op<CumulativeParams> = defineOp<CumulativeParams>({
  name: "cumsum",
  shape: ([x]) => x!.shape,
  gradient: (_x, _y, dy, params) => [dy.apply(cumsum, [], { ...params, reverse: !params.reverse })],
  onnx(graph, [x], { params: { axis, reverse, exclusive }, inputTypes: [type] }) {
    const running = (to: OnnxGraph, values: OnnxValue): OnnxValue =>
      to.node("CumSum", [values, to.constant("int32", [], [axis])], {
        reverse: Number(reverse),
        exclusive: Number(exclusive),
      });
    return choice(graph, Number(graph.open !== undefined || type!.shape[axis]! > longestRow), type!, [
      (to) => running(to, x!),
      (to) => inFloat64(to, type!, (wide) => running(to, wide), x!),
    ]);
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

/**
 * Makes an op for the position of the largest or smallest element along an axis, or of the first NaN if there is one. Of equal elements,
 * the first counts.
 */
function position(
  name: string,
  onnx: string,
  what: string,
  isBetter: (a: number, b: number) => boolean,
): Op<AxisParams> {
  const comesBefore = (a: number, b: number): boolean => isBetter(a, b) || (Number.isNaN(a) && !Number.isNaN(b));
  return defineOp<AxisParams>({
    name,
    shape([x], { axis }) {
      if (x!.shape[axis] === 0)
        throw new ShapeError(name, `the ${what} of no elements: ${showType(x!)}`, "choose an axis that has elements");
      return reducedShape(x!, { axes: [axis], keepDims: false });
    },
    dtype([x]) {
      expectType(name, x!, numeric);
      return "int32";
    },
    onnx(graph, [x], { params: { axis }, inputTypes: [type], outputTypes }) {
      const first = (branch: OnnxGraph, node: string, of: OnnxValue): OnnxValue =>
        branch.cast(branch.node(node, [of], { axis, keepdims: 0 }), "int32");
      const careful = (branch: OnnxGraph): OnnxValue[] => {
        const flags = nanFlags(branch, x!);
        const hasNaN = branch.cast(reduceNode(branch, "ReduceMax", flags, { axes: [axis], keepDims: false }), "bool");
        return [branch.node("Where", [hasNaN, first(branch, "ArgMax", flags), first(branch, onnx, x!)])];
      };
      return forNumbers(graph, [x!], type!.dtype, outputTypes, (branch) => [first(branch, onnx, x!)], careful)[0]!;
    },
    evaluate([x], y, { axis }) {
      const { shape, values } = x!;
      const at = reducedPosition(shape, [axis]);
      const stride = stridesOf(shape)[axis]!;
      for (let i = 0; i < values.length; i++) {
        const place = Math.floor(i / stride) % shape[axis]!;
        const best = i + (y.values[at(i)]! - place) * stride;
        if (comesBefore(values[i]!, values[best]!)) y.values[at(i)] = place;
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
