/** What a training is made of, as recipes and users' own modules offer it to whatever looks at trainings. */
import { type Column, Dataset } from "../data/dataset.ts";
import type { Batch } from "../data/tensors.ts";
import { ConfigError, DTypeError, ShapeError } from "../errors.ts";
import { isFloat, showType } from "../graph/types.ts";
import { isModule, type Module } from "../nn/module.ts";
import { adam } from "../optim/adam.ts";
import { Optimizer } from "../optim/optimizer.ts";
import { Tensor } from "../tensor/tensor.ts";

/** A model, its loss and its data. */
export interface TrainingSetup<C extends readonly Column[] = readonly Column[]> {
  readonly model: Module;
  /** The loss of a batch, a scalar averaged over its examples; takes one tensor for each column, in their order. */
  loss(...batch: Batch<C>): Tensor;
  /** The last column holds what is to be predicted, those before it the inputs. */
  readonly train: Dataset<C>;
  readonly test?: Dataset<C>;
  /** Default: Adam over the model, with its usual rate. */
  readonly optimizer?: Optimizer;
  /** Examples in a step. Default 64. */
  readonly batchSize?: number;
  /** What the model says of a batch, [examples, …]. Default: the model, called with the first column. */
  output?(...batch: Batch<C>): Tensor;
  /** How many classes there are. Default: the last axis of the output, where the last column holds labels (int32). */
  readonly classes?: number;
}

/** A setup with nothing left open. */
export type CompleteSetup = Required<Omit<TrainingSetup, "test" | "classes">> & Pick<TrainingSetup, "test" | "classes">;

/**
 * Checks a setup part by part and fills in what it leaves to defaults. `subject` is what messages call it. Throws
 * ConfigError for a part that is missing or something else than it should be.
 */
export function completeSetup<C extends readonly Column[]>(subject: string, typed: TrainingSetup<C>): CompleteSetup {
  const setup = typed as unknown as TrainingSetup; //  whatever its columns: the loader gives what its functions take
  const given: { readonly [K in keyof TrainingSetup]: unknown } = setup;
  if (typeof setup !== "object" || setup === null)
    throw new ConfigError(subject, `the setup is ${nameOf(setup)}`, "give a record { model, loss, train }");
  expectPart(subject, "model", isModule(given.model), given.model, "a module, such as sequential(linear(4, 3))");
  expectPart(subject, "loss", typeof given.loss === "function", given.loss, "a function of a batch's tensors");
  expectData(subject, setup);
  const { model, train } = setup;
  const isOutput = given.output === undefined || typeof given.output === "function";
  expectPart(subject, "output", isOutput, given.output, "a function of a batch's tensors");
  const isOptimizer = given.optimizer === undefined || given.optimizer instanceof Optimizer;
  expectPart(subject, "optimizer", isOptimizer, given.optimizer, "an optimizer, such as adam(model)");
  for (const [name, least] of [
    ["batchSize", 1],
    ["classes", 2],
  ] as const)
    if (given[name] !== undefined && !(Number.isSafeInteger(given[name]) && (given[name] as number) >= least))
      throw new ConfigError(subject, `\`${name}\` is ${String(given[name])}`, `give a whole number from ${least} on`);
  const output = (...batch: readonly Tensor[]): Tensor =>
    setup.output ? setup.output(...batch) : (model as unknown as (x: Tensor) => Tensor)(batch[0]!);
  return {
    model,
    train,
    ...(setup.test && { test: setup.test }),
    ...(setup.classes && { classes: setup.classes }),
    loss: (...batch) => expectLoss(subject, setup.loss(...batch)),
    output: (...batch) => expectOutput(subject, output(...batch), batch[0]!.shape[0]!),
    optimizer: setup.optimizer ?? adam(model),
    batchSize: Math.min(setup.batchSize ?? 64, train.length),
  };
}

/** The data of a setup. */
export type TrainingData<C extends readonly Column[] = readonly Column[]> = Pick<TrainingSetup<C>, "train" | "test">;

/** Throws ConfigError unless the data are datasets whose columns have the same types. */
export function expectData(subject: string, { train, test }: TrainingData): void {
  expectPart(subject, "train", train instanceof Dataset, train, "a dataset: dataset(inputs, labels)");
  if (test === undefined) return;
  expectPart(subject, "test", test instanceof Dataset, test, "a dataset with the columns of `train`");
  const show = ({ columns }: Dataset): string =>
    columns.map(({ shape, dtype }) => showType({ shape: shape.slice(1), dtype })).join(", ");
  if (show(train) !== show(test))
    throw new ConfigError(
      subject,
      `an example of \`train\` is ${show(train)}, one of \`test\` ${show(test)}`,
      "make both from the same columns",
    );
}

function expectPart(subject: string, name: keyof TrainingSetup, holds: boolean, value: unknown, wanted: string): void {
  if (holds) return;
  const isForeign =
    ["object", "function"].includes(typeof value) && value !== null && looksLike[name]?.(value as never);
  throw new ConfigError(
    subject,
    value === undefined ? `there is no \`${name}\`` : `\`${name}\` is ${nameOf(value)}`,
    isForeign
      ? "another copy of Glissade made it: run that copy, with npx glissade in the folder of its package.json"
      : `give ${wanted}`,
  );
}

/** What tells a part that another copy of this package has made, and that is no part for this one. */
const looksLike: { readonly [K in keyof TrainingSetup]?: (value: Readonly<Record<string, unknown>>) => boolean } = {
  model: (value) => "namedStates" in value && "kind" in value,
  train: (value) => "columns" in value && "take" in value,
  test: (value) => "columns" in value && "take" in value,
  optimizer: (value) => "minimize" in value && "namedStates" in value,
};

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "function") return isModule(value) ? "a module" : "a function";
  if (Array.isArray(value)) return "an array";
  if (value instanceof Promise) return "a promise: await it";
  if (typeof value !== "object") return `the ${typeof value} ${String(value)}`;
  const { name = "Object" } = value.constructor ?? {};
  return name === "Object" ? "a record" : `a ${name}`;
}

function expectLoss(subject: string, loss: unknown): Tensor {
  if (!(loss instanceof Tensor))
    throw new ConfigError(subject, `\`loss\` returns ${nameOf(loss)}`, "return the scalar tensor to minimise");
  if (loss.shape.length > 0)
    throw new ShapeError(subject, `\`loss\` returns ${showType(loss)}`, "reduce it to a scalar: .mean()");
  if (!isFloat(loss.dtype))
    throw new DTypeError(subject, `\`loss\` returns ${showType(loss)}`, "return float32 or float64");
  return loss;
}

function expectOutput(subject: string, output: unknown, examples: number): Tensor {
  if (!(output instanceof Tensor))
    throw new ConfigError(
      subject,
      `the output is ${nameOf(output)}`,
      "give the setup a function `output` that returns a tensor [examples, …]",
    );
  if (output.shape[0] !== examples)
    throw new ShapeError(
      subject,
      `the output for ${examples} examples is ${showType(output)}`,
      "give the setup a function `output` whose result has the examples along axis 0",
    );
  return output;
}
