/** The largest kernels that this code generator writes. */
import type { KernelLimits } from "../../../../kernel/kernel.ts";

export const limits: KernelLimits = {
  streams: 10, //  each has a register of its own
  inputs: 20,
  rowElements: 2 ** 29 - 1, //  instructions contain its length in bytes, for which they have 31 bits
  // Both sides are copied before they are multiplied, which pays if there is enough to multiply: most where the left side is transposed, for
  // which ONNX Runtime is slow; least where the right one is. Measured on Zen 4: `npm run products`.
  products: { side: 32, terms: 16, work: 2 ** 24, workTransposedLeft: 2 ** 23, rowsTransposedRight: 256 },
};
