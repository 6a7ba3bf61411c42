/** Exported models take any batch size: every op and layer is exported with one size and runs with others. */
import { fromBinary } from "@bufbuild/protobuf";
import { type GraphProto, ModelProtoSchema, type NodeProto } from "onnx-buf";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { sizeOf, type TensorType } from "../../src/graph/types.ts";
import { inMode } from "../../src/nn/module.ts";
import {
  arange,
  avgPool2d,
  bertForSequenceClassification,
  concat,
  conv2d,
  convTranspose2d,
  einsum,
  embedding,
  exportOnnx,
  flatten,
  fromValues,
  gpt2LMHeadModel,
  gradients,
  groupNorm,
  gru,
  layerNorm,
  linear,
  lstm,
  maxPool2d,
  multiHeadAttention,
  ones,
  relu,
  rnn,
  scan,
  sequential,
  stack,
  type Tensor,
  transformer,
  zeros,
} from "../../src/node.ts";

type Steps = Tensor<[number, 5, 4], "float32">;
type Images = Tensor<[number, 3, 8, 8], "float32">;
type Ids = Tensor<[number, 5], "int32">;
type Results = Tensor | readonly Tensor[];

/** The types of the inputs of examples, without the batch. */
const inputs = {
  steps: { shape: [5, 4], dtype: "float32" },
  images: { shape: [3, 8, 8], dtype: "float32" },
  ids: { shape: [5], dtype: "int32" },
} as const;

const batchOf = (x: Tensor): number => x.shape[0]!;
const two = fromValues(Int32Array.of(2, 0), [2]);

const ofSteps: Readonly<Record<string, (x: Steps) => Results>> = {
  "slice of one axis": (x) => x.slice(null, [0, 1]),
  "slice with negative bounds": (x) => x.slice(null, [-2], [-1, undefined, -2]),
  "slice with steps": (x) => x.slice(null, [0, undefined, 2], [1, 4, 2]),
  "slice of the batch": (x) => x.slice([1], [0, 2]),
  "slice of all": (x) => x.slice([0], null, [0, 4]).mul(2),
  flip: (x) => [x.flip(1), x.flip(0), x.flip([1, 2])],
  pad: (x) =>
    x.pad([
      [0, 0],
      [1, 2],
      [0, 1],
    ]),
  split: (x) => x.split([2, 3], 1),
  concat: (x) => [concat([x, x], 1), concat([x, x.mul(2)], 0), stack([x, x], 1)],
  reshape: (x) => x.reshape([batchOf(x), 20]).reshape([-1, 2, 2, 5]),
  "reshape with the batch twice": (x) => {
    const rows = x.reshape([batchOf(x), 20]);
    return rows.matmul(rows.mT()).reshape([1, batchOf(x), batchOf(x)]);
  },
  transpose: (x) => x.transpose(1, 0, 2),
  "tile and repeat": (x) => [x.tile([1, 2, 3]), x.tile([2, 1, 1]), x.repeat(2, 1)],
  expand: (x) =>
    ones([4])
      .expand([batchOf(x), 5, 4])
      .add(x),
  zeros: (x) => zeros([batchOf(x), 5, 4]).add(x),
  arange: (x) => x.add(arange(batchOf(x)).reshape([-1, 1, 1]).cast("float32")),
  cumsum: (x) => x.cumsum(1),
  "reductions over the batch": (x) => [
    x.mean(0),
    x.sub(x.mean()),
    x.std(0, { correction: 1 }),
    x.square().sum(),
    x.norm(),
    x.cumsum(0),
    x.softmax(0),
    x.mul(ones([batchOf(x) ** 2]).sum()),
  ],
  reductions: (x) => [x.max(1), x.argmax(2), x.sum(1), x.mean(2), x.std(1), x.max(0)],
  sort: (x) => x.sort(1),
  softmax: (x) => x.softmax(1),
  einsum: (x) => einsum("bij,bkj->bik", x, x),
  take: (x) => x.take(two, 1),
  roll: (x) => x.roll(1, 1),
  triu: (x) => x.triu(),
  "gradient of slices": (x) => gradients(x.slice(null, [0, 4, 2], [-1, undefined, -2]).square().sum(), [x]),
  "gradient of a flip": (x) => gradients(x.flip(1).square().mul(x).sum(), [x]),
  layers: sequential(linear(4, 3), relu, layerNorm(3)),
  attention: (x) => attention(x),
  "a loop that uses the batch's size": (x) =>
    scan(
      (h: Tensor, xt: Tensor) => [
        h
          .add(xt)
          .add(zeros([batchOf(x), 4]))
          .sub(arange(batchOf(x)).reshape([-1, 1]).cast("float32"))
          .tanh(),
        h,
      ],
      {
        init: zeros([batchOf(x), 4]) as Tensor,
        xs: x.transpose(1, 0, 2) as Tensor,
      },
    ).state as Tensor,
};
const attention = multiHeadAttention(4, 2);

