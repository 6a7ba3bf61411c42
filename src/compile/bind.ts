/** From tensors to a job: leaves found and bound, known results reused, what is assigned gathered. */
import { GraphError } from "../errors.ts";
import type { Check } from "../graph/check.ts";
import { collect, makeNode, type Node, type Value } from "../graph/node.ts";
import { fromStorage } from "../tensor/create.ts";
import { type State, stateOf } from "../tensor/state.ts";
import type { Storage } from "../tensor/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checksOf, type LeafCheck } from "./checks.ts";
import type { Plan } from "./passes/pass.ts";

/** What a graph computes: results first, then the states' new values; and what it was told to check. */
export interface Roots {
  readonly results: readonly Value[];
  readonly checks: readonly Check<Tensor>[];
  readonly assigned: ReadonlyMap<State, Tensor>;
}

/** A graph with its leaves in order and what each is bound to; an argument of a compiled function by its position. */
export interface Bound {
  readonly leaves: readonly Node[];
  readonly sources: readonly (Storage | State | number)[];
  readonly roots: readonly Value[];
  readonly outputs: readonly (State | undefined)[];
  /** How many of the outputs, from the first, were asked for. */
  readonly results: number;
  /** What a run looks at itself: what it was told to, and what ops ask for. */
  readonly checks: readonly Check<Value>[];
  /** What is looked at before a run. */
  readonly leafChecks: readonly (LeafCheck & { readonly position: number })[];
  readonly plan: Plan;
}

/** Finds the leaves of a graph and what is to be checked. */
export function bind({ results, checks, assigned }: Roots): Bound {
  const all = withKnown([...results, ...assigned.values(), ...checks.map(({ value }) => value.current())]);
  const roots = all.slice(0, results.length + assigned.size);
  const told = checks.map((check, i) => ({ ...check, value: all[roots.length + i]! }));
  const leaves = collect(all).filter((node) => node.source !== undefined);
  const sources = leaves.map(sourceOf);
  const states = [...assigned.keys()].flatMap((state, i): [number, number][] => {
    const input = sources.indexOf(state);
    return input < 0 ? [] : [[results.length + i, input]];
  });
  const { leaves: leafChecks, computed } = checksOf(all);
  const watched = [...told, ...computed];
  return {
    leaves,
    sources,
    roots,
    outputs: [...results.map(() => undefined), ...assigned.keys()],
    results: results.length,
    checks: watched,
    leafChecks: leafChecks.map((check) => ({ ...check, position: leaves.indexOf(check.leaf) })),
    plan: { conditions: watched.map(({ condition }) => condition), states, inPlace: told.length > 0 },
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
