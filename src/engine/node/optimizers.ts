/**
 * ONNX Runtime's graph optimizers that are switched off. MatMulScaleFusion makes an attribute of a product's scale, in float32
 * also where the product is float64; the compiler's own rules fuse scales and keep them whole.
 */
export const disabledOptimizers = "MatMulScaleFusion";
