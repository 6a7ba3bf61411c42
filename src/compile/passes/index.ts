/** The passes, in order. Each sees the graph that the one before it made. */
import { convolution, convolutionInput, convolutionKernel } from "../../ops/convolution.ts";
import { fuse } from "./fuse.ts";
import { loops } from "./loops.ts";
import { matrices, packedBias } from "./matrices.ts";
import { fusedRelu, packing } from "./packing.ts";
import { pooling, poolingRows } from "./pooling.ts";
import { products } from "./products.ts";
import type { Pass, Rule } from "./rewrite.ts";
import { simplify } from "./simplify.ts";

const everywhere = (...rules: readonly Rule[]): Pass => ({ rules, insideBodies: true });

export const passes: readonly Pass[] = [
  loops,
  everywhere(...simplify),
  everywhere(...simplify, ...fuse, ...pooling),
  { ...everywhere(...packing), needs: [convolution, convolutionInput, convolutionKernel] },
  everywhere(...simplify, ...products, ...poolingRows, fusedRelu),
  matrices,
  everywhere(...simplify, ...products, packedBias),
];
