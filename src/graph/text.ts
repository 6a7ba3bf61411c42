/** A graph as text: its key wherever equal graphs are looked for, and what people read. */
import { collect, type Node, type Value } from "./node.ts";
import { showType } from "./types.ts";

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
    lines.push(nodeLine(node, numbers));
  }
  return `${lines.join("\n")}\n${returnLine(roots, numbers)}`;
}

/** `%3 = matmul(%0, %2) : float32[2, 4]` */
export function nodeLine(node: Node, numbers: ReadonlyMap<Node, number>): string {
  const inputs = node.inputs.map((input) => operand(input, numbers)).join(", ");
  const params = paramsKey(node.params);
  const shownParams = params === "" || params === "{}" ? "" : ` ${params}`;
  return `%${numbers.get(node)} = ${node.op.name}(${inputs})${shownParams} : ${node.outputs.map(showType).join(", ")}`;
}

export function returnLine(roots: readonly Value[], numbers: ReadonlyMap<Node, number>): string {
  return `return ${roots.map((root) => operand(root, numbers)).join(", ")}`;
}

function operand({ node, index }: Value, numbers: ReadonlyMap<Node, number>): string {
  return `%${numbers.get(node)}${index > 0 || node.outputs.length > 1 ? `.${index}` : ""}`;
}

/** Params as text, equal exactly when they mean the same: JSON, but with −0, NaN and the infinities told apart. */
export function paramsKey(params: unknown): string {
  if (params === undefined) return "";
  return JSON.stringify(params, (_, value: unknown) => {
    if (typeof value === "string" && value.startsWith("#")) return `#${value}`; //  so that no text reads like a number below
    if (typeof value !== "number" || (Number.isFinite(value) && !Object.is(value, -0))) return value;
    return `#${Object.is(value, -0) ? "-0" : value}`;
  });
}
