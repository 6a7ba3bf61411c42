/** The passes, in order: for runs, exports and checks alike. Each sees the graph that the one before it made. */
import { convolution, convolutionInput, convolutionKernel } from "../../ops/convolution.ts";
import { fuse } from "./fuse.ts";
import { guardPass } from "./guard.ts";
import { kernelPass } from "./kernels.ts";
import { bodies, loops } from "./loops.ts";
import { matrices, packedBias, packsMatrices } from "./matrices.ts";
import { overwriting } from "./overwriting.ts";
import { fusedRelu, packing } from "./packing.ts";
import type { Pass } from "./pass.ts";
import { pooling, poolingRows } from "./pooling.ts";
import { products } from "./products.ts";
import { type RewriteRule, type RuleSet, rewrite } from "./rewrite.ts";
import { simplify } from "./simplify.ts";

const everywhere = (...rules: readonly RewriteRule[]): RuleSet => ({ rules, insideBodies: true });

/** The rules that rewrite a graph. */
export const ruleSets: readonly RuleSet[] = [
  loops,
  everywhere(...simplify),
  bodies,
  everywhere(...simplify, ...fuse, ...pooling),
  { ...everywhere(...packing), needs: [convolution, convolutionInput, convolutionKernel] },
  everywhere(...simplify, ...products, ...poolingRows, fusedRelu),
  matrices,
  { ...everywhere(...simplify, ...products, packedBias), isFor: packsMatrices },
];

const rewriting: Pass = {
  name: "rewrite",
  run(graph, target) {
    const { roots, watched, trace, trail } = graph;
    const values = rewrite([...roots, ...watched], ruleSets, target, trace, trail);
    return { ...graph, roots: values.slice(0, roots.length), watched: values.slice(roots.length) };
  },
};

export const passes: readonly Pass[] = [rewriting, guardPass, overwriting, kernelPass];
