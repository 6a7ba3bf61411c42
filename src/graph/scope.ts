/** Where graph building stands right now: the trace, if any, the table of nodes already made, the module being called. */
import { GraphError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Check } from "./check.ts";
import type { Node } from "./node.ts";

/** What is gathered while a graph is built. */
export interface Scope<T = unknown> {
  /** The trace of `compile`; none at the top, where tensors are built to be evaluated at once. */
  readonly trace: object | undefined;
  /** Nodes by key, so that the same expression is the same node; none at the top, where it would keep them alive. */
  readonly nodes: Map<string, Node> | undefined;
  /** What state variables hold at the start of a run of the trace; at the top a variable knows that itself. */
  readonly leaves: Map<object, T>;
  /** What state variables will hold once the graph has run. */
  readonly assigned: Map<object, T>;
  /** Settings of modules that the graph was built for, such as `training`; a change of one makes a compiled graph stale. */
  readonly settings: (() => boolean)[];
  /** What a run must meet before its assignments are kept. */
  readonly checks: Check<T>[];
}

export function newScope(trace: object | undefined, shareNodes: boolean): Scope {
  const nodes = shareNodes ? new Map<string, Node>() : undefined;
  return { trace, nodes, leaves: new Map(), assigned: new Map(), settings: [], checks: [] };
}

const top = newScope(undefined, false);
let current = top;

export function currentScope(): Scope {
  return current;
}

/** Runs `build` with its own scope and puts the old one back, whatever happens. */
export function withScope<R>(scope: Scope, build: () => R): R {
  const before = current;
  current = scope;
  try {
    return build();
  } finally {
    current = before;
  }
}

/** Everything waiting at the top, taken out: an evaluation carries it along. */
export function takePending(): { assigned: Map<object, unknown>; checks: Check[] } {
  const taken = { assigned: new Map(top.assigned), checks: [...top.checks] };
  top.assigned.clear();
  top.checks.length = 0;
  top.settings.length = 0;
  return taken;
}

/** Whether anything is waiting at the top. */
export function hasPending(): boolean {
  return top.assigned.size > 0 || top.checks.length > 0;
}

/** Throws when called while a function is being traced: there are no values yet. */
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

/** The path of the module being called, `""` outside of any. */
export function currentPath(): string {
  return paths.at(-1) ?? "";
}

/** Runs `call` under a name below the present path, such as that of a loss. */
export function withName<R>(name: string, call: () => R): R {
  const path = currentPath();
  return withPath(path === "" ? name : `${path}.${name}`, call);
}

/** Runs `call` as the module at `path`; who observes is told what it returns. */
export function withPath<R>(path: string, call: () => R): R {
  paths.push(path);
  try {
    const result = call();
    observer?.called(path, result);
    return result;
  } finally {
    paths.pop();
  }
}

/** Somebody who looks on while a part of a graph is built. */
export interface Observer {
  /** The path of a module that is called by no other. */
  pathOf(module: object): string;
  /** An op was applied, of which this is the first output. */
  applied(output: Tensor): void;
  /** The module, or the step of one, at a path has returned. */
  called(path: string, result: unknown): void;
  /** Who looks on while one step of a loop is built. */
  inside(): StepObserver;
}

/** An observer of one step, whose values mean nothing outside of the loop. */
export interface StepObserver extends Observer {
  /** What it has seen. */
  readonly seen: readonly Tensor[];
  /** Tells the observer outside what these values are in all steps. */
  tell(stacks: readonly Tensor[]): void;
}

let observer: Observer | undefined;

export function currentObserver(): Observer | undefined {
  return observer;
}

/** Runs `build` while somebody looks on, or nobody; nested calls have one observer, the innermost. */
export function observedBy<R>(next: Observer | undefined, build: () => R): R {
  const before = observer;
  observer = next;
  try {
    return build();
  } finally {
    observer = before;
  }
}

/** Runs `build` while nobody looks on: for activations that are parts of a formula, and for graphs inside of others. */
export function unobserved<R>(build: () => R): R {
  return observedBy(undefined, build);
}
