/** Values and slopes at kinks, at limits, in tails, and where what is in between has no room: on every engine, in both precisions. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { DType } from "../src/graph/types.ts";
import * as glissade from "../src/index.ts";
import { evaluate, gradients, nodeEngine, plainEngine, type Tensor, tensor, useEngine } from "../src/node.ts";

/** Numbers as JSON has them: infinities and NaN are words. */
type Written = number | string | readonly Written[];

interface Case {
  readonly name: string;
  /** Vectors. */
  readonly inputs: readonly (readonly Written[])[];
  readonly y: Written;
  /** Of Σy, by input. */
  readonly slopes: readonly (readonly Written[])[];
  /** The one dtype that has room for the numbers. */
  readonly only?: DType;
}

const cases: readonly Case[] = JSON.parse(readFileSync(new URL("fixtures/kinks.json", import.meta.url)).toString());

const losses = { reduction: "none" } as const;
const functions: Readonly<Record<string, (...inputs: Tensor[]) => Tensor>> = {
  "elu 0.4": (x) => x!.elu(0.4),
  "celu 0.5": (x) => x!.celu(0.5),
  binaryCrossEntropy: (x, y) => glissade.binaryCrossEntropy(x!, y!, losses),
  "binaryCrossEntropy, positive 3": (x, y) => glissade.binaryCrossEntropy(x!, y!, { ...losses, positiveWeight: 3 }),
  binaryCrossEntropyOfProbabilities: (p, y) => glissade.binaryCrossEntropyOfProbabilities(p!, y!, losses),
  "huber 0.5": (x, y) => glissade.huber(x!, y!, { ...losses, delta: 0.5 }),
  "smoothL1 0.5": (x, y) => glissade.smoothL1(x!, y!, { ...losses, beta: 0.5 }),
  cosineSimilarity: (x, y) => glissade.cosineSimilarity(x!, y!),
  std: (x) => x!.std(0, { correction: 1 }),
  rmsNorm: (x) => glissade.functional.rmsNorm(x!, tensor([1, 2, -1], x!.dtype) as never).sum(),
  logAddExp: (x, y) => x!.logAddExp(y!),
};

function functionOf(name: string): (...inputs: Tensor[]) => Tensor {
  const [method, order] = name.split(" ") as [string, string?];
  if (method === "norm" && order) return (x) => x!.norm(0, { order: Number(order) });
  return functions[name] ?? ((x) => (x as unknown as Readonly<Record<string, () => Tensor>>)[name]!());
}

const numbers = (written: Written): number[] =>
  typeof written === "object" ? written.flatMap(numbers) : [Number(written)];

/** How far a number may be off, as a share of it; and what is too small for the dtype's normal numbers. */
const precision = { float32: { share: 4e-6, smallest: 1.2e-38 }, float64: { share: 2e-12, smallest: 1e-290 } } as const;

/**
 * Slopes that are differences of equals by their nature, by function: how far off they may be, in units of the dtype's precision. With
 * respect to labels, the slope of a loss is the difference of two losses.
 */
const differences: Readonly<Record<string, number>> = {
  binaryCrossEntropy: 1,
  "binaryCrossEntropy, positive 3": 3,
  std: 1,
  cosineSimilarity: 1,
  rmsNorm: 2,
};

function expectNumbers(
  got: ArrayLike<number>,
  wanted: readonly number[],
  dtype: "float32" | "float64",
  what: string,
  off: number,
): void {
  const { share, smallest } = precision[dtype];
  expect(got, what).toHaveLength(wanted.length);
  wanted.forEach((exact, i) => {
    const want = dtype === "float32" && !Number.isFinite(Math.fround(exact)) ? Math.fround(exact) : exact;
    const value = got[i]!;
    if (Object.is(value, want) || value === want) return;
    const room = share * Math.abs(want) + smallest + share * off;
    expect(Math.abs(value - want) <= room, `${what}[${i}] is ${value}, not ${want}`).toBe(true);
  });
}

const engines = {
  plain: plainEngine(),
  "node, with kernels": nodeEngine({ threads: 1 }),
  "node, without": nodeEngine({ threads: 1, kernels: false }),
};

describe.each(Object.entries(engines))("on %s", (_, engine) => {
  describe.each(["float32", "float64"] as const)("in %s", (dtype) => {
    const chosen = cases.filter(({ only = dtype }) => only === dtype);
    test.each(chosen.map((each, i) => [i, each.name, each] as const))("%i, %s", async (_i, name, each) => {
      useEngine(engine);
      const f = functionOf(name);
      const inputs = each.inputs.map((values) => tensor(numbers(values), dtype) as Tensor);
      const y = f(...inputs);
      // With its slopes in one graph, where kernels take it in, and by itself.
      const slopesOfInputs = gradients(y.sum(), inputs);
      await evaluate(y, ...slopesOfInputs);
      const [together, ...slopes] = await Promise.all([y, ...slopesOfInputs].map((x) => x.data()));
      const alone = await f(...each.inputs.map((values) => tensor(numbers(values), dtype) as Tensor)).data();
      expectNumbers(together!, numbers(each.y), dtype, "the value", 0);
      expectNumbers(alone, numbers(each.y), dtype, "the value alone", 0);
      slopes.forEach((slope, i) =>
        expectNumbers(slope, numbers(each.slopes[i]!), dtype, `the slope by input ${i}`, differences[name] ?? 0),
      );
    });
  });
});
