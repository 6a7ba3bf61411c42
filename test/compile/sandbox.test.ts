/** Training on trial: whatever runs in a sandbox, the variables outside keep their values, and go their own way. */
import { describe, expect, test } from "vitest";
import { Sandbox } from "../../src/compile/sandbox.ts";
import {
  adam,
  batchNorm,
  compile,
  crossEntropy,
  defaultGenerator,
  type Engine,
  functional,
  linear,
  nodeEngine,
  plainEngine,
  relu,
  type State,
  seed,
  sequential,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";

const x = tensor([
  [1, -2, 3],
  [0.5, 1, -1],
  [2, 0, 1],
  [-1, 1, 2],
]);
const y = tensor([0, 1, 1, 0], "int32");

/** A step with every kind of variable: parameters, running statistics, moments, a generator. */
function training() {
  seed(5);
  const model = sequential(linear(3, 8), batchNorm(8), relu, linear(8, 2));
  const optimizer = adam(model, { learningRate: 0.05 });
  const step = (inputs: Tensor, labels: Tensor): Tensor => {
    const hidden = functional.dropout(inputs as Tensor<[number, 3], "float32">, 0.2, defaultGenerator);
    const loss = crossEntropy(model(hidden), labels as Tensor<[number], "int32">);
    optimizer.minimize(loss);
    return loss;
  };
  const states = [...model.states(), ...optimizer.states(), defaultGenerator.state as State];
  return { model, step, states };
}

const valuesOf = (states: readonly State[]): Promise<unknown[]> => Promise.all(states.map((state) => state.data()));

describe.each<[string, () => Engine]>([
  ["node", () => nodeEngine()],
  ["plain", plainEngine],
])("on the %s engine", (_, engine) => {
  test("a sandbox learns, and nothing outside has changed, not even its version", async () => {
    useEngine(engine());
    const { model, step, states } = training();
    await compile(step)(x, y).item(); //  values are in the engine's buffers now
    const before = await valuesOf(states);
    const versions = states.map(({ version }) => version);
    const lazy = model.parameters()[0]!.mul(2); //  an expression on the values of now

    const trial = (await Sandbox.open()).compile(step);
    const losses = [await trial(x, y).item(), await trial(x, y).item(), await trial(x, y).item()];
    expect(losses[2]).toBeLessThan(losses[0]!);
    expect(await valuesOf(states)).toEqual(before);
    expect(states.map(({ version }) => version)).toEqual(versions);
    expect(await lazy.data()).toHaveLength(24);
  });

  test("inside and outside run in turns, each as if it were alone", async () => {
    useEngine(engine());
    const alone = training();
    const run = compile(alone.step);
    const losses: number[] = [];
    for (let i = 0; i < 6; i++) losses.push(await run(x, y).item());

    const { step } = training();
    const outside = compile(step);
    expect(await outside(x, y).item()).toBe(losses[0]);
    const inside = (await Sandbox.open()).compile(step);
    const other = (await Sandbox.open()).compile(step);
    for (let i = 1; i < 6; i++) {
      expect(await inside(x, y).item()).toBe(losses[i]);
      expect(await other(x, y).item()).toBe(losses[i]);
      if (i % 2 === 1) expect(await outside(x, y).item()).toBe(losses[(i + 1) / 2]);
    }
  });
});

test("a sandbox begins after what has been asked for and not been done", async () => {
  const { step, states } = training();
  const reference = compile(step);
  await reference(x, y).item();
  const after = await valuesOf(states);
  const again = training();
  compile(again.step)(x, y); //  queued
  const sandbox = await Sandbox.open();
  expect(await valuesOf(again.states.map((state) => sandbox.of(state)))).toEqual(after);

  const lazily = training();
  lazily.step(x, y); //  assignments at the top, waiting for an evaluation
  const other = await Sandbox.open();
  expect(await valuesOf(lazily.states.map((state) => other.of(state)))).toEqual(after);
});

test("what fails inside leaves everything as it was", async () => {
  const { step, states } = training();
  const before = await valuesOf(states);
  const trial = (await Sandbox.open()).compile(step);
  await expect(trial(x.mul(Number.NaN), y).item()).rejects.toThrow("NaN");
  expect(await valuesOf(states)).toEqual(before);
});
