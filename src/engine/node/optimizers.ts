/**
 * ONNX Runtime's graph optimizers that are switched off, because they read float64 constants as float32. MatMulScaleFusion makes
 * an attribute of a product's scale; the compiler's own rules fuse scales and keep them whole. NoopElimination takes x + 10⁻⁵⁰ for
 * x + 0 and x · (1 + 10⁻⁹) for x · 1; the compiler's rules remove what truly does nothing.
 */
export const disabledOptimizers = "MatMulScaleFusion;NoopElimination";
