/** Modules, dropout and losses. */
import { inspect } from "node:util";
import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  batchNorm,
  binaryCrossEntropy,
  compile,
  cosineDistance,
  crossEntropy,
  dropout,
  embedding,
  gradients,
  layerNorm,
  linear,
  type Module,
  meanSquaredError,
  module,
  ones,
  plainEngine,
  randomGenerator,
  relu,
  seed,
  sequential,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";

beforeEach(() => {
  useEngine(plainEngine());
  seed(0);
});

function encoder() {
  const layers = [0, 1].map(() => {
    const attention = module("Attention", { query: linear(4, 4), key: linear(4, 4) }, (x: Tensor) => x);
    return module("Layer", { attention, norm: layerNorm(4) }, (x: Tensor) => attention(x));
  });
  return module("Encoder", { tokens: embedding(10, 4), layers }, (x: Tensor) => x);
}

describe("modules", () => {
  test("paths are PyTorch's, through lists and functions between layers", () => {
    expect([...encoder().namedStates().keys()].slice(0, 6)).toEqual([
      "tokens.weight",
      "layers.0.attention.query.weight",
      "layers.0.attention.query.bias",
      "layers.0.attention.key.weight",
      "layers.0.attention.key.bias",
      "layers.0.norm.weight",
    ]);
    expect([...sequential(linear(2, 3), relu, linear(3, 1)).namedStates().keys()]).toEqual([
      "0.weight",
      "0.bias",
      "2.weight",
      "2.bias",
    ]);
  });

  test("a summary shows layers, shapes and counts; shared variables count once, frozen ones apart", () => {
    const table = embedding(10, 4);
    const head = module("Head", { weight: table.weight }, (x: Tensor) => x.matmul(table.weight.mT()));
    const body = linear(4, 4);
    body.freeze();
    expect(module("Tied", { table, body, head }, (x: Tensor) => x).summary()).toMatchInlineSnapshot(`
      "module        kind       shape    parameters
      ────────────────────────────────────────────
      (whole)       Tied
      table         Embedding
      table.weight             [10, 4]          40
      body          Linear
      body.weight              [4, 4]    16 frozen
      body.bias                [4]        4 frozen
      head          Head
      head.weight              [10, 4]      shared
      40 trainable parameters, 20 frozen"
    `);
  });

  test("printed, a module is its tree with shapes and counts; shared, frozen and other variables are marked", () => {
    const table = embedding(10, 4);
    const head = module("Head", { weight: table.weight }, (x: Tensor) => x.matmul(table.weight.mT()));
    const body = sequential(linear(4, 4), relu, batchNorm(4));
    body.freeze();
    const model = module("Tied", { scale: linear(1, 1).weight, table, body, head }, (x: Tensor) => x);
    expect(inspect(model)).toBe(String(model));
    expect(inspect({ model }, { depth: 0 })).toContain("(table): Embedding");
    expect(String(model)).toMatchInlineSnapshot(`
      "Tied(
        scale [1, 1]
        (table): Embedding(weight [10, 4]) 40
        (body): Sequential(
          (0): Linear(weight [4, 4] frozen, bias [4] frozen) 20
          (2): BatchNorm(weight [4] frozen, bias [4] frozen, running_mean [4] state, running_var [4] state, num_batches_tracked [] state) 8
        )
        (head): Head(weight [10, 4] shared)
      )
      41 trainable parameters, 28 frozen"
    `);
  });

  test("a module that contains itself is an error that says so, printed too", () => {
    const blocks: Record<string, Module> = {};
    const model = module("Loop", { blocks }, (x: Tensor) => x);
    blocks.self = model;
    expect(() => String(model)).toThrow("the module contains itself");
  });

  test("parameters and modules have their paths; what is shared has its first", () => {
    const shared = linear(2, 2);
    const model = module("Pair", { first: shared, norm: batchNorm(2), again: { same: shared } }, (x: Tensor) => x);
    expect([...model.namedModules()].map(([path, { kind }]) => `${path}:${kind}`)).toEqual([
      ":Pair",
      "first:Linear",
      "norm:BatchNorm",
    ]);
    const names = ["first.weight", "first.bias", "norm.weight", "norm.bias"];
    expect([...model.namedParameters().keys()]).toEqual(names);
    expect([...model.namedParameters({ removeDuplicates: false }).keys()]).toEqual([
      ...names,
      "again.same.weight",
      "again.same.bias",
    ]);
    expect([...model.namedParameters().values()]).toEqual(model.parameters());
  });

  test("train and eval reach everything inside", () => {
    const drop = dropout(0.5);
    const model = sequential(linear(2, 2), drop);
    model.eval();
    expect([model.training, drop.training]).toEqual([false, false]);
    model.train();
    expect([model.training, drop.training]).toEqual([true, true]);
  });

  test("children that cannot be are refused", () => {
    expect(() => module("Bad", { train: linear(1, 1) }, (x: Tensor) => x)).toThrow('Bad: a child is called "train"');
    expect(() => module("Bad", { w: 3 as never }, (x: Tensor) => x)).toThrow('the child "w" is not a variable');
  });
});

