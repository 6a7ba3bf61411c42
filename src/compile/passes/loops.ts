/** Rules about loops. */

import { applyAll, tensorOf } from "../../graph/apply.ts";
import { Body } from "../../graph/body.ts";
import { type Node, usersAmong, type Value } from "../../graph/node.ts";
import { bodyLeaf, inlined, type ScanParams, scan } from "../../ops/control.ts";
import { matmul } from "../../ops/matmul.ts";
import { transpose } from "../../ops/movement.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { paramsOf, type RewriteRule, type RuleSet } from "./rewrite.ts";

const isScan = (node: Node): boolean => (node.op as unknown) === scan;

/**
 * Back-propagation adds a second loop with the same steps and more outputs: the values that the backward pass needs. Observers and checks
 * do so too. This rule makes all of them one loop. It compares bodies as they were built, so this pass must come before any pass that
 * changes bodies.
 */
const oneLoop: RewriteRule = {
  name: "one loop for a loop and the same with more outputs",
  op: scan,
  rewrite({ original, inputs, usersOf }) {
    const [first] = original.inputs;
    if (!isScan(original) || !first) return undefined;
    const params = original.params as ScanParams;
    const { body, states } = params;
    const alike = new Set([original, ...usersOf(first).filter((other) => isSameLoop(other, original))]);
    if (alike.size === 1) return undefined;
    const key = ({ node, index }: Value): string => `${node.id}.${index}`;
    const outputs = new Map<string, Value>();
    for (const other of [...alike].sort((a, b) => a.id - b.id))
      for (const root of (other.params as ScanParams).body.roots.slice(states)) outputs.set(key(root), root);
    const places = new Map([...outputs.keys()].map((name, i) => [name, states + i]));
    const roots = [...body.roots.slice(0, states), ...outputs.values()].map(({ node, index }) => tensorOf(node, index));
    const all = applyAll(scan, inputs, { ...params, body: new Body(body.leaves, roots) });
    return body.roots.map((root, i) => all[i < states ? i : places.get(key(root))!]!);
  },
};

const isSame = (x: Value | undefined, y: Value): boolean => x?.node === y.node && x.index === y.index;

/** Whether two loops make the same steps; their outputs may differ. */
function isSameLoop(other: Node, loop: Node): boolean {
  if (!isScan(other) || other.inputs.length !== loop.inputs.length) return false;
  const [a, b] = [other.params as ScanParams, loop.params as ScanParams];
  return (
    a.reverse === b.reverse &&
    a.states === b.states &&
    a.body.leaves.every((leaf, i) => leaf === b.body.leaves[i]) &&
    b.body.roots.slice(0, b.states).every((root, i) => isSame(a.body.roots[i], root)) &&
    loop.inputs.every((input, i) => isSame(other.inputs[i], input))
  );
}

/** Whether a loop is another one with more outputs. */
export function extendsLoop(other: Node, loop: Node): boolean {
  if (other === loop || !isSameLoop(other, loop)) return false;
  const [more, fewer] = [other, loop].map((node) => (node.params as ScanParams).body.roots) as [Value[], Value[]];
  return more.length > fewer.length && fewer.every((root, i) => isSame(more[i], root));
}

/** A loop of one step is the step. */
const oneStep: RewriteRule = {
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
 * Moves the transpose of a matrix into a loop, if the loop uses the matrix only as a side of products. Products read a transposed matrix
 * as fast, so the transposed copy is saved.
 */
const transposeInside: RewriteRule = {
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
/** These come after the rules that remove transposes of transposes, and before the rules that move transposes into products. */
export const bodies: RuleSet = { rules: [oneStep, transposeInside], insideBodies: true, needs: [scan] };
