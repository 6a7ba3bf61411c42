/** The present state of graph building: the trace, if any, the table of nodes already made, and the module being called. */
import { GraphError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Check } from "./check.ts";
import { type NodeTable, SharedNodes } from "./table.ts";

/** What is collected while a graph is built. "At the top" means outside of any trace. */
export interface Scope<T = unknown> {
  /** The trace of `compile`; `undefined` at the top, where tensors are evaluated directly. */
  readonly trace: object | undefined;
  /** The nodes made so far, so that equal expressions share one; `undefined` at the top, where the table would keep nodes alive. */
  readonly nodes: NodeTable | undefined;
  /** The leaves of variables: their values at the start of a run of the trace. At the top, each variable keeps its own leaf. */
  readonly leaves: Map<object, T>;
  /** What variables will hold once the graph has run. */
  readonly assigned: Map<object, T>;
  /** Settings that the graph was built for, such as `training`. A function returns false once its setting differs: the graph is stale. */
  readonly settings: (() => boolean)[];
  /** Checks that a run must pass before its assignments are kept. */
  readonly checks: Check<T>[];
}

/** Returns a scope in which equal expressions share one node, by default. */
export function newScope(trace: object | undefined, nodes: NodeTable = new SharedNodes()): Scope {
  return { trace, nodes, leaves: new Map(), assigned: new Map(), settings: [], checks: [] };
}

const top: Scope = { ...newScope(undefined), nodes: undefined };
let current = top;

export function currentScope(): Scope {
  return current;
}

/** Runs `build` in a scope, and restores the previous scope afterwards, also after an error. */
export function withScope<R>(scope: Scope, build: () => R): R {
  const before = current;
  current = scope;
  try {
    return build();
  } finally {
    current = before;
  }
}

/** Removes and returns the assignments and checks that wait at the top: the next evaluation includes them. */
export function takePending(): { assigned: Map<object, unknown>; checks: Check[] } {
  const taken = { assigned: new Map(top.assigned), checks: [...top.checks] };
  top.assigned.clear();
  top.checks.length = 0;
  top.settings.length = 0;
  return taken;
}

/** Returns whether assignments or checks wait at the top. */
export function hasPending(): boolean {
  return top.assigned.size > 0 || top.checks.length > 0;
}

/** Throws GraphError while a function is being traced: there are no values yet. */
export function forbidInTrace(subject: string, path: string): void {
  if (current.trace)
    throw new GraphError(
      subject,
      "reads values inside a function that is being traced, where there are none yet",
      "return the tensor from the compiled function and read it outside, or decide with where(condition, a, b)",
      path,
    );
}

const paths: string[] = [];

/** Returns the path of the module being called, `""` outside of any. */
export function currentPath(): string {
  return paths.at(-1) ?? "";
}

/** Runs `call` under a name below the present path, such as that of a loss. */
export function withName<R>(name: string, call: () => R): R {
  const path = currentPath();
  return withPath(path === "" ? name : `${path}.${name}`, call);
}

/** Runs `call`, which makes nodes in place of those that a module has made: they keep its path. */
export function atPath<R>(path: string, call: () => R): R {
  paths.push(path);
  try {
    return call();
  } finally {
    paths.pop();
  }
}

/** Runs `call` as the module at `path`, and reports its result to the observer. */
export function withPath<R>(path: string, call: () => R): R {
  return atPath(path, () => {
    const result = call();
    observer?.called(path, result);
    return result;
  });
}

/** An observer, which is told what happens while a part of a graph is built. */
export interface Observer {
  /** Returns the path of a module that no other module calls. */
  pathOf(module: object): string;
  /** Called after an op was applied, with its first output. */
  applied(output: Tensor): void;
  /** Called when the module at a path, or a step of it, has returned. */
  called(path: string, result: unknown): void;
  /** Returns the observer for building one step of a loop. */
  inside(): StepObserver;
}

/** An observer of one step of a loop. The step's values cannot be used outside of the loop. */
export interface StepObserver extends Observer {
  /** The tensors that were reported to this observer. */
  readonly seen: readonly Tensor[];
  /** Reports the stacked values of all steps to the observer outside of the loop. */
  tell(stacks: readonly Tensor[]): void;
}

let observer: Observer | undefined;

export function currentObserver(): Observer | undefined {
  return observer;
}

/** Runs `build` with an observer, or without one if `next` is `undefined`. Of nested calls, only the innermost observer is told. */
export function observedBy<R>(next: Observer | undefined, build: () => R): R {
  const before = observer;
  observer = next;
  try {
    return build();
  } finally {
    observer = before;
  }
}

/** Runs `build` without an observer: for activations that are parts of a formula, and for graphs inside of graphs. */
export function unobserved<R>(build: () => R): R {
  return observedBy(undefined, build);
}
