import { sizeInBytes } from "../../graph/types.ts";
import type { Program } from "../engine.ts";

/**
 * ONNX Runtime's graph optimizers that are switched off, because the compiler's own rules do their work, and better.
 * MatMulScaleFusion makes an attribute of a product's scale, and NoopElimination drops what does nothing, but both read float64
 * constants as float32: x + 10⁻⁵⁰ is not x + 0, nor x · (1 + 10⁻⁹) x · 1. TransposeOptimizer moves transposes to where they cost
 * more, through reshapes into many axes and in front of reductions; it runs twice, under two names. QuickGeluFusion makes x·σ(c·x)
 * a node that has no float64 kernel.
 */
export const disabledOptimizers =
  "MatMulScaleFusion;NoopElimination;QuickGeluFusion;TransposeOptimizer;TransposeOptimizer_CPUExecutionProvider";

/**
 * Up to how many nodes times outputs a graph goes through ONNX Runtime's optimizers. They look through all outputs at each node, again and
 * again: 1,000 layers with a weight and a bias each (18 million) take about a second without them and 13 with them.
 */
const mostSearched = 2e7;

/** Whether ONNX Runtime is to optimize a program's graph: all that the compiler's own rules leave to it, or nothing. */
export function isOptimized({ size = 0, outputs }: Pick<Program, "size" | "outputs">): boolean {
  return size * outputs.length <= mostSearched;
}

/**
 * Up to how many bytes of inputs a program's runs follow a pattern of memory: ONNX Runtime notes in the first run what is needed when,
 * and takes one piece for all of it in the others. That saves some microseconds a run, and keeps what the first run took beside it: a
 * step of GPT-2 small held 1.2 GB more.
 */
const mostPatterned = 2 ** 24;

/** Whether ONNX Runtime is to note where a program's intermediate results lie. */
export function isPatterned({ inputs }: Pick<Program, "inputs">): boolean {
  return inputs.reduce((bytes, { type }) => bytes + sizeInBytes(type), 0) <= mostPatterned;
}
