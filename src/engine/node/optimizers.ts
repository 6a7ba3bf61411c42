/**
 * ONNX Runtime's graph optimizers that are switched off, because the compiler's own rules do their work, and better.
 * MatMulScaleFusion makes an attribute of a product's scale, and NoopElimination drops what does nothing, but both read float64
 * constants as float32: x + 10⁻⁵⁰ is not x + 0, nor x · (1 + 10⁻⁹) x · 1. TransposeOptimizer moves transposes to where they cost
 * more, through reshapes into many axes and in front of reductions; it runs twice, under two names. QuickGeluFusion makes x·σ(c·x)
 * a node that has no float64 kernel.
 */
export const disabledOptimizers =
  "MatMulScaleFusion;NoopElimination;QuickGeluFusion;TransposeOptimizer;TransposeOptimizer_CPUExecutionProvider";
