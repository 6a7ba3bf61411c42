/** Executables, which are sessions with what is bound to them, and their runs. */

import type { Engine, EngineBuffer, InPlace } from "../engine/engine.ts";
import { type Check, type Flaw, flawIn } from "../graph/check.ts";
import { collect, type Node, traceOf, type Value } from "../graph/node.ts";
import type { Filling } from "../graph/target.ts";
import { canonicalText, paramsKey } from "../graph/text.ts";
import { sameShape, sizeInBytes, sizeOf } from "../graph/types.ts";
import { type Steps, Task, wait } from "../task.ts";
import { Run } from "../tensor/run.ts";
import { type Change, State, type Version } from "../tensor/state.ts";
import { Storage } from "../tensor/storage.ts";
import type { Bound } from "./bind.ts";
import { Cache, type Cached, touch } from "./cache.ts";
import { expectMet, type LeafCheck } from "./checks.ts";
import { debug } from "./debug.ts";
import { EncodedProgram, placeFor } from "./kept.ts";
import { type LowerSource, lower, lowerAlong, noPlan } from "./lower.ts";
import type { Family, OpenProgram, Source } from "./open.ts";
import { GraphProgram } from "./program.ts";
import { enqueue } from "./queue.ts";
import { type Constants, noWork, OneSession, type Sessions, SessionsWithConstants, type Sources } from "./sessions.ts";

/** The sessions for one graph on one engine. */
export class Executable implements Cached {
  readonly engine: Engine;
  readonly sessions: Sessions;
  readonly inPlace: InPlace;
  /** The buffer of the last output, which the guard sets to 1 when all checks hold; undefined for a graph without checks. */
  readonly passed: EngineBuffer | undefined;
  /** Free buffers for small results, by output. A run copies the values out as soon as it is done, so the next run may use the buffer. */
  readonly spares: EngineBuffer[][] = [];
  readonly bytes: number;
  lastUse = 0;
  /** How many runs are queued or under way. */
  #runs = 0;
  #isReleased = false;

  constructor({ engine, sessions, inPlace, passed, bytes }: ExecutableFields) {
    this.engine = engine;
    this.sessions = sessions;
    this.inPlace = inPlace;
    this.passed = passed;
    this.bytes = bytes;
  }

  /** Whether its memory is released, or will be when its last run is done. No further run may be queued then. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** Notes that a run has been queued. */
  enter(): void {
    this.#runs++;
    touch(this);
  }

  /** Notes that a run is done. */
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
    this.sessions.release();
    this.passed?.release();
    for (const buffer of this.spares.splice(0).flat()) buffer.release();
  }
}

type ExecutableFields = Pick<Executable, "engine" | "sessions" | "inPlace" | "passed" | "bytes">;

/** A result of at most this many elements, such as a loss, is copied out of its buffer: a new buffer in every run would cost more. */
const smallResult = 256;

/** Bytes that a session takes for each node, measured on the training step of a perceptron: two thirds of a megabyte for 55 nodes. */
const bytesOfNode = 12 * 2 ** 10;

const caches = new WeakMap<Engine, Cache<Executable>>();

/**
 * Returns the executable for a graph, from the cache if the same graph has run before, with any values, names and states; with
 * constants, if the same function has. If an earlier process has compiled the graph, its program comes from the engine's store.
 */
