/** A program, its session on an engine, and what its inputs and outputs are bound to. */

import type { Engine, EngineBuffer, InPlace, Session } from "../engine/engine.ts";
import { DataError } from "../errors.ts";
import { collect } from "../graph/node.ts";
import type { Guard } from "../graph/scope.ts";
import { canonicalText } from "../graph/text.ts";
import { sizeOf } from "../graph/types.ts";
import { stopOf } from "../ops/guard.ts";
import type { State } from "../tensor/state.ts";
import { type Pending, Storage } from "../tensor/storage.ts";
import type { Bound } from "./bind.ts";
import { debug } from "./debug.ts";
import { guarded } from "./in-place.ts";
import { withKernels } from "./kernels.ts";
import { GraphProgram } from "./program.ts";
import { rewrite } from "./rewrite.ts";
import { passes } from "./rules/index.ts";
import { enqueue } from "./runtime.ts";

/** A session for one graph on one engine. */
export interface Executable {
  readonly engine: Engine;
  readonly session: Promise<Session>;
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
  session.catch(() => cache.delete(text));
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
  explain?(guard: Guard): Promise<void>;
}

/** A run under way, with one storage for each output that no state takes. */
export interface Running extends Pending {
  readonly results: readonly Storage[];
}

/** Queues a run. States get their new values, all of them or none, when it is done. */
export function submit(job: Job): Running {
  const { engine, spares } = job.executable;
  const fresh = job.outputs.map((state, i) => (state ? undefined : (spares[i]?.pop() ?? engine.buffer(job.types[i]!))));
  const pending: Pending = { done: noRun, error: undefined, observed: false };
  const results = fresh.flatMap((buffer) => (buffer ? [Storage.ofBuffer(engine, buffer, pending)] : []));
  const running = Object.assign(pending, { results });
  pending.done = enqueue(() => execute(job, fresh, results));
  pending.done.catch((error: unknown) => {
    pending.error = error;
  });
  return running;
}

const noRun = Promise.resolve();

/** What `passed` holds until a run gets that far. */
const notPassed = new Float32Array(1);

async function execute(
  job: Job,
  fresh: readonly (EngineBuffer | undefined)[],
  results: readonly Storage[],
): Promise<void> {
  const { engine, spares, inPlace, passed } = job.executable;
  const session = await job.executable.session;
  const sources = job.inputs.map((input) => (input instanceof Storage ? input : input.storage));
  for (const source of sources) {
    source.expectArrived();
    if (source.isForeignTo(engine)) await source.moveToHost();
  }
  const inputs = sources.map((source) => source.bufferOn(engine));
  const outputs = job.outputs.map((state, i) => state?.targetOn(engine, inPlace.has(i)) ?? fresh[i]!);
  if (passed) {
    passed.write(notPassed);
    outputs.push(passed);
  }
  try {
    await session.run(inputs, outputs);
    await expectFinite(job, outputs);
  } catch (error) {
    const [hasWritten] = (await passed?.read()) ?? [];
    job.outputs.forEach((state, i) => state?.giveUp(engine, outputs[i]!, hasWritten ? error : undefined));
    const stop = passed && stopOf(error);
    if (stop) await refuse(job, job.guards[stop.input]!, stop.value);
    throw error;
  }
  job.outputs.forEach((state, i) => state?.commit(engine, outputs[i]!));
  let result = 0;
  for (const [i, buffer] of fresh.entries()) {
    if (!buffer) continue;
    const storage = results[result++]!;
    if (sizeOf(storage.type.shape) > smallResult) continue;
    storage.settle(await buffer.read());
    spares[i] ??= [];
    spares[i].push(buffer);
  }
}

async function expectFinite(job: Job, outputs: readonly EngineBuffer[]): Promise<void> {
  for (const guard of job.guards) {
    const [value] = await outputs[guard.output]!.read();
    if (!Number.isFinite(value)) await refuse(job, guard, value!);
  }
}

/** Throws the error of a guard that has seen a NaN or an infinity. */
async function refuse(job: Job, guard: Guard, value: number): Promise<never> {
  if (guard.failure) throw new DataError(guard.subject, guard.failure.problem, guard.failure.fix);
  await job.explain?.(guard);
  throw new DataError(
    guard.subject,
    `the loss is ${value}, so the update was not made; all parameters keep their values`,
    "lower the learning rate or clip the gradients; look at the inputs if it happened on the first step",
  );
}
