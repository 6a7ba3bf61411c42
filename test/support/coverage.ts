/** What the oracles prove: which ops and functions the samples that pass are computed with. docs/ops.md is made of it. */

import { ruleSets } from "../../src/compile/passes/index.ts";
import { rewrite } from "../../src/compile/passes/rewrite.ts";
import { collect, type Node, type Value } from "../../src/graph/node.ts";
import type { AnyOp } from "../../src/graph/op.ts";
import type { DType } from "../../src/graph/types.ts";
import { Tensor } from "../../src/tensor/tensor.ts";

/** What the conformance test has found of an op. */
export interface OpRecord {
  /** Whether a derivative is not zero somewhere in the samples. */
  hasSlope: boolean;
  /** Up to which order derivatives depend on real inputs, and equal finite differences. */
  derivatives: number;
  readonly gradient: "written" | "ends" | "none";
  /** Of the first input that can be real, or else of the first, or of what it makes out of nothing. */
  readonly dtypes: DType[];
  /** By engine, the dtypes for which it gives the plain engine's values. */
  readonly engines: Record<string, DType[]>;
}

export const gradientOf = ({ gradient, endsGradient }: AnyOp): OpRecord["gradient"] =>
  endsGradient ? "ends" : gradient ? "written" : "none";

/** What a sample is computed with. */
export interface Means {
  /** Ops of its graph, as it was written and as the compiler makes it for ONNX Runtime. */
  readonly ops: ReadonlySet<string>;
  /** Public functions and methods that were called, not those that these call. */
  readonly functions: ReadonlySet<string>;
}

/** One entry of an oracle: how many of its samples pass, and with what. */
export interface Entry {
  readonly passed: number;
  readonly ops: Readonly<Record<string, number>>;
  readonly functions: readonly string[];
}

/** An oracle's results as a file of the fixtures holds them. */
export interface Ledger {
  readonly total: number;
  readonly entries: Readonly<Record<string, Entry>>;
  /** Samples that are left out, by reason. */
  readonly excluded: Readonly<Record<string, number>>;
}

/** Gathers a ledger. */
export class Tally {
  #total = 0;
  readonly #entries = new Map<string, { passed: number; ops: Map<string, number>; functions: Set<string> }>();
  readonly #excluded = new Map<string, number>();

  passed(name: string, { ops, functions }: Means): void {
    this.#total++;
    const entry = this.#entries.get(name) ?? { passed: 0, ops: new Map(), functions: new Set() };
    this.#entries.set(name, entry);
    entry.passed++;
    for (const op of ops) entry.ops.set(op, (entry.ops.get(op) ?? 0) + 1);
    for (const name of functions) entry.functions.add(name);
  }

  excluded(reason: string): void {
    this.#total++;
    this.#excluded.set(reason, (this.#excluded.get(reason) ?? 0) + 1);
  }

  failed(): void {
    this.#total++;
  }

  get counts(): { readonly total: number; readonly passed: number; readonly excluded: number } {
    const passed = [...this.#entries.values()].reduce((sum, entry) => sum + entry.passed, 0);
    const excluded = [...this.#excluded.values()].reduce((sum, count) => sum + count, 0);
    return { total: this.#total, passed, excluded };
  }

  /** The ledger as text, an entry a line. */
  toString(): string {
    const entries = [...this.#entries].sort(byName).map(([name, { passed, ops, functions }]) => {
      const entry: Entry = { passed, ops: Object.fromEntries([...ops].sort(byName)), functions: [...functions].sort() };
      return `    ${JSON.stringify(name)}: ${JSON.stringify(entry)}`;
    });
    const excluded = [...this.#excluded].map(([reason, count]) => `    ${JSON.stringify(reason)}: ${count}`);
    return `{
  "total": ${this.#total},
  "entries": {
${entries.join(",\n")}
  },
  "excluded": {
${excluded.join(",\n")}
  }
}
`;
  }
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

let called: Set<string> | undefined;
let depth = 0;

/** The function, noting that it was called where no other one of these calls it. */
function noting<F extends (...args: never[]) => unknown>(name: string, f: F): F {
  const noted = function (this: unknown, ...args: never[]): unknown {
    if (depth === 0) called?.add(name);
    depth++;
    try {
      return f.apply(this, args);
    } finally {
      depth--;
    }
  };
  return noted as F;
}

/** Has the methods of tensors and the functions of a module noted; for `vi.mock`. */
export function watched<M extends object>(module: M): M {
  for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(Tensor.prototype)))
    if (typeof value === "function" && name !== "constructor")
      Object.defineProperty(Tensor.prototype, name, { configurable: true, writable: true, value: noting(name, value) });
  const functions = Object.entries(module).map(([name, value]) => [
    name,
    typeof value === "function" && /^[a-z]/.test(name)
      ? noting(name, value)
      : name === "functional"
        ? watchedFunctions(value)
        : value,
  ]);
  return Object.fromEntries(functions) as M;
}

const watchedFunctions = (functions: Readonly<Record<string, (...args: never[]) => unknown>>): object =>
  Object.fromEntries(Object.entries(functions).map(([name, f]) => [name, noting(name, f)]));

/** What `build` returns, and the functions that it calls. */
export function noted<R>(build: () => R): { readonly result: R; readonly functions: ReadonlySet<string> } {
  const functions = new Set<string>();
  called = functions;
  try {
    return { result: build(), functions };
  } finally {
    called = undefined;
  }
}

/** The ops of a graph, as written and as rewritten; those inside loops too. */
export function opsIn(roots: readonly Value[]): Set<string> {
  const found = new Set<string>();
  const visit = (node: Node): void => {
    if (node.source) return;
    found.add(node.op.name);
    node.op.mapBodies?.(node.params, (body) => {
      body.nodes.forEach(visit);
      return body;
    });
  };
  for (const values of [roots, rewrite(roots, ruleSets, { contrib: true }, undefined)]) collect(values).forEach(visit);
  return found;
}
