/** Exported models with open axes: one file in stock ONNX Runtime for several batches and several lengths, compared with the model. */
import { fromBinary } from "@bufbuild/protobuf";
import { type GraphProto, ModelProtoSchema, type ValueInfoProto } from "onnx-buf";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import type { DynamicAxes } from "../../src/files/dynamic-axes.ts";
import { inMode } from "../../src/nn/module.ts";
import {
  arange,
  bertForMaskedLM,
  bertForSequenceClassification,
  bertForTokenClassification,
  ConfigError,
  concat,
  conv1d,
  conv2d,
  crossEntropy,
  embedding,
  exportOnnx,
  fromValues,
  gpt2LMHeadModel,
  gru,
  learnedPositions,
  linear,
  lstm,
  maxPool1d,
  maxPool2d,
  module,
  multiHeadAttention,
  ones,
  relu,
  rotaryPositions,
  sequential,
  sgd,
  sinusoidalPositions,
  type Tensor,
  tensor,
  transformer,
  transformerEncoder,
  zeros,
} from "../../src/node.ts";

type Ids = Tensor<[number, number], "int32">;
type Vectors = Tensor<[number, number, 8], "float32">;
type Results = Tensor | readonly Tensor[];

interface Case {
  /** The inputs: ids, masks (ids of 0 and 1, with 1 in front) or vectors of width 8. */
  readonly inputs: Readonly<Record<string, "ids" | "mask" | "vectors">>;
  readonly fn: (...inputs: readonly Tensor[]) => Results;
  /** The longest length that the model takes. Default 40. */
  readonly longest?: number;
}

const examplesOf = ({ inputs }: Case, batch: number, time: number): Tensor[] =>
  Object.values(inputs).map((kind): Tensor => {
    if (kind === "vectors")
      return fromValues(
        Float32Array.from({ length: batch * time * 8 }, (_, i) => Math.sin(7 * i + batch)),
        [batch, time, 8],
      );
    const at = (i: number): number => {
      const [row, column] = [Math.floor(i / time), i % time];
      return kind === "ids" ? 1 + ((5 * i + batch) % 18) : Number(column === 0 || column < time - (row % 3));
    };
    return fromValues(
      Int32Array.from({ length: batch * time }, (_, i) => at(i)),
      [batch, time],
    );
  });

const axesOf = ({ inputs }: Case): DynamicAxes =>
  Object.fromEntries(Object.keys(inputs).map((name) => [name, { 0: "batch", 1: "time" }]));

const dimsOf = ({ type }: ValueInfoProto): unknown[] =>
  type?.value.case === "tensorType" ? type.value.value.shape!.dim.map(({ value }) => value.value) : [];

const graphOf = (bytes: Uint8Array): GraphProto => fromBinary(ModelProtoSchema, bytes).graph!;

/** Exports a function with batch and time open, and compares the model with the function for several sizes of both. */
async function expectOpen(each: Case): Promise<GraphProto> {
  const names = Object.keys(each.inputs);
  const bytes = await exportOnnx(each.fn, examplesOf(each, 2, 6), { inputs: names, dynamicAxes: axesOf(each) });
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  for (const [batch, time] of [
    [1, 1],
    [1, 4],
    [3, 6],
    [4, 7],
    [2, each.longest ?? 40],
  ] as const) {
    const xs = examplesOf(each, batch, time);
    const feeds: Record<string, OrtTensor> = {};
    for (const [i, name] of names.entries())
      feeds[name] = new OrtTensor(xs[i]!.dtype, (await xs[i]!.data()) as Float32Array, xs[i]!.shape);
    const outputs = await session.run(feeds);
    const wanted = [inMode(false, () => each.fn(...xs))].flat() as Tensor[];
    for (const [i, name] of session.outputNames.entries()) {
      const [want, got] = [await wanted[i]!.data(), outputs[name]!];
      expect(got.dims).toEqual(wanted[i]!.shape);
      const differences = Array.from(want, (value, k) =>
        Object.is(value, got.data[k]) ? 0 : Math.abs(Number(value) - Number(got.data[k])),
      );
      expect(Math.max(0, ...differences)).toBeLessThan(1e-5);
    }
  }
  return graphOf(bytes);
}

