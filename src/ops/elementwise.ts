/**
 * Elementwise functions of one tensor. Every op exported here is also a method of Tensor with the same name: to add one, add it here and
 * nowhere else.
 */

import type { Data, OnnxGraph, OnnxValue, Plateaus, Sampler } from "../graph/op.ts";
import { defineOp, floats, type Op } from "../graph/op.ts";
import type { DType } from "../graph/types.ts";
import {
  kernelErf,
  kernelExp,
  kernelNormal,
  kernelSigmoid,
  kernelSoftplus,
  kernelTanh,
} from "../kernel/approximations.ts";
import type { KernelValue, KernelWriter } from "../kernel/kernel.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { chosen, gate } from "./arithmetic.ts";
import { expm1Nodes, log1pNodes, softplusNodes } from "./exponentials.ts";

/** An op that computes each element of its result from the same element of its one input, without parameters. */
export interface UnaryOp extends Op<undefined> {
  readonly elementwise: true;
}

interface UnaryRule {
  readonly name: string;
  /** The ONNX op that computes the same, or a function that writes the nodes. */
  readonly onnx: string | ((graph: OnnxGraph, x: OnnxValue, dtype: DType) => OnnxValue);
  readonly f: (x: number) => number;
  /** dx, given x, y and dy. */
  readonly gradient: (x: Tensor, y: Tensor, dy: Tensor) => Tensor | undefined;
  /** The function's domain, from which samples are drawn; a function maps reals into it. Default: all reals, from −2 to 2. */
  readonly domain?: "real" | "positive" | ((x: number) => number);
  readonly dtypes?: readonly DType[];
  readonly onnxTypes?: readonly DType[];
  readonly plateaus?: Plateaus;
  readonly kernel?: (write: KernelWriter, x: KernelValue) => KernelValue;
  readonly severalPasses?: true;
}

function elementwise(rule: UnaryRule): UnaryOp {
  const {
    name,
    onnx,
    f,
    gradient,
    domain = "real",
    dtypes = floats,
    onnxTypes,
    plateaus,
    kernel,
    severalPasses,
  } = rule;
  const sample = (random: Sampler, ...shape: number[]): Data => {
    if (typeof domain === "string") return random[domain](...shape);
    const x = random.real(...shape);
    return { ...x, values: x.values.map(domain) };
  };
  const op = defineOp<undefined>({
    name,
    dtypes,
    onnxTypes,
    ...(plateaus && { plateaus: () => plateaus }),
    ...(kernel && { kernel: (write: KernelWriter, [x]: readonly KernelValue[]) => kernel(write, x!) }),
    ...(severalPasses && { severalPasses }),
    shape: ([x]) => x!.shape,
    gradient: ([x], y, dy) => [gradient(x!, y, dy)],
    onnx: (graph, [x], { inputTypes }) =>
      typeof onnx === "string" ? graph.node(onnx, [x]) : onnx(graph, x!, inputTypes[0]!.dtype),
    evaluate([x], y) {
      const rounded = y.dtype === "int32" ? (value: number) => f(value) | 0 : f; //  −(−2³¹) wraps around
      for (let i = 0; i < y.values.length; i++) y.values[i] = rounded(x!.values[i]!);
    },
    samples: (random) =>
      [sample(random, 2, 3), sample(random), sample(random, 0, 3)].map((x) => ({ inputs: [x], params: undefined })),
  });
  return Object.assign(op, { elementwise: true as const });
}

export const neg: UnaryOp = elementwise({
  name: "neg",
  onnx: "Neg",
  kernel: (write, x) => write.apply("neg", x),
  f: (x) => -x,
  dtypes: ["float32", "float64", "int32"],
  gradient: (_x, _y, dy) => dy.neg(),
});