const ofImages: Readonly<Record<string, (x: Images) => Results>> = {
  "convolution, pooling, flatten": sequential(conv2d(3, 4, 3), relu, maxPool2d(2), flatten),
  "transposed convolution": convTranspose2d(3, 4, 3, { stride: 2 }),
  "average pooling": avgPool2d(2),
  "group normalisation": groupNorm(1, 3),
};

const bert = bertForSequenceClassification({
  vocabSize: 20,
  hiddenSize: 8,
  numHiddenLayers: 1,
  numAttentionHeads: 2,
  intermediateSize: 8,
  maxPositionEmbeddings: 10,
});
const gpt = gpt2LMHeadModel({
  vocabSize: 20,
  hiddenSize: 8,
  numHiddenLayers: 1,
  numAttentionHeads: 2,
  maxPositionEmbeddings: 10,
});
const translator = transformer({
  vocabularySize: 20,
  startToken: 1,
  paddingToken: 0,
  width: 64,
  heads: 2,
  layers: 1,
  dropout: 0,
  longest: 10,
});
const ofIds: Readonly<Record<string, (ids: Ids) => Results>> = {
  "one-hot": (ids) => ids.oneHot(20),
  embedding: embedding(20, 4),
  gather: (ids) => {
    const table = ids
      .mul(2)
      .reshape([-1, 5, 1])
      .expand([batchOf(ids), 5, 4]);
    return table.gather(
      ids
        .fmod(5)
        .reshape([-1, 5, 1])
        .expand([batchOf(ids), 5, 4]),
      1,
    );
  },
  BERT: (ids) => bert(ids, { attentionMask: ids.notEqual(0) }).logits,
  "GPT-2": (ids) => gpt(ids).logits,
  "the Transformer, which writes": (ids) => translator.greedy(ids, 6),
};

const lengthsOf = (ids: Ids): Tensor<[number], "int32"> => ids.max(1).clip(1, 5) as Tensor<[number], "int32">;

/** Recurrent layers: outputs and the state after the last step, without and with lengths. */
const recurrent = Object.fromEntries(
  [1, 2].flatMap((layers) =>
    [false, true].flatMap((bidirectional) => {
      const sizes = { layers, bidirectional };
      const [a, b, c] = [lstm(4, 3, sizes), gru(4, 3, sizes), rnn(4, 3, sizes)];
      const name = `${layers} layers${bidirectional ? ", both ways" : ""}`;
      const all = (x: Steps, options: { readonly lengths?: Tensor<[number], "int32"> }): Tensor[] =>
        [a(x, options), b(x, options), c(x, options)].flatMap(({ outputs, state }) => [
          outputs,
          ...Object.values(state),
        ]);
      return [
        [name, (x: Steps) => all(x, {})],
        [`${name}, lengths`, (x: Steps, ids: Ids) => all(x, { lengths: lengthsOf(ids) })],
      ] as const;
    }),
  ),
);

type AnyFunction = (...batch: readonly Tensor[]) => Results;
type Kind = keyof typeof inputs;

