/** ONNX nodes for exponentials near 0 and logarithms near 1, where the plain formulas lose digits. */
import type { OnnxGraph, OnnxValue } from "../graph/op.ts";
import type { DType } from "../graph/types.ts";

/** eˣ − 1 in ONNX, by Kahan's form: (u − 1)·x / ln u with u = eˣ as rounded. */
export function expm1Nodes(graph: OnnxGraph, x: OnnxValue, dtype: DType): OnnxValue {
  const one = graph.constant(dtype, [], [1]);
  const u = graph.node("Exp", [x]);
  const low = graph.node("Sub", [u, one]);
  const isOne = graph.node("Equal", [u, one]);
  const logarithm = graph.node("Where", [isOne, one, graph.node("Log", [u])]);
  const scaled = graph.node("Mul", [low, graph.node("Div", [x, logarithm])]);
  // If x is so small that u is 1, the result is x itself. For large |x|, where ln u is infinite or equal to x, it is u − 1.
  const isLarge = graph.node("Greater", [graph.node("Abs", [x]), graph.constant(dtype, [], [1])]);
  return graph.node("Where", [isOne, x, graph.node("Where", [isLarge, low, scaled])]);
}

/** ln(1 + x) in ONNX, by Kahan's form: ln u · x / (u − 1) with u = 1 + x as rounded. */
export function log1pNodes(graph: OnnxGraph, x: OnnxValue, dtype: DType): OnnxValue {
  const one = graph.constant(dtype, [], [1]);
  const u = graph.node("Add", [x, one]);
  const low = graph.node("Sub", [u, one]);
  const isLost = graph.node("Equal", [low, graph.constant(dtype, [], [0])]);
  const logarithm = graph.node("Log", [u]);
  const ratio = graph.node("Div", [x, graph.node("Where", [isLost, one, low])]);
  // For large x the ratio is 1 up to rounding. It is left out there, since ∞ / ∞ would be NaN.
  const isLarge = graph.node("Greater", [x, one]);
  const scaled = graph.node("Where", [isLarge, logarithm, graph.node("Mul", [logarithm, ratio])]);
  return graph.node("Where", [isLost, x, scaled]);
}

/** ln(1 + eˣ) in ONNX. */
export function softplusNodes(graph: OnnxGraph, x: OnnxValue, dtype: DType): OnnxValue {
  if (dtype === "float32") return graph.node("Softplus", [x]);
  const small = graph.node("Exp", [graph.node("Neg", [graph.node("Abs", [x])])]);
  return graph.node("Add", [graph.node("Relu", [x]), log1pNodes(graph, small, dtype)]);
}
