/** A graph as text: the key of the executable cache, and what a person reads under GLISSADE_DEBUG. */
import { collect, type Node, type Value } from "../graph/node.ts";
import { showType } from "../graph/types.ts";
import { paramsKey } from "../tensor/apply.ts";
import { stateOf } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Equal for two graphs exactly when one program serves both: names, paths and values left out. */
export function canonicalText(leaves: readonly Node[], roots: readonly Value[]): string {
  const numbers = new Map<Node, number>();
  const lines = leaves.map((leaf, i) => {
    numbers.set(leaf, i);
    return `%${i} = input : ${showType(leaf.outputs[0]!)}`;
  });
  for (const node of collect(roots)) {
    if (numbers.has(node)) continue;
    numbers.set(node, numbers.size);
    lines.push(line(node, numbers));
  }
  return `${lines.join("\n")}\nreturn ${roots.map((root) => operand(root, numbers)).join(", ")}`;
}

/**
 * The graph behind some tensors as a small language, one line a node: `%3 = matmul(%0, %2) : float32[2, 4]  # layers.0`.
 * Leaves say where their values come from.
 */
export function printGraph(...tensors: readonly Tensor[]): string {
  const roots = tensors.map((tensor) => tensor.current());
  const numbers = new Map<Node, number>();
  const lines = collect(roots).map((node) => {
    numbers.set(node, numbers.size);
    const text = node.source
      ? `%${numbers.get(node)} = ${describeLeaf(node)} : ${showType(node.outputs[0]!)}`
      : line(node, numbers);
    return node.path ? `${text}  # ${node.path}` : text;
  });
  return `${lines.join("\n")}\nreturn ${roots.map((root) => operand(root, numbers)).join(", ")}`;
}

/** `state layers.0.weight`, `argument 1` or `values`. */
export function describeLeaf(node: Node): string {
  const { source } = node;
  if (source?.kind === "argument") return `argument ${source.position}`;
  if (source?.kind === "state") return `state ${stateOf(node).state.label}`;
  return "values";
}

function line(node: Node, numbers: ReadonlyMap<Node, number>): string {
  const inputs = node.inputs.map((input) => operand(input, numbers)).join(", ");
  const params = paramsKey(node.params);
  const shownParams = params === "" || params === "{}" ? "" : ` ${params}`;
  return `%${numbers.get(node)} = ${node.op.name}(${inputs})${shownParams} : ${node.outputs.map(showType).join(", ")}`;
}

function operand({ node, index }: Value, numbers: ReadonlyMap<Node, number>): string {
  return `%${numbers.get(node)}${index > 0 || node.outputs.length > 1 ? `.${index}` : ""}`;
}
