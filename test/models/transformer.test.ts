/** The Transformer: that it learns, that its steps are its whole, and what it refuses. */
import { beforeEach, describe, expect, test } from "vitest";
import {
  adam,
  compile,
  crossEntropy,
  generate,
  nodeEngine,
  seed,
  type Tensor,
  tensor,
  transformer,
  transformerDecoder,
  useEngine,
  zeros,
} from "../../src/node.ts";

type Ids = Tensor<[number, number], "int32">;

const sizes = { vocabularySize: 10, startToken: 1, width: 32, heads: 4, layers: 2, longest: 12, dropout: 0 } as const;
const [start, end] = [1, 2];

/** Sources of different lengths, and the same symbols in reverse with END. */
const words = [
  [3, 4, 5],
  [6, 7],
  [8, 9, 3, 4],
  [5, 3],
  [9, 8, 7],
  [4, 4, 6, 5],
];
const padded = (rows: readonly number[][], width: number): Ids =>
  tensor(
    rows.map((row) => [...row, ...Array<number>(width - row.length).fill(0)]),
    "int32",
  ) as Ids;
const source = padded(words, 4);
const targets = padded(
  words.map((word) => [...word.toReversed(), end]),
  5,
);

beforeEach(() => {
  useEngine(nodeEngine({ threads: 1 }));
  seed(1);
});

test("a Transformer learns to reverse words, and each way of decoding writes them", async () => {
  const model = transformer(sizes);
  const optimizer = adam(model, { learningRate: 0.003 });
  const step = compile((source: Ids, targets: Ids) => {
    const loss = crossEntropy(model(source, targets), targets, { ignore: 0, labelSmoothing: 0.1 });
    optimizer.minimize(loss);
    return loss;
  });
  for (let i = 0; i < 120; i++) step(source, targets);
  model.eval();
  const written = await model.greedy(source, 5).array();
  const wanted = words.map((word) => word.toReversed());
  expect(written.map((row) => row.slice(0, row.indexOf(end)))).toEqual(wanted);
  for (const options of [{}, { numBeams: 3 }]) {
    const { sequences, isFinished } = await generate(model, {
      state: compile((source: Ids) => model.encode(source, 6))(source),
      prompt: words.map(() => []),
      bosTokenId: start,
      eosTokenId: end,
      maxNewTokens: 6,
      ...options,
    });
    expect(sequences).toEqual(wanted);
    expect(isFinished).toEqual(words.map(() => true));
  }
});

describe("the model", () => {
  test("sees neither what comes later nor padding", async () => {
    const model = transformer(sizes);
    model.eval();
    const logits = model(source, targets) as Tensor;
    const wider = model(
      padded(words, 7),
      padded(
        words.map((word) => [...word.toReversed(), end, 0]),
        6,
      ),
    ) as Tensor;
    const difference = wider
      .slice(null, [0, 2])
      .sub(logits.slice(null, [0, 2]))
      .abs()
      .max();
    expect(await difference.item()).toBeLessThan(1e-5);
    const changed = model(source, targets.mul(0).add(7) as Ids) as Tensor;
    expect(
      await changed
        .slice(null, [0, 1])
        .sub(logits.slice(null, [0, 1]))
        .abs()
        .max()
        .item(),
    ).toBeLessThan(1e-6);
    expect(await changed.sub(logits).abs().max().item()).toBeGreaterThan(1e-3);
  });

  test("computes step by step what it computes at once", async () => {
    const model = transformer(sizes);
    model.eval();
    const all = model(source, targets) as Tensor;
    let state = model.encode(source, 5);
    const before = [
      tensor(
        words.map(() => start),
        "int32",
      ),
      ...[0, 1, 2].map((at) => targets.slice(null, [at, at + 1]).reshape([6])),
    ];
    for (const [at, tokens] of before.entries()) {
      const ran = model.step(tokens as Tensor<[number], "int32">, state);
      state = ran.state;
      const own = all.slice(null, [at, at + 1]).reshape([6, 10]);
      expect(await (ran.logits as Tensor).sub(own).abs().max().item()).toBeLessThan(1e-4);
    }
  });

  test("begins as nn.Transformer: all matrices of its stacks uniform by Xavier's rule", async () => {
    seed(1);
    const model = transformer({ ...sizes, width: 64 });
    for (const [name, parameter] of model.namedParameters()) {
      if (name === "embedding.weight" || parameter.shape.length < 2) continue;
      const [outputs, inputs] = parameter.shape as readonly [number, number];
      const bound = Math.sqrt(6 / (outputs + inputs));
      const values = await parameter.data();
      const largest = Math.max(...Array.from(values, Math.abs));
      expect(largest / bound, name).toBeLessThanOrEqual(1 + 1e-6);
      expect(largest / bound, name).toBeGreaterThan(0.99);
    }
  });

  test("shares one matrix between embeddings and output", () => {
    const model = transformer(sizes);
    const names = [...model.namedParameters().keys()];
    expect(names.filter((name) => !/^(encoder|decoder)\./.test(name))).toEqual(["embedding.weight"]);
    expect(names).toContain("decoder.layers.1.multihead_attn.in_proj_weight");
    expect(names).toContain("encoder.norm.weight");
  });

  test("says that a cache is full", async () => {
    const model = transformer({ vocabularySize: 5, startToken: 1, width: 8, heads: 2, layers: 1 });
    const state = model.encode(tensor([[1, 2]], "int32"), 3);
    await expect(generate(model, { state, prompt: [1], maxNewTokens: 6 })).rejects.toThrow(
      "give places from 0 to 2, for which the cache has room",
    );
  });

  test("refuses what does not fit", () => {
    const short = transformer({ vocabularySize: 5, startToken: 1, width: 8, heads: 2, layers: 1 });
    expect(short(tensor([[1, 2]], "int32"), zeros([1, 0], "int32")).shape).toEqual([1, 0, 5]);
    for (const decode of [
      transformerDecoder(8, 2),
      transformerDecoder(8, 2).layers[0]!,
      transformerDecoder(8, 2).layers[0]!.withWeights,
    ])
      expect(() => (decode as (x: Tensor) => unknown)(zeros([1, 3, 8]) as Tensor)).toThrow("argument 2 is undefined");
    const model = transformer(sizes);
    expect(() => transformer({ ...sizes, startToken: 10 })).toThrow("startToken is 10");
    expect(() => transformer({ ...sizes, size: 3 } as never)).toThrow('no option "size"');
    expect(() => model(source, padded(words, 13))).toThrow("the targets: 13 tokens, and the model takes 12");
    expect(() => model(source, padded(words.slice(1), 4) as never)).toThrow("6 sources and 5 targets");
    expect(() => model.startState(2, 3)).toThrow(
      "give the state: generate(model, { state: model.encode(source, 60), … })",
    );
  });
});
