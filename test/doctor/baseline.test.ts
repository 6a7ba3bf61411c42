import { expect, test } from "vitest";
import { adam, check, crossEntropy, dataset, linear, relu, seed, sequential, type Tensor } from "../../src/node.ts";
import recipe from "../../src/recipes/digits.ts";
import { digits, type Images, plainSetup } from "./setups.ts";

test("with the digits the recipe is far better than without", async () => {
  const report = await check.baseline((await recipe.prepare()).setup);
  if (report.verdict === "skip") return expect.unreachable();
  expect(report.verdict).toBe("pass");
  expect(report.loss).toBeLessThan(0.4);
  // Without inputs there is the entropy of the labels, close to log 10.
  expect(report.baseline).toBeGreaterThan(2.25);
  expect(report.baseline).toBeLessThan(2.4);
  expect(report.losses).toHaveLength(200);
});

test("zeros in place of the inputs say the same", async () => {
  const report = await check.baseline(plainSetup({ learningRate: 0.01 }), { without: "zeros" });
  expect(report).toMatchObject({ verdict: "pass", without: "zeros" });
});

test("both trainings begin with the same weights and see the same targets", async () => {
  seed(1);
  const model = linear(784, 10);
  const train = digits.take([...Array(64).keys()]);
  const loss = (_: Tensor, y: Tensor): Tensor =>
    y.cast("float32").mean().add(model.bias.sum().mul(0)).add(model.weight.sum().mul(0));
  const report = await check.baseline({ model, loss, train }, { steps: 8 });
  if (report.verdict === "skip") return expect.unreachable();
  expect(report.losses).toEqual(report.baselineLosses);
});

test("a model that does not see its inputs fails", async () => {
  seed(1);
  const model = sequential(linear(784, 32), relu, linear(32, 10));
  const loss = (x: Images, y: Tensor<[number], "int32">): Tensor => crossEntropy(model(x.mul(0)), y);
  const steps: number[] = [];
  const report = await check.baseline({ model, loss, train: digits }, { onStep: (done) => steps.push(done) });
  expect(report.verdict).toBe("fail");
  expect(check.explain(report)).toContain("learns nothing from its inputs");
  expect(steps).toEqual(Array.from({ length: 400 }, (_, i) => i + 1));
});

test("a rate at which nothing is learnt fails too, and says why", async () => {
  const report = await check.baseline(plainSetup({ learningRate: 30 }));
  expect(report.verdict).toBe("fail");
  expect(check.explain(report)).toContain("the learning rate is too high");
});

test("one column holds both, so that there is nothing to take away", async () => {
  const model = linear(3, 3);
  const train = dataset({ shape: [4, 3], dtype: "float32", values: new Float32Array(12) });
  const report = await check.baseline({ model, loss: (x) => model(x).square().mean(), train, optimizer: adam(model) });
  expect(report.verdict).toBe("skip");
  expect(check.explain(report)).toMatchInlineSnapshot(
    `"– baseline: does not apply: the data have one column, inputs and targets in one"`,
  );
});

test("options out of range are refused", async () => {
  await expect(check.baseline(plainSetup(), { steps: 1 })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: baseline: steps is 1
      fix: give a whole number from 8 on]
  `);
  await expect(check.baseline(plainSetup(), { without: "noise" as never })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: baseline: without is noise
      fix: give "zeros" or "shuffled"]
  `);
});
