/** Encoder and decoder: all steps at once, one step after the other, and padding that changes nothing. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { bahdanau, luong } from "../../src/models/alignment.ts";
import { type Seq2Seq, type Seq2SeqOptions, scheduledSampling, seq2seq } from "../../src/models/seq2seq.ts";
import {
  adam,
  compile,
  crossEntropy,
  fromValues,
  generate,
  gradients,
  randomGenerator,
  seed,
  type Tensor,
  tensor,
  zeros,
} from "../../src/node.ts";

const sizes = { sourceSize: 7, targetSize: 9, startToken: 1, embeddingSize: 5, hiddenSize: 4 } as const;
const kinds: readonly (readonly [string, Partial<Seq2SeqOptions>])[] = [
  ["luong, general", {}],
  ["luong, dot", { score: "dot" }],
  ["luong, input feeding", { inputFeeding: true }],
  ["bahdanau", { attention: "bahdanau" }],
  ["no attention", { attention: "none" }],
  ["two layers, one direction", { layers: 2, bidirectional: false }],
  ["two layers and one", { layers: 2, decoderLayers: 1 }],
  ["gru", { kind: "gru", layers: 2 }],
];

const source = tensor(
  [
    [2, 3, 4, 5],
    [6, 2, 0, 0],
    [3, 3, 6, 0],
  ],
  "int32",
);
const lengths = tensor([4, 2, 3], "int32");
const targets = tensor(
  [
    [3, 4, 5, 2, 0],
    [8, 2, 0, 0, 0],
    [7, 7, 6, 3, 2],
  ],
  "int32",
);

function make(options: Partial<Seq2SeqOptions> = {}): Seq2Seq {
  seed(3);
  return seq2seq({ ...sizes, ...options });
}

const worst = async (a: Tensor, b: Tensor): Promise<number> => Number(await a.sub(b).abs().max().item());

/** The same tensor with its values, which later draws do not change. */
const valued = async (x: Tensor): Promise<Tensor> => fromValues(Float32Array.from(await x.data()), x.shape) as Tensor;

describe.each(kinds)("%s", (_, options) => {
  test("gives at once what it gives step by step", async () => {
    const model = make(options);
    const logits = model(source, targets, { lengths });
    let state = model.encode(source, { lengths });
    for (const x of Object.values(state)) expect((x as Tensor).shape[0]).toBe(3);
    for (let t = 0; t < 5; t++) {
      const tokens = t === 0 ? tensor([1, 1, 1], "int32") : targets.slice(null, [t - 1, t]).squeeze(1);
      const next = model.step(tokens, state);
      expect(await worst(next.logits, logits.slice(null, [t, t + 1]).squeeze(1))).toBeLessThan(1e-6);
      state = next.state;
    }
  });

  test("is not changed by padding of sources, whatever it holds", async () => {
    const model = make(options);
    const logits = model(source, targets, { lengths });
    const other = tensor(
      [
        [2, 3, 4, 5, 1],
        [6, 2, 5, 6, 3],
        [3, 3, 6, 4, 4],
      ],
      "int32",
    );
    expect(await worst(model(other, targets, { lengths }), logits)).toBeLessThan(1e-6);
    const alone = model(tensor([[6, 2]], "int32"), targets.slice([1, 2]));
    expect(await worst(alone, logits.slice([1, 2]))).toBeLessThan(1e-6);
  });

  test("learns to write sources backward", async () => {
    const model = make({ ...options, hiddenSize: 16, sourceSize: 6, targetSize: 9 });
    const optimizer = adam(model, { learningRate: 0.01 });
    const random = randomGenerator(5).host;
    const step = compile((x: typeof source, y: typeof targets) => {
      const loss = crossEntropy(model(x, y), y);
      optimizer.minimize(loss, { clipNorm: 1 });
      return loss;
    });
    let last = Infinity;
    for (let i = 0; i < 300; i++) {
      const rows = Array.from({ length: 16 }, () => Array.from({ length: 3 }, () => Math.floor(random.uniform() * 6)));
      const y = rows.map((row) => [...row.toReversed().map((id) => id + 3), 2]);
      last = await step(tensor(rows, "int32") as never, tensor(y, "int32") as never).item();
    }
    expect(last).toBeLessThan(0.35);
  });
});

