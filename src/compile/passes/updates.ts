/**
 * The updates of a training step are half of its nodes, and there is little to rewrite in them: they are elementwise, from the gradients to the
 * new values of variables. So they are rewritten apart, by few rules and once: not again each time that a gradient before them changes.
 */
import { applyAgain, tensorOf } from "../../graph/apply.ts";
import { input } from "../../graph/leaf.ts";
import { collect, makeNode, type Node, type Value } from "../../graph/node.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { PassGraph } from "./pass.ts";

/** A graph in two parts. Its leaves, and constants, belong to both. */
export interface Divided {
  /** The positions of the outputs that are updates. */
  readonly outputs: readonly number[];
  /** The values that the updates take from the rest of the graph. */
  readonly taken: readonly Value[];
  /** The updates, with a stand-in for each value of `taken`. */
  readonly roots: readonly Value[];
  readonly standIns: readonly Node[];
}

/** Returns the updates of a graph; undefined where they are none, or more than elementwise. */
export function updatesOf({ roots, watched, plan, trace }: PassGraph): Divided | undefined {
  if (!plan.inPlace) return undefined;
  const outputs = plan.states.map(([output]) => output);
  const others = roots.filter((_, i) => !outputs.includes(i));
  const rest = new Set(collect([...others, ...watched]));
  const isUpdate = ({ node }: Value): boolean => !rest.has(node) && node.source === undefined && node.inputs.length > 0;
  const updates = outputs.filter((i) => isUpdate(roots[i]!));
  const nodes = collect(
    updates.map((i) => roots[i]!),
    (node) => !isUpdate({ node, index: 0 }),
  ).filter((node) => isUpdate({ node, index: 0 }));
  if (nodes.length === 0 || !nodes.every(({ op }) => op.elementwise)) return undefined;
  const taken: Value[] = [];
  const standIns: Node[] = [];
  const places = new Map<Node, Map<number, Tensor>>();
  const copies = new Map<Node, readonly Tensor[]>();
  const given = (value: Value): Tensor => {
    const { node, index } = value;
    const copy = copies.get(node);
    if (copy) return copy[index]!;
    if (node.source !== undefined || node.inputs.length === 0) return tensorOf(node, index);
    const known = places.get(node) ?? new Map<number, Tensor>();
    places.set(node, known);
    const standIn = known.get(index) ?? tensorOf(standInFor(value, trace, taken.length));
    if (!known.has(index)) {
      taken.push(value);
      standIns.push(standIn.node);
      known.set(index, standIn);
    }
    return standIn;
  };
  for (const node of nodes) copies.set(node, applyAgain(node, node.inputs.map(given)));
  return { outputs: updates, taken, roots: updates.map((i) => given(roots[i]!)), standIns };
}

function standInFor({ node, index }: Value, trace: object | undefined, position: number): Node {
  const source = { kind: "argument", position } as const;
  return makeNode({
    op: input,
    inputs: [],
    params: undefined,
    outputs: [node.outputs[index]!],
    path: "",
    trace,
    source,
  });
}

/** Returns values with others in place of stand-ins. */
export function withoutStandIns(
  roots: readonly Value[],
  { standIns }: Pick<Divided, "standIns">,
  values: readonly Value[],
): Tensor[] {
  const places = new Map(standIns.map((standIn, i) => [standIn, values[i]!] as const));
  const copies = new Map<Node, readonly Tensor[]>();
  const now = ({ node, index }: Value): Tensor => {
    const value = places.get(node);
    if (value) return tensorOf(value.node, value.index);
    return copies.get(node)?.[index] ?? tensorOf(node, index);
  };
  for (const node of collect(roots)) {
    const isOther = node.inputs.some(({ node: from }) => places.has(from) || copies.has(from));
    if (isOther) copies.set(node, applyAgain(node, node.inputs.map(now)));
  }
  return roots.map(now);
}
