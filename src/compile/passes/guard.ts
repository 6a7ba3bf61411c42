/**
 * The guard of a graph, and the states that a run may write in place, as JAX does with donated buffers. Writing in place takes a third
 * of an optimizer's memory less, and uses the processor's caches less.
 *
 * No state may be lost when the loss or a gradient is not finite, or an index out of range. So everything that is written in place must
 * depend on the guard, which stops the run: the guard's output multiplies a scalar that takes part in the update, such as a decay rate.
 */
import { apply, tensorOf } from "../../graph/apply.ts";
import type { Condition } from "../../graph/check.ts";
import { collect, makeNode, type Node, usersAmong, type Value, withoutMoves } from "../../graph/node.ts";
import { newScope, type Scope, withScope } from "../../graph/scope.ts";
import { isFloat, sizeOf } from "../../graph/types.ts";
import { guard } from "../../ops/lowered/guard.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Pass } from "./pass.ts";

/** Smaller states keep two buffers. */
const fewestElements = 1024;

/**
 * Puts a guard into a graph, and says which outputs may be written in place, into their state's input. The guard stops the run before
 * anything is written in place, if a watched value fails its condition. The guard's output is the last output of the graph: 1 when it is
 * passed.
 */
export const guardPass: Pass = {
  name: "guard",
  run(graph) {
    const { leaves, roots, plan } = graph;
    if (graph.watched.length === 0) return graph;
    // The order of the elements does not matter to the guard, so reshapes and transposes are not made for it.
    const watched = graph.watched.map((value) => (isEmpty(value) ? value : withoutMoves(value)));
    const before = collect(watched);
    const isBefore = new Set(before);
    const after = collect(roots).filter((node) => !isBefore.has(node));
    const users = usersAmong([...before, ...after]);
    const places = new Map<Node, number>();
    const rootNodes = new Map<Node, number>();
    for (const { node } of roots) rootNodes.set(node, (rootNodes.get(node) ?? 0) + 1);
    // Nodes with smaller ids first: later ones may depend on them, and are then behind the guard too.
    const inOrder = plan.states.toSorted(([a], [b]) => roots[a]!.node.id - roots[b]!.node.id);
    const inPlace = inOrder.filter(([output, input]) => {
      const leaf = leaves[input]!;
      const writer = roots[output]!.node;
      if (!plan.inPlace || sizeOf(leaf.outputs[0]!.shape) < fewestElements || !isWriter(writer)) return false;
      if (rootNodes.has(leaf) || rootNodes.get(writer) !== 1) return false;
      const readers = readersOf(leaf, users)?.filter((reader) => !isBefore.has(reader));
      if (!readers || !areAncestors(readers, writer)) return false;
      const place = scalarBehind(writer, isBefore, places);
      if (place) places.set(place.node, place.input);
      return place !== undefined;
    });
    const isLast = (node: Node): boolean =>
      node.source === undefined && !users.get(node)?.some((user) => isBefore.has(user));
    const order = { last: before.filter((node) => isLast(node)), isBefore };
    const guarded = withGuard(
      roots,
      watched,
      plan.conditions,
      order,
      places,
      newScope(graph.trace, graph.trail.table()),
    );
    return { ...graph, roots: guarded, watched: [], inPlace: new Map(inPlace) };
  },
};

const isEmpty = ({ node, index }: Value): boolean => sizeOf(node.outputs[index]!.shape) === 0;

/** A node that writes each element from what it reads at the same place. */
function isWriter({ op, outputs, source }: Node): boolean {
  return op.elementwise === true && outputs.length === 1 && source === undefined;
}

/**
 * Whether a node's output may be its input's memory, or be left out by ONNX Runtime, so that its users read the input itself: reshape,
 * transpose, a cast there and back. Any op of one input that does not compute counts.
 */
function isView({ op, inputs, outputs }: Node): boolean {
  if (inputs.length !== 1) return false;
  const [{ node, index }] = inputs as readonly [Value];
  return !op.elementwise || op.rearranges === true || node.outputs[index]!.dtype !== outputs[0]!.dtype;
}

