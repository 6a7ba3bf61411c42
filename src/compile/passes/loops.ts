/** Rules about loops. */

import { applyAll } from "../../graph/apply.ts";
import type { Node } from "../../graph/node.ts";
import { type ScanParams, scan } from "../../ops/control.ts";
import type { Rule, RuleSet } from "./rewrite.ts";

const isScan = (node: Node): boolean => (node.op as unknown) === scan;

/**
 * Back-propagation runs a loop again with more outputs, the values that the way back needs: the two become one. Bodies are
 * compared as they were built, so the pass must come before any that looks inside them.
 */
const oneLoop: Rule = {
  name: "one loop for a loop and the same with more outputs",
  rewrite({ original, inputs, usersOf }) {
    const [first] = original.inputs;
    if (!isScan(original) || !first) return undefined;
    const larger = largest(usersOf(first).filter((other) => extendsLoop(other, original)));
    return larger && applyAll(scan, inputs, larger.params as ScanParams).slice(0, original.outputs.length);
  },
};

/** The loop with the most outputs: what any of the others gives it gives too. */
function largest(extended: readonly Node[]): Node | undefined {
  return [...extended].sort((a, b) => b.outputs.length - a.outputs.length)[0];
}

/** Whether a loop is another one with more outputs. */
export function extendsLoop(other: Node, loop: Node): boolean {
  if (!isScan(other) || other === loop || other.inputs.length !== loop.inputs.length) return false;
  const [a, b] = [other.params as ScanParams, loop.params as ScanParams];
  return (
    a.reverse === b.reverse &&
    a.body.leaves.every((leaf, i) => leaf === b.body.leaves[i]) &&
    b.body.roots.every(({ node, index }, i) => a.body.roots[i]?.node === node && a.body.roots[i].index === index) &&
    a.body.roots.length > b.body.roots.length &&
    other.inputs.every(({ node, index }, i) => loop.inputs[i]!.node === node && loop.inputs[i]!.index === index)
  );
}

export const loops: RuleSet = { rules: [oneLoop], insideBodies: false, needs: [scan] };