test("generate takes the likeliest token at each step, and one beam more is never less likely", async () => {
  const model = make({ layers: 2, inputFeeding: true }).eval();
  const request = { prompt: [[], [], []], bosTokenId: 1, maxNewTokens: 6, state: model.encode(source, { lengths }) };
  const { sequences } = await generate(model, request);
  let [tokens, state] = [tensor([1, 1, 1], "int32"), model.encode(source, { lengths })];
  for (let t = 0; t < 6; t++) {
    const next = model.step(tokens, state);
    const best = (await next.logits.argmax(-1).array()) as number[];
    expect(sequences.map((row) => row[t])).toEqual(best);
    [tokens, state] = [tensor(best, "int32") as typeof tokens, next.state];
  }
  const score = async (rows: readonly (readonly number[])[]): Promise<number[]> => {
    const written = tensor(
      rows.map((row) => [...row]),
      "int32",
    ) as typeof targets;
    const losses = crossEntropy(model(source, written, { lengths }), written as never, { reduction: "none" });
    return (await losses.sum(-1).array()) as number[];
  };
  const searched = await generate(model, { ...request, numBeams: 9, earlyStopping: "never" });
  const [greedy, best] = [await score(sequences), await score(searched.sequences)];
  for (const [i, loss] of best.entries()) expect(loss).toBeLessThanOrEqual(greedy[i]! + 1e-5);
});

describe("attention", () => {
  const random = randomGenerator(2).host;
  const values = (count: number): Float32Array => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
  const [queries, memory] = [fromValues(values(36), [3, 2, 6]), fromValues(values(72), [3, 4, 6])];
  const mask = tensor(
    [
      [true, true, true, true],
      [true, false, false, false],
      [true, true, true, false],
    ],
    "bool",
  );
  const generator = randomGenerator(1);
  test.each([
    ["bahdanau", bahdanau({ query: 6, memory: 6 }, { score: "general", generator })],
    ["luong, general", luong({ query: 6, memory: 6 }, { score: "general", generator })],
    ["luong, dot", luong({ query: 6, memory: 6 }, { score: "dot", generator })],
  ])("%s is what its paper's equations give", async (_, align) => {
    for (const known of [mask, undefined]) {
      const { context, weights } = align(queries, align.keys(memory), memory, known);
      expect(await worst(weights.sum(-1), weights.sum(-1).mul(0).add(1))).toBeLessThan(1e-6);
      for (const t of [0, 1]) {
        const written = align.equations(queries.slice(null, [t, t + 1]).squeeze(1), memory, known);
        expect(await worst(context.slice(null, [t, t + 1]).squeeze(1), written)).toBeLessThan(1e-5);
      }
    }
    const { weights } = align(queries, align.keys(memory), memory, mask);
    expect(await weights.slice([1, 2]).squeeze(0).array()).toEqual([
      [1, 0, 0, 0],
      [1, 0, 0, 0],
    ]);
  });
});

describe("teacher forcing", () => {
  test("with rate 1 as a tensor gives what rate 1 gives; with rate 0 each step is fed what was drawn before", async () => {
    const model = make();
    const forced = await valued(model(source, targets, { lengths, teacherForcing: tensor(1) }));
    expect(await worst(forced, model(source, targets, { lengths }))).toBeLessThan(1e-6);
    // A head that is sure of token 4 after anything: from the second step on all steps see 4.
    model
      .namedParameters()
      .get("head.bias")!
      .write(Float32Array.from({ length: 9 }, (_, id) => (id === 4 ? 1e4 : 0)));
    const free = await valued(model(source, targets, { lengths, teacherForcing: 0 }));
    const fours = tensor(
      Array.from({ length: 3 }, () => [4, 4, 4, 4, 4]),
      "int32",
    );
    expect(await worst(free, model(source, fours, { lengths }))).toBeLessThan(1e-6);
    expect(await worst(free, model(source, targets, { lengths }))).toBeGreaterThan(1e-3);
  });

  test("its rate falls along a line with the updates, and its count can be saved", async () => {
    const sampling = scheduledSampling({ start: 0.9, end: 0.5, steps: 4 });
    const step = compile(() => {
      const rate = sampling.rate();
      sampling.update();
      return rate;
    });
    const rates: number[] = [];
    for (let i = 0; i < 6; i++) rates.push(await step().item());
    expect(rates.map((rate) => Number(rate.toFixed(3)))).toEqual([0.9, 0.8, 0.7, 0.6, 0.5, 0.5]);
    expect([...sampling.namedStates().keys()]).toEqual(["updates"]);
  });
});

