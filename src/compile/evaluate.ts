/** Values on demand: one graph, one run, whatever was asked for. */

import { tensorOf } from "../graph/apply.ts";
import { collect, type Node, type Value } from "../graph/node.ts";
import { forbidInTrace, type Guard, takePending } from "../graph/scope.ts";
import type { NestedArray } from "../graph/shape-types.ts";
import { State } from "../tensor/state.ts";
import type { Storage } from "../tensor/storage.ts";
import { type Scalar, setEvaluator, Tensor } from "../tensor/tensor.ts";
import { flatten, type Tree } from "../tensor/tree.ts";
import { bind, expectFresh, knownStorage, remember } from "./bind.ts";
import { boundsOf, expectIndicesInBounds } from "./bounds.ts";
import { executableFor, type Running, submit } from "./executable.ts";
import { currentEngine } from "./runtime.ts";

/** Whatever holds state variables: a module, an optimizer. */
export interface HasStates {
  states(): Iterable<State>;
}

/**
 * Computes several tensors in one run and gives the variables that wait for it their new values. Modules and optimizers may
 * be named too: `await evaluate(loss, model, optimizer)`; every pending assignment is made in any case, so that all
 * variables stay in step. Throws what the run throws.
 */
export async function evaluate(...things: readonly (Tensor | HasStates)[]): Promise<void> {
  forbidInTrace("evaluate", "");
  await launch(things.filter((thing): thing is Tensor => thing instanceof Tensor && !(thing instanceof State))).done;
}

/** A tree with arrays of numbers in place of its tensors; a number in place of a scalar. */
export type ReadOf<T> =
  T extends Tensor<infer S, infer D>
    ? NestedArray<S, Scalar<D>>
    : T extends object
      ? { readonly [K in keyof T]: ReadOf<T[K]> }
      : undefined;

/**
 * The values of all tensors in arrays and records, in one run, in arrays and records of the same form: each tensor as its `array()`
 * gives it. `const { loss, report } = await read(step(x, y))`. Throws what the run throws, GraphError inside a traced function and
 * for anything else in the tree.
 */
export function read<T>(tree: T & Tree): Promise<ReadOf<T>> {
  forbidInTrace("read", ""); //  at once: in a trace nobody can await an error
  const tensors: Tensor[] = [];
  const rebuild = flatten("read", tree, tensors, "among the tensors there is a");
  return evaluate(...tensors)
    .then(() => Promise.all(tensors.map((tensor) => tensor.array())))
    .then((arrays) => rebuild(arrays) as ReadOf<T>);
}

/** Queues what is needed for the values of some tensors; the storages fill when the run is done. */
export function launch(tensors: readonly Tensor[]): { storages: Storage[]; done: Promise<void> } {
  // Before the assignments are taken: a variable that has been assigned to stands for its new value.
  const values = tensors.map((tensor) => tensor.current());
  const { assigned, guards } = takePending() as { assigned: Map<State, Tensor>; guards: Guard<Tensor>[] };
  const results = values.filter((value) => knownStorage(value) === undefined);
  let running: Running | undefined;
  if (results.length || assigned.size || guards.length) {
    const bound = bind({ results, guards, assigned });
    expectFresh(bound.leaves);
    expectIndicesInBounds(boundsOf(bound.roots));
    running = submit({
      executable: executableFor(currentEngine(), bound),
      inputs: bound.sources as (Storage | State)[],
      outputs: bound.outputs,
      types: bound.roots.map(({ node, index }) => node.outputs[index]!),
      guards: bound.guards,
    });
    results.forEach((value, i) => remember(value, running!.results[i]!));
  }
  const storages = values.map((value) => knownStorage(value)!);
  return { storages, done: running?.done ?? Promise.resolve() };
}

setEvaluator(async (tensors) => {
  const { storages, done } = launch(tensors);
  await done;
  return storages;
});

/**
 * Computes what a trace has captured from outside: expressions that were built at the top and look at variables. They stand
 * for the values they had, in a trace as anywhere, and become constants of the compiled function.
 */
export function settleCaptured(roots: readonly Value[]): void {
  const nodes = collect(roots);
  const fromState = new Set<Node>();
  for (const node of nodes)
    if (!node.trace && (node.source?.kind === "state" || node.inputs.some((input) => fromState.has(input.node))))
      fromState.add(node);
  const used = [...roots, ...nodes.filter((node) => node.trace).flatMap((node) => node.inputs)];
  const captured = used.filter(({ node }) => fromState.has(node)).map(({ node, index }) => tensorOf(node, index));
  if (captured.length > 0) launch(captured);
}
