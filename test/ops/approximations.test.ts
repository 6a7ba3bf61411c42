/** The functions that kernels compute by themselves, against float64, in units in the last place of float32. */
import { describe, expect, test } from "vitest";
import { registry } from "../../src/graph/op.ts";
import { fromValues, nodeEngine, type Tensor, useEngine } from "../../src/node.ts";
import "../../src/ops/lowered/index.ts";
import { watched } from "../support/watched.ts";

type Name = "exp" | "erf" | "tanh" | "sigmoid" | "softplus" | "gelu";

/** What an op's own evaluation says, in float64. */
function exactly(name: Name, x: number): number {
  const input = { dtype: "float64", shape: [], values: Float64Array.of(x) } as const;
  const output = { dtype: "float64", shape: [], values: new Float64Array(1) } as const;
  registry.get(name)!.evaluate([input], [output], undefined);
  return output.values[0]!;
}

/** The function in a kernel, which takes two ops to be one. */
async function inKernel(name: Name, values: Float32Array): Promise<Float32Array> {
  const engine = watched(2);
  useEngine(engine);
  const x = fromValues(values, [values.length]) as Tensor<[number], "float32">;
  const result = await x[name]().neg().data();
  expect(engine.programs.at(-1)!.kernels).toHaveLength(1);
  return Float32Array.from(result, (y) => -y);
}

const smallestNormal = 2 ** -126;

/** The distance between neighbours among the float32 near a number. */
const spacing = (value: number): number => 2 ** (Math.floor(Math.log2(Math.max(Math.abs(value), smallestNormal))) - 23);

describe.runIf(nodeEngine().target.kernels !== undefined)("in kernels", () => {
  test.each([
    ["exp", 1.2, [1, 10, 87]],
    ["tanh", 2.7, [0.7, 2, 20]],
    ["sigmoid", 2.7, [1, 10, 87]],
    ["erf", 1.4, [0.5, 1.5, 5]],
    ["softplus", 4, [1, 10, 87]],
  ] as const)("%s is within %f units", async (name, units, ranges) => {
    for (const range of ranges) {
      const x = Float32Array.from({ length: 50_000 }, (_, i) => range * ((2 * i) / 50_000 - 1));
      const y = await inKernel(name, x);
      const errors = x.map((value, i) => {
        const wanted = exactly(name, value);
        return Math.abs(wanted) < smallestNormal ? 0 : Math.abs(y[i]! - wanted) / spacing(wanted);
      });
      expect(errors.reduce((a, b) => Math.max(a, b))).toBeLessThan(units);
    }
  });

  test("gelu is within float32's error of its factors", async () => {
    const x = Float32Array.from({ length: 50_000 }, (_, i) => i / 5000 - 5);
    const y = await inKernel("gelu", x);
    const errors = x.map((value, i) => Math.abs(y[i]! - exactly("gelu", value)) / Math.max(1, Math.abs(value)));
    expect(errors.reduce((a, b) => Math.max(a, b))).toBeLessThan(2e-7);
  });

  test("at the ends of the numbers", async () => {
    const ends = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 3e38, -3e38);
    const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
    expect([...(await inKernel("exp", ends))]).toEqual([nan, infinity, 0, 1, 1, infinity, 0]);
    expect([...(await inKernel("tanh", ends))]).toEqual([nan, 1, -1, 0, 0, 1, -1]);
    expect([...(await inKernel("sigmoid", ends))]).toEqual([nan, 1, 0, 0.5, 0.5, 1, 0]);
    expect([...(await inKernel("erf", ends))]).toEqual([nan, 1, -1, 0, -0, 1, -1]);
    const overflow = Float32Array.of(88.722, 88.723, -87.336, -87.34, 1e-30, -1e-30);
    const [below, above, smallest, gone, one, other] = await inKernel("exp", overflow);
    expect(below).toBeGreaterThan(3.38e38);
    expect([above, gone, one, other]).toEqual([infinity, 0, 1, 1]);
    expect(smallest! / smallestNormal).toBeCloseTo(1, 2);
  });
});
