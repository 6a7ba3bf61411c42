/** `compile`: a function of tensors, traced once for each signature of its arguments and run as one graph from then on. */
import { DataError } from "../errors.ts";
import { tensorOf } from "../graph/apply.ts";
import { aFlag, aFunction, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import type { Check } from "../graph/check.ts";
import { input } from "../graph/leaf.ts";
import { collect, makeNode, type Value } from "../graph/node.ts";
import { forbidInTrace, newScope, type Scope, withScope } from "../graph/scope.ts";
import { isFloat, showPlace, showType, type TensorType } from "../graph/types.ts";
import type { Steps } from "../task.ts";
import { fromStorage } from "../tensor/create.ts";
import { type Run, tellFailures } from "../tensor/run.ts";
import { State, type Version } from "../tensor/state.ts";
import { Storage } from "../tensor/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { flatten, type IsTree } from "../tensor/tree.ts";
import { given, nameAt, withStandIns } from "./arguments.ts";
import { type Bound, bind } from "./bind.ts";
import { Cache, type Cached, touch } from "./cache.ts";
import { settleCaptured, storagesOf } from "./evaluate.ts";
import { type Executable, executableFor, type Job, type Ready, submit } from "./executable.ts";
import { Family } from "./open.ts";
import { Retraces, WeightChanges } from "./retraces.ts";
import { currentEngine } from "./runtime.ts";
import type { Constants } from "./sessions.ts";

/** A function given to `compile`, compiled. */
export interface Compiled<A extends readonly unknown[], R> {
  /** Queues a run and returns at once; the tensors that come back hold their values when the run is done. */
  (...args: A): R;
  /**
   * Waits until every run that this function has queued is done. Throws the first error of a run, of any function, that was not reported
   * yet.
   */
  finished(): Promise<void>;
}

/** Options of `compile`. */
export interface CompileOptions {
  /**
   * Whether the values of the variables that the function reads and does not assign become part of its session, as constants: for functions
   * that run often between two changes of the weights, as those that write texts token by token or answer requests. ONNX Runtime then lays
   * out weights for its products once, in place of in each run, which takes up to three quarters of the time of products of few rows. The
   * price is memory, twice that of the weights; and when a weight has changed, the next run makes a new session. Each size of the arguments
   * that has a session of its own pays this separately. Where weights change before each run, each run is as slow as a first one: a line on
   * standard error says so after ten of them. Sums of products are added up in another order, so the last digits of results may differ.
   * Engines other than `nodeEngine()` with its direct implementation ignore it. Default false.
   */
  readonly constantWeights?: boolean;
}

/** About how many bytes a trace takes, and how many more for each node that it keeps. */
const [bytesOfTrace, bytesOfNode] = [4096, 1024];

interface Trace extends Ready, Cached {
  readonly sources: readonly (Storage | State | Version | number)[];
  readonly outputs: readonly (State | undefined)[];
  readonly results: number;
  readonly types: readonly TensorType[];
  readonly leafChecks: Job["leafChecks"];
  /**
   * The graph that explains an error. Undefined for a trace that runs on a session for many sizes: the function is then traced again
   * when an error occurs, because keeping one graph for each size would take much memory.
   */
  readonly graph: Job["graph"] | undefined;
  /** False once a setting that the trace was made for, such as `training`, has changed. */
  isCurrent(): boolean;
  /** Builds what the function returned from the results of a run. */
  readonly rebuild: (results: readonly Tensor[]) => unknown;
}

/**
 * Compiles a function of tensors. The first call with a new signature (shapes, dtypes, other arguments) traces it: forward
 * pass, gradients and assignments become one graph. Later calls run that graph without calling the function again.
 *
 * Arguments are tensors, also in arrays and records: a batch, a state. Numbers, strings and booleans are part of the signature. A call
 * with a new size or number is traced, since the function may look at it, but it is seldom compiled: from the second one on, one session
 * runs all graphs that differ only in sizes and constants, with the same bits in the results (of convolutions over more than two batch sizes:
 * the same digits but for the last ones). Pass a number that changes in every step as
 * `tensor(number)`: it is not part of the signature, so a new value is not traced. When a function has been compiled again ten times, a
 * line on standard error says which arguments vary. Traces are kept up to a limit in bytes (GLISSADE_CACHE); a trace that was released is
 * made again when it is needed. A JavaScript variable from outside the function is read only while the function is traced. The function
 * must be synchronous and may not read values. It returns a tensor, or arrays and records of tensors; the call returns tensors with values
 * in the same form. Throws ConfigError for an argument of another kind.
 */
export function compile<A extends readonly unknown[], R>(
  fn: (...args: A) => R & IsTree<NoInfer<R>>,
  options: CompileOptions = {},
): Compiled<A, R> {
  expectArguments("compile", [aFunction, optionsOf({ constantWeights: aFlag })], [fn, options]);
  return compileOver(fn as (...args: A) => R, (state) => state, options);
}

/** How many functions with constant weights there are so far. */
let functionsWithConstants = 0;

/** Does what `compile` does, but the runs read and write `standIn(variable)` in place of each variable. */
export function compileOver<A extends readonly unknown[], R>(
  fn: (...args: A) => R,
  standIn: (state: State) => State,
  { constantWeights = false }: CompileOptions = {},
): Compiled<A, R> {
  const own = constantWeights
    ? {
        owner: `constants ${functionsWithConstants++} `,
        changes: new WeightChanges(fn.name || "a compiled function"),
      }
    : undefined;
  const traces = new Cache<Trace>();
  const family = new Family<Executable>();
  const retraces = new Retraces();
  const compiled = new WeakSet<Executable>();
  let last: Run | undefined;

  const call = (...args: A): R => {
    forbidInTrace(fn.name || "compiled function", "");
    tellFailures(undefined, call);
    const { tensors, signature } = given(args);
    // This comes first: computing the arguments may compile graphs, which may push this function's executable out of the cache.
    const storages = storagesOf(tensors);
    const engine = currentEngine();
    const key = `${engine.name}${signature}`;
    let trace = traces.get(key);
    if (!trace?.isCurrent() || trace.executable.engine !== engine || trace.executable.isReleased) {
      // A retrace counts only when the function's arguments caused it, not a change of engine or a released session.
      const isItsOwn = !trace || (trace.executable.engine === engine && !trace.executable.isReleased);
      trace = traceFunction(fn, args, standIn, family, own);
      if (isItsOwn && !compiled.has(trace.executable)) retraces.note(fn.name || "a compiled function", args);
      compiled.add(trace.executable);
      traces.prune((old) => old.executable.isReleased);
      traces.add(key, trace);
    } else touch(trace);
    const { graph, sources } = trace;
    const { run, results } = submit({
      executable: trace.executable,
      filling: trace.filling,
      inputs: sources.map((source) => (typeof source === "number" ? storages[source]! : source)),
      outputs: trace.outputs,
      types: trace.types,
      leafChecks: trace.leafChecks,
      graph: graph ?? (() => graphAgain(fn, args, standIn, sources)),
      explain: () => explainNonFinite(fn.name || "compiled function", args, storages),
      owner: call,
    });
    last = run;
    return trace.rebuild(results.slice(0, trace.results).map(fromStorage)) as R;
  };
  const finished = async (): Promise<void> => {
    if (!last) return;
    const { done, place } = last;
    await done!.then(undefined, () => {});
    tellFailures(place);
  };
  return Object.assign(call, { finished });
}

/** The graph of a function for arguments of certain types: its results, its checks and its assignments. */
export interface TracedRoots {
  /** The trace that the nodes belong to. */
  readonly identity: object;
  readonly results: readonly Value[];
  readonly checks: readonly Check<Tensor>[];
  readonly assigned: ReadonlyMap<State, Tensor>;
  readonly settings: readonly (() => boolean)[];
  /** Builds what the function returned from the results of a run. */
  readonly rebuild: (results: readonly Tensor[]) => unknown;
}

/** Calls a function with stand-ins for its tensors and returns the graph that it builds. Throws GraphError for what cannot be traced. */
export function traceRoots<A extends readonly unknown[]>(fn: (...args: A) => unknown, args: A): TracedRoots {
  const identity = {};
  const scope = newScope(identity) as Scope<Tensor>;
  const standIns = withStandIns(args, ({ shape, dtype }, position) =>
    tensorOf(
      makeNode({
        op: input,
        inputs: [],
        params: undefined,
        outputs: [{ shape, dtype }],
        path: "",
        trace: identity,
        source: { kind: "argument", position },
      }),
    ),
  );
  const results: Tensor[] = [];
  const rebuild = withScope(scope, () => flatten("compile", fn(...standIns), results));
  const { checks, settings } = scope;
  settleCaptured([...results, ...checks.map(({ value }) => value), ...scope.assigned.values()]);
  return { identity, results, checks, assigned: scope.assigned as Map<State, Tensor>, settings, rebuild };
}

/** Traces a function again and returns its graph. Returns an empty graph when the function no longer gives the graph of its first trace. */
function graphAgain<A extends readonly unknown[]>(
  fn: (...args: A) => unknown,
  args: A,
  standIn: (state: State) => State,
  sources: Trace["sources"],
): ReturnType<Job["graph"]> {
  const nothing = { checks: [], leaves: [] };
  try {
    const { checks, leaves, sources: now } = bind(traceRoots(fn, args));
    const isSame = now.every((source, i) => {
      const before = sources[i];
      if (source instanceof Storage)
        return before instanceof Storage && showType(before.type) === showType(source.type);
      return before === (source instanceof State ? standIn(source) : source);
    });
    return isSame && now.length === sources.length ? { checks, leaves } : nothing;
  } catch {
    return nothing; //  the caller then reports the error of the run
  }
}

function traceFunction<A extends readonly unknown[]>(
  fn: (...args: A) => unknown,
  args: A,
  standIn: (state: State) => State,
  family: Family<Executable>,
  own: Omit<Constants, "positions"> | undefined,
): Trace {
  const { identity, settings, rebuild, ...roots } = traceRoots(fn, args);
  const bound = bind(roots);
  const engine = currentEngine();
  const constants = own && engine.takesConstants ? constantsOf(own, bound) : undefined;
  const ready = executableFor(engine, bound, identity, family, constants);
  const { leaves } = bound;
  const graph = ready.filling ? undefined : graphOf(bound);
  return {
    ...ready,
    graph,
    bytes:
      bytesOfTrace + (ready.filling?.bytes ?? 0) + bytesOfNode * (graph ? collect(bound.roots).length : leaves.length),
    lastUse: 0,
    release: () => {},
    sources: bound.sources.map((source) => (source instanceof State ? standIn(source) : source)),
    outputs: bound.outputs.map((state) => state && standIn(state)),
    results: bound.results,
    types: bound.roots.map(({ node, index }) => node.outputs[index]!),
    leafChecks: bound.leafChecks.map((check) => {
      const { source } = check.leaf;
      return { ...check, what: source?.kind === "argument" ? nameAt(args, source.position) : undefined };
    }),
    isCurrent: allHold(settings),
    rebuild,
  };
}

// These are functions of their own, because all closures that one function makes keep alive what any of them uses: a graph, here.
const graphOf =
  ({ checks, leaves }: Bound): Trace["graph"] =>
  () => ({ checks, leaves });
const allHold =
  (settings: TracedRoots["settings"]): Trace["isCurrent"] =>
  () =>
    settings.every((holds) => holds());

/** Returns the variables that are constants of a function: those of floats that it reads and does not assign. Undefined if there are none. */
function constantsOf(own: Omit<Constants, "positions">, { sources, outputs }: Bound): Constants | undefined {
  const isConstant = (source: Bound["sources"][number]): boolean =>
    source instanceof State && isFloat(source.dtype) && !outputs.includes(source);
  const positions = new Set([...sources.keys()].filter((i) => isConstant(sources[i]!)));
  return positions.size > 0 ? { ...own, positions } : undefined;
}

/** Throws a DataError that names the first argument with a NaN or an infinity, if there is one. */
function* explainNonFinite(subject: string, args: readonly unknown[], storages: readonly Storage[]): Steps<void> {
  for (const [position, storage] of storages.entries()) {
    if (!isFloat(storage.type.dtype)) continue;
    const values = yield* storage.take();
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad < 0) continue;
    throw new DataError(
      subject,
      `${nameAt(args, position)} (${showType(storage.type)}) holds ${values[bad]} at ${showPlace(storage.type.shape, bad)}`,
      "clean the data before training; the update was not made and all parameters keep their values",
    );
  }
}
