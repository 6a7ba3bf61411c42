/** Prints graphs for people, also under GLISSADE_DEBUG. */

import { printable } from "../errors.ts";
import { expectArguments, tensors as someTensors } from "../graph/arguments.ts";
import { collect, type Node } from "../graph/node.ts";
import { nodeLine, returnLine } from "../graph/text.ts";
import { showType } from "../graph/types.ts";
import { stateOf } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * The graph behind some tensors as a small language, one line a node: `%3 = matmul(%0, %2) : float32[2, 4]  # layers.0`.
 * Leaves say where their values come from.
 */
export function printGraph(...tensors: readonly Tensor[]): string {
  expectArguments("printGraph", [someTensors], [tensors]);
  const roots = tensors.map((tensor) => tensor.current());
  const numbers = new Map<Node, number>();
  const lines = collect(roots).map((node) => {
    numbers.set(node, numbers.size);
    const text = node.source
      ? `%${numbers.get(node)} = ${describeLeaf(node)} : ${showType(node.outputs[0]!)}`
      : shown(nodeLine(node, numbers));
    return node.path ? `${text}  # ${printable(node.path)}` : text;
  });
  return `${lines.join("\n")}\n${returnLine(roots, numbers)}`;
}

/** `state layers.0.weight`, `argument 1` or `values`. */
function describeLeaf(node: Node): string {
  const { source } = node;
  if (source?.kind === "argument") return `argument ${source.position}`;
  if (source?.kind === "state") return `state ${printable(stateOf(node).state.label)}`;
  return "values";
}

/** A line whose parameters hold a graph, with that graph on lines of its own. */
function shown(line: string): string {
  return line.replaceAll("\n", "\n    ");
}
