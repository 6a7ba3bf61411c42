/** A training with an average of the weights: what is judged and used is the average, what is trained goes on bit for bit. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import {
  adam,
  ConfigError,
  compile,
  crossEntropy,
  decodeWeights,
  dropout,
  ema,
  encodeWeights,
  fit,
  linear,
  loader,
  metric,
  nodeEngine,
  type RunOptions,
  randomGenerator,
  relu,
  seed,
  sequential,
  type Tensor,
  useEngine,
  validate,
} from "../../../src/node.ts";
import { points } from "./setup.ts";

const scratch = mkdtempSync(path.join(tmpdir(), "glissade-average-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
beforeEach(() => useEngine(nodeEngine({ threads: 1 })));

type X = Tensor<[number, 2], "float32">;
type Y = Tensor<[number], "int32">;

function makeSetup() {
  seed(5);
  const model = sequential(linear(2, 16), relu, dropout(0.1), linear(16, 2));
  return {
    model,
    loss: (x: X, y: Y) => crossEntropy(model(x), y),
    train: points(60),
    validation: points(23),
    optimizer: adam(model, { learningRate: 0.02 }),
    average: ema(model, { decay: 0.9, warmUp: true }),
    batchSize: 8,
    metrics: [metric.accuracy()],
  };
}

test("evaluations and the finished model are those of a loop by hand, bit for bit", async () => {
  const byHand = makeSetup();
  const { model, average } = byHand;
  const step = compile((x: X, y: Y) => {
    const loss = byHand.loss(x, y);
    byHand.optimizer.minimize(loss);
    average.update();
    return loss;
  });
  const batches = loader(byHand.train, { batchSize: 8, shuffle: true });
  const judged: number[] = [];
  for (let epoch = 0; epoch < 3; epoch++) {
    for (const [x, y] of batches) await step(x, y);
    judged.push(await average.withAverages(async () => (await validate(byHand)).loss));
  }
  const setup = makeSetup();
  const { evaluations } = await fit(setup, { epochs: 3 });
  expect(evaluations.map(({ loss }) => loss)).toEqual(judged);
  const trained = await encodeWeights(model);
  average.swap();
  expect(await encodeWeights(setup.model)).toEqual(await encodeWeights(model));
  expect(trained).not.toEqual(await encodeWeights(model));
  expect((await validate(setup)).loss).toBe(judged.at(-1));
});

/** Trains in a run folder and returns the weights that the model has then. */
async function run(name: string, options: RunOptions): Promise<Uint8Array> {
  const setup = makeSetup();
  await fit(setup, { outputDir: path.join(scratch, name), epochs: 3, saveSteps: 1, saveTotalLimit: 40, ...options });
  return encodeWeights(setup.model);
}

describe("in a run folder", () => {
  test("stopped and resumed at any step, it ends with the same bits; checkpoints hold the averages as the model", async () => {
    const whole = await run("whole", {});
    for (const stop of [1, 5, 8, 9, 17, 23]) {
      const folder = `stopped-${stop}`;
      await run(folder, { maxSteps: stop });
      const file = (name: string): Uint8Array =>
        readFileSync(path.join(scratch, name, `checkpoints/step-${stop}/model.safetensors`));
      expect(file(folder)).toEqual(file("whole"));
      expect(await run(folder, { resumeFromCheckpoint: true })).toEqual(whole);
    }
    const setup = makeSetup();
    decodeWeights(setup.model, readFileSync(path.join(scratch, "whole/checkpoints/step-24/model.safetensors")));
    expect(await encodeWeights(setup.model)).toEqual(whole);
  });

  test("the best model is an average too, from the folder and from memory", async () => {
    const options = { loadBestModelAtEnd: true, evalSteps: 3, metricForBestModel: "loss" };
    const [kept, setup] = [await run("best", options), makeSetup()];
    const { best } = await fit(setup, { epochs: 3, ...options });
    expect(await encodeWeights(setup.model)).toEqual(kept);
    expect((await validate(setup)).loss).toBe(best!.loss);
  });
});

