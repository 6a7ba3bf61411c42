/** Whatever a check does, the setup is as it was: values, versions, modes, rate, generators. */
import { describe, expect, test } from "vitest";
import type { OnStep } from "../../src/doctor/report.ts";
import { check, compile, defaultGenerator, loader, type State, type Tensor } from "../../src/node.ts";
import type { TrainingSetup } from "../../src/train/setup.ts";
import { everythingSetup, type Images, type Labels } from "./setups.ts";

type Setup = ReturnType<typeof everythingSetup>;

const checks = {
  "initial-loss": (setup: Setup) => check.initialLoss(setup),
  gradients: (setup: Setup) => check.gradients(setup, { elements: 2 }),
  mixing: (setup: Setup) => check.mixing(setup),
  overfit: (setup: Setup) => check.overfit(setup, { steps: 20 }),
  baseline: (setup: Setup) => check.baseline(setup, { steps: 20 }),
  "learning-rate": (setup: Setup) => check.learningRate(setup),
};

async function pictureOf({ model, optimizer }: Setup): Promise<unknown> {
  const states: State[] = [...model.states(), ...optimizer!.states(), defaultGenerator.state as State];
  const modes = Object.entries(model.children).map(([name, child]) => [name, "training" in child && child.training]);
  return {
    values: await Promise.all(states.map((state) => state.data())),
    versions: states.map(({ version }) => version),
    trainable: model.parameters().map(({ trainable }) => trainable),
    rate: optimizer!.learningRate,
    modes: [["", model.training], ...modes],
  };
}

/** A setup in the middle of things: one layer frozen, one in evaluation, moments that are not 0. */
async function inUse(): Promise<Setup> {
  const setup = everythingSetup();
  await trained(setup)();
  const { first, norm } = setup.model.children as unknown as Record<string, TrainingSetup["model"]>;
  first!.freeze();
  norm!.eval();
  return setup;
}

function trained(setup: Setup): () => Promise<number> {
  const [batch] = loader(setup.train, { batchSize: 64 });
  const run = compile((x: Images, y: Labels) => {
    const loss = setup.loss(x, y);
    setup.optimizer!.minimize(loss);
    return loss;
  });
  return () => run(...batch!).item();
}

describe.each(Object.entries(checks))("%s", (name, make) => {
  test("leaves everything as it was, and training goes on as if nothing had been", async () => {
    const undisturbed = trained(await inUse());
    const expected = [await undisturbed(), await undisturbed()];

    const setup = await inUse();
    const before = await pictureOf(setup);
    expect(await make(setup)).toMatchObject({ check: name });
    expect(await pictureOf(setup)).toEqual(before);
    const step = trained(setup);
    expect([await step(), await step()]).toEqual(expected);
  });

  test("also when the setup's functions throw", async () => {
    const setup = await inUse();
    const before = await pictureOf(setup);
    const broken: Setup = {
      ...setup,
      loss: (x, y) => {
        setup.loss(x, y);
        throw new Error("broken");
      },
      output: (x) => {
        (setup.model as unknown as (x: Images) => Tensor)(x);
        throw new Error("broken");
      },
    };
    await expect(make(broken)).rejects.toThrow("broken");
    expect(await pictureOf(setup)).toEqual(before);
  });
});

test.each([
  ["overfit", (setup: Setup, onStep: OnStep) => check.overfit(setup, { onStep, share: 1e-6 })],
  ["baseline", (setup: Setup, onStep: OnStep) => check.baseline(setup, { onStep })],
  ["learning-rate", (setup: Setup, onStep: OnStep) => check.learningRate(setup, { onStep })],
  ["gradients", (setup: Setup, onStep: OnStep) => check.gradients(setup, { onStep })],
])("%s: also when it ends in the middle", async (_, make) => {
  const setup = await inUse();
  const before = await pictureOf(setup);
  const onStep = (done: number): void => {
    if (done === 3) throw new Error("enough");
  };
  await expect(make(setup, onStep)).rejects.toThrow("enough");
  expect(await pictureOf(setup)).toEqual(before);
});

test("expressions that were built before a check are not stale after it", async () => {
  const setup = await inUse();
  const doubled = setup.model.parameters().at(-1)!.mul(2);
  await check.overfit(setup, { steps: 5 });
  const [value] = await doubled.data();
  expect(value).toBe(2 * (await setup.model.parameters().at(-1)!.data())[0]!);
});
