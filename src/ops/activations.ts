/** Elementwise functions of one tensor, with parameters. */

import {
  commonType,
  defineOp,
  expectElement,
  floats,
  numeric,
  type OnnxGraph,
  type OnnxValue,
  type Op,
  type Plateaus,
} from "../graph/op.ts";
import { type DType, isFloat } from "../graph/types.ts";
import { kernelExpm1 } from "../kernel/approximations.ts";
import type { KernelValue, KernelWriter } from "../kernel/kernel.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { where } from "./arithmetic.ts";
import { expm1Nodes } from "./exponentials.ts";

interface ParametricRule<P> {
  readonly name: string;
  readonly onnx: (graph: OnnxGraph, x: OnnxValue, params: P, dtype: DType) => OnnxValue;
  readonly f: (x: number, params: P) => number;
  /** dx, given x, y and dy. */
  readonly gradient: (x: Tensor, y: Tensor, dy: Tensor, params: P) => Tensor;
  readonly params: readonly P[];
  readonly dtypes?: readonly DType[];
  readonly plateaus?: (params: P) => Plateaus | undefined;
  readonly kernel?: (write: KernelWriter, x: KernelValue, params: P) => KernelValue;
  readonly severalPasses?: true;
}

function parametric<P extends object>(rule: ParametricRule<P>): Op<P> {
  const { name, onnx, f, gradient, params: tried, dtypes = floats, plateaus, kernel, severalPasses } = rule;
  return defineOp<P>({
    name,
    elementwise: true,
    ...(plateaus && { plateaus }),
    ...(kernel && {
      kernel: (write: KernelWriter, [x]: readonly KernelValue[], params: P) => kernel(write, x!, params),
    }),
    ...(severalPasses && { severalPasses }),
    shape: ([x]) => x!.shape,
    dtype(inputs, params) {
      const dtype = commonType(name, inputs, dtypes);
      for (const value of Object.values(params)) if (typeof value === "number") expectElement(name, value, dtype);
      return dtype;
    },
    gradient: ([x], y, dy, params) => [gradient(x!, y, dy, params)],
    onnx: (graph, [x], { params, inputTypes }) => onnx(graph, x!, params, inputTypes[0]!.dtype),
    evaluate: ([x], y, params) => x!.values.forEach((value, i) => (y.values[i] = f(value, params))),
    samples: (random) =>
      tried.flatMap((params) => [
        { inputs: [random.real(2, 3)], params },
        { inputs: [random.real(0, 3)], params },
      ]),
  });
}

/** Returns x, or the bound that x is beyond. NaN and the sign of a zero stay, unlike with Math.max and Math.min. */
function between(x: number, min: number, max: number): number {
  if (x < min) return min;
  if (x > max) return max;
  return x;
}

export interface ClipParams {
  readonly min?: number;
  readonly max?: number;
  /** Whether the gradient at the bounds themselves is 0, as is usual for activations. Default false: the gradient passes there. */
  readonly activation?: boolean;
}

/** Returns the nearest number from min to max. The gradient passes where x is between them. */
export const clip: Op<ClipParams> = parametric<ClipParams>({
  name: "clip",
  dtypes: numeric,
  onnx(graph, x, { min, max }, dtype) {
    // Where no bound is given, ONNX Runtime would clip at the largest finite number. So an infinite bound is given.
    const bound = (value: number | undefined, none: number): OnnxValue | undefined =>
      value !== undefined || isFloat(dtype) ? graph.constant(dtype, [], [value ?? none]) : undefined;
    return graph.node("Clip", [x, bound(min, -Infinity), bound(max, Infinity)]);
  },
  kernel(write, x, { min = -Infinity, max = Infinity }) {
    return write.apply("min", write.constant(max), write.apply("max", write.constant(min), x)); //  in this order NaN stays
  },
  f: (x, { min = -Infinity, max = Infinity }) => between(x, min, max),
  gradient(x, _y, dy, { min, max, activation }) {
    const isAbove = (bound: number): Tensor => (activation ? x.greater(bound) : x.greaterEqual(bound));
    const isBelow = (bound: number): Tensor => (activation ? x.less(bound) : x.lessEqual(bound));
    // Not a product with 0 and 1: 0 times an infinite gradient would be NaN.
    const zero = dy.scalar(0).expand(dy.shape);
    const above = min === undefined ? dy : isAbove(min).apply(where, [dy, zero], undefined);
    return max === undefined ? above : isBelow(max).apply(where, [above, zero], undefined);
  },
  params: [{ min: -0.5, max: 1 }, { min: 0.3 }, { max: 0 }, { min: -1, max: 1, activation: true }],
  plateaus: ({ min, max, activation }) => (activation ? { low: min, high: max, reached: true } : undefined),
});

