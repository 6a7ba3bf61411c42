/**
 * Which states a run may write where it reads them, as JAX does with donated buffers: a third of an optimizer's memory less,
 * and less for the caches to carry.
 *
 * Nothing may be lost when the loss is not finite. So whatever is written in place has to come after a guard that stops the
 * run: it is put on a scalar that takes part in the update, such as a decay rate.
 */
import { apply, tensorOf } from "../graph/apply.ts";
import type { Body } from "../graph/body.ts";
import { collect, makeNode, type Node, type Value } from "../graph/node.ts";
import { newScope, withScope } from "../graph/scope.ts";
import { isFloat, sizeOf } from "../graph/types.ts";
import { whileFinite } from "../ops/guard.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What a graph's outputs are for. */
export interface Plan {
  /** Outputs that must be finite for a run to count. */
  readonly guards: readonly number[];
  /** By output: the input, of each state that has both. Positions. */
  readonly states: readonly (readonly [output: number, input: number])[];
}

/** Smaller states keep two buffers. */
const fewestElements = 1024;

/** The graph with its guards, and the outputs that may be written to their state's input. */
export function guarded(
  leaves: readonly Node[],
  roots: readonly Value[],
  { guards, states }: Plan,
  trace: object | undefined,
): { readonly roots: readonly Value[]; readonly inPlace: ReadonlyMap<number, number> } {
  const watched = guards.map((output) => roots[output]!);
  const before = collect(watched);
  const isBefore = new Set(before);
  const after = collect(roots).filter((node) => !isBefore.has(node));
  if (guards.length === 0 || mayFail(after, before)) return { roots, inPlace: new Map() };
  const users = new Map<Node, Node[]>();
  for (const node of [...before, ...after])
    for (const { node: used } of node.inputs) users.set(used, [...(users.get(used) ?? []), node]);
  const places = new Map<Node, number>();
  const shared = states.filter(([output, input]) => {
    const leaf = leaves[input]!;
    const writer = roots[output]!.node;
    if (sizeOf(leaf.outputs[0]!.shape) < fewestElements || !isWriter(writer)) return false;
    if (roots.some(({ node }, i) => node === leaf || (node === writer && i !== output))) return false;
    if (!areReadBefore(writer, users.get(leaf) ?? [])) return false;
    const place = scalarBehind(writer, isBefore);
    if (place) places.set(place.node, place.input);
    return place !== undefined;
  });
  const order = [...before, ...after];
  return { roots: withGuards(roots, watched, order, places, trace), inPlace: new Map(shared) };
}

/** A node that writes each element from what it reads at the same place. */
function isWriter({ op, outputs, source }: Node): boolean {
  return op.elementwise === true && outputs.length === 1 && source === undefined;
}

/**
 * Whether a run could still fail once it has passed the guards: on an index that is out of range and that no node before them
 * has met.
 */
function mayFail(after: readonly Node[], before: readonly Node[]): boolean {
  const met = new Set(before.map(indexOf));
  const holdsIndices = (body: Body): boolean => body.nodes.some(({ op }) => op.indices !== undefined);
  return after.some((node) => {
    const index = indexOf(node);
    let isRisky = index !== undefined && !met.has(index);
    node.op.mapBodies?.(node.params, (body) => {
      isRisky ||= holdsIndices(body);
      return body;
    });
    return isRisky;
  });
}

/** What a node uses as indices, and their bound; the same text for the same. */
function indexOf({ op, inputs, params }: Node): string | undefined {
  const limit = op.indices?.(
    inputs.map(({ node, index }) => node.outputs[index]!),
    params,
  );
  if (!limit) return undefined;
  let { node, index } = inputs[limit.input]!;
  while (node.op.rearranges) ({ node, index } = node.inputs[0]!);
  return `${node.id}.${index} < ${limit.below}`;
}

/** Whether everything that reads a state is the writer itself or done before it. */
function areReadBefore(writer: Node, readers: readonly Node[]): boolean {
  if (readers.some(({ outputs }) => outputs.length > 1)) return false;
  const wanted = new Set(readers);
  const first = Math.min(...readers.map(({ id }) => id));
  const seen = new Set<Node>();
  const stack = [writer];
  for (let node = stack.pop(); node && wanted.size > 0; node = stack.pop()) {
    if (node.id < first || seen.has(node)) continue; //  inputs have smaller ids
    seen.add(node);
    wanted.delete(node);
    for (const input of node.inputs) stack.push(input.node);
  }
  return wanted.size === 0;
}

/** A scalar that a writer depends on through elementwise ops, and not the guards' values. */
function scalarBehind(
  writer: Node,
  isBefore: ReadonlySet<Node>,
): { readonly node: Node; readonly input: number } | undefined {
  const waiting = [writer];
  for (const node of waiting) {
    if (!node.op.elementwise || isBefore.has(node)) continue;
    const input = node.inputs.findIndex(({ node: from, index }) => {
      const { shape, dtype } = from.outputs[index]!;
      return sizeOf(shape) === 1 && isFloat(dtype);
    });
    if (input >= 0) return { node, input };
    for (const { node: from } of node.inputs) if (!waiting.includes(from)) waiting.push(from);
  }
  return undefined;
}

/** The graph with guards put on one input of each of some nodes; `order` has what is watched before those nodes. */
function withGuards(
  roots: readonly Value[],
  watched: readonly Value[],
  order: readonly Node[],
  places: ReadonlyMap<Node, number>,
  trace: object | undefined,
): Value[] {
  const copies = new Map<Node, Node>();
  const copied = ({ node, index }: Value): Tensor => tensorOf(copies.get(node) ?? node, index);
  const behindGuards = (value: Tensor): Tensor =>
    watched.reduce<Tensor>((x, each, guard) => apply(whileFinite, [x, copied(each)], { guard }), value);
  return withScope(newScope(trace, true), () => {
    for (const node of order) {
      const place = places.get(node);
      const inputs = node.inputs.map((value, i) => (i === place ? behindGuards(copied(value)) : copied(value)));
      // From the first change on every node gets a copy, so that their order stays: ONNX Runtime goes by it, and a parameter's
      // update should find its gradient in the cache.
      if (node.source === undefined && (place !== undefined || copies.size > 0))
        copies.set(node, makeNode({ ...node, inputs }));
    }
    return roots.map(copied);
  });
}
