/** Metrics against counts by hand, over batches of different size, under masks. */
import { describe, expect, test } from "vitest";
import {
  crossEntropy,
  dataset,
  init,
  linear,
  loader,
  type Metric,
  metric,
  module,
  parameter,
  type Tensor,
  validate,
} from "../../src/node.ts";

/** Scores that are given: the model passes its input on. */
const pass = module("Pass", { unused: parameter([1], init.zeros) }, (x: Tensor<[number, 3], "float32">) => x);

const scores = [
  [5, 1, 0],
  [0, 2, 1],
  [0, 1, 2],
  [3, 2, 1],
  [1, 0, 4],
  [0, 3, 1],
  [2, 1, 0],
];
const labels = [0, 1, 1, 2, 2, 1, 0];

function setup(metrics: readonly Metric[], own = labels, weight?: (x: Tensor, y: Tensor) => Tensor) {
  const data = dataset(
    { shape: [own.length, 3], dtype: "float32", values: Float32Array.from(scores.flat().slice(0, own.length * 3)) },
    { shape: [own.length], dtype: "int32", values: Int32Array.from(own) },
  );
  return {
    model: pass,
    loss: (x: Tensor<[number, 3], "float32">, y: Tensor<[number], "int32">) => crossEntropy(pass(x), y, { ignore: -1 }),
    train: data,
    validation: loader(data, { batchSize: 3 }), //  3, 3, 1
    metrics,
    ...(weight && { weight }),
  };
}

const logSumExp = (row: readonly number[]): number => Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
const losses = scores.map((row, i) => logSumExp(row) - row[labels[i]!]!);
const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

test("means weigh the last, smaller batch by its examples", async () => {
  const report = await validate(setup([metric.accuracy(), metric.topK(2), metric.perplexity()]));
  expect(report.examples).toBe(7);
  expect(report.loss).toBeCloseTo(mean(losses), 6);
  expect(report.metrics.accuracy).toBeCloseTo(5 / 7, 12);
  expect(report.metrics.top2Accuracy).toBeCloseTo(6 / 7, 12);
  expect(report.metrics.perplexity).toBeCloseTo(Math.exp(mean(losses)), 5);
});

test("what is ignored counts nowhere, and weights count it out of the loss", async () => {
  const own = [0, -1, 1, 2, -1, 1, 0];
  const kept = own.flatMap((label, i) => (label < 0 ? [] : [i]));
  const counted = (_: Tensor, y: Tensor): Tensor => y.notEqual(-1).cast("float32").sum();
  const metrics = [metric.accuracy({ ignore: -1 }), metric.perplexity(), metric.confusionMatrix({ ignore: -1 })];
  const report = await validate(setup(metrics, own, counted));
  expect(report.loss).toBeCloseTo(mean(kept.map((i) => losses[i]!)), 6);
  expect(report.metrics.accuracy).toBeCloseTo(3 / 5, 12);
  expect(report.metrics.perplexity).toBeCloseTo(Math.exp(report.loss), 8);
  expect(report.metrics.confusionMatrix).toEqual([
    [2, 0, 0],
    [0, 1, 1],
    [1, 0, 0],
  ]);
});

test("the confusion matrix has labels in its rows; F1 in three ways follows from it", async () => {
  const ways = (["macro", "micro", "binary"] as const).map((average) => metric.f1({ average, name: average }));
  const { metrics } = await validate(setup([metric.confusionMatrix(), ...ways]));
  expect(metrics.confusionMatrix).toEqual([
    [2, 0, 0],
    [0, 2, 1],
    [1, 0, 1],
  ]);
  const each = [(2 * 2) / (2 * 2 + 1), (2 * 2) / (2 * 2 + 1), 2 / (2 + 1 + 1)];
  expect(metrics.macro).toBeCloseTo(mean(each), 12);
  expect(metrics.micro).toBeCloseTo(5 / 7, 12);
  expect(metrics.binary).toBeCloseTo(each[1]!, 12);
});

test("edit distances are counted in JavaScript, over all batches", async () => {
  const table = (rows: readonly (readonly number[])[]) =>
    ({ shape: [rows.length, 4], dtype: "int32", values: Int32Array.from(rows.flat()) }) as const;
  const guesses = [
    [1, 2, 3, 9],
    [1, 1, 9, 5],
    [4, 4, 4, 4],
  ];
  const truths = [
    [1, 3, 9, 0], //  one out: 1 of 2
    [2, 1, 1, 9], //  one in: 1 of 3
    [4, 4, 4, 4], //  0 of 4
  ];
  const weight = parameter([1], init.zeros);
  const model = module("Guess", { weight }, (x: Tensor<[number, 4], "int32">) => x);
  const report = await validate({
    model,
    loss: (x: Tensor<[number, 4], "int32">) => x.cast("float32").mean().mul(weight.sum()),
    train: dataset(table(guesses), table(truths)),
    batchSize: 2,
    metrics: [
      metric.editDistance({ end: 9 }),
      metric.editDistance({ end: 9, normalize: false, name: "distance" }),
      metric.editDistance({ skip: [9], name: "skipping" }),
    ],
  });
  expect(report.metrics).toEqual({
    editDistance: expect.closeTo(2 / 9, 12),
    distance: expect.closeTo(2 / 3, 12),
    skipping: expect.closeTo(4 / 10, 12), //  123 → 130, 115 → 211: two each
  });
});

describe("metrics that cannot be", () => {
  const model = linear(3, 3);
  const base = setup([]);
  test.each<[string, unknown]>([
    ["no list", metric.accuracy()],
    ["something else", [3]],
    ["two of a name", [metric.accuracy(), metric.accuracy()]],
    ["one called loss", [metric.accuracy({ name: "loss" })]],
  ])("%s", async (_, metrics) => {
    await expect(validate({ ...base, model, metrics: metrics as Metric[] })).rejects.toThrow(
      /ConfigError: validate|validate: /,
    );
  });

  test("of outputs that are no scores", async () => {
    await expect(validate({ ...base, output: (x: Tensor) => x.sum(-1), metrics: [metric.accuracy()] })).rejects.toThrow(
      "accuracy: outputs [3] against targets int32[3]",
    );
    expect(() => metric.topK(0)).toThrow("k is 0");
    expect(() => metric.f1({ average: "weighted" as "macro" })).toThrow('give "macro", "micro" or "binary"');
  });
});
