/** Computing values that were asked for: all tensors of one request become one graph and one run. */

import { tensorOf } from "../graph/apply.ts";
import type { Check } from "../graph/check.ts";
import { collect, type Node, type Value } from "../graph/node.ts";
import { forbidInTrace, hasPending, takePending } from "../graph/scope.ts";
import type { NestedArray } from "../graph/shape-types.ts";
import type { Values } from "../graph/types.ts";
import type { Steps } from "../task.ts";
import { nest } from "../tensor/print.ts";
import { Run, tellFailures } from "../tensor/run.ts";
import { State, stateOf, type Version } from "../tensor/state.ts";
import { Storage } from "../tensor/storage.ts";
import { type Scalar, setEvaluator, Tensor } from "../tensor/tensor.ts";
import { flatten, type IsTree } from "../tensor/tree.ts";
import { bind, expectFresh, knownStorage, remember } from "./bind.ts";
import { executableFor, submit } from "./executable.ts";
import { enqueue } from "./queue.ts";
import { currentEngine } from "./runtime.ts";

/** An object that holds variables: a module, an optimizer. */
export interface HasStates {
  states(): Iterable<State>;
}

/**
 * Computes several tensors in one run, and makes every pending assignment of a variable, so that all variables stay in step.
 * Modules and optimizers may be named too, `await evaluate(loss, model, optimizer)`, but this changes nothing: pending assignments
 * are made in any case. Throws what the run throws.
 */
export async function evaluate(...things: readonly (Tensor | HasStates)[]): Promise<void> {
  forbidInTrace("evaluate", "");
  const launched = launch(
    things.filter((thing): thing is Tensor => thing instanceof Tensor && !(thing instanceof State)),
  );
  await arrived(launched.runs.length > 0 ? launched : look([])); //  even without a run of its own, it waits for earlier runs
}

/** A tree with arrays of numbers in place of its tensors; a number in place of a scalar. */
export type ReadOf<T> =
  T extends Tensor<infer S, infer D>
    ? NestedArray<S, Scalar<D>>
    : T extends object
      ? { readonly [K in keyof T]: ReadOf<T[K]> }
      : undefined;

/**
 * Returns the values of all tensors in arrays and records, computed in one run. The result has the form of the tree, with what `array()`
 * returns in place of each tensor: `const { loss, report } = await read(step(x, y))`. Throws what the run throws. Throws GraphError
 * inside a traced function, and when the tree holds something that is not a tensor.
 */
export function read<T>(tree: T & IsTree<T>): Promise<ReadOf<T>> {
  forbidInTrace("read", ""); //  thrown at once, not as a rejected promise: a traced function cannot await
  const tensors: Tensor[] = [];
  const rebuild = flatten("read", tree, tensors, "among the tensors there is a");
  return valuesOf(tensors).then(
    (all) => rebuild(all.map((values, i) => nest(tensors[i]!.shape, tensors[i]!.dtype, values))) as ReadOf<T>,
  );
}

/**
 * Returns the values of tensors at one place of the queue: variables as they are at that place, all other tensors computed in one run.
 * The arrays may be those that storages hold: a caller must copy them before it gives them to the user.
 */
export async function valuesOf(tensors: readonly Tensor[]): Promise<Values[]> {
  const launched = launch(tensors);
  await arrived(launched);
  const all: Values[] = [];
  for (const storage of launched.storages) all.push(storage.values ?? (await storage.read()));
  return all;
}

/** The storages that were asked for, and their runs. */
interface Launched {
  readonly storages: readonly Storage[];
  /** The runs that were queued for them. */
  readonly runs: readonly Run[];
}

/**
 * Queues the runs that compute the values of some tensors, and the pending assignments of the top level. The storages get their values
 * when the runs are done. All that is queued here has one place in the queue: no other run comes in between.
 */
export function launch(tensors: readonly Tensor[]): Launched {
  // This comes before the assignments are taken: a variable with a pending assignment stands for its new value.
  const values = tensors.map((tensor) => tensor.current());
  const { assigned, checks } = takePending() as { assigned: Map<State, Tensor>; checks: Check<Tensor>[] };
  const variables = values.filter(({ node }) => node.source?.kind === "state");
  expectFresh(variables.map(({ node }) => node));
  // Variables are read before the run, which may write them in place.
  const seen = variables.length > 0 ? look(variables.map(({ node }) => node)) : undefined;
  const results = values.filter((value) => value.node.source === undefined && knownStorage(value) === undefined);
  let run: Run | undefined;
  if (results.length || assigned.size || checks.length) {
    const bound = bind({ results, checks, assigned });
    expectFresh(bound.leaves);
    const submitted = submit({
      ...executableFor(currentEngine(), bound),
      inputs: bound.sources as (Storage | State | Version)[],
      outputs: bound.outputs,
      types: bound.roots.map(({ node, index }) => node.outputs[index]!),
      leafChecks: bound.leafChecks,
      graph: () => bound,
    });
    run = submitted.run;
    results.forEach((value, i) => remember(value, submitted.results[i]!));
  }
  let next = 0;
  const storages = values.map((value) =>
    value.node.source?.kind === "state" ? seen!.storages[next++]! : knownStorage(value)!,
  );
  return { storages, runs: [...(seen?.runs ?? []), ...(run ? [run] : [])] };
}

/** Returns the storages of tensors. First it queues pending assignments of the top level, and tensors that are not computed yet. */
export function storagesOf(tensors: readonly Tensor[]): readonly Storage[] {
  const storages = tensors.map((tensor) => knownStorage(tensor.current()));
  const isComplete = storages.every((storage) => storage !== undefined);
  return isComplete && !hasPending() ? storages : launch(tensors).storages;
}

/**
 * Says that the caller will read these tensors, or values computed from them, unless it fails or stops earlier: an error of their runs is
 * reported to no other caller. For callers that queue runs ahead of those that they read. Returns the tensors.
 */
export function claim<T extends readonly Tensor[]>(tensors: T): T {
  for (const { run } of storagesOf(tensors)) run?.observe();
  return tensors;
}

/** Queues a run that reads the variables of some leaves at this place of the queue. Without leaves, it only waits for earlier runs. */
function look(leaves: readonly Node[]): Launched {
  const run = new Run();
  const storages = leaves.map(({ outputs: [type] }) => Storage.ofRun(type!, run));
  const versions = leaves.map((leaf) => stateOf(leaf).version);
  run.done = enqueue(run, copy(versions, storages));
  return { storages, runs: [run] };
}

function* copy(versions: readonly Version[], copies: readonly Storage[]): Steps<void> {
  for (const [i, { storage }] of versions.entries()) {
    copies[i]!.settle(yield* storage.take());
    if (storage.values) storage.isShared = true; //  the reader holds the same array, not a copy
  }
}

/** Waits for runs. Throws the error of one of them, or else an error of an earlier run that was not reported yet. */
async function arrived({ storages, runs }: Launched): Promise<void> {
  const all = new Set(runs);
  for (const { run } of storages) if (run) all.add(run);
  for (const run of all) run.observe(); //  before any await: the caller will be told of their errors
  let place = 0;
  for (const run of all) {
    await run.done;
    place = Math.max(place, run.place);
  }
  tellFailures(place);
}

setEvaluator(valuesOf);

/**
 * Computes the expressions that a trace has captured from outside: those that were built at the top level and depend on variables. They
 * keep the values that the variables had when they were built, and become constants of the compiled function.
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