/** Runs the exported model of a function with batches of 1, 3 and 7, and compares it with the function. */
async function expectOpen(given: unknown, kinds: readonly Kind[]): Promise<void> {
  const fn: AnyFunction = (...batch) => (given as AnyFunction)(...batch);
  const batch = (size: number): Tensor[] =>
    kinds.map((kind) => {
      const { shape, dtype }: TensorType = inputs[kind];
      const isIds = dtype === "int32";
      const at = (i: number): number => (isIds ? (5 * i + size) % 8 : Math.sin(7 * i + size));
      const values = Array.from({ length: size * sizeOf(shape) }, (_, i) => at(i));
      return fromValues(isIds ? Int32Array.from(values) : Float32Array.from(values), [size, ...shape]);
    });
  const reasons: string[] = [];
  const bytes = await exportOnnx(fn, batch(2), { onFixedBatch: (reason) => reasons.push(reason) });
  expect(reasons).toEqual([]);
  const { graph } = fromBinary(ModelProtoSchema, bytes);
  const used = new Set(nodesIn(graph!).flatMap(({ input }) => input));
  expect(graph!.initializer.filter(({ name }) => !used.has(name)).map(({ name }) => name)).toEqual([]);
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  for (const size of [1, 3, 7]) {
    const xs = batch(size);
    const feeds: Record<string, OrtTensor> = {};
    for (const [i, name] of session.inputNames.entries())
      feeds[name] = new OrtTensor(xs[i]!.dtype, (await xs[i]!.data()) as Float32Array, xs[i]!.shape);
    const outputs = await session.run(feeds);
    const wanted = [inMode(false, () => fn(...xs))].flat() as Tensor[];
    for (const [i, name] of session.outputNames.entries()) {
      const [want, got] = [await wanted[i]!.data(), outputs[name]!];
      expect(got.dims).toEqual(wanted[i]!.shape);
      const differences = Array.from(want, (value, k) =>
        Object.is(value, got.data[k]) ? 0 : Math.abs(Number(value) - Number(got.data[k])),
      );
      expect(Math.max(0, ...differences)).toBeLessThan(1e-5);
    }
  }
}

const nodesIn = ({ node }: GraphProto): NodeProto[] =>
  node.flatMap((each) => [each, ...each.attribute.flatMap(({ g }) => (g ? nodesIn(g) : []))]);

test.for(Object.entries(ofSteps))("any batch: %s", ([, fn]) => expectOpen(fn, ["steps"]));
test.for(Object.entries(ofImages))("any batch of images: %s", ([, fn]) => expectOpen(fn, ["images"]));
test.for(Object.entries(ofIds))("any batch of ids: %s", ([, fn]) => expectOpen(fn, ["ids"]));
test.for(Object.entries(recurrent))("any batch: LSTM, GRU and RNN, %s", ([name, fn]) =>
  expectOpen(fn, name.endsWith("lengths") ? ["steps", "ids"] : ["steps"]),
);

test("a slice names only the axes that it cuts, and no size that it does not need", async () => {
  const slicesOf = async (fn: (x: Steps) => Tensor): Promise<unknown[]> => {
    const { graph } = fromBinary(ModelProtoSchema, await exportOnnx(fn, [ones([2, 5, 4])]));
    const constants = new Map(
      graph!.initializer.map(({ name, rawData }) => [name, [...new BigInt64Array(rawData.slice().buffer)].map(Number)]),
    );
    return graph!.node
      .filter(({ opType }) => opType === "Slice")
      .map(({ input }) => input.slice(1).map((name) => constants.get(name)));
  };
  const [last, first] = [2 ** 31 - 1, -(2 ** 31)];
  expect(await slicesOf((x) => x.slice(null, [0, 1]))).toEqual([[[0], [1], [1], [1]]]);
  expect(await slicesOf((x) => x.slice(null, [2], [1, 3]))).toEqual([
    [
      [2, 1],
      [last, 3],
      [1, 2],
      [1, 1],
    ],
  ]);
  expect(await slicesOf((x) => x.flip(1))).toEqual([[[-1], [first], [1], [-1]]]);
});

test("a number that does not follow from the batch's size keeps it fixed", async () => {
  const reasonOf = async (fn: (x: Steps) => Tensor): Promise<string[]> => {
    const reasons: string[] = [];
    await exportOnnx(fn, [ones([2, 5, 4])], { onFixedBatch: (reason) => reasons.push(reason) });
    return reasons;
  };
  const fixed = [
    expect.stringMatching(/the op \w+ has a number that does not follow from the size: \d+ for batch = \d/),
  ];
  expect(await reasonOf((x) => x.mul(zeros([Math.floor(batchOf(x) / 2) + 1]).sum()))).toEqual(fixed);
  expect(await reasonOf((x) => x.mul(ones([2 ** batchOf(x) % 100]).sum()))).toEqual(fixed);
  // From the end: for a smaller batch this is another slice.
  expect(await reasonOf((x) => x.slice([-5]))).toEqual([
    "the op slice has the number batch-5, which small sizes make negative",
  ]);
});
