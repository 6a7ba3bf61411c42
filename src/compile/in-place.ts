/**
 * Which states a run may write where it reads them, as JAX does with donated buffers: a third of an optimizer's memory less,
 * and less for the caches to carry.
 *
 * Nothing may be lost when the loss is not finite. So whatever is written in place has to come after a guard that stops the
 * run: it is put on a scalar that takes part in the update, such as a decay rate.
 */
import type { InPlace } from "../engine/engine.ts";
import { apply, tensorOf } from "../graph/apply.ts";
import type { Body } from "../graph/body.ts";
import { collect, makeNode, type Node, usersAmong, type Value } from "../graph/node.ts";
import { newScope, withScope } from "../graph/scope.ts";
import { isFloat, sizeOf } from "../graph/types.ts";
import { allFinite } from "../ops/guard.ts";
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

/** A graph whose states may be written in place. */
export interface Guarded {
  /** The graph's outputs; where any may be written in place, behind them one that is 1 once the guard is passed. */
  readonly roots: readonly Value[];
  readonly inPlace: InPlace;
}

/** Puts a guard into a graph and says which outputs may be written to their state's input. */
export function guarded(
  leaves: readonly Node[],
  roots: readonly Value[],
  { guards, states }: Plan,
  trace: object | undefined,
): Guarded {
  const watched = guards.map((output) => roots[output]!);
  const before = collect(watched);
  const isBefore = new Set(before);
  const after = collect(roots).filter((node) => !isBefore.has(node));
  const none: Guarded = { roots, inPlace: new Map() };
  if (guards.length === 0 || mayFail(after, before)) return none;
  const order = [...before, ...after];
  const users = usersAmong(order);
  const places = new Map<Node, number>();
  const rootNodes = new Map<Node, number>();
  for (const { node } of roots) rootNodes.set(node, (rootNodes.get(node) ?? 0) + 1);
  const inPlace = states.filter(([output, input]) => {
    const leaf = leaves[input]!;
    const writer = roots[output]!.node;
    if (sizeOf(leaf.outputs[0]!.shape) < fewestElements || !isWriter(writer)) return false;
    if (rootNodes.has(leaf) || rootNodes.get(writer) !== 1) return false;
    const readers = readersOf(leaf, users)?.filter((reader) => !isBefore.has(reader));
    if (!readers || !areAncestors(readers, writer)) return false;
    const place = scalarBehind(writer, isBefore);
    if (place) places.set(place.node, place.input);
    return place !== undefined;
  });
  if (inPlace.length === 0) return none;
  return { roots: withGuard(roots, watched, order, places, trace), inPlace: new Map(inPlace) };
}

/** A node that writes each element from what it reads at the same place. */
function isWriter({ op, outputs, source }: Node): boolean {
  return op.elementwise === true && outputs.length === 1 && source === undefined;
}

/**
 * Whether a run could still fail once it has passed the guard: on an index that is out of range, has not been looked at before
 * the run, and has been refused by no op before the guard.
 */
function mayFail(after: readonly Node[], before: readonly Node[]): boolean {
  const met = new Set(before.map(indexOf).flatMap((index) => (index?.isRefused ? [index.key] : [])));
  const holdsIndices = (body: Body): boolean => body.nodes.some(({ op }) => op.indices !== undefined);
  return after.some((node) => {
    const index = indexOf(node);
    let isRisky = index !== undefined && !index.isKnown && !met.has(index.key);
    node.op.mapBodies?.(node.params, (body) => {
      isRisky ||= holdsIndices(body);
      return body;
    });
    return isRisky;
  });
}

interface Index {
  /** What is used as indices, and their bound. */
  readonly key: string;
  /** Whether JavaScript has the values, and has looked at them. */
  readonly isKnown: boolean;
  /** Whether the op fails on those out of range. */
  readonly isRefused: boolean;
}

function indexOf({ op, inputs, params }: Node): Index | undefined {
  const limit = op.indices?.(
    inputs.map(({ node, index }) => node.outputs[index]!),
    params,
  );
  if (!limit) return undefined;
  let { node, index } = inputs[limit.input]!;
  while (node.op.rearranges) ({ node, index } = node.inputs[0]!);
  const isKnown = node.source?.kind === "host" && node.source.storage.values !== undefined;
  return { key: `${node.id}.${index} < ${limit.below}`, isKnown, isRefused: limit.refused === true };
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

/** A scalar that a writer depends on through elementwise ops, and the guard's values do not. */
function scalarBehind(writer: Node, isBefore: ReadonlySet<Node>): Place | undefined {
  const waiting = new Set([writer]);
  for (const node of waiting) {
    if (!node.op.elementwise || isBefore.has(node)) continue;
    const input = node.inputs.findIndex(({ node: from, index }) => {
      const { shape, dtype } = from.outputs[index]!;
      return sizeOf(shape) === 1 && isFloat(dtype);
    });
    if (input >= 0) return { node, input };
    for (const { node: from } of node.inputs) waiting.add(from);
  }
  return undefined;
}

/** The graph with a guard behind one input of each of some nodes; `order` has what is watched before those nodes. */
function withGuard(
  roots: readonly Value[],
  watched: readonly Value[],
  order: readonly Node[],
  places: ReadonlyMap<Node, number>,
  trace: object | undefined,
): Value[] {
  const copies = new Map<Node, Node>();
  const copied = ({ node, index }: Value): Tensor => tensorOf(copies.get(node) ?? node, index);
  return withScope(newScope(trace, true), () => {
    const passed = apply(
      allFinite,
      watched.map(({ node, index }) => tensorOf(node, index)),
      undefined,
    );
    for (const node of order) {
      const place = places.get(node);
      const inputs = node.inputs.map((value, i) => {
        const input = copied(value);
        return i === place ? input.mul(passed.cast(input.dtype).reshape(input.shape)) : input;
      });
      // From the first change on every node gets a copy, so that their order stays: ONNX Runtime goes by it, and a parameter's
      // update should find its gradient in the cache.
      if (node.source === undefined && (place !== undefined || copies.size > 0))
        copies.set(node, makeNode({ ...node, inputs }));
    }
    return [...roots.map(copied), passed];
  });
}