export function executableFor(
  engine: Engine,
  { leaves, roots, checks, plan }: Pick<Bound, "leaves" | "roots" | "checks" | "plan">,
  trace?: object,
  family?: Family<Executable>,
  constants?: Constants,
): Ready {
  const cache = caches.get(engine) ?? new Cache<Executable>();
  caches.set(engine, cache);
  const all = [...roots, ...checks.map(({ value }) => value)];
  const text = `${constants?.owner ?? ""}${canonicalText(leaves, all)}${checks.length + plan.states.length > 0 ? paramsKey(plan) : ""}`;
  const known = cache.get(text);
  if (known) return { executable: known };
  const started = performance.now();
  const source: LowerSource = { leaves, roots, watched: checks.map(({ value }) => value), plan, trace };
  const before = collect(all).length;
  // Only the first graph of a function: the second is compared with it, so it has to be lowered. Other graphs are seldom large or seldom again.
  const place = constants || !family?.isEmpty ? undefined : placeFor(engine, text, before);
  const kept = place?.store.get(place.key);
  const make = (key: string, made: GraphProgram | EncodedProgram | OpenProgram): Executable => {
    const rewritten = performance.now();
    const session = made.outputs.length === 0 ? Task.done(noWork) : constants ? undefined : engine.load(made);
    session?.then(undefined, () => {
      cache.delete(key);
      place?.store.delete(place.key);
    });
    const times = { before, rewriting: rewritten - started, session };
    debug.compiled({ engine, program: made, isKept: kept !== undefined, roots, ...times });
    const sessions = session
      ? new OneSession(session)
      : new SessionsWithConstants(engine, made as GraphProgram | OpenProgram, constants!);
    const passed = checks.length > 0 ? engine.buffer({ shape: [], dtype: "float32" }) : undefined;
    // The text contains the constants and the bodies of loops, so its length counts their memory.
    const bytes = made.size * bytesOfNode + 4 * text.length + (constants ? 2 * bytesOf(leaves, constants) : 0);
    const executable = new Executable({ engine, sessions, inPlace: made.inPlace, passed, bytes });
    cache.add(key, executable);
    return executable;
  };
  if (kept) {
    family?.expect(engine, sourceOn(engine, source));
    return { executable: make(text, new EncodedProgram(kept)) };
  }
  const program = family
    ? family.find(engine, sourceOn(engine, source), (wider) => make(`open ${openSessions++}`, wider))
    : lower(source, engine.target);
  if (!(program instanceof GraphProgram)) return program;
  if (!place) return { executable: make(text, program) };
  const encoded = EncodedProgram.of(program);
  place.store.put(place.key, encoded.kept);
  return { executable: make(text, encoded) };
}

// A function of its own, because all closures that one function makes keep alive what any of them uses: a program, here.
const sourceOn = ({ target }: Engine, source: LowerSource): Source => ({
  lower: (trail) => lower(source, target, { trail }),
  lowerAlong: (trail, isForMany) => lowerAlong(trail, isForMany, source, target),
});

/** The bytes of leaves that are constants. While a session is made, it has them as they are and as its products read them. */
function bytesOf(leaves: readonly Node[], { positions }: Constants): number {
  return leaves.reduce((bytes, { outputs }, i) => bytes + (positions.has(i) ? sizeInBytes(outputs[0]!) : 0), 0);
}

/** A counter that makes cache keys for sessions for many sizes: the text of one graph does not identify them. */
let openSessions = 0;

/** What a run needs besides its buffers. */
export interface Ready {
  readonly executable: Executable;
  /** For a session for many sizes: the constants that fill its holes for these sizes. */
  readonly filling?: Filling | undefined;
}

/** A run to be queued: what it reads and where its outputs go. */
export interface Job extends Ready {
  readonly inputs: readonly (Storage | State | Version)[];
  /** For each output the state that takes it; undefined for a result. */
  readonly outputs: readonly (State | undefined)[];
  readonly types: readonly Storage["type"][];
  /** Returns the checks of the graph, and its leaves in the order of the inputs. Called only after a check has stopped the run. */
  graph(): { readonly checks: readonly Check<Value>[]; readonly leaves: readonly Node[] };
  /** The checks of inputs, made before the run. */
  readonly leafChecks: readonly (LeafCheck & { readonly position: number; readonly what?: string | undefined })[];
  /** Looks for the cause of a value that is not finite. Throws an error that names the cause if it finds one. */
  explain?(): Steps<void>;
  /** The compiled function whose call queued the run; undefined for other runs. */
  readonly owner?: object;
}

