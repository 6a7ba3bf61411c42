/** The ops that only the compiler makes, after differentiation. Importing this file registers them and every other op. */
import type { AnyOp } from "../../graph/op.ts";
import { fused } from "./fused.ts";
import { guard } from "./guard.ts";
import { pack, unpack } from "./packed.ts";
import { packedConvolution, packedConvolutionInput, packedConvolutionKernel } from "./packed-convolution.ts";
import { packColumns, packedProduct, packRows, unpackColumns, unpackRows } from "./packed-matrix.ts";
import { putRows } from "./rows.ts";

export { registry } from "../index.ts";

export const loweredOps: readonly AnyOp[] = [
  fused,
  guard,
  pack,
  packColumns,
  packRows,
  packedConvolution,
  packedConvolutionInput,
  packedConvolutionKernel,
  packedProduct,
  putRows,
  unpack,
  unpackColumns,
  unpackRows,
];
