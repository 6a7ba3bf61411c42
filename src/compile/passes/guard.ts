/**
 * The guard of a graph, and which states a run may write where it reads them, as JAX does with donated buffers: a third of an
 * optimizer's memory less, and less for the caches to carry.
 *
 * Nothing may be lost when the loss or a gradient is not finite, or an index out of range. So whatever is written in place has to
 * come after a guard that stops the run: it is put on a scalar that takes part in the update, such as a decay rate.
 */
import { apply, tensorOf } from "../../graph/apply.ts";
import type { Condition } from "../../graph/check.ts";
import { collect, makeNode, type Node, usersAmong, type Value, withoutMoves } from "../../graph/node.ts";
import { newScope, withScope } from "../../graph/scope.ts";
import { isFloat, sizeOf } from "../../graph/types.ts";
import { guard } from "../../ops/lowered/guard.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Pass } from "./pass.ts";

/** Smaller states keep two buffers. */
const fewestElements = 1024;

/**
 * Puts a guard into a graph, which stops before it writes anything should a watched value not be what it must, and says which outputs
 * may be written to their state's input. The guard's own output comes last: 1 once it is passed.
 */
export const guardPass: Pass = {
  name: "guard",
  run(graph) {
    const { leaves, roots, plan, trace } = graph;
    if (graph.watched.length === 0) return graph;
    // The same elements in whatever order: nothing has to be laid out for the guard alone.
    const watched = graph.watched.map((value) => (isEmpty(value) ? value : withoutMoves(value)));
    const before = collect(watched);
    const isBefore = new Set(before);
    const after = collect(roots).filter((node) => !isBefore.has(node));
    const users = usersAmong([...before, ...after]);
    const places = new Map<Node, number>();
    const rootNodes = new Map<Node, number>();
    for (const { node } of roots) rootNodes.set(node, (rootNodes.get(node) ?? 0) + 1);
    // First those that others may depend on, which are behind the guard then.
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
    const guarded = withGuard(roots, watched, plan.conditions, order, places, trace);
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

/** All that reads a leaf, through views too; nothing where one of them has several outputs. */
function readersOf(leaf: Node, users: ReadonlyMap<Node, readonly Node[]>): Node[] | undefined {
  const readers = [...(users.get(leaf) ?? [])];
  for (const reader of readers) {
    if (reader.outputs.length > 1) return undefined;
    if (isView(reader)) readers.push(...(users.get(reader) ?? []));
  }
  return readers;
}

/** Whether a node is, or depends on, every one of some others. */
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

/** A scalar that a writer depends on through elementwise ops, and the guard's values do not: one of `places` if it can be. */
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
  /** Those that no other of them waits for. */
  readonly last: readonly Node[];
}

/**
 * The graph with a guard behind one input of each of some nodes.
 *
 * ONNX Runtime computes what a node waits for from the last in the model's order to the first, and what nobody waits for likewise. So the
 * gradients stand there in reverse: each is computed as soon as it can be. The updates do too, so that those come first whose gradients are
 * still in the caches.
 */
function withGuard(
  roots: readonly Value[],
  watched: readonly Value[],
  conditions: readonly Condition[],
  { last, isBefore }: Before,
  places: ReadonlyMap<Node, number>,
  trace: object | undefined,
): Value[] {
  const copies = new Map<Node, Node>();
  const copied = ({ node, index }: Value): Tensor => tensorOf(copies.get(node) ?? node, index);
  const after = new Set(roots.toReversed().flatMap((root) => collect([root], (node) => isBefore.has(node))));
  return withScope(newScope(trace, true), () => {
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
