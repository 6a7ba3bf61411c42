/** Elementwise losses whose derivative is not that of the formula at the ends of its domain. */
import { floats, type OnnxValue, type Op } from "../graph/op.ts";
import { binary } from "./arithmetic.ts";
import { log1pNodes } from "./exponentials.ts";

/** The smallest value that is used as the logarithm of a probability. */
const lowest = -100;
/** The smallest value that is used as p·(1 − p). */
const least = 1e-12;

/**
 * −y·log p − (1 − y)·log(1 − p) for probabilities p and labels y, with no logarithm below −100. In its derivative (p − y) / (p·(1 − p)) the
 * denominator is at least 1e-12, so that the derivative is finite at 0 and 1, and 0 for p = y, as in PyTorch.
 */
export const probabilityLoss: Op<undefined> = binary({
  name: "probabilityLoss",
  dtypes: floats,
  onnx(graph, p, y, dtype) {
    const scalar = (value: number): OnnxValue => graph.constant(dtype, [], [value]);
    const bounded = (log: OnnxValue): OnnxValue => graph.node("Max", [log, scalar(lowest)]);
    const yes = graph.node("Mul", [y, bounded(graph.node("Log", [p]))]);
    const no = graph.node("Mul", [
      graph.node("Sub", [y, scalar(1)]),
      bounded(log1pNodes(graph, graph.node("Neg", [p]), dtype)),
    ]);
    return graph.node("Sub", [no, yes]);
  },
  f: (p, y) => (y - 1) * Math.max(Math.log1p(-p), lowest) - y * Math.max(Math.log(p), lowest),
  sample: (random, ...shape) => {
    const x = random.positive(...shape);
    return { ...x, values: x.values.map((value) => value * 0.45) };
  },
  gradient(p, y, _loss, dy) {
    const other = p.neg().add(1);
    const slope = p.sub(y).div(p.mul(other).clip(least));
    const logOdds = other.log().clip(lowest).sub(p.log().clip(lowest));
    return [dy.mul(slope), dy.mul(logOdds)];
  },
});
