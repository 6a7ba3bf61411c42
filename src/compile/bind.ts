/** From tensors to a job: leaves found and bound, known results reused, what is assigned gathered. */
import { GraphError } from "../errors.ts";
import { collect, makeNode, type Node, type Value } from "../graph/node.ts";
import type { Guard } from "../graph/scope.ts";
import { fromStorage } from "../tensor/create.ts";
import { type State, stateOf } from "../tensor/state.ts";
import type { Storage } from "../tensor/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Plan } from "./in-place.ts";

/** What a graph computes: results first, then guards, then the states' new values. */
export interface Roots {
  readonly results: readonly Value[];
  readonly guards: readonly Guard<Tensor>[];
  readonly assigned: ReadonlyMap<State, Tensor>;
}

/** A graph with its leaves in order and what each is bound to; an argument of a compiled function by its position. */
export interface Bound {
  readonly leaves: readonly Node[];
  readonly sources: readonly (Storage | State | number)[];
  readonly roots: readonly Value[];
  readonly outputs: readonly (State | undefined)[];
  /** How many of the outputs, from the first, were asked for; behind them come values that guards look at. */
  readonly results: number;
  readonly guards: readonly (Guard & { readonly output: number })[];
  readonly plan: Plan;
}

/** Finds the leaves of a graph. A guard on a value that is a result anyway takes no output of its own. */
export function bind({ results, guards, assigned }: Roots): Bound {
  const isSame = (a: Value, b: Value): boolean => a.node === b.node && a.index === b.index;
  const watched = [...results];
  const places = guards.map(({ value }) => {
    const at = watched.findIndex((result) => isSame(result, value.current()));
    return at >= 0 ? at : watched.push(value.current()) - 1;
  });
  const roots = withKnown([...watched, ...assigned.values()]);
  const leaves = collect(roots).filter((node) => node.source !== undefined);
  const sources = leaves.map(sourceOf);
  const states = [...assigned.keys()].flatMap((state, i): [number, number][] => {
    const input = sources.indexOf(state);
    return input < 0 ? [] : [[watched.length + i, input]];
  });
  return {
    leaves,
    sources,
    roots,
    outputs: [...watched.map(() => undefined), ...assigned.keys()],
    results: results.length,
    guards: guards.map((guard, i) => ({ ...guard, output: places[i]! })),
    plan: { guards: places, states },
  };
}

function sourceOf(leaf: Node): Storage | State | number {
  const source = leaf.source!;
  switch (source.kind) {
    case "argument":
      return source.position;
    case "state":
      return stateOf(leaf).state;
    case "host":
      return source.storage as Storage;
  }
}

const known = new WeakMap<Node, (Tensor | undefined)[]>();

/** Remembers a computed value, so that whatever is built on it starts from there. */
export function remember({ node, index }: Value, storage: Storage): void {
  const values = known.get(node) ?? [];
  values[index] = fromStorage(storage);
  known.set(node, values);
}

/** The storage of a value that has been computed, or came with its values. */
export function knownStorage({ node, index }: Value): Storage | undefined {
  const leaf = known.get(node)?.[index]?.node ?? node;
  return leaf.source?.kind === "host" ? (leaf.source.storage as Storage) : undefined;
}

/** The same graph, cut off where values are known already. */
function withKnown(roots: readonly Value[]): Value[] {
  const complete = (node: Node): boolean => {
    const values = known.get(node);
    return values !== undefined && node.outputs.every((_, index) => values[index] !== undefined);
  };
  const copies = new Map<Node, Node>();
  const replaced = ({ node, index }: Value): Value =>
    known.get(node)?.[index] ?? { node: copies.get(node) ?? node, index };
  for (const node of collect(roots, complete)) {
    if (complete(node)) continue;
    const inputs = node.inputs.map(replaced);
    if (inputs.some((input, i) => input.node !== node.inputs[i]!.node)) copies.set(node, makeNode({ ...node, inputs }));
  }
  return roots.map(replaced);
}

/** Throws when an expression was built on a value of a state that has been replaced since. */
export function expectFresh(leaves: readonly Node[]): void {
  for (const leaf of leaves) {
    if (leaf.source?.kind !== "state") continue;
    const { state, version } = stateOf(leaf);
    if (version !== state.version)
      throw new GraphError(
        "evaluate",
        `an expression was built on a value of ${state.label} that has been updated since`,
        "evaluate it before the update, or build it again",
      );
  }
}
