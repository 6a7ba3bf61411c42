/** Optimizers of one's own, and parameters that a loss does not reach. */
import { beforeEach, describe, expect, test, vi } from "vitest";
import {
  adam,
  compile,
  decodeWeights,
  defineOptimizer,
  encodeWeights,
  gradientAccumulator,
  lbfgs,
  linear,
  meanSquaredError,
  module,
  nodeEngine,
  type OptimizerOptions,
  read,
  seed,
  sgd,
  type Tensor,
  tensor,
  useEngine,
  zeros,
} from "../../src/node.ts";

const engine = nodeEngine({ threads: 1 });
beforeEach(() => useEngine(engine));

interface MomentumOptions extends OptimizerOptions {
  readonly momentum?: number;
}

/** Polyak's momentum, which `sgd` has too. */
const momentum = defineOptimizer<MomentumOptions, "velocity">(
  "momentum",
  { learningRate: 0.1 },
  {
    slots: () => ({ velocity: {} }),
    update({ theta, g, rate, slots, hyper: { momentum = 0.9 } }) {
      const velocity = slots.velocity.mul(momentum).add(g);
      return { theta: theta.sub(velocity.mul(rate)), slots: { velocity } };
    },
  },
);

const x = zeros([4, 40]).add(0.5) as Tensor<[number, 40], "float32">;

describe("an optimizer of one's own", () => {
  const training = (make: (model: ReturnType<typeof linear<40, 40>>) => ReturnType<typeof sgd>) => {
    seed(2);
    const model = linear(40, 40);
    const optimizer = make(model);
    const step = compile((scale: Tensor<[], "float32">) => {
      const loss = model(x).square().mean().mul(scale);
      optimizer.minimize(loss, { clipNorm: 0.1 });
      return loss;
    });
    return { model, optimizer, step };
  };

  test("takes the steps of the built-in one that has the same rule, with groups and decay", async () => {
    const options = { learningRate: 0.3, momentum: 0.8, weightDecay: 0.01 };
    const groups = (model: ReturnType<typeof linear<40, 40>>) => [
      { parameters: [model.weight] },
      { parameters: [model.bias], rateFactor: 2, momentum: 0.5, decoupled: true },
    ];
    const ours = training((model) => momentum(groups(model), options));
    const theirs = training((model) => sgd(groups(model), options));
    for (let i = 0; i < 5; i++) expect(await ours.step(tensor(1)).item()).toBe(await theirs.step(tensor(1)).item());
    expect(await encodeWeights(ours.optimizer)).toEqual(await encodeWeights(theirs.optimizer));
  });

  test("is guarded, saved and loaded", async () => {
    const { model, optimizer, step } = training((trained) => momentum(trained));
    step(tensor(1));
    const saved = await encodeWeights({ model, optimizer });
    await expect(step(tensor(Number.NaN)).item()).rejects.toThrow("NaN");
    expect(await encodeWeights({ model, optimizer })).toEqual(saved);
    const after = await step(tensor(1)).item();
    decodeWeights({ model, optimizer }, saved);
    expect(await step(tensor(1)).item()).toBe(after);
    expect(() => momentum(model, { learningRate: -1 })).toThrow("momentum: the learning rate is -1");
  });
});

describe("parameters that the loss does not depend on", () => {
  const halves = () => {
    seed(2);
    const [used, spare] = [linear(3, 2), linear(3, 2)];
    return module("Halves", { used, spare }, (inputs: Tensor<[number, 3], "float32">) => used(inputs));
  };
  const inputs = tensor([[1, 2, 3]]);
  const wanted = tensor([[1, -1]]);
  type Halves = ReturnType<typeof halves>;

  const trainings: Readonly<Record<string, (model: Halves) => () => Promise<unknown>>> = {
    "adam, with decay": (model) => {
      const optimizer = adam(model, { weightDecay: 0.1 });
      const step = compile(() => {
        const loss = meanSquaredError(model(inputs), wanted);
        optimizer.minimize(loss);
        return loss;
      });
      return () => read([step(), step()]);
    },
    accumulated: (model) => {
      const sums = gradientAccumulator(sgd(model, { learningRate: 0.1, weightDecay: 0.1 }));
      const add = compile(() => sums.add(meanSquaredError(model(inputs), wanted)));
      const update = compile(() => void sums.apply());
      return async () => {
        add();
        add();
        update();
        await update.finished();
      };
    },
    "l-bfgs": (model) => {
      const optimizer = lbfgs(model, () => meanSquaredError(model(inputs), wanted));
      return () => optimizer.step();
    },
  };

  test.each(Object.entries(trainings))("are left alone: %s", async (name, train) => {
    const told = vi.spyOn(console, "error").mockImplementation(() => {});
    const model = halves();
    const before = await read([model.spare.weight, model.spare.bias, model.used.weight]);
    await train(model)();
    const after = await read([model.spare.weight, model.spare.bias, model.used.weight]);
    expect(after.slice(0, 2)).toEqual(before.slice(0, 2));
    expect(after[2]).not.toEqual(before[2]);
    if (name !== "l-bfgs")
      expect(told.mock.calls).toEqual([[expect.stringContaining("spare.weight, spare.bias: left alone")]]);
    told.mockRestore();
  });

  test("a loss that depends on none is refused", () => {
    const optimizer = sgd(linear(1, 1), { learningRate: 0.1 });
    expect(() => optimizer.minimize(tensor(1).mul(2))).toThrowErrorMatchingInlineSnapshot(`
      [GraphError: sgd: the loss does not depend on any of the parameters
        fix: check that the forward pass uses them, and that they were not assigned to in between]
    `);
  });
});
