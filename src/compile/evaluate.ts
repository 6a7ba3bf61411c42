/** Values on demand: one graph, one run, whatever was asked for. */
import { forbidInTrace, type Guard, takePending } from "../graph/scope.ts";
import { State } from "../tensor/state.ts";
import type { Storage } from "../tensor/storage.ts";
import { setEvaluator, Tensor } from "../tensor/tensor.ts";
import { bind, expectFresh, knownStorage, remember } from "./bind.ts";
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

/** Queues what is needed for the values of some tensors; the storages fill when the run is done. */
export function launch(tensors: readonly Tensor[]): { storages: Storage[]; done: Promise<void> } {
  const { assigned, guards } = takePending() as { assigned: Map<State, Tensor>; guards: Guard<Tensor>[] };
  const results = tensors.map((tensor) => tensor.current()).filter((value) => knownStorage(value) === undefined);
  let running: Running | undefined;
  if (results.length || assigned.size || guards.length) {
    const bound = bind({ results, guards, assigned });
    expectFresh(bound.leaves);
    running = submit({
      executable: executableFor(currentEngine(), bound.leaves, bound.roots),
      inputs: bound.sources as (Storage | State)[],
      outputs: bound.outputs,
      types: bound.roots.map(({ node, index }) => node.outputs[index]!),
      guards: bound.guards,
    });
    results.forEach((value, i) => remember(value, running!.results[i]!));
  }
  const storages = tensors.map((tensor) => knownStorage(tensor.current())!);
  return { storages, done: running?.done ?? Promise.resolve() };
}

setEvaluator(async (tensors) => {
  const { storages, done } = launch(tensors);
  await done;
  return storages;
});
