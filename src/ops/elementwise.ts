/**
 * Functions of one element. Every op exported here is also a method of Tensor under its own name: to add one, add it here
 * and nowhere else.
 */

import type { Data, OnnxGraph, OnnxValue, Sampler } from "../graph/op.ts";
import { defineOp, floats, type Op } from "../graph/op.ts";
import type { DType } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** An op that maps each element by itself and needs no parameters. */
export interface UnaryOp extends Op<undefined> {
  readonly elementwise: true;
}

interface Rule {
  readonly name: string;
  /** The ONNX op of the same meaning, or nodes that compute it. */
  readonly onnx: string | ((graph: OnnxGraph, x: OnnxValue, dtype: DType) => OnnxValue);
  readonly f: (x: number) => number;
  /** dx, given x, y and dy. */
  readonly gradient: (x: Tensor, y: Tensor, dy: Tensor) => Tensor | undefined;
  /** Samples inside the function's domain; all reals unless given. */
  readonly domain?: "real" | "positive";
  readonly dtypes?: readonly DType[];
  readonly onnxTypes?: readonly DType[];
}

function elementwise(rule: Rule): UnaryOp {
  const { name, onnx, f, gradient, domain = "real", dtypes = floats, onnxTypes } = rule;
  const sample = (random: Sampler, ...shape: number[]): Data => random[domain](...shape);
  const op = defineOp<undefined>({
    name,
    dtypes,
    onnxTypes,
    shape: ([x]) => x!.shape,
    gradient: ([x], y, dy) => [gradient(x!, y, dy)],
    onnx: (graph, [x], { inputTypes }) =>
      typeof onnx === "string" ? graph.node(onnx, [x]) : onnx(graph, x!, inputTypes[0]!.dtype),
    evaluate: ([x], y) => x!.values.forEach((value, i) => (y.values[i] = f(value))),
    samples: (random) =>
      [sample(random, 2, 3), sample(random), sample(random, 0, 3)].map((x) => ({ inputs: [x], params: undefined })),
  });
  return Object.assign(op, { elementwise: true as const });
}

export const neg: UnaryOp = elementwise({
  name: "neg",
  onnx: "Neg",
  f: (x) => -x,
  dtypes: ["float32", "float64", "int32"],
  gradient: (_x, _y, dy) => dy.neg(),
});

export const abs: UnaryOp = elementwise({
  name: "abs",
  onnx: "Abs",
  f: Math.abs,
  dtypes: ["float32", "float64", "int32"],
  gradient: (x, _y, dy) => dy.mul(x.sign()), //                     y = |x|     ⇒  dx = dy·sign x
});

export const sign: UnaryOp = elementwise({
  name: "sign",
  onnx: "Sign",
  f: Math.sign,
  dtypes: ["float32", "float64", "int32"],
  gradient: () => undefined, //                                     constant almost everywhere
});

export const exp: UnaryOp = elementwise({
  name: "exp",
  onnx: "Exp",
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
  f: Math.sqrt,
  domain: "positive",
  gradient: (_x, y, dy) => dy.div(y.mul(2)), //                     y = √x      ⇒  dx = dy / 2y
});

export const reciprocal: UnaryOp = elementwise({
  name: "reciprocal",
  onnx: "Reciprocal",
  f: (x) => 1 / x,
  domain: "positive",
  gradient: (_x, y, dy) => dy.mul(y).mul(y).neg(), //               y = 1/x     ⇒  dx = −dy·y²
});

export const tanh: UnaryOp = elementwise({
  name: "tanh",
  onnx: "Tanh",
  f: Math.tanh,
  gradient: (_x, y, dy) => dy.mul(y.mul(y).neg().add(1)), //        y = tanh x  ⇒  dx = dy·(1 − y²)
});

export const sigmoid: UnaryOp = elementwise({
  name: "sigmoid",
  onnx: "Sigmoid",
  f: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
  gradient: (_x, y, dy) => dy.mul(y.sub(y.mul(y))), //              y = σ(x)    ⇒  dx = dy·(y − y²)
});

export const relu: UnaryOp = elementwise({
  name: "relu",
  onnx: "Relu",
  f: (x) => (x > 0 || Number.isNaN(x) ? x : 0),
  gradient: (_x, y, dy) => dy.mul(y.step()), //                     y = max(x, 0)  ⇒  dx = dy·[y > 0]
});

/** 1 where x > 0, else 0: the derivative of relu. One pass in ONNX: a hard sigmoid with the steepest slope there is. */
export const step: UnaryOp = elementwise({
  name: "step",
  onnx: (graph, x, dtype) =>
    dtype === "float32"
      ? graph.node("HardSigmoid", [x], { alpha: { float: 3e38 }, beta: { float: 0 } })
      : graph.cast(graph.node("Greater", [x, graph.constant(dtype, [], [0])]), dtype),
  f: (x) => (x > 0 ? 1 : 0),
  gradient: () => undefined, //                                     constant almost everywhere
});

export const erf: UnaryOp = elementwise({
  name: "erf",
  onnx: "Erf",
  onnxTypes: ["float32"],
  f: errorFunction,
  gradient: (x, _y, dy) => dy.mul(x.mul(x).neg().exp()).mul(2 / Math.sqrt(Math.PI)), //  dx = dy·2/√π·e^(−x²)
});

/** ½·(1 + erf x): the normal distribution function at √2·x. */
export const halfErf: UnaryOp = elementwise({
  name: "halfErf",
  // ½·e + ½ in one pass: a hard sigmoid that never reaches its bounds.
  onnx: (graph, x) =>
    graph.node("HardSigmoid", [graph.node("Erf", [x])], { alpha: { float: 0.5 }, beta: { float: 0.5 } }),
  onnxTypes: ["float32"],
  f: (x) => (1 + errorFunction(x)) / 2,
  gradient: (x, _y, dy) => dy.mul(x.mul(x).neg().exp()).mul(1 / Math.sqrt(Math.PI)), //  dx = dy·e^(−x²)/√π
});

/** The Gaussian error linear unit, x·Φ(x), exact (Hendrycks and Gimpel 2016). */
export const gelu: UnaryOp = elementwise({
  name: "gelu",
  onnx: "Gelu",
  onnxTypes: ["float32"],
  f: (x) => (x / 2) * (1 + errorFunction(x / Math.SQRT2)),
  gradient(x, _y, dy) {
    const s = x.mul(Math.SQRT1_2); //                                s  = x/√2
    const density = s.div(s.mul(s).exp()).mul(1 / Math.sqrt(Math.PI)); //  x·φ(x) = s / e^(s²) / √π, 0 where e^(s²) overflows
    return dy.mul(density.add(s.halfErf())); //                      dx = dy·(x·φ(x) + Φ(x))
  },
});

/** erf to double precision: its Taylor series near zero, the continued fraction of erfc beyond (Abramowitz and Stegun 7.1.6, 7.1.14). */
function errorFunction(x: number): number {
  const z = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return ((2 / Math.sqrt(Math.PI)) * sum) / Math.exp(x * x);
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-x * x) / (fraction * Math.sqrt(Math.PI)));
}
