/** Setups that checks are tested on: the real digits, and small ones with one thing wrong each. */
import {
  adam,
  batchNorm,
  crossEntropy,
  type Dataset,
  dataset,
  defaultGenerator,
  functional,
  linear,
  loadMnist,
  module,
  relu,
  seed,
  sequential,
  type Tensor,
} from "../../src/node.ts";
import type { TrainingSetup } from "../../src/train/setup.ts";

export type Images = Tensor<[number, 784], "float32">;
export type Labels = Tensor<[number], "int32">;

const all: Awaited<ReturnType<typeof loadMnist>> = await loadMnist();
export const digits: typeof all.train = all.train;
export const testDigits: typeof all.test = all.test;

type Columns = (typeof digits)["columns"];

/** A setup whose training data are the digits. */
export type DigitsSetup = TrainingSetup<Columns> & { readonly train: Dataset<Columns> };

/** A model over digits, trained by Adam. */
export function digitsSetup(
  model: TrainingSetup["model"] & ((x: Images) => Tensor),
  options: { readonly learningRate?: number } = {},
): DigitsSetup {
  return {
    model,
    loss: (images, labels) => crossEntropy(model(images) as Tensor<[number, 10], "float32">, labels),
    train: digits,
    validation: testDigits,
    optimizer: adam(model, options),
  };
}

/** Every kind of variable: parameters, running statistics, moments, a generator. */
export function everythingSetup(): DigitsSetup {
  seed(3);
  const parts = { first: linear(784, 32), norm: batchNorm(32), last: linear(32, 10) };
  const model = module("Everything", parts, (x: Images) =>
    parts.last(
      functional.dropout(parts.norm(parts.first(x)).relu() as Tensor<[number, 32], "float32">, 0.1, defaultGenerator),
    ),
  );
  return digitsSetup(model);
}

/** One hidden layer. */
export function plainSetup(options?: { readonly learningRate: number }): ReturnType<typeof digitsSetup> {
  seed(1);
  return digitsSetup(sequential(linear(784, 32), relu, linear(32, 10)), options);
}

/** A dataset of float32 rows and one target each. */
export function table(rows: readonly (readonly number[])[], targets: readonly number[], kind: "float32" | "int32") {
  const values = kind === "int32" ? Int32Array.from(targets) : Float32Array.from(targets);
  return dataset(
    { shape: [rows.length, rows[0]!.length], dtype: "float32", values: Float32Array.from(rows.flat()) },
    { shape: [rows.length], dtype: kind, values },
  ) as Dataset;
}
