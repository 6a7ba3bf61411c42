/** Clipping against PyTorch's, whose norms have 1e-6 added before it divides by them. */
import { beforeEach, expect, test } from "vitest";
import {
  clipByGlobalNorm,
  clipByNorm,
  clipByValue,
  compile,
  globalNorm,
  plainEngine,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
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
  expect(() => clipByGlobalNorm(none, Infinity)).toThrow("clipByGlobalNorm: the limit is Infinity");
  expect(() => clipByNorm(none, -1)).toThrow("clipByNorm: the limit is -1");
  expect(() => globalNorm([])).toThrow("globalNorm: there are no gradients");
});
