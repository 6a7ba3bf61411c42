/** A program, its session on an engine, and what its inputs and outputs are bound to. */

import type { Engine, EngineBuffer, InPlace, Session } from "../engine/engine.ts";
import { DataError } from "../errors.ts";
import { collect } from "../graph/node.ts";
import type { Guard } from "../graph/scope.ts";
import { canonicalText } from "../graph/text.ts";
import { sizeOf } from "../graph/types.ts";
import { stopOf } from "../ops/guard.ts";
import { type Steps, type Waiting, wait } from "../task.ts";
import { Run } from "../tensor/run.ts";
import type { Change, State, Version } from "../tensor/state.ts";
import { Storage } from "../tensor/storage.ts";
import type { Bound } from "./bind.ts";
import { debug } from "./debug.ts";
import { guarded } from "./in-place.ts";
import { withKernels } from "./kernels.ts";
import { GraphProgram } from "./program.ts";
import { enqueue } from "./queue.ts";
import { rewrite } from "./rewrite.ts";
import { passes } from "./rules/index.ts";

/** A session for one graph on one engine. */
export interface Executable {
  readonly engine: Engine;
  readonly session: Waiting<Session>;
  readonly inPlace: InPlace;
  /** Takes the output behind the graph's own that is 1 once the guard is passed; only where states are written in place. */
  readonly passed: EngineBuffer | undefined;
  /** Buffers of small results, by output, that a run may use: their values are copied out as soon as a run is done. */
  readonly spares: EngineBuffer[][];
}

/** Results of up to so many elements are copied out. A loss is one; making a buffer for it at every step costs more. */
const smallResult = 256;

const mostCached = 256;
const caches = new WeakMap<Engine, Map<string, Executable>>();

/** The session for a graph: from the cache when the same graph has run before, whatever its values, names and states were. */
export function executableFor(
  engine: Engine,
  { leaves, roots, plan }: Pick<Bound, "leaves" | "roots" | "plan">,
  trace?: object,
): Executable {
  const cache = caches.get(engine) ?? new Map<string, Executable>();
  caches.set(engine, cache);
  const text = `${canonicalText(leaves, roots)}${plan.guards.length > 0 ? JSON.stringify(plan) : ""}`;
  const known = cache.get(text);
  if (known) {
    cache.delete(text);
    cache.set(text, known); //  the most recently used is last
    return known;
  }
  const started = performance.now();
  const { inPlace, roots: safe } = guarded(leaves, rewrite(roots, passes, engine.target, trace), plan, trace);
  const final = engine.target.kernels ? withKernels(safe, trace) : safe;
  const program = new GraphProgram(leaves, final, engine.target, { inPlace });
  const rewritten = performance.now();
  const session = engine.load(program);
  session.then(undefined, () => cache.delete(text));
  debug.compiled({ engine, program, roots, before: collect(roots).length, rewriting: rewritten - started, session });
  const passed = inPlace.size > 0 ? engine.buffer({ shape: [], dtype: "float32" }) : undefined;
  const executable: Executable = { engine, session, inPlace, passed, spares: [] };
  cache.set(text, executable);
  if (cache.size > mostCached) cache.delete(cache.keys().next().value!);
  return executable;
}

/** One run: what is read and where results go. */
export interface Job {
  readonly executable: Executable;
  readonly inputs: readonly (Storage | State)[];
  /** For each output the state that takes it, or nothing: a result. Guards are results too. */
  readonly outputs: readonly (State | undefined)[];
  readonly types: readonly Storage["type"][];
  /** Outputs that must be finite, or the run's assignments are dropped. */
  readonly guards: readonly (Guard & { readonly output: number })[];
  /** Looks for the cause when a guard fails: called with the guard, throws a better error than the general one. */
  explain?(guard: Guard): Steps<void>;
  /** The compiled function whose call it is, if it is one. */
  readonly owner?: object;
}

/** Queues a run; the storages of its results fill when it is done. States get their new values then, all of them or none. */
export function submit(job: Job): { readonly run: Run; readonly results: readonly Storage[] } {
  const run = new Run(job.owner);
  // What is read and what is written is settled now: later writes and runs come behind.
  const sources = job.inputs.map((input) => (input instanceof Storage ? input : input.version));
  const changes = job.outputs.map((state) => state?.change());
  const results = job.outputs.map((state, i) => (state ? undefined : Storage.ofRun(job.types[i]!, run)));
  const given: Storage[] = [];
  for (const source of sources) {
    if (source instanceof Storage) given.push(source);
    else if (source.known?.values) given.push(source.known);
  }
  run.done = enqueue(run, execute(job, sources, changes, results), given);
  return { run, results: results.filter((result) => result !== undefined) };
}

/** What `passed` holds until a run gets that far. */
const notPassed = new Float32Array(1);

function* execute(
  job: Job,
  sources: readonly (Storage | Version)[],
  changes: readonly (Change | undefined)[],
  results: readonly (Storage | undefined)[],
): Steps<void> {
  const { engine, spares, inPlace, passed } = job.executable;
  const outputs: EngineBuffer[] = [];
  let hasBegun = false;
  try {
    const session = yield* wait(job.executable.session);
    const inputs: EngineBuffer[] = [];
    for (const source of sources) {
      const storage = source instanceof Storage ? source : source.storage;
      storage.expectArrived();
      if (storage.isForeignTo(engine)) yield* storage.moveToHost();
      inputs.push(storage.bufferOn(engine));
    }
    for (const [i, state] of job.outputs.entries())
      outputs.push(
        state?.targetOn(engine, changes[i]!, inPlace.has(i)) ?? spares[i]?.pop() ?? engine.buffer(job.types[i]!),
      );
    passed?.write(notPassed);
    hasBegun = true;
    yield* wait(session.run(inputs, passed ? [...outputs, passed] : outputs));
    yield* expectFinite(job, outputs);
  } catch (error) {
    const [hasWritten] = passed && hasBegun ? yield* wait(passed.read()) : [];
    for (const [i, state] of job.outputs.entries())
      state?.giveUp(engine, changes[i]!, outputs[i], hasWritten ? error : undefined);
    const stop = passed && stopOf(error);
    if (stop) yield* refuse(job, job.guards[stop.input]!, stop.value);
    throw error;
  }
  for (const [i, state] of job.outputs.entries()) state?.commit(engine, changes[i]!, outputs[i]!);
  for (const [i, storage] of results.entries()) {
    if (!storage) continue;
    storage.settleIn(engine, outputs[i]!);
    if (sizeOf(storage.type.shape) > smallResult) continue;
    storage.settle(yield* wait(outputs[i]!.read()));
    spares[i] ??= [];
    spares[i].push(outputs[i]!);
  }
}

function* expectFinite(job: Job, outputs: readonly EngineBuffer[]): Steps<void> {
  for (const guard of job.guards) {
    const [value] = yield* wait(outputs[guard.output]!.read());
    if (!Number.isFinite(value)) yield* refuse(job, guard, value!);
  }
}

/** Throws the error of a guard that has seen a NaN or an infinity. */
function* refuse(job: Job, guard: Guard, value: number): Steps<never> {
  if (guard.failure) throw new DataError(guard.subject, guard.failure.problem, guard.failure.fix);
  if (job.explain) yield* job.explain(guard);
  throw new DataError(
    guard.subject,
    `the loss is ${value}, so the update was not made; all parameters keep their values`,
    "lower the learning rate or clip the gradients; look at the inputs if it happened on the first step",
  );
}
