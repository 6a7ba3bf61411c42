/**
 * ONNX Runtime's graph optimizers that are switched off, because the compiler's own rules do their work. MatMulScaleFusion makes an
 * attribute of a product's scale, in float32 also where the product is float64. TransposeOptimizer moves transposes to where they
 * cost more, through reshapes into many axes and in front of reductions; it runs twice, under two names.
 */
export const disabledOptimizers = "MatMulScaleFusion;TransposeOptimizer;TransposeOptimizer_CPUExecutionProvider";
