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

/** Makes a node; `type` of the op has already been asked for `outputs`. */
export function makeNode(parts: Omit<Node, "id">): Node {
  return Object.freeze({
    ...parts,
    inputs: Object.freeze(parts.inputs),
    params: frozen(parts.params),
    outputs: frozen(parts.outputs) as readonly TensorType[],
    id: count++,
  });
}

/**
 * The same arrays and records, which nobody can change any more: themselves where that is so already, or else copies, since the ones
 * that were given may be a user's. What is neither an array nor a plain record is kept as it is.
 */
function frozen(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(frozen));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.freeze(Object.fromEntries(Object.entries(value).map(([name, part]) => [name, frozen(part)])));
}

/** The trace that a graph belongs to; none where it was made outside of `compile`. */
export function traceOf(roots: readonly Value[]): object | undefined {
  return collect(roots).find(({ trace }) => trace !== undefined)?.trace;
}

/** The nodes that `roots` need, inputs before users; nothing behind a node for which `stop` holds. */
export function collect(roots: readonly Value[], stop: (node: Node) => boolean = () => false): Node[] {
  const seen = new Set<Node>();
  const stack = roots.map((root) => root.node);
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    if (!stop(node)) for (const input of node.inputs) stack.push(input.node);
  }
  return [...seen].sort((a, b) => a.id - b.id);
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