export const abs: UnaryOp = elementwise({
  name: "abs",
  onnx: "Abs",
  kernel: (write, x) => write.apply("abs", x),
  f: Math.abs,
  dtypes: ["float32", "float64", "int32"],
  gradient: (x, _y, dy) => dy.mul(x.sign()), //                     y = |x|     ⇒  dx = dy·sign x
});

export const sign: UnaryOp = elementwise({
  name: "sign",
  onnx: "Sign",
  kernel: (write, x) => {
    const [one, none] = [write.constant(1), write.constant(0)];
    const zero = write.apply("add", x, none); //  NaN stays NaN, and −0 becomes 0
    const notAbove = write.apply("select", write.apply("less", x, none), write.constant(-1), zero);
    return write.apply("select", write.apply("less", none, x), one, notAbove);
  },
  f: (x) => Math.sign(x) + 0,
  dtypes: ["float32", "float64", "int32"],
  gradient: () => undefined, //                                     constant almost everywhere
});

export const exp: UnaryOp = elementwise({
  name: "exp",
  onnx: "Exp",
  kernel: kernelExp,
  f: Math.exp,
  gradient: (_x, y, dy) => dy.mul(y), //                            y = eˣ      ⇒  dx = dy·y
});

export const log: UnaryOp = elementwise({
  name: "log",
  onnx: "Log",
  f: Math.log,
  domain: "positive",
  gradient: (x, _y, dy) => dy.div(x), //                            y = ln x    ⇒  dx = dy / x
});

export const sqrt: UnaryOp = elementwise({
  name: "sqrt",
  onnx: "Sqrt",
  kernel: (write, x) => write.apply("sqrt", x),
  f: Math.sqrt,
  domain: "positive",
  gradient: (_x, y, dy) => dy.div(y.mul(2)), //                     y = √x      ⇒  dx = dy / 2y
});

export const reciprocal: UnaryOp = elementwise({
  name: "reciprocal",
  onnx: "Reciprocal",
  kernel: (write, x) => write.apply("div", write.constant(1), x),
  f: (x) => 1 / x,
  domain: "positive",
  gradient: (_x, y, dy) => dy.mul(y).mul(y).neg(), //               y = 1/x     ⇒  dx = −dy·y²
});

export const tanh: UnaryOp = elementwise({
  name: "tanh",
  onnx: "Tanh",
  kernel: kernelTanh,
  f: Math.tanh,
  gradient: (_x, y, dy) => dy.mul(y.mul(y).neg().add(1)), //        y = tanh x  ⇒  dx = dy·(1 − y²)
  plateaus: { low: -1, high: 1, reached: false },
});

export const sigmoid: UnaryOp = elementwise({
  name: "sigmoid",
  // ONNX Runtime's Sigmoid gives 0 below −18, and above that its small results are inaccurate.
  onnx(graph, x, dtype) {
    const grown = graph.node("Exp", [graph.node("Neg", [x])]);
    return graph.node("Reciprocal", [graph.node("Add", [grown, graph.constant(dtype, [], [1])])]);
  },
  kernel: kernelSigmoid,
  severalPasses: true,
  f: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
  gradient: (_x, y, dy) => dy.mul(y.sub(y.mul(y))), //              y = σ(x)    ⇒  dx = dy·(y − y²)
  plateaus: { low: 0, high: 1, reached: false },
});

export const relu: UnaryOp = elementwise({
  name: "relu",
  onnx: "Relu",
  kernel: (write, x) => write.apply("max", write.constant(0), x),
  f: (x) => (x >= 0 || Number.isNaN(x) ? x : 0),
  gradient: (_x, y, dy) => dy.apply(gate, [y], undefined), //       y = max(x, 0)  ⇒  dx = dy where y > 0
  plateaus: { low: 0, reached: true },
});