test("with accumulated gradients the average follows each step, not each batch", async () => {
  const [one, several] = [makeSetup(), makeSetup()];
  await fit({ ...one, batchSize: 60 }, { epochs: 4 });
  await fit({ ...several, batchSize: 15 }, { epochs: 4, gradientAccumulationSteps: 4 });
  const updates = async ({ average }: typeof one): Promise<number> =>
    average.namedStates().get("updates")!.item() as never;
  expect(await updates(one)).toBe(4);
  expect(await updates(several)).toBe(4);
});

test("a training that was stopped has the averages too, and its checkpoint goes on from the trained weights", async () => {
  const whole = await run("not-stopped", {});
  const stopping = new AbortController();
  const outputDir = path.join(scratch, "stopped");
  const setup = makeSetup();
  const { signal } = stopping;
  await fit(setup, {
    outputDir,
    epochs: 3,
    saveSteps: 1,
    signal,
    onEvent: ({ step }) => step >= 11 && stopping.abort(),
  });
  const last = readdirSync(path.join(outputDir, "checkpoints")).filter((name) => name.startsWith("step-")).length;
  expect(last).toBeGreaterThan(0);
  const other = makeSetup();
  decodeWeights(other.model, readFileSync(path.join(outputDir, "checkpoints", newest(outputDir), "model.safetensors")));
  expect(await encodeWeights(setup.model)).toEqual(await encodeWeights(other.model));
  expect(await run("stopped", { resumeFromCheckpoint: true })).toEqual(whole);
});

/** The name of the checkpoint with the most steps. */
function newest(outputDir: string): string {
  const steps = readdirSync(path.join(outputDir, "checkpoints")).flatMap(
    (name) => /^step-(\d+)$/.exec(name)?.[1] ?? [],
  );
  return `step-${Math.max(...steps.map(Number))}`;
}

test("a checkpoint without an average can be gone on from: the average begins with its weights", async () => {
  const outputDir = path.join(scratch, "without");
  const { average: _, ...without } = makeSetup();
  await fit(without, { outputDir, epochs: 3, maxSteps: 9 });
  const trained = await encodeWeights(without.model);
  const setup = makeSetup();
  const warnings: string[] = [];
  let first: Uint8Array | undefined;
  await fit(setup, {
    outputDir,
    epochs: 3,
    resumeFromCheckpoint: true,
    async onEvent(event) {
      if (event.type === "warning") warnings.push(event.message);
      if (event.type === "start") first = await setup.average.withAverages(() => encodeWeights(setup.model));
    },
  });
  expect(warnings.join()).toContain("the checkpoint has no average of the weights");
  expect(first).toEqual(trained);
});

test("the average of a frozen parameter is the parameter, bit for bit", async () => {
  const setup = makeSetup();
  const model = sequential(linear(2, 16), relu, linear(16, 2));
  const { 0: body } = model as unknown as readonly [{ freeze(): void }];
  body.freeze();
  const before = await model.parameters()[0]!.data();
  const average = ema(model, { decay: 0.9999 });
  const loss = (x: X, y: Y) => crossEntropy(model(x), y);
  await fit({ model, loss, train: setup.train, batchSize: 8, optimizer: adam(model), average }, { epochs: 30 });
  expect(await model.parameters()[0]!.data()).toEqual(before);
});

test("a short run goes through everything; anything else than an average is refused", async () => {
  expect((await fit(makeSetup(), { fastDevRun: 2 })).step).toBe(2);
  await expect(fit({ ...makeSetup(), average: 0.9 } as never)).rejects.toThrow(ConfigError);
  const setup = makeSetup();
  for (const state of [
    { average: setup.average },
    { other: setup.average },
    { model: setup.model },
    { optimizer: randomGenerator(1) },
  ])
    await expect(fit({ ...setup, state } as never)).rejects.toThrow("checkpoints hold a part of the setup");
  const twice = { ...setup, afterUpdate: () => setup.average.update() };
  await expect(fit(twice, { epochs: 1 })).rejects.toThrow("leave out average.update()");
  const other = ema(sequential(linear(2, 2)));
  await expect(fit({ ...setup, average: other }, { epochs: 1 })).rejects.toThrow("none of the model's parameters");
});