const small = {
  vocabSize: 20,
  hiddenSize: 8,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  intermediateSize: 16,
  maxPositionEmbeddings: 40,
} as const;
const classifier = bertForSequenceClassification(small);
const tagger = bertForTokenClassification(small);
const masked = bertForMaskedLM(small);
const gpt = gpt2LMHeadModel({
  vocabSize: 20,
  hiddenSize: 8,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  maxPositionEmbeddings: 40,
});
const encoder = transformerEncoder(8, 2, { layers: 2, feedForwardSize: 16 });
const rotary = rotaryPositions(40, 8);
const rotated = transformerEncoder(8, 2, { layers: 1, rotary: rotaryPositions(40, 4) });
const attention = multiHeadAttention(8, 2);
const table = embedding(20, 8);
const learned = learnedPositions(40, 8);
const sines = sinusoidalPositions(40, 8);
const forward = lstm(8, 6);
const both = lstm(8, 6, { layers: 2, bidirectional: true });
const gated = gru(8, 6, { bidirectional: true });
const head = linear(6, 5);
const translator = transformer({
  vocabularySize: 20,
  startToken: 1,
  paddingToken: 0,
  width: 8,
  heads: 2,
  layers: 1,
  dropout: 0,
  longest: 40,
});
const strided = sequential(conv1d(8, 6, 3, { padding: 1, stride: 2 }), maxPool1d(2, { padding: 1 }));
const over = sequential(conv1d(8, 6, 3, { padding: 1 }), relu);

const isReal = (mask: Tensor): Tensor => mask.notEqual(0) as Tensor;
const lengthsOf = (mask: Tensor): Tensor<[number], "int32"> => mask.sum(1) as Tensor<[number], "int32">;
const ids = { ids: "ids" } as const;
const idsAndMask = { ids: "ids", mask: "mask" } as const;
const vectors = { x: "vectors" } as const;

