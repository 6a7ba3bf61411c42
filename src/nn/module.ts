/** A module is a function with its parameters attached: `const query = linear(d, d); query(x)` reads like the paper. */

import { GraphError, printable } from "../errors.ts";
import { aFunction, aRecord, aText, expectArguments } from "../graph/arguments.ts";
import { currentObserver, currentPath, currentScope, withPath } from "../graph/scope.ts";
import { showShape } from "../graph/types.ts";
import { Parameter, State } from "../tensor/state.ts";

/** A child of a module: a variable, a module, or a list or record of children, nested to any depth. */
export type Child = State | Module | readonly Child[] | { readonly [name: string]: Child };
/** The parts of a module, by name: what `module` takes. */
export type Children = Readonly<Record<string, Child>>;

/** Options of `namedStates` and `namedParameters`. */
export interface NamedStatesOptions {
  /** Default true. */
  readonly removeDuplicates?: boolean;
}

/** The fields and methods that every module has. Modules are made by `module`. */
export interface Module {
  /** The module's name in summaries: `Linear`. */
  readonly kind: string;
  readonly children: Children;
  /** Whether the module is in training. Dropout and batch normalisation behave differently in training and in evaluation. */
  readonly training: boolean;
  /** Switches the module and everything in it to training. Returns the module. */
  train(): this;
  /** Switches the module and everything in it to evaluation. Returns the module. */
  eval(): this;
  /** Freezes the parameters of the module and everything in it: optimizers no longer change them. Returns the module. */
  freeze(): this;
  /** Undoes `freeze`. Returns the module. */
  unfreeze(): this;
  /**
   * Returns the variables by path, in the order of the fields: `layers.0.weight`. A variable that is used twice appears once, under its
   * first path; with `removeDuplicates: false` it appears under each of its paths.
   */
  namedStates(options?: NamedStatesOptions): Map<string, State>;
  /** Returns the parameters by path, like `namedStates`, frozen ones included. */
  namedParameters(options?: NamedStatesOptions): Map<string, Parameter>;
  /**
   * Returns the module itself, under the path "", and all modules in it by path, in the order of the fields. A module that is used twice
   * appears under its first path.
   */
  namedModules(): Map<string, Module>;
  /** Returns all variables: parameters, and others such as running statistics. */
  states(): State[];
  /** Returns the parameters: the variables that optimizers update, frozen ones included. */
  parameters(): Parameter[];
  /** Returns a table of layers, shapes and parameter counts. */
  summary(): string;
  /** Returns the modules as a tree, with shapes and parameter counts: the text that `console.log(model)` shows in Node. */
  toString(): string;
}

interface Settings {
  training: boolean;
}

const settings = new WeakMap<Module, Settings>();
/** The value of `training` for all modules, which overrides the value of each; undefined when there is none. */
let mode: boolean | undefined;

/** Runs `build` with all modules in training or in evaluation; undefined keeps the mode of each. */
export function inMode<R>(training: boolean | undefined, build: () => R): R {
  const before = mode;
  mode = training;
  try {
    return build();
  } finally {
    mode = before;
  }
}
/** The modules that are being called, outermost first. `paths` has the paths of the modules inside, computed when one is first needed. */
const calling: { readonly module: Module; paths?: Map<Module, string> }[] = [];

/** The methods of every module. Modules are functions, so this object stands between them and Function.prototype. */
const methods = Object.create(Function.prototype, {
  ...Object.getOwnPropertyDescriptors({
    get training(): boolean {
      if (mode !== undefined) return mode;
      const own = settings.get(this as unknown as Module)!;
      const value = own.training;
      currentScope().settings.push(() => own.training === value);
      return value;
    },
    train(this: Module): Module {
      for (const [, module] of walk(this)) settings.get(module)!.training = true;
      return this;
    },
    eval(this: Module): Module {
      for (const [, module] of walk(this)) settings.get(module)!.training = false;
      return this;
    },
    freeze(this: Module): Module {
      for (const parameter of this.parameters()) parameter.trainable = false;
      return this;
    },
    unfreeze(this: Module): Module {
      for (const parameter of this.parameters()) parameter.trainable = true;
      return this;
    },
    namedStates(this: Module, { removeDuplicates = true }: NamedStatesOptions = {}): Map<string, State> {
      const found = new Map<string, State>();
      const seen = new Set<State>();
      for (const [path, module] of walk(this))
        for (const [name, child] of parts(module.children)) {
          if (!(child instanceof State) || (removeDuplicates && seen.has(child))) continue;
          seen.add(child);
          found.set(join(path, name), child);
        }
      return found;
    },
    namedParameters(this: Module, options?: NamedStatesOptions): Map<string, Parameter> {
      return new Map([...this.namedStates(options)].filter((entry) => entry[1] instanceof Parameter)) as Map<
        string,
        Parameter
      >;
    },
    namedModules(this: Module): Map<string, Module> {
      const found = new Map<string, Module>();
      const seen = new Set<Module>();
      for (const [path, module] of walk(this)) {
        if (!seen.has(module)) found.set(path, module);
        seen.add(module);
      }
      return found;
    },
    states(this: Module): State[] {
      return [...this.namedStates().values()];
    },
    parameters(this: Module): Parameter[] {
      return this.states().filter((state) => state instanceof Parameter);
    },
    summary(this: Module): string {
      return summarize(this);
    },
    toString(this: Module): string {
      return asTree(this);
    },
    /** The text that Node's console shows. */
    [Symbol.for("nodejs.util.inspect.custom")](this: Module): string {
      return asTree(this);
    },
  }),
}) as Module;

