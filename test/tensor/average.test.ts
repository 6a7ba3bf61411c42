/** The exponentially weighted average: in numbers, in tensors, and that everything which averages so uses it. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { beforeEach, expect, test } from "vitest";
import { plainEngine, type Tensor, tensor, useEngine } from "../../src/index.ts";
import { averaged, unbiased } from "../../src/tensor/average.ts";

beforeEach(() => useEngine(plainEngine()));

const values = [3, -1, 4, 1, -5, 9];
const beta = 0.8;

/** (1 − β)·Σ βᵗ⁻ᵏ·vₖ, term by term. */
const written = (t: number): number =>
  values.slice(0, t).reduce((sum, value, k) => sum + (1 - beta) * beta ** (t - 1 - k) * value, 0);

test("of numbers is the sum of its definition, and unbiased the mean with those weights", () => {
  let average = 0;
  values.forEach((value, i) => {
    average = averaged(average, value, beta);
    expect(average).toBeCloseTo(written(i + 1), 12);
    const weights = Array.from({ length: i + 1 }, (_, k) => beta ** (i - k));
    const mean = weights.reduce((sum, w, k) => sum + w * values[k]!, 0) / weights.reduce((a, b) => a + b);
    expect(unbiased(average, beta, i + 1)).toBeCloseTo(mean, 12);
  });
  expect(unbiased(averaged(0, 7, 0.999), 0.999, 1)).toBeCloseTo(7, 12);
});

test("of tensors is the same, element by element", async () => {
  let average: Tensor = tensor([0, 0], "float64");
  for (const value of values) average = averaged(average, tensor([value, -value], "float64") as Tensor, beta);
  const [a, b] = (await average.data()) as Float64Array;
  expect([a, -b!]).toEqual([expect.closeTo(written(6), 12), expect.closeTo(written(6), 12)]);
  const t = tensor(6, "float64") as Tensor;
  expect((await unbiased(average, beta, t).data())[0]).toBeCloseTo(unbiased(written(6), beta, 6), 12);
});

test("optimizers, batch normalisation and the smoothing of losses all use it, and nothing writes it out again", () => {
  const root = path.resolve(import.meta.dirname, "../../src");
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  const using = (pattern: RegExp): string[] =>
    files.filter((file) => pattern.test(readFileSync(path.join(root, file), "utf8"))).sort();
  const users = [
    "nn/layers/normalization.ts",
    "optim/adagrad.ts",
    "optim/adam.ts",
    "optim/lion.ts",
    "train/history.ts",
  ];
  expect(using(/\baveraged\(/)).toEqual(expect.arrayContaining(users.map((file) => path.normalize(file))));
  // β·old + (1 − β)·next in tensor methods or in numbers: where it is defined, and nowhere else.
  expect(using(/\.mul\((\w+)\)\.add\([^;]*\.mul\(1 - \1\)|\b(\w+) \* \(?\w+[^;]* \+ \(1 - \2\) \*/)).toEqual([
    path.normalize("tensor/average.ts"),
  ]);
});