describe("dropout", () => {
  const shape = [200, 100] as const;

  test("masks follow from the seed, differ from step to step, and are the same on every engine", async () => {
    const masks = async (seedValue: number): Promise<unknown[]> => {
      const drop = dropout(0.4, { generator: randomGenerator(seedValue) });
      const step = compile((x: Tensor<[200, 100], "float32">) => drop(x));
      return [await step(ones(shape)).data(), await step(ones(shape)).data()];
    };
    const [first, second] = await masks(12);
    expect(first).not.toEqual(second);
    expect(await masks(12)).toEqual([first, second]);
    expect((await masks(13))[0]).not.toEqual(first);
    useEngine(nodeEngine({ threads: 2 }));
    expect(await masks(12)).toEqual([first, second]);
  });

  test.each([0.1, 0.5, 0.9])("at the rate %d it zeroes that share and keeps the expectation", async (rate) => {
    const drop = dropout(rate, { generator: randomGenerator(5) });
    const step = compile((x: Tensor<[200, 100], "float32">) => drop(x));
    let [zeros, sum] = [0, 0];
    const n = 4 * 20_000;
    for (let i = 0; i < 4; i++)
      for (const value of await step(ones(shape).mul(3)).data()) {
        if (value === 0) zeros++;
        else expect(value).toBeCloseTo(3 / (1 - rate), 4);
        sum += value;
      }
    // Four standard errors.
    const error = (4 * Math.sqrt(rate * (1 - rate))) / Math.sqrt(n);
    expect(Math.abs(zeros / n - rate)).toBeLessThan(error);
    expect(Math.abs(sum / n / 3 - 1)).toBeLessThan(error / (1 - rate));
  });

  test("the gradient passes where the value did, through the same mask", async () => {
    const drop = dropout(0.5, { generator: randomGenerator(1) });
    const step = compile((x: Tensor<[200, 100], "float32">) => {
      const y = drop(x);
      const [dx] = gradients(y.sum(), [x]);
      return { y, dx };
    });
    const { y, dx } = step(ones(shape));
    expect(await dx.data()).toEqual(await y.data());
  });

  test("two layers in one step have masks of their own; a rate of 0 keeps all", async () => {
    const [a, b] = [dropout(0.5), dropout(0.5)];
    const step = compile((x: Tensor<[200, 100], "float32">) => [a(x), b(x)]);
    const [first, second] = step(ones(shape)) as [Tensor, Tensor];
    expect(await first.data()).not.toEqual(await second.data());
    expect(await dropout(0)(ones([3])).array()).toEqual([1, 1, 1]);
  });

  test("does nothing in evaluation, also in a step that was compiled in training", async () => {
    const drop = dropout(0.5);
    const model = sequential(linear(4, 100), drop);
    const step = compile((x: Tensor<[100], "float32">) => drop(x).sum());
    expect(await step(ones([100])).item()).not.toBe(100);
    model.eval();
    expect(await step(ones([100])).item()).toBe(100);
    model.train();
    expect(await step(ones([100])).item()).not.toBe(100);
    expect(() => dropout(1)).toThrow("dropout: the rate is 1");
    expect(() => dropout(Number.NaN)).toThrow("dropout: the rate is NaN");
  });
});

describe("losses", () => {
  test("cross-entropy, closed form and at extreme logits", async () => {
    const logits = tensor(
      [
        [1, 2, 3],
        [0, 0, 0],
      ],
      "float64",
    );
    const labels = tensor([2, 1], "int32");
    const want = (Math.log(Math.exp(1) + Math.exp(2) + Math.exp(3)) - 3 + Math.log(3)) / 2;
    expect(await crossEntropy(logits, labels).item()).toBeCloseTo(want, 12);
    expect(await crossEntropy(tensor([[1000, -1000]]), tensor([1], "int32")).item()).toBe(2000);
  });

  test("binary cross-entropy neither overflows nor loses digits", async () => {
    const x = tensor([-1000, -2, 0.5, 1000], "float64");
    const y = tensor([0, 1, 0, 0], "float64");
    const want = (0 + Math.log1p(Math.exp(2)) + Math.log1p(Math.exp(0.5)) + 1000) / 4;
    expect(await binaryCrossEntropy(x, y).item()).toBeCloseTo(want, 12);
  });

  test("cosine distance: 0 for the same direction, 1 at right angles, 2 for opposite ones", async () => {
    const x = tensor([
      [3, 4],
      [1, 0],
      [1, 2],
    ]);
    const y = tensor([
      [6, 8],
      [0, 2],
      [-2, -4],
    ]);
    const each = await cosineDistance(x, y, { reduction: "none" }).array();
    for (const [i, distance] of [0, 1, 2].entries()) expect(each[i]).toBeCloseTo(distance, 6);
    expect(await cosineDistance(x, y).item()).toBeCloseTo(1, 6);
  });
  test("mean squared error, and a sentence for shapes that differ", async () => {
    expect(await meanSquaredError(tensor([1, 2]), tensor([3, 5])).item()).toBe(6.5);
    expect(() => meanSquaredError(tensor([1, 2]) as Tensor, tensor([[1, 2]]))).toThrow(
      "meanSquaredError: [2] against [1, 2]",
    );
  });
});