test("targets without tokens have no scores", () => {
  for (const options of [{}, { inputFeeding: true }, { attention: "bahdanau" }] as const) {
    const model = seq2seq({ sourceSize: 5, targetSize: 5, startToken: 1, hiddenSize: 4, ...options });
    const source = tensor([[1, 2]], "int32");
    expect(model(source, zeros([1, 0], "int32")).shape).toEqual([1, 0, 5]);
    expect(model(source, zeros([1, 0], "int32"), { teacherForcing: 0.5 }).shape).toEqual([1, 0, 5]);
  }
});

test("what does not fit is refused", () => {
  expect(() => make({ startToken: 9 })).toThrow(/startToken is 9/);
  expect(() => make({ decoderLayers: 2 })).toThrow(/the decoder has 2 layers and the encoder 1/);
  expect(() => make({ attention: "none", inputFeeding: true })).toThrow(/input feeding without attention/);
  expect(() => make({ attention: "additive" as never })).toThrow(/give "bahdanau" or "luong" or "none"/);
  const model = make();
  expect(() => model(source, targets.slice([0, 2]))).toThrow(/there are 3 sources and 2 targets/);
  expect(() => model(source.cast("float32") as never, targets)).toThrow(/the sources are float32\[3, 4\]/);
  expect(() => model(source, targets, { teacherForcing: 2 })).toThrow(/teacherForcing is 2/);
  expect(() => model.startState(2)).toThrow(/a decoder has no state of its own to begin with/);
  expect(() => scheduledSampling({ end: -1, steps: 3 })).toThrow(/`end` is -1/);
});

describe("PyTorch's numbers", () => {
  interface Case {
    readonly options: Partial<Seq2SeqOptions>;
    readonly weights: Readonly<Record<string, number[]>>;
    readonly logits: number[];
    readonly loss: number;
    readonly gradients: Readonly<Record<string, number[]>>;
  }
  const packed = readFileSync(new URL("../fixtures/seq2seq.json.gz", import.meta.url));
  const fixture = JSON.parse(gunzipSync(packed).toString()) as { readonly cases: readonly Case[] };
  const far = (found: ArrayLike<number | boolean>, wanted: readonly number[]): number => {
    expect(found).toHaveLength(wanted.length);
    return Math.max(...wanted.map((value, i) => Math.abs(value - Number(found[i]))));
  };

  test.each(fixture.cases.map((each) => [JSON.stringify(each.options), each] as const))("%s", async (_, each) => {
    const model = make(each.options);
    const parameters = [...model.namedParameters()];
    expect(parameters.map(([name]) => name).sort()).toEqual(Object.keys(each.weights).sort());
    for (const [name, parameter] of parameters) parameter.write(Float32Array.from(each.weights[name]!));
    const logits = model(source, targets, { lengths });
    expect(far(await logits.data(), each.logits)).toBeLessThan(2e-6);
    const loss = crossEntropy(logits, targets, { ignore: 0, labelSmoothing: 0.1 });
    expect(Math.abs((await loss.item()) - each.loss)).toBeLessThan(2e-6);
    const found = await Promise.all(gradients(loss, model.parameters()).map((gradient) => gradient.data()));
    for (const [i, [name]] of parameters.entries())
      expect(far(found[i]!, each.gradients[name]!), name).toBeLessThan(2e-6);
  });
});
