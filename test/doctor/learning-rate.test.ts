import { describe, expect, test } from "vitest";
import { adam, check, dataset, type EvaluationReport, fit, module, sgd, type Tensor } from "../../src/node.ts";
import recipe from "../../src/recipes/digits.ts";
import { Parameter } from "../../src/tensor/state.ts";
import { plainSetup } from "./setups.ts";

/** ½·λ·Σθ²: descent of the whole gradient shrinks θ for rates below 2/λ, fastest at 1/λ, and lets it grow above. */
function bowl(curvature: number) {
  const theta = new Parameter({ shape: [4], dtype: "float64" }, Float64Array.of(1, -2, 3, 0.5));
  const model = module("Bowl", { theta }, () => theta);
  const loss = (): Tensor =>
    theta
      .square()
      .sum()
      .mul(curvature / 2);
  const train = dataset({ shape: [8, 1], dtype: "float32", values: new Float32Array(8) });
  return { model, loss, train };
}

describe.each([0.5, 20, 800])("in a bowl of curvature %d", (curvature) => {
  test("descent breaks down at 2/λ, and the suggestion is below 1/λ", async () => {
    const setup = bowl(curvature);
    const optimizer = sgd(setup.model, { learningRate: 0.1 / curvature });
    const from = 1e-4 / curvature;
    const report = await check.learningRate({ ...setup, optimizer }, { from, to: 100 / curvature, smoothing: 0 });
    expect(report.divergedAt).toBeGreaterThan(2 / curvature);
    expect(report.divergedAt).toBeLessThan(5 / curvature);
    const factor = report.points[1]!.rate / report.points[0]!.rate; //  a loss is that of the rates before
    expect(report.lowest).toBeLessThanOrEqual((2 / curvature) * factor);
    expect(report.suggestion).toBeLessThan(1 / curvature);
    expect(report.suggestion).toBeGreaterThan(0.001 / curvature);
    expect(report.verdict).toBe("pass");
    expect(report.points.at(-1)!.rate).toBe(report.divergedAt);
  });
});

describe("over the digits", () => {
  test("the recipe's rate is in order; what is suggested trains, a hundredth and twice the breakdown do not", async () => {
    const setup = (await recipe.prepare()).setup;
    const report = await check.learningRate(setup);
    expect(report).toMatchObject({ verdict: "pass", own: 0.002 });
    expect(setup.optimizer!.learningRate).toBe(0.002);
    const { suggestion, steepest, lowest, divergedAt } = report;
    expect(suggestion).toBe(Math.min(steepest!, lowest! / 10));
    expect(divergedAt).toBeGreaterThan(lowest!);

    const trainedWith = async (learningRate: number): Promise<EvaluationReport> => {
      const prepared = await recipe.prepare({ epochs: 1, learningRate });
      return (await fit(prepared.setup, prepared.options)).evaluations[0]!;
    };
    const { loss, metrics } = await trainedWith(suggestion!);
    expect(metrics.accuracy).toBeGreaterThan(0.8);
    for (const rate of [suggestion! / 100, Math.min(10, 2 * divergedAt!)])
      expect((await trainedWith(rate)).loss).toBeGreaterThan(loss);
  });

  test("rates rise by equal factors from one end to the other, and losses are smoothed without bias", async () => {
    const report = await check.learningRate(plainSetup(), { from: 1e-5, to: 1e-3, steps: 21, smoothing: 0.8 });
    expect(report.points).toHaveLength(21);
    expect(report.points.map(({ rate }) => Math.log10(rate)).map((x) => x.toFixed(3))).toEqual(
      Array.from({ length: 21 }, (_, i) => (-5 + i / 10).toFixed(3)),
    );
    const losses = report.points.map(({ loss }) => loss);
    const weights = losses.map((_, i) => 0.8 ** (20 - i));
    const mean = losses.reduce((sum, loss, i) => sum + loss * weights[i]!, 0) / weights.reduce((a, b) => a + b, 0);
    expect(report.points[20]!.smoothed).toBeCloseTo(mean, 10);
    expect(report.points[0]!.smoothed).toBeCloseTo(losses[0]!, 12);
    expect(report).not.toHaveProperty("divergedAt");
  });

  test.each([
    [3, "fail", "where the training breaks down"],
    [0.06, "warn", "where the loss rises again"],
    [1e-7, "warn", "far below"],
  ])("a rate of %d: %s", async (learningRate, verdict, why) => {
    const report = await check.learningRate(plainSetup({ learningRate }));
    expect(report).toMatchObject({ verdict, own: learningRate });
    expect(check.explain(report)).toContain(why);
  });
});

test("a loss that falls at no rate has no suggestion", async () => {
  const { model, train } = bowl(1);
  const loss = (): Tensor => model.theta.sum().mul(0).add(1);
  const report = await check.learningRate({ model, train, loss });
  expect(report.verdict).toBe("fail");
  expect(report).not.toHaveProperty("suggestion");
  expect(check.explain(report)).toContain("the loss fell at no rate from 1e-7 to 10");
});

test("a loss that is NaN from the start is told apart", async () => {
  const { model, train } = bowl(1);
  const report = await check.learningRate({ model, train, loss: () => model.theta.sum().mul(Number.NaN) });
  expect(report).toMatchObject({ verdict: "fail", points: [{ loss: Number.NaN }] });
  expect(check.explain(report)).toContain("look for NaN in the data");
});

test("a loss below 0 has broken down when it is back above its beginning", async () => {
  const { model, train } = bowl(20);
  const loss = (): Tensor => model.theta.square().sum().mul(10).sub(1000);
  const optimizer = sgd(model, { learningRate: 0.01 });
  const report = await check.learningRate({ model, train, loss, optimizer }, { smoothing: 0 });
  expect(report.divergedAt).toBeGreaterThan(0.1);
  expect(report.points.at(-1)!.smoothed).toBeGreaterThan(report.points[0]!.smoothed);
});

test("a schedule of groups goes with the common rate", async () => {
  const setup = bowl(20);
  const optimizer = adam([{ parameters: setup.model, rateFactor: 0.5 }]);
  expect(await check.learningRate({ ...setup, optimizer })).toMatchObject({ own: 0.001 });
});

test("options out of range are refused", async () => {
  const sentence = (options: Parameters<typeof check.learningRate>[1]): Promise<string> =>
    check.learningRate(plainSetup(), options).then(() => "nothing", String);
  expect(await sentence({ from: 1, to: 0.1 })).toMatchInlineSnapshot(`
    "ConfigError: learning-rate: from 1 to 0.1
      fix: give two numbers above 0, the lower first"
  `);
  expect(await sentence({ from: 0 })).toContain("from 0 to 10");
  expect(await sentence({ steps: 5 })).toMatchInlineSnapshot(`
    "ConfigError: learning-rate: steps is 5
      fix: give a whole number from 20 on"
  `);
  expect(await sentence({ smoothing: 1 })).toMatchInlineSnapshot(`
    "ConfigError: learning-rate: the smoothing is 1
      fix: give a number from 0 to below 1"
  `);
  expect(await sentence({ seed: -1 })).toMatchInlineSnapshot(`
    "ConfigError: loader: the seed is -1
      fix: give a whole number from 0 to 2^53 − 1"
  `);
});
