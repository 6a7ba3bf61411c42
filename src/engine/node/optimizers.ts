import { sizeInBytes } from "../../graph/types.ts";
import type { Program } from "../engine.ts";

/**
 * ONNX Runtime's graph optimizers that are switched off, because the compiler's own rules do the same work better.
 * MatMulScaleFusion turns the scale of a product into an attribute, and NoopElimination removes ops without effect; but both read float64
 * constants as float32, and so treat x + 10⁻⁵⁰ as x + 0, and x · (1 + 10⁻⁹) as x · 1. TransposeOptimizer moves transposes to places where
 * they cost more, through reshapes into many axes and in front of reductions; it runs twice, under two names. QuickGeluFusion turns
 * x·σ(c·x) into a node that has no float64 kernel.
 */
export const disabledOptimizers =
  "MatMulScaleFusion;NoopElimination;QuickGeluFusion;TransposeOptimizer;TransposeOptimizer_CPUExecutionProvider";

/**
 * The largest number of nodes times outputs for which ONNX Runtime's optimizers are used. They search all outputs at each node, again and
 * again: 1,000 layers with a weight and a bias each (18 million) take about a second without them and 13 with them.
 */
const mostSearched = 2e7;

/**
 * Whether ONNX Runtime optimizes a program's graph, with all its optimizers but the disabled ones. Where elementwise ops and products are
 * kernels, they find nothing that makes a step faster, and take a third of the time in which a session is made.
 */
export function isOptimized({
  size = 0,
  outputs,
  kernels = [],
}: Pick<Program, "size" | "outputs" | "kernels">): boolean {
  return kernels.length === 0 && size * outputs.length <= mostSearched;
}

/**
 * The most bytes of inputs for which a program's runs use ONNX Runtime's memory pattern: in the first run ONNX Runtime notes which memory
 * is needed when, and in later runs it takes one block for all of it. That saves some microseconds a run, but the memory of the first run
 * is kept too: a step of GPT-2 small held 1.2 GB more.
 */
const mostPatterned = 2 ** 24;

/** Whether ONNX Runtime uses a memory pattern for a program's intermediate results. */
export function isPatterned({ inputs }: Pick<Program, "inputs">): boolean {
  return inputs.reduce((bytes, { type }) => bytes + sizeInBytes(type), 0) <= mostPatterned;
}