const cases: Readonly<Record<string, Case>> = {
  "BERT, a classifier with a mask": {
    inputs: idsAndMask,
    fn: (x, mask) => classifier(x as Ids, { attentionMask: isReal(mask!) as never }).logits,
  },
  "BERT, a tagger with a mask": {
    inputs: idsAndMask,
    fn: (x, mask) => tagger(x as Ids, { attentionMask: isReal(mask!) as never }).logits,
  },
  "BERT that fills masks, with probabilities": {
    inputs: ids,
    fn: (x) => masked(x as Ids).logits.softmax(),
  },
  "GPT-2": { inputs: ids, fn: (x) => gpt(x as Ids).logits },
  "GPT-2, the last token's probabilities": {
    inputs: ids,
    fn: (x) =>
      gpt(x as Ids)
        .logits.slice(null, [-1])
        .softmax(),
  },
  "an encoder with a padding mask": {
    inputs: { x: "vectors", mask: "mask" },
    fn: (x, mask) => encoder(x as Vectors, { mask: isReal(mask!).unsqueeze(1).unsqueeze(1) as never }),
  },
  "an encoder with a causal mask": {
    inputs: vectors,
    fn: (x) =>
      encoder(x as Vectors, { mask: arange(x!.shape[1]!).unsqueeze(1).greaterEqual(arange(x!.shape[1]!)) as never }),
  },
  "an encoder that is causal": { inputs: vectors, fn: (x) => encoder(x as Vectors, { causal: true }) },
  "an encoder with rotary positions": { inputs: vectors, fn: (x) => rotated(x as Vectors) },
  attention: { inputs: vectors, fn: (x) => attention(x as Vectors) as Tensor },
  "learned positions": { inputs: ids, fn: (x) => learned(table(x as Ids) as Vectors) as Tensor },
  "sinusoidal positions": { inputs: ids, fn: (x) => sines(table(x as Ids) as Vectors) as Tensor },
  "rotary positions": { inputs: vectors, fn: (x) => rotary(x!.unsqueeze(1) as never) as Tensor },
  "an LSTM tagger": { inputs: ids, fn: (x) => head(forward(table(x as Ids) as never).outputs as never) as Tensor },
  "an LSTM tagger, both ways, with lengths": {
    inputs: idsAndMask,
    fn: (x, mask) => {
      const { outputs } = both(table(x as Ids) as never, { lengths: lengthsOf(mask!) as never });
      return outputs;
    },
  },
  "a GRU's states": {
    inputs: idsAndMask,
    fn: (x, mask) => Object.values(gated(table(x as Ids) as never, { lengths: lengthsOf(mask!) as never }).state),
  },
  "the Transformer": { inputs: ids, fn: (x) => translator(x as Ids, x as Ids) as Tensor },
  "the Transformer, which writes": { inputs: ids, fn: (x) => translator.greedy(x as Ids, 6) as Tensor },
  "convolution over time": {
    inputs: vectors,
    fn: (x) => over(x!.transpose(0, 2, 1) as never) as Tensor,
  },
  "convolution with a stride": {
    inputs: vectors,
    fn: (x) => strided(x!.transpose(0, 2, 1) as never) as Tensor,
  },
  "means over time and batch": {
    inputs: { x: "vectors", mask: "mask" },
    fn: (x, mask) => [
      x!.mean(1),
      x!.mean(),
      x!.sum([0, 1]),
      x!.std(1),
      x!.norm(1),
      x!.variance(1, { correction: 1 }),
      x!.std([0, 1], { correction: 1 }),
      x!.softmax(1),
      x!.cumsum(1),
      x!.max(1),
      x!.mul(1 / Math.sqrt(x!.shape[1]!)),
      x!.mul(3 / (x!.shape[1]! * x!.shape[0]!)),
      x!.mul(x!.shape[1]! ** 2),
      x!.mul(tensor(1 / x!.shape[1]!)),
      mask!.sum(),
    ],
  },
  "shapes of both sizes": {
    inputs: vectors,
    fn: (x) => {
      const [batch, time] = x!.shape as [number, number, number];
      const first = zeros([batch, 1, 8]) as Tensor;
      return [
        x!.reshape([batch * time, 8]),
        x!.reshape([batch, time * 8]),
        x!
          .reshape([batch, time, 2, 4])
          .transpose(0, 2, 1, 3)
          .reshape([batch * 2, time, 4]),
        concat([first, x!], 1).reshape([batch * (time + 1), 8]),
        x!.add(arange(time).reshape([time, 1]).cast("float32")),
        x!.flip(1),
        x!.matmul(x!.mT()),
        x!.matmul(x!.mT()).triu(),
        x!.slice(null, [0, 1]).expand([batch, time, 8]),
        ones([time, time]).expand([batch, time, time]),
      ];
    },
  },
};

test.for(Object.entries(cases))("batch and time: %s", async ([, each]) => {
  const { input } = await expectOpen(each);
  for (const info of input) expect(dimsOf(info).slice(0, 2)).toEqual(["batch", "time"]);
});

