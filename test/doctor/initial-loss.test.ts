import { describe, expect, test } from "vitest";
import { check, crossEntropy, init, linear, meanSquaredError, relu, seed, sequential } from "../../src/node.ts";
import recipe from "../../src/recipes/digits.ts";
import { digits, digitsSetup, plainSetup, table } from "./setups.ts";

describe("over the digits", () => {
  test("the recipe begins near log 10", async () => {
    const report = await check.initialLoss((await recipe.prepare()).setup);
    expect(report).toMatchObject({ verdict: "pass", classes: 10, expected: Math.log(10), batchSize: 64 });
    expect(report.ratio).toBeCloseTo(1, 0);
    expect(report.observed / report.expected!).toBe(report.ratio);
  });

  test("a model whose outputs are all 0 has exactly log 10, and no deviation", async () => {
    const report = await check.initialLoss(digitsSetup(linear(784, 10, { weight: init.zeros, bias: init.zeros })));
    expect(report.observed).toBeCloseTo(Math.log(10), 6);
    expect(report.outputDeviation).toBe(0);
  });

  test("an output layer that is too large is found out, and named", async () => {
    seed(2);
    const model = sequential(linear(784, 32), relu, linear(32, 10, { weight: init.normal(5) }));
    const report = await check.initialLoss(digitsSetup(model));
    expect(report.verdict).toBe("fail");
    expect(report.outputDeviation).toBeGreaterThan(2);
    expect(check.explain(report)).toContain("its output layer is too large");
  });

  test("a sum in place of a mean is told from it", async () => {
    const setup = plainSetup();
    const model = setup.model as ReturnType<typeof linear<784, 10>>;
    const report = await check.initialLoss({
      ...setup,
      loss: (x, y) => crossEntropy(model(x), y, { reduction: "sum" }),
    });
    expect(report).toMatchObject({ verdict: "fail" });
    expect(check.explain(report)).toContain("about 64 times too large");
  });

  test("a model that knows already is too good", async () => {
    const setup = plainSetup();
    const model = setup.model as ReturnType<typeof linear<784, 10>>;
    const report = await check.initialLoss({ ...setup, loss: (x, y) => crossEntropy(model(x), y).mul(0.3) });
    expect(report.verdict).toBe("fail");
    expect(check.explain(report)).toContain("has this one been trained");
  });

  test("a loss that is no number fails, whatever it should be", async () => {
    const setup = plainSetup();
    const report = await check.initialLoss({ ...setup, loss: (x) => x.sum().mul(0).sub(1).log() });
    expect(report).toMatchObject({ verdict: "fail", observed: Number.NaN });
    expect(check.explain(report)).toContain("before anything has been learnt");
  });

  test("fewer examples than a batch will do", async () => {
    const setup = { ...plainSetup(), train: digits.take([0, 1, 2]) };
    expect(await check.initialLoss(setup, { examples: 1 })).toMatchObject({ batchSize: 3, classes: 10 });
  });
});

test("real targets: nothing is known, unless it is said", async () => {
  const model = linear(2, 1);
  const setup = {
    model,
    loss: (x: never, y: never) => meanSquaredError(model(x).reshape([-1]), y),
    train: table(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      [1, 2, 3],
      "float32",
    ),
  };
  const report = await check.initialLoss(setup);
  expect(report.verdict).toBe("skip");
  expect(report).not.toHaveProperty("expected");
  expect(check.explain(report)).toContain("what it should be is not known");
  const { observed } = report;
  expect(await check.initialLoss(setup, { expected: observed / 2.5 })).toMatchObject({ verdict: "fail" });
  expect(await check.initialLoss(setup, { expected: observed / 1.8 })).toMatchObject({ verdict: "warn" });
  expect(await check.initialLoss(setup, { expected: observed / 1.2 })).toMatchObject({ verdict: "pass" });
  expect(await check.initialLoss({ ...setup, classes: 2 })).toMatchObject({ expected: Math.LN2 });
});

test("one output for two classes is half of a pair", async () => {
  const model = linear(2, 1);
  const train = table(
    [
      [1, 2],
      [3, 4],
    ],
    [0, 1],
    "int32",
  );
  const loss = (x: never): never => model(x).sigmoid().log().mean().neg() as never;
  expect(await check.initialLoss({ model, loss, train })).toMatchObject({ classes: 2, expected: Math.LN2 });
});

test("options out of range are refused", async () => {
  await expect(check.initialLoss(plainSetup(), { expected: 0 })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: initial-loss: the expected loss is 0
      fix: give a number above 0]
  `);
  await expect(check.initialLoss(plainSetup(), { examples: 1.5 })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: initial-loss: examples is 1.5
      fix: give a whole number from 1 on]
  `);
});