const join = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`);

/** Whether something is a module. */
export function isModule(value: unknown): value is Module {
  return typeof value === "function" && settings.has(value as unknown as Module);
}

/**
 * Makes a module from a function and its children. The children become fields of the function, and files store their values under the names
 * of these fields:
 *
 *     const feedForward = (size: number) => {
 *       const up = linear(size, 4 * size), down = linear(4 * size, size);
 *       return module("FeedForward", { up, down }, (x: Tensor) => down(up(x).relu()));
 *     };
 *
 * Lists and records of modules and variables are children too: `{ blocks: [first, second], heads: { word, label } }` has `blocks.0` and
 * `heads.word`. Errors inside the function name the path of the module. Throws GraphError when a child has the name of a method of modules,
 * or is not a variable, a module, or a list or record of them.
 */
export function module<F extends (...args: never[]) => unknown, const C extends Children>(
  kind: string,
  children: C,
  call: F,
): F & C & Module {
  expectArguments("module", [aText, aRecord, aFunction], [kind, children, call]);
  const self = asCall(() => self, call) as F & C & Module;
  Object.setPrototypeOf(self, methods);
  for (const [name, child] of Object.entries(children)) {
    if (name in methods || name === "kind" || name === "children" || name.includes("."))
      throw new GraphError(
        kind,
        `a child is called "${name}"`,
        "choose a name without dots that is no method of modules",
      );
    expectChild(kind, name, child);
    Object.defineProperty(self, name, { value: child, enumerable: true });
  }
  Object.defineProperty(self, "kind", { value: kind });
  Object.defineProperty(self, "children", { value: children });
  settings.set(self, { training: true });
  for (const [path, inner] of walk(self))
    for (const [name, child] of parts(inner.children)) if (child instanceof State) child.label = join(path, name);
  return self;
}

/** Wraps a function so that it runs as a call of a module: under the module's path, with paths for the modules inside. */
function asCall(self: () => Module, call: (...args: never[]) => unknown): (...args: never[]) => unknown {
  return (...args) => {
    const path = pathOf(self());
    calling.push({ module: self() });
    try {
      return withPath(path, () => call(...args));
    } finally {
      calling.pop();
    }
  };
}

/** Adds a function to a module. It runs under the module's path, as the module's own function does. */
export function method(self: Module, name: string, call: (...args: never[]) => unknown): void {
  Object.defineProperty(self, name, { value: asCall(() => self, call) });
}

/** Throws GraphError unless a child is a variable, a module, or a list or record of these. */
function expectChild(kind: string, name: string, child: unknown): void {
  if (child instanceof State || isModule(child)) return;
  const isPlain =
    typeof child === "object" && child !== null && [Object.prototype, null].includes(Object.getPrototypeOf(child));
  if (!Array.isArray(child) && !isPlain)
    throw new GraphError(
      kind,
      `the child "${name}" is not a variable, a module, or a list or record of such`,
      "keep other values outside of the children",
    );
  for (const [key, inner] of Object.entries(child as Children)) {
    if (key.includes("."))
      throw new GraphError(kind, `a child is called "${name}.${key}"`, "choose names without dots");
    expectChild(kind, `${name}.${key}`, inner);
  }
}

/** The variables and modules among children, also in lists and records, by path. */
function* parts(children: Children | readonly Child[], path: string = ""): Generator<[string, State | Module]> {
  for (const [name, child] of Object.entries(children) as [string, Child][]) {
    const at = join(path, name);
    if (child instanceof State || isModule(child)) yield [at, child];
    else yield* parts(child, at);
  }
}

/** The path of a module that is being called: its place inside the module that calls it. */
function pathOf(inner: Module): string {
  const outer = calling.at(-1);
  if (!outer) return currentObserver()?.pathOf(inner) ?? "";
  if (!outer.paths) {
    outer.paths = new Map();
    for (const [path, module] of walk(outer.module)) if (!outer.paths.has(module)) outer.paths.set(module, path);
  }
  const path = outer.paths.get(inner);
  return path === undefined ? currentPath() : join(currentPath(), path);
}

/** A module and all modules in it, by path. Throws GraphError when a module contains itself. */
export function* walk(root: Module): Generator<[string, Module]> {
  const open: { readonly path: string; readonly module: Module; readonly rest: Iterator<[string, unknown]> }[] = [];
  const inside = new Set<Module>();
  const enter = (path: string, module: Module): [string, Module] => {
    if (inside.has(module))
      throw new GraphError(
        module.kind,
        `the module contains itself: ${path} leads back to it`,
        "build a second module, or call the one you have twice",
        path,
      );
    inside.add(module);
    open.push({ path, module, rest: parts(module.children)[Symbol.iterator]() });
    return [path, module];
  };
  yield enter("", root);
  for (let last = open.at(-1); last; last = open.at(-1)) {
    const { done, value } = last.rest.next();
    if (done) {
      open.pop();
      inside.delete(last.module);
    } else if (isModule(value[1])) yield enter(join(last.path, value[0]), value[1]);
  }
}

function summarize(root: Module): string {
  const rows: [string, string, string, string][] = [["module", "kind", "shape", "parameters"]];
  let trainable = 0;
  let frozen = 0;
  const seen = new Set<State>();
  for (const [path, module] of walk(root)) {
    rows.push([printable(path) || "(whole)", module.kind, "", ""]);
    for (const [name, child] of parts(module.children)) {
      if (!(child instanceof State)) continue;
      const shared = seen.has(child);
      seen.add(child);
      const isParameter = child instanceof Parameter;
      if (isParameter && !shared && child.trainable) trainable += child.size;
      if (isParameter && !shared && !child.trainable) frozen += child.size;
      const note = shared ? "shared" : !isParameter ? "state" : child.trainable ? "" : " frozen";
      rows.push([
        printable(join(path, name)),
        "",
        showShape(child.shape),
        `${isParameter && !shared ? count(child.size) : ""}${note}`,
      ]);
    }
  }
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 3 ? cell.padStart(widths[3]!) : cell.padEnd(widths[column]!)))
      .join("  ")
      .trimEnd(),
  );
  lines.splice(1, 0, "─".repeat(widths.reduce((sum, width) => sum + width + 2, -2)));
  return `${lines.join("\n")}\n${counts(trainable, frozen)}`;
}

/** `Linear(weight [3, 4], bias [3]) 15`, and modules with modules in them over several lines, as PyTorch prints them. */
function asTree(root: Module): string {
  const parameters = root.parameters(); //  throws for a module that contains itself
  const seen = new Set<State>();
  const draw = (module: Module, indent: string): string => {
    const states: string[] = [];
    const modules: string[] = [];
    let own = 0;
    for (const [name, child] of parts(module.children))
      if (isModule(child)) modules.push(`${indent}  (${printable(name)}): ${draw(child, `${indent}  `)}`);
      else {
        states.push(ownOf(name, child, seen.has(child)));
        if (child instanceof Parameter && !seen.has(child)) own += child.size;
        seen.add(child);
      }
    const kind = printable(module.kind);
    if (modules.length === 0) return `${kind}(${states.join(", ")})${own > 0 ? ` ${count(own)}` : ""}`;
    return [`${kind}(`, ...states.map((state) => `${indent}  ${state}`), ...modules, `${indent})`].join("\n");
  };
  const sum = (trainable: boolean): number =>
    parameters.reduce((total, each) => total + (each.trainable === trainable ? each.size : 0), 0);
  return `${draw(root, "")}\n${counts(sum(true), sum(false))}`;
}

/** The description of a variable, `weight [3, 4]`, with a note if it is shared, frozen, or not a parameter. */
function ownOf(name: string, state: State, isShared: boolean): string {
  const isFrozen = state instanceof Parameter && !state.trainable;
  const note = isShared ? " shared" : isFrozen ? " frozen" : state instanceof Parameter ? "" : " state";
  return `${printable(name)} ${showShape(state.shape)}${note}`;
}

const counts = (trainable: number, frozen: number): string =>
  `${count(trainable)} trainable parameters${frozen ? `, ${count(frozen)} frozen` : ""}`;

const count = (n: number): string => n.toLocaleString("en-US");
