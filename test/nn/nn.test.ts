/** Modules, initial weights, dropout and losses. */
import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  binaryCrossEntropy,
  compile,
  cosineDistance,
  crossEntropy,
  dropout,
  embedding,
  Generator,
  init,
  layerNorm,
  linear,
  meanSquaredError,
  module,
  ones,
  plainEngine,
  relu,
  seed,
  sequential,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

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
    expect(() => module("Bad", { w: 3 as never }, (x: Tensor) => x)).toThrow('the child "w" is no variable');
  });
});

describe("initial weights", () => {
  const spread = (values: Float32Array): { mean: number; deviation: number; largest: number } => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    return { mean, deviation: Math.sqrt(variance), largest: values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) };
  };
  const [out, into] = [300, 200];

  test.each([
    ["Xavier, uniform", init.xavierUniform, Math.sqrt(2 / (into + out))],
    ["Xavier, normal", init.xavierNormal, Math.sqrt(2 / (into + out))],
    ["He, normal, relu", init.heNormal(), Math.sqrt(2 / into)],
    ["He, normal, tanh", init.heNormal("tanh"), Math.sqrt(1 / into)],
    ["He, uniform, relu", init.heUniform(), Math.sqrt(2 / into)],
  ])("%s", (_, initializer, deviation) => {
    const { mean, deviation: found } = spread(initializer([out, into], new PhiloxStream(3)));
    expect(Math.abs(mean)).toBeLessThan((4 * deviation) / Math.sqrt(out * into));
    expect(found / deviation).toBeCloseTo(1, 1.7);
  });

  test("Xavier's uniform bound is √(6 / (n_in + n_out))", () => {
    const { largest } = spread(init.xavierUniform([out, into], new PhiloxStream(3)));
    expect(largest).toBeLessThanOrEqual(Math.sqrt(6 / (into + out)));
    expect(largest).toBeGreaterThan(0.99 * Math.sqrt(6 / (into + out)));
  });

  test("the same seed gives the same weights, another seed others", async () => {
    const weights = async (value: number): Promise<unknown> => {
      seed(value);
      return linear(5, 5).weight.data();
    };
    expect(await weights(7)).toEqual(await weights(7));
    expect(await weights(7)).not.toEqual(await weights(8));
  });
});

describe("dropout", () => {
  test("masks follow from the seed, differ from step to step, and are the same on every engine", async () => {
    const masks = async (): Promise<unknown[]> => {
      const drop = dropout(0.4, { generator: new Generator(12) });
      const step = compile((x: Tensor<[50, 40], "float32">) => drop(x));
      return [await step(ones([50, 40])).data(), await step(ones([50, 40])).data()];
    };
    const [first, second] = await masks();
    expect(first).not.toEqual(second);
    expect(await masks()).toEqual([first, second]);
    useEngine(nodeEngine({ threads: 2 }));
    expect(await masks()).toEqual([first, second]);
    const kept = (first as Float32Array).filter((value) => value !== 0);
    expect(kept.length / 2000).toBeCloseTo(0.6, 1);
    expect(kept[0]).toBeCloseTo(1 / 0.6, 5);
  });

  test("does nothing in evaluation, also in a step that was compiled in training", async () => {
    const drop = dropout(0.5);
    const step = compile((x: Tensor<[100], "float32">) => drop(x).sum());
    expect(await step(ones([100])).item()).not.toBe(100);
    drop.eval();
    expect(await step(ones([100])).item()).toBe(100);
    expect(() => dropout(1)).toThrow("dropout: the rate is 1");
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