/** 1 where x > 0, else 0; NaN for NaN: the derivative of relu. In ONNX it is one node: a hard sigmoid with the steepest possible slope. */
export const step: UnaryOp = elementwise({
  name: "step",
  onnx: (graph, x, dtype) =>
    dtype === "float32"
      ? graph.node("HardSigmoid", [x], { alpha: { float: 3e38 }, beta: { float: 0 } })
      : graph.node("Relu", [graph.node("Sign", [x])]),
  kernel(write, x) {
    const none = write.constant(0);
    const steep = write.apply("fma", x, write.constant(3e38), none); //  adding 0 turns −0 into 0
    return write.apply("min", write.constant(1), write.apply("max", none, steep));
  },
  f: (x) => (Number.isNaN(x) ? x : Number(x > 0)),
  gradient: () => undefined, //                                     constant almost everywhere
});

export const erf: UnaryOp = elementwise({
  name: "erf",
  onnx: "Erf",
  kernel: kernelErf,
  onnxTypes: ["float32"],
  f: errorFunction,
  gradient: (x, _y, dy) => dy.mul(x.mul(x).neg().exp()).mul(2 / Math.sqrt(Math.PI)), //  dx = dy·2/√π·e^(−x²)
});

/** ½·(1 + erf x): the normal distribution function at √2·x. */
export const halfErf: UnaryOp = elementwise({
  name: "halfErf",
  // ½·erf x + ½ as one node: a hard sigmoid whose bounds, 0 and 1, are never exceeded.
  onnx: (graph, x) =>
    graph.node("HardSigmoid", [graph.node("Erf", [x])], { alpha: { float: 0.5 }, beta: { float: 0.5 } }),
  kernel: kernelNormal,
  onnxTypes: ["float32"],
  f: (x) => complementaryErrorFunction(-x) / 2,
  gradient: (x, _y, dy) => dy.mul(x.mul(x).neg().exp()).mul(1 / Math.sqrt(Math.PI)), //  dx = dy·e^(−x²)/√π
});

/** The Gaussian error linear unit, x·Φ(x), exact (Hendrycks and Gimpel 2016). */
export const gelu: UnaryOp = elementwise({
  name: "gelu",
  onnx: "Gelu",
  kernel: (write, x) => write.apply("mul", x, kernelNormal(write, write.apply("mul", x, write.constant(Math.SQRT1_2)))),
  onnxTypes: ["float32"],
  f: (x) => (x / 2) * complementaryErrorFunction(-x / Math.SQRT2),
  gradient(x, _y, dy) {
    const s = x.mul(Math.SQRT1_2); //                                s  = x/√2
    const density = s.mul(s.mul(s).neg().exp()).mul(1 / Math.sqrt(Math.PI)); //  x·φ(x) = s·e^(−s²) / √π
    return dy.mul(density.add(s.halfErf())); //                      dx = dy·(x·φ(x) + Φ(x))
  },
});

export const floor: UnaryOp = elementwise({
  name: "floor",
  onnx: "Floor",
  f: Math.floor,
  gradient: () => undefined, //                                     constant almost everywhere
});

export const ceil: UnaryOp = elementwise({
  name: "ceil",
  onnx: "Ceil",
  f: Math.ceil,
  gradient: () => undefined, //                                     constant almost everywhere
});

/** Rounds to the nearest whole number, and halves to the even one, as NumPy and PyTorch do. */
export const round: UnaryOp = elementwise({
  name: "round",
  onnx: "Round",
  kernel: (write, x) => write.apply("round", x),
  f: (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)),
  gradient: () => undefined, //                                     constant almost everywhere
});

/** eˣ − 1 without the loss of digits near 0. */
export const expm1: UnaryOp = elementwise({
  name: "expm1",
  onnx: expm1Nodes,
  f: Math.expm1,
  gradient: (x, _y, dy) => dy.mul(x.exp()), //                      y = eˣ − 1     ⇒  dx = dy·eˣ
});

/** ln(1 + x) without the loss of digits near 0. */
export const log1p: UnaryOp = elementwise({
  name: "log1p",
  onnx: log1pNodes,
  f: Math.log1p,
  domain: "positive",
  gradient: (x, _y, dy) => dy.div(x.add(1)), //                     y = ln(1 + x)  ⇒  dx = dy / (1 + x)
});