test("sizes have the names that they are given, and outputs are named after them", async () => {
  const bytes = await exportOnnx(
    (query: Tensor, key: Tensor) => [
      query.matmul(key.mT()),
      concat([query, query], 1),
      query.reshape([query.shape[0]! * query.shape[1]!, 4]),
    ],
    [ones([2, 3, 4]), ones([2, 5, 4])],
    { inputs: ["query", "key"], dynamicAxes: { query: { 0: "rows", 1: "queries" }, key: { 0: "rows", 1: "keys" } } },
  );
  const { input, output } = graphOf(bytes);
  expect(input.map(dimsOf)).toEqual([
    ["rows", "queries", 4n],
    ["rows", "keys", 4n],
  ]);
  expect(output.map(dimsOf)).toEqual([
    ["rows", "queries", "keys"],
    ["rows", "2*queries", 4n],
    ["rows*queries", 4n],
  ]);
  const session = await InferenceSession.create(bytes);
  const feed = (...shape: number[]): OrtTensor =>
    new OrtTensor("float32", new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape);
  const outputs = await session.run({ query: feed(3, 2, 4), key: feed(3, 9, 4) });
  expect(session.outputNames.map((name) => outputs[name]!.dims)).toEqual([
    [3, 2, 9],
    [3, 4, 4],
    [6, 4],
  ]);
});

test("a translator takes sources and targets of any length, an image network images of any size", async () => {
  const ids = (batch: number, time: number): Tensor =>
    fromValues(
      Int32Array.from({ length: batch * time }, (_, i) => 1 + ((3 * i) % 18)),
      [batch, time],
    );
  const translate = (source: Tensor, target: Tensor): Tensor => translator(source as Ids, target as Ids) as Tensor;
  const bytes = await exportOnnx(translate, [ids(2, 6), ids(2, 5)], {
    inputs: ["source", "target"],
    dynamicAxes: { source: ["batch", "source_time"], target: ["batch", "target_time"] },
  });
  const network = sequential(conv2d(1, 4, 3, { padding: 1 }), relu, maxPool2d(2)) as unknown as (x: Tensor) => Tensor;
  const images = await exportOnnx((x: Tensor) => network(x).max([2, 3]), [ones([1, 1, 8, 8])], {
    inputs: ["images"],
    dynamicAxes: { images: { 0: "batch", 2: "height", 3: "width" } },
  });
  const [text, image] = [await InferenceSession.create(bytes), await InferenceSession.create(images)];
  const compare = async (session: InferenceSession, xs: readonly Tensor[], want: Tensor): Promise<void> => {
    const feeds = xs.map(async (x) => new OrtTensor(x.dtype, (await x.data()) as Float32Array, x.shape));
    const entries = (await Promise.all(feeds)).map((feed, i) => [session.inputNames[i]!, feed] as const);
    const got = (await session.run(Object.fromEntries(entries)))[session.outputNames[0]!]!;
    expect(got.dims).toEqual(want.shape);
    const values = await want.data();
    expect(Math.max(...Array.from(values, (value, i) => Math.abs(value - Number(got.data[i]))))).toBeLessThan(1e-5);
  };
  for (const [batch, source, target] of [
    [1, 1, 7],
    [3, 12, 4],
  ] as const) {
    const xs = [ids(batch, source), ids(batch, target)] as const;
    await compare(
      text,
      xs,
      inMode(false, () => translate(...xs)),
    );
  }
  for (const [batch, height, width] of [
    [1, 5, 9],
    [2, 12, 7],
  ] as const) {
    const values = Float32Array.from({ length: batch * height * width }, (_, i) => Math.sin(i));
    const x = fromValues(values, [batch, 1, height, width]) as Tensor;
    await compare(image, [x], network(x).max([2, 3]));
  }
});

test("only the axes that are named are open", async () => {
  const sum = (x: Tensor): Tensor => x.sum(2);
  const dims = async (dynamicAxes: DynamicAxes): Promise<unknown> =>
    graphOf(await exportOnnx(sum, [ones([2, 3, 4])], { inputs: ["x"], dynamicAxes })).output.map(dimsOf);
  expect(await dims({ x: { 1: "time" } })).toEqual([[2n, "time"]]);
  expect(await dims({ x: ["batch"] })).toEqual([["batch", 3n]]);
  expect(await dims({ x: { 2: "width" } })).toEqual([[2n, 3n]]);
  expect(await dims({})).toEqual([[2n, 3n]]);
});

