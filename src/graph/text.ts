/** A graph as text: the key by which equal graphs are found, and a form for people to read. */
import { collect, type Node, type Value } from "./node.ts";
import { showType } from "./types.ts";

/** Returns a text that is equal for two graphs exactly when one program can run both: names, paths and values are left out. */
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

const keys = new WeakMap<object, string>();

/**
 * Returns params as text, which is equal exactly when they mean the same: like JSON, but −0, NaN and the infinities differ. The text of
 * a graph inside, from its `toJSON`, is not quoted: quoting would double its length at every level of nesting. Params do not change, so
 * their text is cached.
 */
export function paramsKey(params: unknown): string {
  if (params === undefined) return "";
  if (typeof params !== "object" || params === null) return written(params);
  const key = keys.get(params) ?? written(params);
  keys.set(params, key);
  return key;
}

function written(value: unknown): string {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : `${value}`;
  if (typeof value === "boolean") return value ? "true" : "false";
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  if (Array.isArray(value)) {
    let text = "[";
    for (let i = 0; i < value.length; i++) text += i === 0 ? written(value[i]) : `,${written(value[i])}`;
    return `${text}]`;
  }
  if (ArrayBuffer.isView(value)) return `${value.constructor.name}[${(value as Int32Array).join()}]`;
  if ("toJSON" in value && typeof value.toJSON === "function") return `(${value.toJSON()})`;
  let text = "{";
  for (const name of Object.keys(value)) {
    const field = (value as Record<string, unknown>)[name];
    if (field !== undefined) text += `${text === "{" ? "" : ","}${JSON.stringify(name)}:${written(field)}`;
  }
  return `${text}}`;
}