export const sin: UnaryOp = elementwise({
  name: "sin",
  onnx: "Sin",
  f: Math.sin,
  gradient: (x, _y, dy) => dy.mul(x.cos()), //                      y = sin x      ⇒  dx = dy·cos x
});

export const cos: UnaryOp = elementwise({
  name: "cos",
  onnx: "Cos",
  f: Math.cos,
  gradient: (x, _y, dy) => dy.mul(x.sin()).neg(), //                y = cos x      ⇒  dx = −dy·sin x
});

export const tan: UnaryOp = elementwise({
  name: "tan",
  onnx: (graph, x, dtype) =>
    dtype === "float32" ? graph.node("Tan", [x]) : graph.node("Div", [graph.node("Sin", [x]), graph.node("Cos", [x])]),
  f: Math.tan,
  domain: (x) => x * 0.7,
  gradient: (_x, y, dy) => dy.mul(y.mul(y).add(1)), //              y = tan x      ⇒  dx = dy·(1 + y²)
});

/** sin(πx) / (πx), 1 at 0. */
export const sinc: UnaryOp = elementwise({
  name: "sinc",
  onnx(graph, x, dtype) {
    const scalar = (value: number): OnnxValue => graph.constant(dtype, [], [value]);
    const isZero = graph.node("Equal", [x, scalar(0)]);
    // sin(πx) = (−1)ⁿ·sin(π·(x − n)), where n is the nearest whole number. This form is exact at whole numbers.
    const n = graph.node("Round", [x]);
    const half = graph.node("Mul", [n, scalar(0.5)]);
    const isOdd = graph.node("Abs", [graph.node("Sub", [half, graph.node("Round", [half])])]); //  0 or ½
    const sine = graph.node("Sin", [graph.node("Mul", [graph.node("Sub", [x, n]), scalar(Math.PI)])]);
    const signed = graph.node("Mul", [sine, graph.node("Sub", [scalar(1), graph.node("Mul", [isOdd, scalar(4)])])]);
    const turn = graph.node("Mul", [x, scalar(Math.PI)]);
    return graph.node("Where", [
      isZero,
      scalar(1),
      graph.node("Div", [signed, graph.node("Where", [isZero, scalar(1), turn])]),
    ]);
  },
  f(x) {
    if (x === 0) return 1;
    const n = Math.round(x);
    return ((n % 2 === 0 ? 1 : -1) * Math.sin(Math.PI * (x - n))) / (Math.PI * x);
  },
  gradient(x, y, dy) {
    // y = sin πx / πx  ⇒  dx = dy·(cos πx − y) / x. Near 0 this subtracts nearly equal numbers, so the Taylor series is used there.
    const isNear = x.abs().less(0.5);
    const zero = x.scalar(0).expand(x.shape);
    const near = chosen(isNear, x, zero);
    const far = chosen(isNear, zero.add(1), x);
    const square = near.mul(near);
    const series = sincSeries.reduceRight<Tensor>((sum, c) => sum.mul(square).add(c), zero).mul(near);
    // cos πx, in a form that is exact at whole numbers, as for the sine above.
    const n = far.round();
    const isOdd = n.mul(0.5).sub(n.mul(0.5).round()).abs();
    const cosine = far.sub(n).mul(Math.PI).cos().mul(isOdd.mul(-4).add(1));
    const slope = cosine.sub(y).div(far);
    return dy.mul(chosen(isNear, series, slope));
  },
});

/** The coefficients of x, x³, x⁵, … in sinc′ = Σ (−1)ᵏ·2k·π²ᵏ·x²ᵏ⁻¹ / (2k + 1)!, enough for |x| < ½. */
const sincSeries: readonly number[] = Array.from({ length: 10 }, (_, i) => {
  const k = i + 1;
  let term = (-1) ** k * 2 * k;
  for (let n = 1; n <= 2 * k; n++) term *= Math.PI / (n + 1);
  return term;
});

