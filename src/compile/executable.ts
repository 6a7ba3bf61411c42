/** A program, its session on an engine, and what its inputs and outputs are bound to. */

import type { Engine, EngineBuffer, InPlace, Session } from "../engine/engine.ts";
import { type Check, type Flaw, flawIn } from "../graph/check.ts";
import { collect, type Node, traceOf, type Value } from "../graph/node.ts";
import type { Filling } from "../graph/target.ts";
import { canonicalText, paramsKey } from "../graph/text.ts";
import { sameShape, sizeOf } from "../graph/types.ts";
import { type Steps, type Waiting, wait } from "../task.ts";
import { Run } from "../tensor/run.ts";
import type { Change, State, Version } from "../tensor/state.ts";
import { Storage } from "../tensor/storage.ts";
import type { Bound } from "./bind.ts";
import { Cache, type Cached, touch } from "./cache.ts";
import { expectMet, type LeafCheck } from "./checks.ts";
import { debug } from "./debug.ts";
import { lower, noPlan } from "./lower.ts";
import type { Family, OpenProgram } from "./open.ts";
import type { GraphProgram } from "./program.ts";
import { enqueue } from "./queue.ts";

/** A session for one graph on one engine. */
export class Executable implements Cached {
  readonly engine: Engine;
  readonly session: Waiting<Session>;
  readonly inPlace: InPlace;
  /** Takes the output behind the graph's own that is 1 once the guard is passed; only where there are checks. */
  readonly passed: EngineBuffer | undefined;
  /** Buffers of small results, by output, that a run may use: their values are copied out as soon as a run is done. */
  readonly spares: EngineBuffer[][] = [];
  readonly bytes: number;
  lastUse = 0;
  /** Runs that have been asked for and are not done. */
  #runs = 0;
  #isReleased = false;

  constructor({ engine, session, inPlace, passed, bytes }: ExecutableFields) {
    this.engine = engine;
    this.session = session;
    this.inPlace = inPlace;
    this.passed = passed;
    this.bytes = bytes;
  }

  /** Whether it has given its memory back, or will when its last run is done: nobody may ask for another. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** A run has been asked for. */
  enter(): void {
    this.#runs++;
    touch(this);
  }

  /** A run is done. */
  leave(): void {
    this.#runs--;
    this.#freeWhenIdle();
  }

  release(): void {
    this.#isReleased = true;
    this.#freeWhenIdle();
  }

  #freeWhenIdle(): void {
    if (!this.#isReleased || this.#runs > 0) return;
    this.session.then(
      (session) => session.release(),
      () => {}, //  it was never made
    );
    this.passed?.release();
    for (const buffer of this.spares.splice(0).flat()) buffer.release();
  }
}

type ExecutableFields = Pick<Executable, "engine" | "session" | "inPlace" | "passed" | "bytes">;

/** Results of up to so many elements are copied out. A loss is one; making a buffer for it at every step costs more. */
const smallResult = 256;

/** What a session keeps for each node, measured on a perceptron's step: two thirds of a megabyte for 55. */
const bytesOfNode = 12 * 2 ** 10;

const caches = new WeakMap<Engine, Cache<Executable>>();

/** The session for a graph: from the cache when the same graph has run before, whatever its values, names and states were. */
export function executableFor(
  engine: Engine,
  { leaves, roots, checks, plan }: Pick<Bound, "leaves" | "roots" | "checks" | "plan">,
  trace?: object,
  family?: Family<Executable>,
): Ready {
  const cache = caches.get(engine) ?? new Cache<Executable>();
  caches.set(engine, cache);
  const all = [...roots, ...checks.map(({ value }) => value)];
  const text = `${canonicalText(leaves, all)}${checks.length > 0 ? paramsKey(plan) : ""}`;
  const known = cache.get(text);
  if (known) return { executable: known };
  const started = performance.now();
  const watched = checks.map(({ value }) => value);
  const program = lower({ leaves, roots, watched, plan, trace }, engine.target);
  const make = (key: string, made: GraphProgram | OpenProgram): Executable => {
    const rewritten = performance.now();
    const session = engine.load(made);
    session.then(undefined, () => cache.delete(key));
    debug.compiled({
      engine,
      program: made,
      roots,
      before: collect(all).length,
      rewriting: rewritten - started,
      session,
    });
    const passed = checks.length > 0 ? engine.buffer({ shape: [], dtype: "float32" }) : undefined;
    // Constants and the bodies of loops are in the text.
    const bytes = made.size * bytesOfNode + 4 * text.length;
    const executable = new Executable({ engine, session, inPlace: made.inPlace, passed, bytes });
    cache.add(key, executable);
    return executable;
  };
  const open = family?.find(engine, program, (wider) => make(`open ${openSessions++}`, wider));
  return open ?? { executable: make(text, program) };
}

/** Numbers sessions for many sizes, which no text stands for. */
let openSessions = 0;

/** What a run needs besides its buffers. */
export interface Ready {
  readonly executable: Executable;
  /** Where it serves many sizes: the constants of this one. */
  readonly filling?: Filling | undefined;
}

/** One run: what is read and where results go. */
export interface Job extends Ready {
  readonly inputs: readonly (Storage | State)[];
  /** For each output the state that takes it, or nothing: a result. */
  readonly outputs: readonly (State | undefined)[];
  readonly types: readonly Storage["type"][];
  /** What the run stops on, and the graph's leaves, in the order of the inputs: asked for when it has stopped. */
  graph(): { readonly checks: readonly Check<Value>[]; readonly leaves: readonly Node[] };
  /** What is looked at before the run, by input. */
  readonly leafChecks: readonly (LeafCheck & { readonly position: number; readonly what?: string | undefined })[];
  /** Looks for the cause when a value is not finite: throws a better error than the general one. */
  explain?(): Steps<void>;
  /** The compiled function whose call it is, if it is one. */
  readonly owner?: object;
}

