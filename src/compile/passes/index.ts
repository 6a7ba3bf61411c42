/** The passes, in order: for runs, exports and checks alike. Each sees the graph that the one before it made. */
import { newScope, withScope } from "../../graph/scope.ts";
import { convolution, convolutionInput, convolutionKernel } from "../../ops/convolution.ts";
import { fuse } from "./fuse.ts";
import { guardPass } from "./guard.ts";
import { kernelPass } from "./kernels.ts";
import { bodies, loops } from "./loops.ts";
import { matrices, packedBias } from "./matrices.ts";
import { overwriting } from "./overwriting.ts";
import { fusedRelu, packing } from "./packing.ts";
import type { Pass } from "./pass.ts";
import { pooling, poolingRows } from "./pooling.ts";
import { products } from "./products.ts";
import { type RewriteRule, type RuleSet, rewrite } from "./rewrite.ts";
import { simplify } from "./simplify.ts";
import { updatesOf, withoutStandIns } from "./updates.ts";

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
  everywhere(...simplify, ...products, packedBias),
];

/** The rules for updates. */
const updateRules: readonly RuleSet[] = [
  everywhere(...simplify),
  everywhere(...simplify, ...fuse),
  everywhere(...simplify),
];

const rewriting: Pass = {
  name: "rewrite",
  run(graph, target) {
    const { roots, watched, trace } = graph;
    return withScope(newScope(trace, true), () => {
      const updates = updatesOf(graph);
      const isRest = (_: unknown, i: number): boolean => !updates?.outputs.includes(i);
      const rest = roots.filter(isRest);
      const values = rewrite([...rest, ...watched, ...(updates?.taken ?? [])], ruleSets, target, trace);
      const [others, checked] = [values.splice(0, rest.length), values.splice(0, watched.length)];
      if (!updates) return { ...graph, roots: others, watched: checked };
      const updated = withoutStandIns(rewrite(updates.roots, updateRules, target, trace), updates, values);
      const [nextOther, nextUpdate] = [others.values(), updated.values()];
      const merged = roots.map((root, i) => (isRest(root, i) ? nextOther : nextUpdate).next().value!);
      return { ...graph, roots: merged, watched: checked };
    });
  },
};

export const passes: readonly Pass[] = [rewriting, guardPass, overwriting, kernelPass];