/**
 * 1 − x² without loss of digits. Near ±1 it is (1 − x)·(1 + x); near 0 the derivative of this product would lose digits, so it is 1 − x·x.
 */
const belowOne = (x: Tensor): Tensor => chosen(x.abs().less(0.5), x.mul(x).neg().add(1), x.neg().add(1).mul(x.add(1)));

/**
 * Returns `inner` and `scale` such that 1 + x² = (1 + inner²) / scale². They are x and 1 for |x| up to 1. Above 1, where x² may overflow,
 * both are 1/x.
 */
function aboutOne(x: Tensor): { readonly inner: Tensor; readonly scale: Tensor } {
  const isLarge = x.abs().greater(1);
  const one = x.scalar(1).expand(x.shape);
  const inverse = chosen(isLarge, x, one).reciprocal();
  return { inner: chosen(isLarge, inverse, x), scale: inverse };
}

export const asin: UnaryOp = elementwise({
  name: "asin",
  onnx: "Asin",
  onnxTypes: ["float32"],
  f: Math.asin,
  domain: (x) => x * 0.45,
  gradient: (x, _y, dy) => dy.div(belowOne(x).sqrt()), //           y = sin⁻¹ x    ⇒  dx = dy / √(1 − x²)
});

export const acos: UnaryOp = elementwise({
  name: "acos",
  onnx: "Acos",
  onnxTypes: ["float32"],
  f: Math.acos,
  domain: (x) => x * 0.45,
  gradient: (x, _y, dy) => dy.div(belowOne(x).sqrt()).neg(), //     y = cos⁻¹ x    ⇒  dx = −dy / √(1 − x²)
});

export const atan: UnaryOp = elementwise({
  name: "atan",
  onnx: "Atan",
  onnxTypes: ["float32"],
  f: Math.atan,
  gradient(x, _y, dy) {
    const { inner, scale } = aboutOne(x);
    return dy.mul(scale).mul(scale).div(inner.mul(inner).add(1)); // y = tan⁻¹ x    ⇒  dx = dy / (1 + x²)
  },
});

export const sinh: UnaryOp = elementwise({
  name: "sinh",
  onnx: "Sinh",
  onnxTypes: ["float32"],
  f: Math.sinh,
  gradient: (x, _y, dy) => dy.mul(x.cosh()), //                     y = sinh x     ⇒  dx = dy·cosh x
});

export const cosh: UnaryOp = elementwise({
  name: "cosh",
  onnx: "Cosh",
  onnxTypes: ["float32"],
  f: Math.cosh,
  gradient: (x, _y, dy) => dy.mul(x.sinh()), //                     y = cosh x     ⇒  dx = dy·sinh x
});

export const asinh: UnaryOp = elementwise({
  name: "asinh",
  onnx: "Asinh",
  onnxTypes: ["float32"],
  f: Math.asinh,
  gradient(x, _y, dy) {
    const { inner, scale } = aboutOne(x);
    return dy.mul(scale.abs()).div(inner.mul(inner).add(1).sqrt()); //  y = sinh⁻¹ x  ⇒  dx = dy / √(1 + x²)
  },
});

export const acosh: UnaryOp = elementwise({
  name: "acosh",
  onnx: "Acosh",
  onnxTypes: ["float32"],
  f: Math.acosh,
  domain: (x) => 1.1 + Math.abs(x),
  gradient: (x, _y, dy) => dy.div(x.sub(1).sqrt()).div(x.add(1).sqrt()), //  y = cosh⁻¹ x  ⇒  dx = dy / √(x² − 1)
});

export const atanh: UnaryOp = elementwise({
  name: "atanh",
  onnx: "Atanh",
  onnxTypes: ["float32"],
  f: Math.atanh,
  domain: (x) => x * 0.45,
  gradient: (x, _y, dy) => dy.div(belowOne(x)), //                  y = tanh⁻¹ x   ⇒  dx = dy / (1 − x²)
});

