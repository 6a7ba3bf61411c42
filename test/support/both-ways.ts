/** A graph as it was written and as the rules rewrite it: the same values. */
import { expect } from "vitest";
import { bind } from "../../src/compile/bind.ts";
import { traceRoots } from "../../src/compile/compile.ts";
import { lower } from "../../src/compile/lower.ts";
import { GraphProgram } from "../../src/compile/program.ts";
import type { Target } from "../../src/graph/target.ts";
import { isFloat } from "../../src/graph/types.ts";
import type { Tensor } from "../../src/index.ts";
import { PhiloxStream } from "../../src/random/stream.ts";
import { adopt } from "../../src/tensor/create.ts";
import type { State } from "../../src/tensor/state.ts";
import type { Storage } from "../../src/tensor/storage.ts";

const random = new PhiloxStream(11);
/** A tensor of standard normal numbers. */
export const normal = (...shape: number[]): Tensor =>
  adopt(
    { shape, dtype: "float32" },
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()),
  );

/** Names of the ops of a program, with how often each occurs. */
export function counts(text: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [, name] of text.matchAll(/= (\w+)\(/g)) found[name!] = (found[name!] ?? 0) + 1;
  return found;
}

type Traced = (...args: Tensor[]) => Tensor | readonly Tensor[];

/** The graph of a function with and without the rules; expects the same values from both, and no more ops. */
export async function bothWays(fn: Traced, ...args: Tensor[]): Promise<Record<string, number>> {
  const { before, after } = await sameValues({ contrib: true }, fn, args);
  expect(after.size).toBeLessThanOrEqual(before.size);
  return counts(after.text());
}

/** The same for an engine with blocks of channels, where cheaper may be more ops. */
export async function bothWaysInBlocks(
  block: number | undefined,
  fn: Traced,
  ...args: Tensor[]
): Promise<Record<string, number>> {
  return counts((await sameValues({ contrib: true, block }, fn, args)).after.text());
}

async function sameValues(
  target: Target,
  fn: Traced,
  args: readonly Tensor[],
): Promise<{ readonly before: GraphProgram; readonly after: GraphProgram }> {
  const { identity, results, assigned } = traceRoots(fn as never, args as never);
  const bound = bind({ results, checks: [], assigned });
  const before = new GraphProgram(bound.leaves, bound.roots, target);
  const after = lower({ ...bound, trace: identity }, target);
  const values = await Promise.all(
    bound.sources.map(async (source) =>
      Float64Array.from(
        await (typeof source === "number"
          ? args[source]!.data()
          : ((source as State & Storage).data?.() ?? (source as Storage).read())),
      ),
    ),
  );
  expectSame(before, after, values, "");
  for (const [what, others] of withSpecialValues(before, values)) expectSame(before, after, others, what);
  return { before, after };
}

const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
/** Of so many inputs each has its turn. */
const mostInputs = 6;

/** The values with one that is special, at some place of some input. No rule may lose it, or bring it elsewhere. */
function* withSpecialValues(
  { inputs }: GraphProgram,
  values: readonly Float64Array[],
): Generator<readonly [what: string, values: readonly Float64Array[]]> {
  const reals = [...inputs.keys()].filter((i) => isFloat(inputs[i]!.type.dtype) && values[i]!.length > 0);
  for (const [n, which] of reals.slice(0, mostInputs).entries())
    for (const [k, value] of special.entries()) {
      const place = (5 * n + 3 * k) % values[which]!.length;
      const changed = values.map((all, i) => (i === which ? all.map((own, at) => (at === place ? value : own)) : all));
      yield [`${value} at ${place} of input ${which}: `, changed];
    }
}

function expectSame(before: GraphProgram, after: GraphProgram, values: readonly Float64Array[], what: string): void {
  const [expected, got] = [before.evaluate(values), after.evaluate(values)];
  for (const [i, result] of expected.entries()) {
    const at = result.findIndex((value, at) => !isSame(value, got[i]![at]!, what));
    if (at >= 0) expect.fail(`${what}output ${i}, element ${at}: ${got[i]![at]} in place of ${result[at]}`);
  }
}

function isSame(value: number, other: number, what: string): boolean {
  // Of infinities that are added up first and then scaled, or first scaled, one may be NaN.
  const areInfinite = what.includes("Infinity") && !Number.isFinite(other) && !Number.isFinite(value);
  return areInfinite || Object.is(other, value) || Math.abs(other - value) < 1e-6 * Math.max(1, Math.abs(value));
}