/** All nodes that read a leaf, also through views; undefined if one of them has several outputs. */
function readersOf(leaf: Node, users: ReadonlyMap<Node, readonly Node[]>): Node[] | undefined {
  const readers = [...(users.get(leaf) ?? [])];
  for (const reader of readers) {
    if (reader.outputs.length > 1) return undefined;
    if (isView(reader)) readers.push(...(users.get(reader) ?? []));
  }
  return readers;
}

/** Whether a node depends on every one of the `wanted` nodes; a node counts as depending on itself. */
function areAncestors(wanted: readonly Node[], node: Node): boolean {
  const missing = new Set(wanted);
  const first = wanted.reduce((least, { id }) => Math.min(least, id), Number.POSITIVE_INFINITY);
  const seen = new Set<Node>();
  const stack = [node];
  for (let next = stack.pop(); next && missing.size > 0; next = stack.pop()) {
    if (next.id < first || seen.has(next)) continue; //  inputs have smaller ids
    seen.add(next);
    missing.delete(next);
    for (const input of next.inputs) stack.push(input.node);
  }
  return missing.size === 0;
}

interface Place {
  readonly node: Node;
  readonly input: number;
}

/**
 * Returns the place of a scalar input on which a writer depends through elementwise ops, outside the nodes before the guard. Prefers one
 * of `places`.
 */
function scalarBehind(writer: Node, isBefore: ReadonlySet<Node>, places: ReadonlyMap<Node, number>): Place | undefined {
  const waiting = new Set([writer]);
  for (const node of waiting)
    if (node.op.elementwise && !isBefore.has(node)) for (const { node: from } of node.inputs) waiting.add(from);
  for (const node of waiting) {
    const input = places.get(node);
    if (input !== undefined) return { node, input };
  }
  for (const node of waiting) {
    if (!node.op.elementwise || isBefore.has(node)) continue;
    const input = node.inputs.findIndex(({ node: from, index }) => {
      const { shape, dtype } = from.outputs[index]!;
      return sizeOf(shape) === 1 && isFloat(dtype);
    });
    if (input >= 0) return { node, input };
  }
  return undefined;
}

/** The nodes that the guard waits for. */
interface Before {
  readonly isBefore: ReadonlySet<Node>;
  /** Those of them that no other one uses. */
  readonly last: readonly Node[];
}

/**
 * Returns the graph with a guard, whose output multiplies one input of each node in `places`.
 *
 * ONNX Runtime computes the inputs of a node from the last in the model's order to the first, and likewise the nodes whose outputs no
 * other node uses. So the gradients are written in reverse order: each is computed as soon as possible. The updates are in reverse order
 * too, so that the updates whose gradients are still in the processor's caches come first.
 */
function withGuard(
  roots: readonly Value[],
  watched: readonly Value[],
  conditions: readonly Condition[],
  { last, isBefore }: Before,
  places: ReadonlyMap<Node, number>,
  scope: Scope,
): Value[] {
  const copies = new Map<Node, Node>();
  const copied = ({ node, index }: Value): Tensor => tensorOf(copies.get(node) ?? node, index);
  const after = new Set(roots.toReversed().flatMap((root) => collect([root], (node) => isBefore.has(node))));
  return withScope(scope, () => {
    for (const node of last.toReversed()) copies.set(node, makeNode(node));
    const passed = apply(guard, watched.map(copied), { conditions });
    for (const node of after) {
      if (node.source !== undefined || isBefore.has(node)) continue;
      const place = places.get(node);
      const inputs = node.inputs.map((value, i) => {
        const input = copied(value);
        return i === place ? input.mul(passed.cast(input.dtype).reshape(input.shape)) : input;
      });
      copies.set(node, makeNode({ ...node, inputs }));
    }
    return [...roots.map(copied), passed];
  });
}
