/** Clipping against PyTorch's, whose norms have 1e-6 added before it divides by them. */
import { beforeEach, describe, expect, test } from "vitest";
import {
  clipByGlobalNorm,
  clipByNorm,
  clipByValue,
  compile,
  type Engine,
  globalNorm,
  nodeEngine,
  plainEngine,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";
import { Parameter } from "../../src/tensor/state.ts";
import { fixture } from "../support/optimizer-fixture.ts";

beforeEach(() => useEngine(plainEngine()));

const { gradients: given, cases } = fixture.clipping;
const gradients = given.map((values): Tensor => tensor(values as number[], "float64"));
const items = (scalars: readonly Tensor[]): Promise<number[]> =>
  Promise.all(scalars.map((scalar) => (scalar as Tensor<[]>).item()));

test.each(cases.map((each) => [each.by, each.limit, each] as const))(
  "by %s to %d is PyTorch's",
  async (by, limit, wanted) => {
    const { clipped, norms } = {
      value: () => ({ clipped: clipByValue(gradients, limit), norms: [] }),
      norm() {
        const result = clipByNorm(gradients, limit);
        return { clipped: result.gradients, norms: result.norms };
      },
      global() {
        const result = clipByGlobalNorm(gradients, limit);
        return { clipped: result.gradients, norms: [result.norm] };
      },
    }[by]() as { clipped: Tensor[]; norms: Tensor[] };
    (await items(norms)).forEach((norm, i) => expect(norm).toBeCloseTo(wanted.norms[i]!, 12));
    expect(norms).toHaveLength(wanted.norms.length);
    for (const [i, each] of clipped.entries())
      (await each.data()).forEach((value, k) => {
        const want = wanted.gradients[i]![k]!;
        expect(Math.abs(value - want), `gradient ${i}, ${k}`).toBeLessThanOrEqual(1e-6 * Math.abs(want));
      });
  },
);

test("what is clipped has exactly the norm that was asked for; what is shorter stays as it is", async () => {
  expect((await items([globalNorm(clipByGlobalNorm(gradients, 0.05).gradients)]))[0]).toBeCloseTo(0.05, 14);
  const [first] = clipByNorm(gradients, 100).gradients;
  expect(await first!.array()).toEqual(given[0]);
});

/** A parameter (3, 4) whose gradient is itself, beside one of gradient (0.5); what a step with the rate 1 takes from both. */
async function taken(options: Parameters<ReturnType<typeof sgd>["minimize"]>[1]): Promise<number[]> {
  const at = (...values: number[]): Parameter =>
    new Parameter({ shape: [values.length], dtype: "float64" }, Float64Array.from(values));
  const [x, y] = [at(3, 4), at(0.5)];
  const optimizer = sgd([x, y], { learningRate: 1 });
  const step = compile(() => {
    const half = (a: Parameter): Tensor => (a as Tensor).square().sum().mul(0.5);
    return optimizer.minimize(half(x).add(half(y)), options).norm;
  });
  // The norm that is reported is the one before any clipping.
  expect(await (step() as Tensor<[]>).item()).toBeCloseTo(Math.sqrt(25.25), 12);
  const [a, b] = (await x.data()) as Float64Array;
  return [3 - a!, 4 - b!, 0.5 - (await y.data())[0]!];
}

test.each([
  ["nothing", {}, [3, 4, 0.5]],
  ["values", { clipValue: 3.5 }, [3, 3.5, 0.5]],
  ["each norm", { clipEachNorm: 1 }, [0.6, 0.8, 0.5]],
  ["the global norm", { clipNorm: 1 }, [3, 4, 0.5].map((g) => g / Math.sqrt(25.25))],
  ["values, then the global norm", { clipValue: 3, clipNorm: 1 }, [3, 3, 0.5].map((g) => g / Math.sqrt(18.25))],
] as const)("minimize clips %s and reports the norm as it was", async (_, options, wanted) => {
  (await taken(options)).forEach((value, i) => expect(value).toBeCloseTo(wanted[i]!, 12));
});

test("gradients of 0 stay 0; limits that are none are refused", async () => {
  const none = [tensor([0, 0])] as Tensor[];
  expect(await clipByGlobalNorm(none, 1).gradients[0]!.array()).toEqual([0, 0]);
  expect(await clipByNorm(none, 1).gradients[0]!.array()).toEqual([0, 0]);
  expect(() => clipByValue(none, 0)).toThrow("clipByValue: the limit is 0");
  expect(() => clipByGlobalNorm(none, Number.NaN)).toThrow("clipByGlobalNorm: the limit is NaN");
  expect(() => clipByNorm(none, -1)).toThrow("clipByNorm: the limit is -1");
  expect(() => globalNorm([])).toThrow("globalNorm: there are no gradients");
});

const engines: [string, () => Engine][] = [
  ["plain", plainEngine],
  ["node", () => nodeEngine({ threads: 1 })],
  ["node without kernels", () => nodeEngine({ threads: 1, kernels: false })],
];

/** Limits from the smallest to those that no number reaches. */
const limits = [
  1e-300,
  1e-40,
  1e-30,
  0.3,
  1,
  5,
  1e4,
  1e20,
  8e37,
  9e37,
  1e38,
  3.4e38,
  1e39,
  1e300,
  Number.MAX_VALUE,
  Infinity,
];

describe.each(engines)("any limit on the %s engine", (_, makeEngine) => {
  test.each(["float32", "float64"] as const)("of gradients in %s", async (dtype) => {
    useEngine(makeEngine());
    const round = dtype === "float32" ? Math.fround : Number;
    for (const limit of limits)
      for (const values of [
        [3, 4],
        [0, 0],
        [3e30, 4e30],
        [1e38, 0],
      ]) {
        const g = tensor(values, dtype) as Tensor;
        const norm = round(Math.hypot(...values.map(round)));
        const wanted = Math.min(1, limit / norm);
        const results = {
          clipByGlobalNorm: clipByGlobalNorm([g], limit).gradients,
          clipByNorm: clipByNorm([g], limit).gradients,
        };
        for (const [name, [clipped]] of Object.entries(results))
          for (const [i, value] of (await clipped!.data()).entries()) {
            const call = `${name}([${values}], ${limit})`;
            // A factor below the smallest normal number may be flushed to 0.
            const lost = dtype === "float32" && wanted < 2 ** -125 ? 1 : 1e-6;
            expect(Math.abs(value - values[i]! * wanted), call).toBeLessThanOrEqual(lost * values[i]! * wanted);
            if (limit > 1e38) expect(value, call).toBe(round(values[i]!));
          }
        const [cut] = clipByValue([g], limit);
        for (const [i, value] of (await cut!.data()).entries())
          expect(Math.abs(value - Math.min(values[i]!, limit)), `clipByValue ${limit}`).toBeLessThanOrEqual(
            1e-6 * Math.min(values[i]!, limit) + (dtype === "float32" ? 2e-38 : 0),
          );
      }
  });
});

test("a limit near the gradients scales them with the same bits as 1 / max(norm, limit) · limit", async () => {
  useEngine(nodeEngine({ threads: 1 }));
  const g = tensor([0.3, -2.7, 11.1]) as Tensor;
  for (const limit of [0.05, 0.3, 1, 5, 7, 100, 1e4]) {
    const norm = g.norm();
    const [clipped] = clipByGlobalNorm([g], limit).gradients;
    expect(await clipped!.data(), `limit ${limit}`).toEqual(
      await g.mul(norm.maximum(limit).reciprocal().mul(limit)).data(),
    );
  }
});