/** ln(1 + eˣ), a smooth relu. It does not overflow for large x, and does not become 0 for very negative x. */
export const softplus: UnaryOp = elementwise({
  name: "softplus",
  onnx: softplusNodes,
  kernel: kernelSoftplus,
  f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  gradient: (x, _y, dy) => dy.mul(x.sigmoid()), //                  y = ln(1 + eˣ) ⇒  dx = dy·σ(x)
});

/** x / (1 + |x|) */
export const softsign: UnaryOp = elementwise({
  name: "softsign",
  onnx: (graph, x, dtype) =>
    graph.node("Div", [x, graph.node("Add", [graph.node("Abs", [x]), graph.constant(dtype, [], [1])])]),
  kernel: (write, x) => write.apply("div", x, write.apply("add", write.apply("abs", x), write.constant(1))),
  severalPasses: true,
  f: (x) => x / (1 + Math.abs(x)),
  gradient(x, _y, dy) {
    const rate = x.abs().add(1).reciprocal();
    return dy.mul(rate).mul(rate); //                                y = x / (1 + |x|)  ⇒  dx = dy / (1 + |x|)²
  },
});

/** The cube root, negative for negative x. The gradient at 0 is infinite. */
export const cbrt: UnaryOp = elementwise({
  name: "cbrt",
  onnx(graph, x, dtype) {
    const scalar = (value: number): OnnxValue => graph.constant(dtype, [], [value]);
    const size = graph.node("Abs", [x]);
    const rough = graph.node("Mul", [graph.node("Sign", [x]), graph.node("Pow", [size, scalar(1 / 3)])]);
    // 1/3 is not exact in floating point, so the power loses digits. One step of Newton's method, y + (x / y² − y) / 3, restores them.
    const square = graph.node("Mul", [rough, rough]);
    const rest = graph.node("Sub", [graph.node("Div", [x, square]), rough]);
    const better = graph.node("Add", [rough, graph.node("Mul", [rest, scalar(1 / 3)])]);
    // The step would compute 0 / 0 for x = 0 and ∞ / ∞ for infinite x. These, and NaN, take the result of the power.
    const isPlain = graph.node("And", [
      graph.node("Greater", [size, scalar(0)]),
      graph.node("Less", [size, scalar(Number.POSITIVE_INFINITY)]),
    ]);
    return graph.node("Where", [isPlain, better, rough]);
  },
  f: Math.cbrt,
  gradient: (_x, y, dy) => dy.div(y.mul(y).mul(3)), //              y = ∛x         ⇒  dx = dy / 3y²
});

/** erf to double precision: its Taylor series near 0, and 1 − erfc beyond (Abramowitz and Stegun 7.1.6). */
function errorFunction(x: number): number {
  if (!(Math.abs(x) < 1)) return Number.isNaN(x) ? x : Math.sign(x) * (1 - complementaryErrorFunction(Math.abs(x)));
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return ((2 / Math.sqrt(Math.PI)) * sum) / Math.exp(x * x);
}

/** 1 − erf x without loss of digits for large x, where its continued fraction is used (Abramowitz and Stegun 7.1.14). */
function complementaryErrorFunction(x: number): number {
  if (x < 0) return 2 - complementaryErrorFunction(-x);
  if (!(x >= 1)) return 1 - errorFunction(x);
  if (x > 30) return 0;
  let fraction = x;
  for (let n = 400; n > 0; n--) fraction = x + n / 2 / fraction;
  // x² is split into two parts, and the first is exact: an absolute error of the exponent becomes a relative error of the result.
  const high = Math.round(x * 2 ** 20) / 2 ** 20;
  return (Math.exp(-high * high) * Math.exp((high - x) * (high + x))) / (fraction * Math.sqrt(Math.PI));
}
