import { expect, test } from "vitest";
import { check, crossEntropy, linear, relu, seed, sequential, sgd } from "../../src/node.ts";
import recipe from "../../src/recipes/digits.ts";
import { digits, everythingSetup, type Images, plainSetup } from "./setups.ts";

test("the recipe learns eight digits by heart, and stops when it has", async () => {
  const steps: [number, number][] = [];
  const report = await check.overfit((await recipe.prepare()).setup, {
    onStep: (done, most) => steps.push([done, most]),
  });
  expect(report).toMatchObject({ verdict: "pass", examples: 8, learningRate: 0.002 });
  expect(report.losses.length).toBeLessThan(50);
  expect(report.losses.at(-1)).toBeLessThanOrEqual(report.target);
  expect(report.losses.at(-2)).toBeGreaterThan(report.target);
  expect(report.target).toBe(0.01 * report.losses[0]!);
  expect(steps).toEqual(report.losses.map((_, i) => [i + 1, 500]));
});

test("batch normalisation and dropout do not keep it from doing so", async () => {
  const report = await check.overfit(everythingSetup());
  expect(report.verdict).toBe("pass");
});

test("the same seed takes the same examples, another seed others", async () => {
  const losses = async (seed: number): Promise<readonly number[]> =>
    (await check.overfit(plainSetup(), { seed, steps: 3 })).losses;
  expect(await losses(0)).toEqual(await losses(0));
  expect(await losses(1)).not.toEqual(await losses(0));
});

test.each([
  ["a rate that is far too high", { learningRate: 30 }, (x: Images) => x, "the learning rate is too high"],
  ["a rate that is far too low", { learningRate: 1e-9 }, (x: Images) => x, "the loss does not fall"],
  ["inputs that do not arrive", { learningRate: 0.01 }, (x: Images) => x.mul(0), "it falls and gets stuck"],
])("%s", async (_, { learningRate }, through, why) => {
  seed(1);
  const model = sequential(linear(784, 32), relu, linear(32, 10));
  const setup = {
    model,
    loss: (x: never, y: never) => crossEntropy(model(through(x)), y),
    train: digits,
    optimizer: sgd(model, { learningRate }),
  };
  const report = await check.overfit(setup, { steps: 200 });
  expect(report.verdict).toBe("fail");
  expect(check.explain(report)).toContain(why);
});

test("a loss that breaks down ends the check at once", async () => {
  const setup = plainSetup();
  const model = setup.model as ReturnType<typeof linear<784, 10>>;
  const report = await check.overfit({ ...setup, loss: (x, y) => crossEntropy(model(x), y).sub(1e9).log() });
  expect(report.losses).toEqual([Number.NaN]);
  expect(report.verdict).toBe("fail");
  expect(check.explain(report)).toContain("the loss became NaN");
});

test("what is frozen cannot learn, and the error says so", async () => {
  const setup = plainSetup();
  setup.model.freeze();
  await expect(check.overfit(setup)).rejects.toThrowErrorMatchingInlineSnapshot(`
    [GraphError: adam: all parameters are frozen
      fix: call unfreeze() on what should learn]
  `);
  await expect(check.overfit(setup, { share: 2 })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: overfit: the share is 2
      fix: give a number from 0 to 1]
  `);
});
