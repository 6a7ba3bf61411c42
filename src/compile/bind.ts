/** Prepares tensors for a run: finds the leaves of their graph and what each is bound to, reuses known results, collects assignments. */
import { GraphError } from "../errors.ts";
import type { Check } from "../graph/check.ts";
import { collect, makeNode, type Node, type Value } from "../graph/node.ts";
import { fromStorage } from "../tensor/create.ts";
import { type State, stateOf, type Version } from "../tensor/state.ts";
import type { Storage } from "../tensor/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checksOf, type LeafCheck } from "./checks.ts";
import type { Plan } from "./passes/pass.ts";

/** What a graph computes: the results, the checks that the user asked for, and the new values of states. */
export interface Roots {
  readonly results: readonly Value[];
  readonly checks: readonly Check<Tensor>[];
  readonly assigned: ReadonlyMap<State, Tensor>;
}

/**
 * A graph with its leaves in order, and what each leaf is bound to: a storage, a state, an old value of a state, or the position of an
 * argument.
 */
export interface Bound {
  readonly leaves: readonly Node[];
  readonly sources: readonly (Storage | State | Version | number)[];
  readonly roots: readonly Value[];
  readonly outputs: readonly (State | undefined)[];
  /** How many of the outputs are results; they come first, before the new values of states. */
  readonly results: number;
  /** The checks that the run itself makes: those that the user asked for, then those that ops ask for. */
  readonly checks: readonly Check<Value>[];
  /** The checks of leaves, which are made before the run. */
  readonly leafChecks: readonly (LeafCheck & { readonly position: number })[];
  readonly plan: Plan;
}

/** Finds the leaves of a graph and its checks. */
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

function sourceOf(leaf: Node): Storage | State | Version | number {
  const source = leaf.source!;
  switch (source.kind) {
    case "argument":
      return source.position;
    case "state": {
      const { state, version } = stateOf(leaf);
      return leaf.trace || version === state.version ? state : version;
    }
    case "host":
      return source.storage as Storage;
  }
}

const known = new WeakMap<Node, (Tensor | undefined)[]>();

/** Remembers a computed value, so that graphs built on it start from the storage and do not compute it again. */
export function remember({ node, index }: Value, storage: Storage): void {
  const values = known.get(node) ?? [];
  values[index] = fromStorage(storage);
  known.set(node, values);
}

/** The storage of a value that has been computed, or that was created from JavaScript values; undefined for others. */
export function knownStorage({ node, index }: Value): Storage | undefined {
  const leaf = known.get(node)?.[index]?.node ?? node;
  return leaf.source?.kind === "host" ? (leaf.source.storage as Storage) : undefined;
}

/** The same graph, with leaves in place of the values that are known already. */
function withKnown(roots: readonly Value[]): Value[] {
  const complete = (node: Node): boolean => {
    const values = known.get(node);
    return values !== undefined && node.outputs.every((_, index) => values[index] !== undefined);
  };
  const nodes = collect(roots, complete);
  if (!nodes.some((node) => known.has(node))) return [...roots];
  const copies = new Map<Node, Node>();
  const replaced = ({ node, index }: Value): Value =>
    known.get(node)?.[index] ?? { node: copies.get(node) ?? node, index };
  for (const node of nodes) {
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
    if (version !== state.version && !state.keepsOldValues)
      throw new GraphError(
        "evaluate",
        `an expression was built on a value of ${state.label} that has been updated since`,
        "evaluate it before the update, or build it again",
      );
  }
}