/** Queues a run. When it is done, the storages of its results have values, and either all states get their new values or none does. */
export function submit(job: Job): { readonly run: Run; readonly results: readonly Storage[] } {
  for (const check of job.leafChecks) {
    const source = job.inputs[check.position] as Storage;
    if (source.values) expectMet(source, source.values, check, check.what);
  }
  const run = new Run(job.owner);
  // The versions that the run reads and writes are fixed now: writes and runs queued later come after it.
  const sources = job.inputs.map((input) => (input instanceof State ? input.version : input));
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

/** Removes from a list a buffer of a certain shape and returns it; undefined if there is none. */
function takenFrom(buffers: EngineBuffer[] = [], { shape }: Storage["type"]): EngineBuffer | undefined {
  const at = buffers.findLastIndex((buffer) => sameShape(buffer.type.shape, shape));
  return at < 0 ? undefined : buffers.splice(at, 1)[0];
}

/** The buffer of an input that is of no more use after this run; undefined if it is, or has no buffer. */
function yielded(engine: Engine, sources: Sources, at: number = -1): EngineBuffer | undefined {
  const source = sources[at];
  if (!(source instanceof Storage) || sources.filter((each) => each === source).length > 1) return undefined;
  return source.yieldBufferOn(engine);
}

/** What `passed` holds until the guard has been passed. */
const notPassed = new Float32Array(1);

function* execute(
  job: Job,
  sources: Sources,
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
  sources: Sources,
  changes: readonly (Change | undefined)[],
  results: readonly (Storage | undefined)[],
): Steps<void> {
  const { engine, sessions, spares, inPlace, passed } = job.executable;
  const inputs: EngineBuffer[] = [];
  const outputs: EngineBuffer[] = [];
  let hasBegun = false;
  try {
    for (const source of sources) {
      const storage = source instanceof Storage ? source : source.storage;
      storage.expectArrived();
      if (storage.isForeignTo(engine)) yield* storage.moveToHost();
      inputs.push(storage.bufferOn(engine));
    }
    const session = yield* wait(sessions.for(sources, inputs));
    for (const check of job.leafChecks) {
      const storage = sources[check.position] as Storage;
      expectMet(storage, yield* storage.take(), check, check.what);
    }
    for (const [i, state] of job.outputs.entries()) {
      const at = inPlace.get(i);
      outputs.push(
        state?.targetOn(engine, changes[i]!, at !== undefined && job.inputs[at] === state) ??
          yielded(engine, sources, at) ??
          takenFrom(spares[i], job.types[i]!) ??
          engine.buffer(job.types[i]!),
      );
    }
    passed?.write(notPassed);
    hasBegun = true;
    yield* wait(session.run(sessions.inputs(inputs), passed ? [...outputs, passed] : outputs, job.filling));
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
    spares[i] ??= [];
    const isSmall = sizeOf(storage.type.shape) <= smallResult;
    storage.settleIn(engine, outputs[i]!, isSmall ? undefined : spares[i]);
    if (!isSmall) continue;
    storage.settle(yield* wait(outputs[i]!.read()));
    spares[i].push(outputs[i]!);
  }
}

/** Throws the error of the first check that fails for these inputs, if one does. The run has not written to the inputs. */
function* explain(job: Job, inputs: readonly EngineBuffer[]): Steps<void> {
  const { checks, leaves } = job.graph();
  const [finite, others] = [checks.filter(asksFinite), checks.filter((check) => !asksFinite(check))];
  // A value that fails one check may make the computation of a later check fail. So they are computed one by one, in the graph's order.
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
 * Returns, for each check, the first element that fails it; the checked values are computed again from the inputs. Returns an empty list
 * if they cannot be computed: then only the error of the run is known.
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
    yield* wait((yield* wait(executable.sessions.for([], given))).run(given, outputs));
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