export interface AlphaParams {
  readonly alpha: number;
}

/** x where x > 0, α·(eˣ − 1) elsewhere: the exponential linear unit (Clevert, Unterthiner and Hochreiter 2015). */
export const elu: Op<AlphaParams> = parametric<AlphaParams>({
  name: "elu",
  // ONNX's Elu computes eˣ − 1 directly, which loses the digits of small x.
  onnx(graph, x, { alpha }, dtype) {
    const scalar = (value: number): OnnxValue => graph.constant(dtype, [], [value]);
    const low = expm1Nodes(graph, graph.node("Min", [x, scalar(0)]), dtype);
    return graph.node("Where", [graph.node("Greater", [x, scalar(0)]), x, graph.node("Mul", [low, scalar(alpha)])]);
  },
  kernel: (write, x, { alpha }) =>
    write.apply(
      "select",
      write.apply("less", write.constant(0), x),
      x,
      write.apply("mul", kernelExpm1(write, x), write.constant(alpha)),
    ),
  severalPasses: true,
  f: (x, { alpha }) => (x > 0 ? x : alpha * Math.expm1(x)),
  gradient(x, _y, dy, { alpha }) {
    const low = x.apply(clip, [], { max: 0 }).exp(); // dx = dy where x > 0, dy·α·eˣ elsewhere, with an exponential that cannot overflow
    return x.greater(0).apply(where, [dy, dy.mul(low).mul(alpha)], undefined);
  },
  params: [{ alpha: 1 }, { alpha: 0.3 }],
  plateaus: ({ alpha }) => ({ low: -alpha, reached: false }),
});

/** x where x > 0, α·x elsewhere (Maas, Hannun and Ng 2013). */
export const leakyRelu: Op<AlphaParams> = parametric<AlphaParams>({
  name: "leakyRelu",
  onnx(graph, x, { alpha }, dtype) {
    if (dtype === "float32") return graph.node("LeakyRelu", [x], { alpha: { float: alpha } });
    const isPositive = graph.node("Greater", [x, graph.constant(dtype, [], [0])]);
    return graph.node("Where", [isPositive, x, graph.node("Mul", [x, graph.constant(dtype, [], [alpha])])]);
  },
  kernel: (write, x, { alpha }) =>
    write.apply("select", write.apply("less", write.constant(0), x), x, write.apply("mul", x, write.constant(alpha))),
  f: (x, { alpha }) => (x > 0 || Number.isNaN(x) ? x : alpha * x),
  gradient: (x, _y, dy, { alpha }) =>
    dy.mul(
      x
        .step()
        .mul(1 - alpha)
        .add(alpha),
    ), //  dx = dy·(α + (1 − α)·[x > 0])
  params: [{ alpha: 0.01 }, { alpha: 0.3 }],
});

export interface HardSigmoidParams {
  readonly slope: number;
  readonly offset: number;
}

/** slope·x + offset, clipped to the range from 0 to 1: a sigmoid made of straight lines. */
export const hardSigmoid: Op<HardSigmoidParams> = parametric<HardSigmoidParams>({
  name: "hardSigmoid",
  onnx(graph, x, { slope, offset }, dtype) {
    if (dtype === "float32")
      return graph.node("HardSigmoid", [x], { alpha: { float: slope }, beta: { float: offset } });
    const scalar = (value: number): OnnxValue => graph.constant(dtype, [], [value]);
    const line = graph.node("Add", [graph.node("Mul", [x, scalar(slope)]), scalar(offset)]);
    return graph.node("Clip", [line, scalar(0), scalar(1)]);
  },
  kernel(write, x, { slope, offset }) {
    const line = write.apply("add", write.apply("mul", x, write.constant(slope)), write.constant(offset));
    return write.apply("min", write.constant(1), write.apply("max", write.constant(0), line));
  },
  f: (x, { slope, offset }) => between(slope * x + offset, 0, 1),
  gradient(_x, y, dy, { slope }) {
    const zero = dy.scalar(0).expand(dy.shape);
    const above = y.greater(0).apply(where, [dy.mul(slope), zero], undefined);
    return y.less(1).apply(where, [above, zero], undefined);
  },
  params: [
    { slope: 1 / 6, offset: 0.5 },
    { slope: 0.9, offset: 0.4 },
  ],
  plateaus: () => ({ low: 0, high: 1, reached: true }),
});