/** Queues a run; the storages of its results fill when it is done. States get their new values then, all of them or none. */
export function submit(job: Job): { readonly run: Run; readonly results: readonly Storage[] } {
  for (const check of job.leafChecks) {
    const source = job.inputs[check.position] as Storage;
    if (source.values) expectMet(source, source.values, check, check.what);
  }
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
  job.executable.enter();
  run.done = enqueue(run, execute(job, sources, changes, results), given);
  return { run, results: results.filter((result) => result !== undefined) };
}

/** Takes a buffer of a type out of a list, if there is one. */
function takenFrom(buffers: EngineBuffer[] = [], { shape }: Storage["type"]): EngineBuffer | undefined {
  const at = buffers.findLastIndex((buffer) => sameShape(buffer.type.shape, shape));
  return at < 0 ? undefined : buffers.splice(at, 1)[0];
}

/** What `passed` holds until a run gets that far. */
const notPassed = new Float32Array(1);

function* execute(
  job: Job,
  sources: readonly (Storage | Version)[],
  changes: readonly (Change | undefined)[],
  results: readonly (Storage | undefined)[],
): Steps<void> {
  try {
    yield* compute(job, sources, changes, results);
  } finally {
    job.executable.leave();
  }
}

function* compute(
  job: Job,
  sources: readonly (Storage | Version)[],
  changes: readonly (Change | undefined)[],
  results: readonly (Storage | undefined)[],
): Steps<void> {
  const { engine, spares, inPlace, passed } = job.executable;
  const inputs: EngineBuffer[] = [];
  const outputs: EngineBuffer[] = [];
  let hasBegun = false;
  try {
    const session = yield* wait(job.executable.session);
    for (const source of sources) {
      const storage = source instanceof Storage ? source : source.storage;
      storage.expectArrived();
      if (storage.isForeignTo(engine)) yield* storage.moveToHost();
      inputs.push(storage.bufferOn(engine));
    }
    for (const check of job.leafChecks) {
      const storage = sources[check.position] as Storage;
      expectMet(storage, yield* storage.take(), check, check.what);
    }
    for (const [i, state] of job.outputs.entries())
      outputs.push(
        state?.targetOn(engine, changes[i]!, inPlace.has(i)) ??
          takenFrom(spares[i], job.types[i]!) ??
          engine.buffer(job.types[i]!),
      );
    passed?.write(notPassed);
    hasBegun = true;
    yield* wait(session.run(inputs, passed ? [...outputs, passed] : outputs, job.filling));
  } catch (error) {
    const [hasWritten] = passed && hasBegun ? yield* wait(passed.read()) : [];
    for (const [i, state] of job.outputs.entries())
      state?.giveUp(engine, changes[i]!, outputs[i], hasWritten ? error : undefined);
    if (passed && hasBegun && !hasWritten) yield* explain(job, inputs);
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

/** Throws the error of the first check that the inputs do not pass, if there is one. They have not been written to. */
function* explain(job: Job, inputs: readonly EngineBuffer[]): Steps<void> {
  const { checks, leaves } = job.graph();
  const [finite, others] = [checks.filter(asksFinite), checks.filter((check) => !asksFinite(check))];
  // What one check is about may make the values of a later one fail: these are computed one by one, in the graph's order.
  for (const check of others) {
    const [flaw] = yield* flawsOf(job, leaves, [check], inputs);
    if (flaw) throw check.failure(flaw, 0);
  }
  const flaws = yield* flawsOf(job, leaves, finite, inputs);
  const first = flaws.findIndex((flaw) => flaw !== undefined);
  if (first < 0) return;
  if (job.explain) yield* job.explain();
  const { subject, failure } = finite[first]!;
  const same = finite.filter((check, i) => flaws[i] && check.subject === subject);
  throw failure(flaws[first]!, same.length - 1);
}

const asksFinite = ({ condition }: Check<Value>): boolean => condition.kind === "finite";

/**
 * By check the first element that does not pass it, computed once more from the inputs. None where they cannot be computed: the error
 * that the run ended in is then all that is known.
 */
function* flawsOf(
  { executable: { engine } }: Job,
  leaves: readonly Node[],
  checks: readonly Check<Value>[],
  inputs: readonly EngineBuffer[],
): Steps<(Flaw | undefined)[]> {
  if (checks.length === 0) return [];
  const roots = checks.map(({ value }) => value);
  const used = new Set(collect(roots));
  const read = leaves.filter((leaf) => used.has(leaf));
  const { executable } = executableFor(engine, { leaves: read, roots, checks: [], plan: noPlan }, traceOf(roots));
  executable.enter();
  const outputs = roots.map(({ node, index }) => engine.buffer(node.outputs[index]!));
  const given = read.map((leaf) => inputs[leaves.indexOf(leaf)]!);
  try {
    yield* wait((yield* wait(executable.session)).run(given, outputs));
    const flaws: (Flaw | undefined)[] = [];
    for (const [i, output] of outputs.entries())
      flaws.push(flawIn(yield* wait(output.read()), output.type, checks[i]!.condition));
    return flaws;
  } catch {
    return [];
  } finally {
    for (const output of outputs) output.release();
    executable.leave();
  }
}
