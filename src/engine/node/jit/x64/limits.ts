/** The largest kernels that this code generator writes. */
import type { KernelLimits } from "../../../../kernel/kernel.ts";

export const limits: KernelLimits = {
  streams: 10, //  each has a register of its own
  inputs: 20,
  rowElements: 2 ** 29 - 1, //  instructions contain its length in bytes, for which they have 31 bits
  products: true,
};
