/** Trainings over streams, with an average of weights: stopped and resumed, they end with the same bits. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { dataset } from "../../../src/data/dataset.ts";
import {
  adam,
  crossEntropy,
  dropout,
  ema,
  encodeWeights,
  fit,
  linear,
  loader,
  relu,
  seed,
  sequenceMask,
  sequences,
  sequential,
  stream,
  type Tensor,
  validate,
} from "../../../src/node.ts";
import { points } from "./setup.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-fit-streams-"));
});
afterEach(() => rm(folder, { recursive: true }));

const data = points(45);

function makeTraining() {
  seed(5);
  const model = sequential(linear(2, 16), relu, dropout(0.1), linear(16, 2));
  const average = ema(model, { decay: 0.9, warmUp: true });
  const [inputs, labels] = data.columns;
  const train = stream(
    [
      { shape: [2], dtype: "float32" },
      { shape: [], dtype: "int32" },
    ],
    async function* () {
      for (let i = 0; i < data.length; i += 10)
        yield [inputs.values.subarray(2 * i, 2 * i + 20), labels.values.subarray(i, i + 10)];
    },
    {
      batchSize: 8,
      shuffleBuffer: 20,
      seed: 3,
      mapExample: ([x], random) => {
        x[0]! += 0.05 * random.normal();
      },
    },
  );
  const setup = {
    model,
    loss: (x: Tensor<[number, 2], "float32">, y: Tensor<[number], "int32">) => crossEntropy(model(x), y),
    train,
    validation: data,
    optimizer: adam(model, { learningRate: 0.02 }),
    afterUpdate: () => average.update(),
    state: { average },
  };
  return { setup, average };
}

test.each([1, 5, 6, 7, 13])(
  "stopped after %i steps and resumed, all weights and averages are the same",
  async (step) => {
    const options = { epochs: 3, saveSteps: 2, evalSteps: 4 };
    const whole = makeTraining();
    const result = await fit(whole.setup, { ...options, outputDir: join(folder, "whole") });
    expect(result.step).toBe(18);
    const path = join(folder, "stopped");
    await fit(makeTraining().setup, { ...options, outputDir: path, maxSteps: step });
    const resumed = makeTraining();
    await fit(resumed.setup, { ...options, outputDir: path, resumeFromCheckpoint: true });
    const all = ({ setup: { model, optimizer }, average }: ReturnType<typeof makeTraining>): Promise<Uint8Array> =>
      encodeWeights({ model, optimizer, average });
    expect(await all(resumed)).toEqual(await all(whole));
    const { loss } = await validate(whole.setup);
    expect(await whole.average.withAverages(async () => (await validate(whole.setup)).loss)).not.toBe(loss);
    expect((await validate(whole.setup)).loss).toBe(loss);
  },
);

test("sequences in buckets train, and are evaluated as a dataset", async () => {
  seed(1);
  const list = Array.from({ length: 60 }, (_, i) => new Float32Array(1 + (i % 9)).fill(i % 2 ? 1 : -1));
  const columns = sequences(list, { dtype: "float32", step: [1] });
  const labels = { shape: [60], dtype: "int32", values: Int32Array.from(list, (_, i) => i % 2) } as const;
  const bags = dataset(columns, sequenceMask(columns), labels);
  const model = linear(1, 2);
  const result = await fit(
    {
      model,
      loss: (x, mask, y) => {
        const weights = mask.cast("float32").unsqueeze(2);
        return crossEntropy(model(x.mul(weights).sum(1)), y);
      },
      train: loader(bags, { batchSize: 10, buckets: 3, shuffle: true }),
      validation: bags,
      optimizer: adam(model, { learningRate: 0.1 }),
    },
    { epochs: 10 },
  );
  expect(result.best!.loss).toBeLessThan(0.1);
});
