/** Rules about loops. */

import { applyAll, tensorOf } from "../../graph/apply.ts";
import { Body } from "../../graph/body.ts";
import { type Node, usersAmong } from "../../graph/node.ts";
import { bodyLeaf, inlined, type ScanParams, scan } from "../../ops/control.ts";
import { matmul } from "../../ops/matmul.ts";
import { transpose } from "../../ops/movement.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { paramsOf, type Rule, type RuleSet } from "./rewrite.ts";

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

/** A loop of one step is the step. */
const oneStep: Rule = {
  name: "a loop of one step is the step",
  op: scan,
  rewrite({ node, inputs }) {
    const { body, states, sequences, length } = node.params as ScanParams;
    if (length !== 1) return undefined;
    const own = states + sequences;
    const slices = inputs.slice(states, own).map((sequence) => sequence.reshape(sequence.shape.slice(1)) as Tensor);
    const results = inlined(body, [...inputs.slice(0, states), ...slices, ...inputs.slice(own)]);
    return results.map((result, i) => result.reshape(node.outputs[i]!.shape) as Tensor);
  },
};

/**
 * A matrix that is transposed before a loop, and in it only a side of products, is transposed by these: they read it either way as fast,
 * and a copy less is made.
 */
const transposeInside: Rule = {
  name: "transposes go into loops",
  op: scan,
  rewrite({ node, inputs }) {
    const params = node.params as ScanParams;
    const { body, states, sequences } = params;
    const own = states + sequences;
    const users = usersAmong(body.nodes);
    const isRoot = new Set(body.roots.map((root) => root.node));
    const inner = inputs.map((input, i) => {
      const leaf = body.leaves[i]!;
      const isSide = users.get(leaf)?.every(({ op }) => (op as unknown) === matmul) && !isRoot.has(leaf);
      return i >= own && isSide && input.shape.length === 2 ? paramsOf(input, transpose)?.inputs[0] : undefined;
    });
    if (inner.every((matrix) => matrix === undefined)) return undefined;
    const leaves = body.leaves.map((leaf, i) => (inner[i] ? bodyLeaf(inner[i], i) : tensorOf(leaf)));
    const roots = inlined(
      body,
      leaves.map((leaf, i) => (inner[i] ? leaf.mT() : leaf) as Tensor),
    );
    const replaced = new Body(
      leaves.map((leaf) => leaf.node),
      roots,
    );
    return applyAll(
      scan,
      inputs.map((input, i) => inner[i] ?? input),
      { ...params, body: replaced },
    );
  },
};

export const loops: RuleSet = { rules: [oneLoop], insideBodies: false, needs: [scan] };
/** Once transposes of transposes are gone, and before products are what takes them. */
export const bodies: RuleSet = { rules: [oneStep, transposeInside], insideBodies: true, needs: [scan] };
