/** Tables in which a graph that is being built finds the nodes that it has already. */
import type { Node, Value } from "./node.ts";
import type { AnyOp } from "./op.ts";
import { paramsKey } from "./text.ts";

/** What an application of an op is found by. */
export type NodeKey = string | number;

/** Finds the node for an application of an op, so that equal applications share one node. */
export interface NodeTable {
  keyOf(op: AnyOp, inputs: readonly Value[], params: unknown): NodeKey;
  get(key: NodeKey): Node | undefined;
  set(key: NodeKey, node: Node): void;
}

/** Returns a text that is equal for equal applications of ops. */
export function textOfApplication({ name }: AnyOp, inputs: readonly Value[], params: unknown): string {
  let key = `${name}(`;
  for (let i = 0; i < inputs.length; i++) {
    const { node, index } = inputs[i]!;
    key += `${node.id}.${index},`;
  }
  return `${key})${paramsKey(params)}`;
}

/** Equal applications have one node. */
export class SharedNodes implements NodeTable {
  readonly #nodes = new Map<NodeKey, Node>();

  keyOf(op: AnyOp, inputs: readonly Value[], params: unknown): NodeKey {
    return textOfApplication(op, inputs, params);
  }

  get(key: NodeKey): Node | undefined {
    return this.#nodes.get(key);
  }

  set(key: NodeKey, node: Node): void {
    this.#nodes.set(key, node);
  }

  delete(key: NodeKey): void {
    this.#nodes.delete(key);
  }
}
