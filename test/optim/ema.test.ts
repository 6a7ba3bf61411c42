/** Averages of weights: right, inside the step, swapped in and back, exact after a pause. */
import { beforeEach, describe, expect, test } from "vitest";
import {
  adam,
  batchNorm,
  ConfigError,
  compile,
  decodeWeights,
  ema,
  encodeWeights,
  GraphError,
  linear,
  meanSquaredError,
  nodeEngine,
  plainEngine,
  relu,
  seed,
  sequential,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";
import { complaint } from "../support/complaint.ts";

const x = tensor([
  [1, 2],
  [3, -1],
  [0.5, 0.25],
]);
const y = tensor([[1], [0], [2]]);

function training(options: { decay?: number; warmUp?: boolean } = {}) {
  seed(4);
  const model = sequential(linear(2, 5), relu, linear(5, 1));
  const optimizer = adam(model, { learningRate: 0.05 });
  const average = ema(model, { decay: 0.9, ...options });
  const step = compile(() => {
    const loss = meanSquaredError(model(x), y);
    optimizer.minimize(loss);
    average.update();
    return loss;
  });
  return { model, optimizer, average, step };
}

const weight = (model: { namedStates(): Map<string, Tensor> }): Promise<Float32Array> =>
  model.namedStates().get("2.weight")!.data() as Promise<Float32Array>;

describe.each([
  ["plain", plainEngine],
  ["node", nodeEngine],
] as const)("on the %s engine", (_, engine) => {
  beforeEach(() => {
    useEngine(engine());
  });

  test.each([false, true])("the average is β·average + (1 − β)·weights after each step; warm-up %s", async (warmUp) => {
    const { model, average, step } = training({ warmUp });
    let expected = Float64Array.from(await weight(model));
    for (let t = 0; t < 12; t++) {
      step();
      const now = await weight(model);
      const beta = warmUp ? Math.min(0.9, (1 + t) / (10 + t)) : 0.9;
      expected = expected.map((old, i) => beta * old + (1 - beta) * now[i]!);
    }
    const averages = await average.namedStates().get("averages.2.weight")!.data();
    for (const [i, value] of expected.entries()) expect(averages[i]).toBeCloseTo(value, 5);
    expect(await average.namedStates().get("updates")!.item()).toBe(12);
  });

  test("swapping between queued runs evaluates with the averages and trains on as if nothing had been", async () => {
    const disturbed = training();
    const undisturbed = training();
    const seen: number[] = [];
    for (let t = 0; t < 10; t++) {
      disturbed.step();
      undisturbed.step();
      if (t % 3 === 0)
        await disturbed.average.withAverages(async () => {
          seen.push(await meanSquaredError(disturbed.model(x), y).item());
        });
    }
    expect(await weight(disturbed.model)).toEqual(await weight(undisturbed.model));
    expect(await disturbed.average.namedStates().get("averages.0.bias")!.data()).toEqual(
      await undisturbed.average.namedStates().get("averages.0.bias")!.data(),
    );
    expect(seen.length).toBe(4);
    expect(seen[3]).not.toBe(await meanSquaredError(disturbed.model(x), y).item());
  });
});

test("saved and loaded, training goes on with the same bits", async () => {
  useEngine(nodeEngine()); //  the plain engine keeps float64 from step to step, and a file has float32
  const whole = training({ warmUp: true });
  for (let t = 0; t < 6; t++) whole.step();
  const parts = ({ model, optimizer, average }: ReturnType<typeof training>) => ({ model, optimizer, average });
  const saved = await encodeWeights(parts(whole));
  const resumed = training({ warmUp: true });
  decodeWeights(parts(resumed), saved);
  for (let t = 0; t < 6; t++) [whole, resumed].map(({ step }) => step());
  expect(await encodeWeights(parts(resumed))).toEqual(await encodeWeights(parts(whole)));
});

test("inside withAverages the model can be saved, the averages and the step cannot be used", async () => {
  useEngine(plainEngine());
  const { model, average, step } = training();
  step();
  const averages = await average.namedStates().get("averages.2.weight")!.data();
  await average.withAverages(async () => {
    expect(await weight(model)).toEqual(averages);
    expect(average.swapped).toBe(true);
    expect(() => step()).toThrow("swapped in");
    expect(complaint(GraphError, () => average.namedStates())).toContain("cannot be saved or loaded");
    await expect(average.withAverages(() => 1)).rejects.toThrow("swapped in already");
  });
  expect(average.swapped).toBe(false);
  await expect(
    average.withAverages(() => {
      throw new Error("inside");
    }),
  ).rejects.toThrow("inside");
  expect(average.swapped).toBe(false);
  await step().item();
});

test("running statistics stay as they are, and shared parameters are averaged once", () => {
  const names = [...ema(batchNorm(3)).namedStates().keys()];
  expect(names).toEqual(["updates", "averages.weight", "averages.bias"]);
});

test("wrong arguments are refused", () => {
  for (const decay of [1, -0.1, Number.NaN])
    expect(complaint(ConfigError, () => ema(linear(1, 1), { decay }))).toContain("give numbers from 0 to below 1");
  expect(complaint(ConfigError, () => ema(linear(1, 1), { decays: 0.9 } as never))).toContain("did you mean decay?");
  expect(complaint(ConfigError, () => ema({} as never))).toContain("give a module");
});
