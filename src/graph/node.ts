/** The graph: nodes that point at their inputs. Nodes are immutable, so there are no cycles. Each new node gets the next number. */
import type { AnyOp } from "./op.ts";
import type { TensorType, Values } from "./types.ts";

/** One output of a node. */
export interface Value {
  readonly node: Node;
  /** Which of the node's outputs. */
  readonly index: number;
}

/** One application of an op. Its inputs have smaller ids, so nodes can be evaluated in the order of their ids. */
export interface Node {
  readonly id: number;
  readonly op: AnyOp;
  readonly inputs: readonly Value[];
  readonly params: unknown;
  readonly outputs: readonly TensorType[];
  /** Path of the module that was being called when the node was made. */
  readonly path: string;
  /** The trace that the node belongs to; `undefined` when it was made outside of `compile`. */
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
  readonly storage: StoredValues;
}

/** What a leaf with `HostSource` holds. The compiler moves the values to the engine when a graph that needs them runs. */
export interface StoredValues {
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

/** The only class that implements `Node`. All its fields except `walk` are constant. */
class GraphNode implements Node {
  readonly id: number;
  readonly op: AnyOp;
  readonly inputs: readonly Value[];
  readonly params: unknown;
  readonly outputs: readonly TensorType[];
  readonly path: string;
  readonly trace: object | undefined;
  readonly source: Source | undefined;
  /** The number of the last walk that visited this node. Comparing it is much faster than a look-up in a set. */
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

/** Makes a node. `outputs` are what the op's `type` has returned. */
export function makeNode(parts: Omit<Node, "id">): Node {
  return new GraphNode(parts);
}

/**
 * Returns arrays and plain records frozen, at every depth. Those that are not frozen yet are copied first, since they may belong to
 * the user. Any other value is returned as it is.
 */
export function frozen(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(frozen));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(value)) copy[name] = frozen((value as Record<string, unknown>)[name]);
  return Object.freeze(copy);
}

/** Returns the trace that a graph belongs to; `undefined` where it was made outside of `compile`. */
export function traceOf(roots: readonly Value[]): object | undefined {
  return collect(roots).find(({ trace }) => trace !== undefined)?.trace;
}

let walks = 0;

/** Returns the nodes that `roots` need, inputs before users. Where `stop` returns true for a node, its inputs are not followed. */
export function collect(roots: readonly Value[], stop?: (node: Node) => boolean): Node[] {
  const walk = ++walks;
  const found: Node[] = [];
  const meet = (node: Node): void => {
    if ((node as GraphNode).walk === walk) return;
    (node as GraphNode).walk = walk;
    found.push(node);
  };
  for (const { node } of roots) meet(node);
  // The loop visits the found nodes in turn; their inputs are appended to the same list.
  for (let i = 0; i < found.length; i++) {
    const node = found[i]!;
    if (stop?.(node)) continue;
    const { inputs } = node;
    for (let k = 0; k < inputs.length; k++) meet(inputs[k]!.node);
  }
  return inOrder(found);
}

/** Returns nodes sorted by id. */
export function inOrder(nodes: readonly Node[]): Node[] {
  let [least, largest] = [nodes[0]?.id ?? 0, -1];
  for (const { id } of nodes) {
    if (id < least) least = id;
    if (id > largest) largest = id;
  }
  const range = largest - least + 1;
  if (range > 32 * nodes.length) return [...nodes].sort((a, b) => a.id - b.id);
  // Ids of one graph lie close together, so a table with one place for each id in the range is small.
  const places = new Int32Array(range);
  for (let i = 0; i < nodes.length; i++) places[nodes[i]!.id - least] = i + 1;
  const sorted: Node[] = [];
  for (const place of places) if (place > 0) sorted.push(nodes[place - 1]!);
  return sorted;
}

/** Returns the users of each node, among the given nodes. A user that takes two of its inputs from one node is listed twice. */
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

/** Returns the value from which this one was made by ops that only rearrange or repeat elements. */
export function withoutMoves(value: Value): Value {
  let { node, index } = value;
  while (node.op.rearranges) ({ node, index } = node.inputs[0]!);
  return { node, index };
}

/** Returns whether two nodes apply the same op. */
export function areOfOneOp(a: Node, b: Node): boolean {
  return Object.is(a.op, b.op);
}