test("a training step takes any batch and any length", async () => {
  const [words, model] = [embedding(20, 8), linear(8, 20)];
  const both = sequential(words as never, model as never) as unknown as ((x: Tensor) => Tensor) & typeof model;
  const optimizer = sgd(both, { learningRate: 0.5 });
  const step = (x: Tensor, targets: Tensor): Tensor => {
    const loss = crossEntropy(both(x) as never, targets as never) as Tensor;
    optimizer.minimize(loss);
    return loss;
  };
  const examples = (batch: number, time: number): Tensor[] =>
    [3, 7].map((by) =>
      fromValues(
        Int32Array.from({ length: batch * time }, (_, i) => (by * i) % 20),
        [batch, time],
      ),
    );
  const bytes = await exportOnnx(step as never, examples(2, 6), {
    inputs: ["x", "targets"],
    outputs: ["loss"],
    names: both,
    dynamicAxes: { x: ["batch", "time"], targets: ["batch", "time"] },
  });
  const session = await InferenceSession.create(bytes);
  const feeds: Record<string, OrtTensor> = {};
  for (const [name, state] of [...both.namedStates(), ...optimizer.namedStates()])
    feeds[name] = new OrtTensor(state.dtype, (await state.data()) as Float32Array, state.shape);
  const [x, targets] = examples(3, 9);
  feeds.x = new OrtTensor("int32", (await x!.data()) as Int32Array, [3, 9]);
  feeds.targets = new OrtTensor("int32", (await targets!.data()) as Int32Array, [3, 9]);
  const outputs = await session.run(Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!])));
  const loss = await step(x!, targets!).item();
  expect(Number(outputs.loss!.data[0])).toBeCloseTo(loss as number, 5);
  for (const [name, state] of both.namedStates()) {
    const [want, got] = [await state.data(), outputs[`${name}.next`]!.data];
    expect(Math.max(...Array.from(want, (value, i) => Math.abs(Number(value) - Number(got[i]))))).toBeLessThan(1e-5);
  }
});

