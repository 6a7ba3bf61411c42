/** Values on demand: one graph, one run, whatever was asked for. */

import { tensorOf } from "../graph/apply.ts";
import type { Check } from "../graph/check.ts";
import { collect, type Node, type Value } from "../graph/node.ts";
import { forbidInTrace, takePending } from "../graph/scope.ts";
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
  const launched = launch(
    things.filter((thing): thing is Tensor => thing instanceof Tensor && !(thing instanceof State)),
  );
  await arrived(launched.runs.length > 0 ? launched : look([])); //  in any case it waits for what comes before it
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
export function read<T>(tree: T & IsTree<T>): Promise<ReadOf<T>> {
  forbidInTrace("read", ""); //  at once: in a trace nobody can await an error
  const tensors: Tensor[] = [];
  const rebuild = flatten("read", tree, tensors, "among the tensors there is a");
  return valuesOf(tensors).then(
    (all) => rebuild(all.map((values, i) => nest(tensors[i]!.shape, tensors[i]!.dtype, values))) as ReadOf<T>,
  );
}

/**
 * The values of tensors at one place of the queue: variables as they are there, everything else computed in one run. Who hands the
 * arrays on must copy.
 */
export async function valuesOf(tensors: readonly Tensor[]): Promise<Values[]> {
  const launched = launch(tensors);
  await arrived(launched);
  const all: Values[] = [];
  for (const storage of launched.storages) all.push(storage.values ?? (await storage.read()));
  return all;
}

/** What has been asked for. */
interface Launched {
  readonly storages: readonly Storage[];
  /** What was put into the queue for it. */
  readonly runs: readonly Run[];
}

/**
 * Queues what is needed for the values of some tensors, and what waits at the top; the storages fill when it is done. Whatever is queued
 * here has one place in the queue: nothing comes in between.
 */
export function launch(tensors: readonly Tensor[]): Launched {
  // Before the assignments are taken: a variable that has been assigned to stands for its new value.
  const values = tensors.map((tensor) => tensor.current());
  const { assigned, checks } = takePending() as { assigned: Map<State, Tensor>; checks: Check<Tensor>[] };
  const variables = values.filter(({ node }) => node.source?.kind === "state");
  expectFresh(variables.map(({ node }) => node));
  // Before the run, which may write the variables where they are.
  const seen = variables.length > 0 ? look(variables.map(({ node }) => node)) : undefined;
  const results = values.filter((value) => value.node.source === undefined && knownStorage(value) === undefined);
  let run: Run | undefined;
  if (results.length || assigned.size || checks.length) {
    const bound = bind({ results, checks, assigned });
    expectFresh(bound.leaves);
    const submitted = submit({
      ...executableFor(currentEngine(), bound),
      inputs: bound.sources as (Storage | State)[],
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

/** Takes the values of variables, given by their leaves, at this place of the queue; without any it waits for what comes before. */
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
    if (storage.values) storage.isShared = true; //  the reader has the array itself
  }
}

/** Waits for what has been asked for. Throws what a run of it throws, or else what failed before it if nobody was told. */
async function arrived({ storages, runs }: Launched): Promise<void> {
  const all = new Set(runs);
  for (const { run } of storages) if (run) all.add(run);
  for (const run of all) run.observe(); //  at once: who asks will be told
  let place = 0;
  for (const run of all) {
    await run.done;
    place = Math.max(place, run.place);
  }
  tellFailures(place);
}

setEvaluator(valuesOf);

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
