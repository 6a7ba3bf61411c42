import { describe, expect, test } from "vitest";
import {
  check,
  concat,
  crossEntropy,
  dataset,
  embedding,
  layerNorm,
  linear,
  module,
  relu,
  seed,
  sequential,
  type Tensor,
} from "../../src/node.ts";
import { PhiloxStream } from "../../src/random/stream.ts";
import recipe from "../../src/recipes/digits.ts";
import { digitsSetup, everythingSetup, type Images, plainSetup } from "./setups.ts";

/** A model with something between two layers. */
function through(change: (h: Tensor, training: boolean) => Tensor) {
  seed(1);
  const parts = { first: linear(784, 16), last: linear(16, 10) };
  const model: ReturnType<typeof make> = make();
  return digitsSetup(model);

  function make() {
    return module("Through", parts, (x: Images) =>
      parts.last(change(parts.first(x).relu(), model.training) as Tensor<[number, 16], "float32">),
    );
  }
}

const pairsOf = (report: Awaited<ReturnType<typeof check.mixing>>) => report.inEvaluation.mixed.length;

describe("over the digits", () => {
  test("the recipe keeps examples apart: exactly 0 outside of the diagonal", async () => {
    const report = await check.mixing((await recipe.prepare()).setup);
    expect(report).toMatchObject({ verdict: "pass", method: "gradient", batchNorms: [] });
    for (const [i, row] of report.asItIs.influence.entries())
      for (const [j, size] of row.entries()) i === j ? expect(size).toBeGreaterThan(0) : expect(size).toBe(0);
  });

  test("the derivatives are those of the outputs", async () => {
    // One output for each of two inputs, y = 3·x: a random weight times 3, alike for all examples but for the weight.
    const report = await check.mixing({ ...plainSetup(), output: (x) => x.mul(3) }, { examples: 2 });
    const [a, b] = report.asItIs.influence;
    expect(a![0]).toBeGreaterThan(3);
    expect(a![1]).toBe(0);
    expect(b![0]).toBe(0);
  });

  test("batch normalisation mixes in training, which is as it should be", async () => {
    const report = await check.mixing(everythingSetup());
    expect(report).toMatchObject({ verdict: "pass", batchNorms: ["norm"], inEvaluation: { mixed: [] } });
    expect(report.asItIs.mixed).toHaveLength(30);
    expect(check.explain(report)).toContain("batch normalisation does that by what it is: norm");
    const evaluated = everythingSetup();
    evaluated.model.eval();
    expect((await check.mixing(evaluated)).asItIs.mixed).toEqual([]);
  });

  test("layer normalisation does not", async () => {
    seed(1);
    const model = sequential(linear(784, 16), layerNorm(16), relu, linear(16, 10));
    expect(await check.mixing(digitsSetup(model))).toMatchObject({ verdict: "pass", asItIs: { mixed: [] } });
  });

  test.each<[string, (h: Tensor) => Tensor, number]>([
    ["a mean over the batch", (h) => h.sub(h.mean(0, { keepDims: true })), 30],
    ["a softmax over the batch", (h) => h.softmax(0), 30],
    ["the neighbour's features", (h) => h.add(h.roll(1, 0)), 6],
    ["a reshape in place of a transpose", (h) => h.reshape([16, 6]).mT(), 30],
    ["a sum that goes on", (h) => h.cumsum(0), 15],
  ])("%s is found out", async (_, change, pairs) => {
    const report = await check.mixing(through(change));
    expect(report.verdict).toBe("fail");
    if (pairs < 30) expect(pairsOf(report)).toBe(pairs);
    else expect(pairsOf(report)).toBeGreaterThan(5);
  });

  test("mixing in training without batch normalisation is a warning", async () => {
    const setup = through((h, training) => (training ? h.add(h.mean(0, { keepDims: true })) : h));
    const report = await check.mixing(setup);
    expect(report).toMatchObject({ verdict: "warn", inEvaluation: { mixed: [] } });
    expect(setup.model.training).toBe(true);
  });

  test("probabilities, whose sum is always 1, hide nothing", async () => {
    const setup = through((h) => h.add(h.roll(1, 0)));
    const model = setup.model as unknown as (x: Images) => Tensor;
    expect(pairsOf(await check.mixing({ ...setup, output: (x) => model(x).softmax(-1) }))).toBe(6);
  });

  test("an output that looks at nothing fails", async () => {
    const report = await check.mixing(through((h) => h.mul(0)));
    expect(report.verdict).toBe("fail");
    expect(check.explain(report)).toContain("does not depend on its inputs");
  });

  test("derivatives that are no numbers are an error, not a verdict", async () => {
    await expect(check.mixing(through((h) => h.sub(1e9).sqrt()))).rejects.toThrowErrorMatchingInlineSnapshot(`
      [DataError: mixing: the influence of input 0 on output 0 is NaN
        fix: find out first where it comes from: check the data and the initial loss]
    `);
  });
});

describe("over sequences of ids", () => {
  const random = new PhiloxStream(1);
  const values = Int32Array.from({ length: 200 }, () => random.next() % 20);
  const train = dataset({ shape: [40, 5], dtype: "int32", values });
  const build = (change: (h: Tensor) => Tensor) => {
    seed(1);
    const parts = { table: embedding(20, 8), out: linear(8, 20) };
    const model = module("Bigram", parts, (x: Tensor<[number, 5], "int32">) =>
      parts.out(change(parts.table(x) as Tensor) as Tensor<[number, 5, 8], "float32">),
    );
    return { model, train, loss: (x: Tensor<[number, 5], "int32">) => crossEntropy(model(x), x) };
  };

  test("examples are replaced one by one", async () => {
    expect(await check.mixing(build((h) => h))).toMatchObject({ verdict: "pass", method: "replacement" });
    const report = await check.mixing(
      build((h) =>
        concat([
          h.slice([0, 1]),
          h
            .slice([1])
            .mul(2)
            .sub(h.slice([0, -1])),
        ]),
      ),
    );
    expect(report.verdict).toBe("fail");
    expect(report.inEvaluation.mixed).toEqual([1, 2, 3, 4, 5].map((output) => ({ output, input: output - 1 })));
  });

  test("dropout draws the same mask for both", async () => {
    seed(1);
    const normed = build((h) => h);
    expect((await check.mixing(normed)).asItIs.mixed).toEqual([]);
  });
});

test("what cannot be looked at is refused", async () => {
  const setup = plainSetup();
  const few = { ...setup, train: setup.train.take([0, 1, 2]) };
  await expect(check.mixing(few)).rejects.toThrow("fix: give 4 training examples at least");
  await expect(check.mixing(setup, { examples: 1 })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: mixing: examples is 1
      fix: give a whole number from 2 on]
  `);
  await expect(check.mixing(setup, { examples: 5000 })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: mixing: 5000 examples and as many to replace them, of 8000
      fix: set examples to 4000 or less]
  `);
  await expect(check.mixing({ ...setup, output: (x) => x.mT() })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ShapeError: mixing: the output for 6 examples is float32[784, 6]
      fix: give the setup a function \`output\` whose result has the examples along axis 0]
  `);
  await expect(check.mixing({ ...setup, output: () => 3 as never })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: mixing: the output is the number 3
      fix: give the setup a function \`output\` that returns a tensor [examples, …]]
  `);
});