test("says which axis cannot be open, which op prevents it and why", async () => {
  const messageOf = async (fn: (x: Tensor) => Results, axes: DynamicAxes[string] = ["batch", "time"]) => {
    const error = await exportOnnx(fn, [ones([2, 6, 8])], { inputs: ["x"], dynamicAxes: { x: axes } }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  };
  const layer = linear(8, 8);
  expect(await messageOf((x) => x.reshape([x.shape[0]!, 48]))).toMatchInlineSnapshot(`
    "exportOnnx: "time" cannot be open, because the function takes no other sizes: reshape: [2, 5, 8] has 80 elements, [2, 48] has 96
      fix: take sizes from the input's shape (x.shape[axis]) in place of fixed numbers, or leave "time" out of dynamicAxes"
  `);
  expect(await messageOf((x) => (x.shape[1]! > 20 ? x.mul(2) : x.add(1)))).toMatchInlineSnapshot(`
    "exportOnnx: "time" cannot be open, because the op add is another operation for time = 29
      fix: take sizes from the input's shape (x.shape[axis]) in place of fixed numbers, or leave "time" out of dynamicAxes"
  `);
  expect(
    await messageOf((x) => x.mul(tensor(Array.from({ length: x.shape[1]! }, (_, i) => [Math.sqrt(i)])))),
  ).toMatchInlineSnapshot(`
    "exportOnnx: "time" cannot be open, because the op mul has a constant of another shape for time = 19 than for time = 13
      fix: take sizes from the input's shape (x.shape[axis]) in place of fixed numbers, or leave "time" out of dynamicAxes"
  `);
  const cut = sequential(
    layer as never,
    module("Cut", {}, (x: Tensor) => x.slice(null, [0, 20])) as never,
  ) as never as (x: Tensor) => Tensor;
  expect(await messageOf((x) => cut(x))).toMatchInlineSnapshot(`
    "exportOnnx: "time" cannot be open, because the op slice in 1 is computed in another way for time = 29 than for time = 19
      fix: take sizes from the input's shape (x.shape[axis]) in place of fixed numbers, or leave "time" out of dynamicAxes"
  `);
  expect(await messageOf((x) => x.slice(null, [-3]))).toMatchInlineSnapshot(`
    "exportOnnx: "time" cannot be open, because the op slice has the number time-3, which small sizes make negative
      fix: take sizes from the input's shape (x.shape[axis]) in place of fixed numbers, or leave "time" out of dynamicAxes"
  `);
  expect(await messageOf((x) => x.mul(1 / Math.min(x.shape[1]!, 30)))).toMatchInlineSnapshot(`
    "exportOnnx: "time" cannot be open, because the op mul has a number that does not follow from the size: 0.07692307978868484 for time = 13, 0.05263157933950424 for time = 19, 0.03448275849223137 for time = 29, 0.03333333507180214 for time = 503
      fix: take sizes from the input's shape (x.shape[axis]) in place of fixed numbers, or leave "time" out of dynamicAxes"
  `);
  expect(
    await messageOf((x) => {
      let h = zeros([x.shape[0]!, 8]) as Tensor;
      for (let t = 0; t < x.shape[1]!; t++)
        h = (layer as never as (x: Tensor) => Tensor)(
          x
            .slice(null, [t, t + 1])
            .squeeze(1)
            .add(h),
        );
      return h;
    }),
  ).toMatchInlineSnapshot(`
    "exportOnnx: "time" cannot be open, because the function makes another number of operations: 70 for time = 13, 100 for time = 19
      fix: take sizes from the input's shape (x.shape[axis]) in place of fixed numbers, or leave "time" out of dynamicAxes"
  `);
});

test("refuses inputs, axes and names that cannot be", async () => {
  const messageOf = (dynamicAxes: unknown) =>
    exportOnnx((x: Tensor, y: Tensor) => x.sum().add(y.sum()), [ones([2, 6]), ones([2, 5])], {
      inputs: ["ids", "mask"],
      dynamicAxes: dynamicAxes as DynamicAxes,
    }).then(
      () => undefined,
      (error: Error) => error.message,
    );
  expect(await messageOf({ idx: ["batch"] })).toMatchInlineSnapshot(`
    "exportOnnx: dynamicAxes names the input "idx", and there are "ids", "mask"
      fix: did you mean ids?"
  `);
  expect(await messageOf({ ids: { 2: "time" } })).toMatchInlineSnapshot(`
    "exportOnnx: "ids" has no axis 2: its example is [2, 6]
      fix: count axes from 0, up to 1"
  `);
  expect(await messageOf({ ids: { 0: 3 } })).toMatchInlineSnapshot(`
    "exportOnnx: axis 0 of "ids" has the name 3
      fix: give a name of letters, digits and underscores"
  `);
  expect(await messageOf({ ids: { 0: "2 words" } })).toMatchInlineSnapshot(`
    "exportOnnx: axis 0 of "ids" has the name "2 words"
      fix: give a name of letters, digits and underscores"
  `);
  expect(await messageOf(["batch", "time"])).toMatchInlineSnapshot(`
    "exportOnnx: dynamicAxes is an array
      fix: give each input its axes with their names, such as { ids: { 0: "batch", 1: "time" } }"
  `);
  expect(await messageOf({ ids: 1 })).toMatchInlineSnapshot(`
    "exportOnnx: the dynamic axes of "ids" are 1
      fix: give each input its axes with their names, such as { ids: { 0: "batch", 1: "time" } }"
  `);
  expect(await messageOf({ ids: ["batch", "time"], mask: ["batch", "time"] })).toMatchInlineSnapshot(`
    "exportOnnx: the axes called "time" have the sizes 6 and 5 in the examples
      fix: axes with one name have one size: give one of them another name, or make the examples equal"
  `);
});
