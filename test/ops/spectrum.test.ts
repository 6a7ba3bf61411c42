/** Singular values against NumPy's, and what is no matrix with singular values. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  compile,
  fromValues,
  gradients,
  ones,
  plainEngine,
  singularValues,
  type Tensor,
  tensor,
  useEngine,
  zeros,
} from "../../src/index.ts";
import { Parameter } from "../../src/tensor/state.ts";

type Matrix = Tensor<[number, number]>;

interface Case {
  readonly recipe: keyof typeof recipes;
  readonly arguments: readonly number[];
  readonly shape: readonly [number, number];
  readonly values: readonly number[];
}

// The recipes of fixtures/generate_singular_values.py.
function random(rows: number, columns: number, seed: number): number[] {
  let state = seed;
  return Array.from({ length: rows * columns }, () => {
    state = (state * 16807) % 2147483647;
    return (state >> 11) / 2 ** 19 - 1;
  });
}

function lowRank(rows: number, columns: number, rank: number): number[] {
  const [left, right] = [random(rows, rank, 5), random(rank, columns, 6)].map((values) =>
    values.map((value) => roundToEven(4 * value)),
  ) as [number[], number[]];
  return Array.from({ length: rows * columns }, (_, at) => {
    const [i, j] = [Math.floor(at / columns), at % columns];
    return Array.from({ length: rank }, (_, k) => left[i * rank + k]! * right[k * columns + j]!).reduce(
      (a, b) => a + b,
    );
  });
}

const roundToEven = (value: number): number =>
  Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);

function repeated(size: number): number[] {
  const hadamard = [
    [1, 1, 1, 1],
    [1, -1, 1, -1],
    [1, 1, -1, -1],
    [1, -1, -1, 1],
  ];
  return hadamard.flatMap((row) =>
    Array.from({ length: size }, (_, i) =>
      row.flatMap((sign) => Array.from({ length: size }, (_, j) => (i === j ? sign * (j + 1) : 0))),
    ).flat(),
  );
}

const graded = (rows: number, columns: number): number[] =>
  random(rows, columns, 7).map((value, at) => value * 2 ** -(at % columns));

const recipes = { random, lowRank, repeated, graded };

const file = path.join(import.meta.dirname, "../fixtures/singular-values.json");
const { cases } = JSON.parse(readFileSync(file, "utf8")) as { readonly cases: readonly Case[] };

const matrixOf = ({ recipe, arguments: given, shape }: Case, dtype: "float32" | "float64"): Matrix => {
  const make = recipes[recipe] as (...sizes: readonly number[]) => number[];
  const values = make(...given);
  return fromValues(dtype === "float32" ? Float32Array.from(values) : Float64Array.from(values), shape) as Matrix;
};

const engine = nodeEngine({ threads: 1 });
beforeEach(() => useEngine(engine));

describe("singular values are NumPy's", () => {
  test.each(cases.map((each) => [each.recipe, each.arguments.join(", "), each] as const))(
    "%s(%s)",
    async (recipe, _, each) => {
      const largest = each.values[0]!;
      for (const [dtype, precision] of [
        ["float64", 2 ** -52],
        ["float32", 2 ** -23],
      ] as const) {
        const have = (await singularValues(matrixOf(each, dtype)).data()) as Float64Array;
        expect(have).toHaveLength(each.values.length);
        each.values.forEach((want, i) => {
          const error = Math.abs(have[i]! - want);
          expect(error / largest, `${dtype}, value ${i}: ${have[i]} against ${want}`).toBeLessThan(16 * precision);
          if (recipe === "random" && dtype === "float64") expect(error / want).toBeLessThan(1e-10);
        });
        expect([...have].every((value, i) => value >= 0 && !(value > have[i - 1]! * (1 + 4 * precision)))).toBe(true);
      }
    },
  );
});

describe("singular values", () => {
  test("of zeros are zeros, of a matrix without elements there are none", async () => {
    expect(await singularValues(zeros([3, 2])).array()).toEqual([0, 0]);
    expect(await singularValues(zeros([3, 0])).array()).toEqual([]);
  });

  test("of ones: one, and otherwise nothing", async () => {
    const [first, ...others] = (await singularValues(ones([10, 46])).data()) as Float32Array;
    expect(first).toBeCloseTo(Math.sqrt(460), 5);
    expect(Math.max(...others)).toBeLessThan(1e-5);
  });

  test("scale with the matrix, to the ends of the dtype's range", async () => {
    const x = fromValues(Float32Array.from(random(6, 4, 1)), [6, 4]);
    const values = (await singularValues(x).data()) as Float32Array;
    for (const factor of [2 ** 100, 2 ** -100])
      expect(await singularValues(x.mul(factor)).data()).toEqual(values.map((value) => value * factor));
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])("of a matrix with %d are all NaN", async (bad) => {
    const x = tensor([
      [1, 2],
      [3, 4],
      [5, bad],
    ]);
    expect(await singularValues(x).array()).toEqual([Number.NaN, Number.NaN]);
  });

  test("are the same on the plain engine, in a compiled function, and of the transpose", async () => {
    const x = fromValues(Float64Array.from(random(9, 5, 2)), [9, 5]);
    const values = (await compile((m: typeof x) => singularValues(m))(x).array()) as number[];
    const transposed = (await singularValues(x.mT()).array()) as number[];
    useEngine(plainEngine());
    const plain = (await singularValues(x.mul(1) as typeof x).array()) as number[];
    values.forEach((value, i) => {
      expect(transposed[i]).toBeCloseTo(value, 13);
      expect(plain[i]).toBeCloseTo(value, 13);
    });
  });

  test("of what is no matrix are refused", () => {
    expect(() => singularValues(zeros([2, 3, 4]) as unknown as Matrix)).toThrowErrorMatchingInlineSnapshot(`
      [ShapeError: singularValues: float32[2, 3, 4] is no matrix
        fix: reshape it to [rows, columns]; a convolution's weight to [outputs, everything else]]
    `);
    expect(() => singularValues(zeros([2, 3], "int32"))).toThrowErrorMatchingInlineSnapshot(`
      [DTypeError: singularValues: takes float32 or float64, and got int32[2, 3]
        fix: cast it: .cast("float32")]
    `);
  });

  test("have no gradient, and say so", () => {
    const w = new Parameter({ shape: [3, 2], dtype: "float32" }, Float32Array.from(random(3, 2, 1)));
    const loss = singularValues(w).sum();
    expect(() => gradients(loss, [w])).toThrowErrorMatchingInlineSnapshot(`
      [GraphError: singularValues: has no gradient, and the loss depends on a parameter through it
        fix: stop the gradient before it with .detach(), or choose a differentiable op]
    `);
  });
});
