/** The graph: nodes that point at their inputs. Immutable, so it cannot hold a cycle, and numbered as they are made. */
import type { AnyOp } from "./op.ts";
import type { TensorType, Values } from "./types.ts";

/** One output of a node. */
export interface Value {
  readonly node: Node;
  /** Which of the node's outputs. */
  readonly index: number;
}

/** One application of an op. Inputs always have smaller ids, so the order of ids is an order of evaluation. */
export interface Node {
  readonly id: number;
  readonly op: AnyOp;
  readonly inputs: readonly Value[];
  readonly params: unknown;
  readonly outputs: readonly TensorType[];
  /** Path of the module that was being called. */
  readonly path: string;
  /** The trace that the node belongs to; none when it was made outside of `compile`. */
  readonly trace: object | undefined;
  /** Where the values come from; leaves only. */
  readonly source: Source | undefined;
}

/** Where a leaf's values come from. */
export type Source = HostSource | StateSource | ArgumentSource;

/** Values given by the program or computed by an earlier run. */
export interface HostSource {
  readonly kind: "host";
  /** Holds the values, on the JavaScript side, in an engine's buffer or both. */
  readonly storage: Storage;
}

/** What a host leaf holds; the compiler moves it to the engine when a graph that needs it runs. */
export interface Storage {
  readonly type: TensorType;
  /** The values when JavaScript has them. */
  readonly values: Values | undefined;
}

/** The value of a state variable at the start of a run. */
export interface StateSource {
  readonly kind: "state";
}

/** An argument of a function given to `compile`. */
export interface ArgumentSource {
  readonly kind: "argument";
  readonly position: number;
}

let count = 0;

/** The one implementation. What it is made of does not change. */
class GraphNode implements Node {
  readonly id: number;
  readonly op: AnyOp;
  readonly inputs: readonly Value[];
  readonly params: unknown;
  readonly outputs: readonly TensorType[];
  readonly path: string;
  readonly trace: object | undefined;
  readonly source: Source | undefined;
  /** The last walk that has come by: a number, which a walk compares much faster than it asks a set. */
  walk = 0;

  constructor({ op, inputs, params, outputs, path, trace, source }: Omit<Node, "id">) {
    this.id = count++;
    this.op = op;
    this.inputs = inputs;
    this.params = frozen(params);
    this.outputs = frozen(outputs) as readonly TensorType[];
    this.path = path;
    this.trace = trace;
    this.source = source;
  }
}

/** Makes a node; `type` of the op has already been asked for `outputs`. */
export function makeNode(parts: Omit<Node, "id">): Node {
  return new GraphNode(parts);
}

/**
 * The same arrays and records, which nobody can change any more: themselves where that is so already, or else copies, since the ones
 * that were given may be a user's. What is neither an array nor a plain record is kept as it is.
 */
export function frozen(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(frozen));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(value)) copy[name] = frozen((value as Record<string, unknown>)[name]);
  return Object.freeze(copy);
}

/** The trace that a graph belongs to; none where it was made outside of `compile`. */
export function traceOf(roots: readonly Value[]): object | undefined {
  return collect(roots).find(({ trace }) => trace !== undefined)?.trace;
}

let walks = 0;

/** The nodes that `roots` need, inputs before users; nothing behind a node for which `stop` holds. */
export function collect(roots: readonly Value[], stop?: (node: Node) => boolean): Node[] {
  const walk = ++walks;
  const found: Node[] = [];
  const meet = (node: Node): void => {
    if ((node as GraphNode).walk === walk) return;
    (node as GraphNode).walk = walk;
    found.push(node);
  };
  for (const { node } of roots) meet(node);
  // Those that have been found are gone through in turn, and what they need is found behind them.
  for (let i = 0; i < found.length; i++) {
    const node = found[i]!;
    if (stop?.(node)) continue;
    const { inputs } = node;
    for (let k = 0; k < inputs.length; k++) meet(inputs[k]!.node);
  }
  return inOrder(found);
}

/** Nodes by their ids. */
export function inOrder(nodes: readonly Node[]): Node[] {
  let [least, largest] = [nodes[0]?.id ?? 0, -1];
  for (const { id } of nodes) {
    if (id < least) least = id;
    if (id > largest) largest = id;
  }
  const range = largest - least + 1;
  if (range > 32 * nodes.length) return [...nodes].sort((a, b) => a.id - b.id);
  // Ids of one graph lie close together: each has a place of its own.
  const places = new Int32Array(range);
  for (let i = 0; i < nodes.length; i++) places[nodes[i]!.id - least] = i + 1;
  const sorted: Node[] = [];
  for (const place of places) if (place > 0) sorted.push(nodes[place - 1]!);
  return sorted;
}

/** Who uses each of some nodes, among them; a user that has two of its inputs from one node is there twice. */
export function usersAmong(nodes: readonly Node[]): ReadonlyMap<Node, readonly Node[]> {
  const users = new Map<Node, Node[]>();
  for (const node of nodes)
    for (const { node: used } of node.inputs) {
      const known = users.get(used);
      if (known) known.push(node);
      else users.set(used, [node]);
    }
  return users;
}

/** What a value consists of, before it was laid out otherwise or repeated. */
export function withoutMoves(value: Value): Value {
  let { node, index } = value;
  while (node.op.rearranges) ({ node, index } = node.inputs[0]!);
  return { node, index };
}

/** Whether two nodes are applications of one op, whichever it is. */
export function areOfOneOp(a: Node, b: Node): boolean {
  return Object.is(a.op, b.op);
}
