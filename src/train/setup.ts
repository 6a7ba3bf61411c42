/** The setup of a training: its model, loss, data and other parts, as recipes and users' modules export it. */
import { type BatchSource, isBatchSource } from "../data/batches.ts";
import { type Column, Dataset } from "../data/dataset.ts";
import { Loader } from "../data/loader.ts";
import type { Batch } from "../data/tensors.ts";
import { ConfigError, DTypeError, ShapeError } from "../errors.ts";
import type { HasNamedStates } from "../files/weights.ts";
import { missing, withStates } from "../graph/arguments.ts";
import { isFloat, showType } from "../graph/types.ts";
import { defaultGenerator, Generator } from "../nn/generator.ts";
import { isModule, type Module } from "../nn/module.ts";
import { adam } from "../optim/adam.ts";
import { Ema } from "../optim/ema.ts";
import { Optimizer } from "../optim/optimizer.ts";
import { Plateau, type Schedule } from "../optim/schedules.ts";
import { Tensor } from "../tensor/tensor.ts";
import { CarriedState } from "./carried.ts";
import type { Metric } from "./metrics.ts";

/** A model, its loss and its data. */
export interface TrainingSetup<C extends readonly Column[] = readonly Column[]> {
  readonly model: Module;
  /** Returns the loss of a batch: a scalar, the mean over its examples. Takes one tensor for each column, in order. */
  loss(...batch: Batch<C>): Tensor;
  /**
   * The training data. The last column holds the targets, the columns before it the inputs. A dataset is shuffled anew for each epoch; a
   * loader, or another source of batches, is used as it is.
   */
  readonly train: Dataset<C> | BatchSource;
  /** The data for evaluations, with the same columns. */
  readonly validation?: Dataset<C> | BatchSource;
  /** The optimizer. Default: Adam over the model, with its default rate. */
  readonly optimizer?: Optimizer;
  /**
   * The optimizer's rate over time: a schedule, called before each step, or a `schedule.Plateau`, updated after each evaluation. Default:
   * a constant rate.
   */
  readonly schedule?: Schedule | Plateau;
  /** Number of examples in a batch, if `train` is a dataset. Default 64. A loader has its own batch size. */
  readonly batchSize?: number;
  /** Returns the model's output for a batch, [examples, …]. Default: the model, called with the first column. */
  output?(...batch: Batch<C>): Tensor;
  /**
   * Returns how many items the loss of a batch is the mean of: examples, or tokens that are not masked. It is the batch's weight in means
   * over several batches and in accumulated gradients; a batch of weight 0 counts nothing there. Default: the number of examples in it.
   */
  weight?(...batch: Batch<C>): Tensor | number;
  /** What evaluations measure besides the loss: `[metric.accuracy()]`. Default: no metrics. */
  readonly metrics?: readonly Metric[];
  /** Number of classes. Default: the size of the output's last axis, if the last column holds labels (int32). */
  readonly classes?: number;
  /** The generator for dropout and samples. Checkpoints hold its position. Default: the default generator. */
  readonly generator?: Generator;
  /** Called after the update in each training step, in the step's graph: for example, to count updates. */
  afterUpdate?(): void;
  /**
   * An average of the model's weights over the steps, made by `ema(model, { decay: 0.999 })`. `fit` updates it after each step, and uses
   * it in place of the trained weights wherever they are judged or used: evaluations, the model in checkpoints, and the model when the
   * training has ended. Checkpoints hold the trained weights beside it, with which a resumed training goes on. Default: none.
   */
  readonly average?: Ema;
  /**
   * The state that goes from batch to batch, made by `carriedState`: that of a recurrent network over a long text. `fit` begins each epoch
   * and each evaluation at its start, and checkpoints hold it. Default: none.
   */
  readonly carried?: CarriedState<unknown>;
  /** Other objects with variables that a checkpoint must hold, by name: a moving average, a second generator. */
  readonly state?: { readonly [name: string]: HasNamedStates };
}

/** A setup in which all defaults are filled in. */
export interface CompleteSetup<D = Dataset | BatchSource> {
  readonly model: Module;
  loss(...batch: readonly Tensor[]): Tensor;
  readonly train: D;
  readonly validation?: D;
  readonly optimizer: Optimizer;
  readonly schedule?: Schedule | Plateau;
  readonly batchSize: number;
  output(...batch: readonly Tensor[]): Tensor;
  /** Absent if the weight of a batch is its number of examples. */
  weight?(...batch: readonly Tensor[]): Tensor | number;
  readonly metrics: readonly Metric[];
  readonly classes?: number;
  readonly generator: Generator;
  /** Includes the update of the average. */
  afterUpdate(): void;
  readonly average?: Ema;
  readonly carried?: CarriedState<unknown>;
  readonly state: { readonly [name: string]: HasNamedStates };
}

const fields: readonly (keyof TrainingSetup)[] = [
  "model",
  "loss",
  "train",
  "validation",
  "optimizer",
  "schedule",
  "batchSize",
  "output",
  "weight",
  "metrics",
  "classes",
  "generator",
  "afterUpdate",
  "average",
  "carried",
  "state",
];

/**
 * Checks the parts of a setup and fills in defaults. `subject` is the subject of messages. Throws ConfigError for a part that is
 * missing, wrong or unknown.
 */
export function completeSetup<C extends readonly Column[]>(subject: string, typed: TrainingSetup<C>): CompleteSetup {
  const setup = typed as unknown as TrainingSetup; //  for any columns: the loader gives what the setup's functions take
  const given: { readonly [K in keyof TrainingSetup]: unknown } = setup;
  if (typeof setup !== "object" || setup === null)
    throw new ConfigError(subject, `the setup is ${nameOf(setup)}`, "give a record { model, loss, train }");
  expectPart(subject, "model", isModule(given.model), given.model, "a module, such as sequential(linear(4, 3))");
  expectPart(subject, "loss", typeof given.loss === "function", given.loss, "a function of a batch's tensors");
  expectBatches(subject, setup);
  const { model, train } = setup;
  const expectOptional = (name: keyof TrainingSetup, holds: (value: unknown) => boolean, wanted: string): void => {
    const value = given[name];
    expectPart(subject, name, value === undefined || holds(value), value, wanted);
  };
  const isFunction = (value: unknown): boolean => typeof value === "function";
  expectOptional("output", isFunction, "a function of a batch's tensors");
  expectOptional("weight", isFunction, "a function of a batch's tensors");
  expectOptional("afterUpdate", isFunction, "a function");
  expectOptional("optimizer", (value) => value instanceof Optimizer, "an optimizer, such as adam(model)");
  expectOptional(
    "schedule",
    (value) => isFunction(value) || value instanceof Plateau,
    "a function of the step, such as schedule.cosine(0.01, { steps }), or a schedule.Plateau",
  );
  expectOptional("generator", (value) => value instanceof Generator, "a generator, randomGenerator(seed)");
  expectOptional("average", (value) => value instanceof Ema, "what ema(model, { decay: 0.999 }) returns");
  const own = setup.average && new Set(model.parameters());
  const foreign = setup.average?.parameters.find((parameter) => !own!.has(parameter));
  if (foreign)
    throw new ConfigError(
      subject,
      `the average is of ${foreign.label}, which is none of the model's parameters`,
      "give the average of the model: ema(model)",
    );
  expectOptional(
    "carried",
    (value) => value instanceof CarriedState,
    "what carriedState((batch) => model.startState(batch), { batchSize: 32 }) returns",
  );
  if (setup.carried && train instanceof Dataset)
    throw new ConfigError(
      subject,
      "a state is carried from batch to batch, and `train` is a dataset, whose examples are shuffled",
      "give batches in order: languageModelBatches(ids, { batchSize: 32, steps: 35 })",
    );
  const haveStates = (value: unknown): boolean =>
    typeof value === "object" && value !== null && Object.values(value).every((each) => withStates(each) === undefined);
  expectOptional("state", haveStates, "a record of what has variables: { second: randomGenerator(1) }");
  for (const [name, part] of Object.entries(setup.state ?? {})) expectOther(subject, name, part, setup);
  if (setup.metrics !== undefined) expectMetrics(subject, setup.metrics);
  for (const [name, least] of [
    ["batchSize", 1],
    ["classes", 2],
  ] as const)
    if (given[name] !== undefined && !(Number.isSafeInteger(given[name]) && (given[name] as number) >= least))
      throw new ConfigError(subject, `\`${name}\` is ${String(given[name])}`, `give a whole number from ${least} on`);
  const unknown = Object.keys(setup).find((name) => !(fields as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new ConfigError(subject, "the setup has a part that nobody reads", missing(unknown, fields));
  const output = (...batch: readonly Tensor[]): Tensor =>
    setup.output ? setup.output(...batch) : (model as unknown as (x: Tensor) => Tensor)(batch[0]!);
  return {
    model,
    train,
    ...(setup.validation && { validation: setup.validation }),
    ...(setup.classes && { classes: setup.classes }),
    ...(setup.schedule && { schedule: synchronous(subject, setup.schedule) }),
    ...(setup.average && { average: setup.average }),
    ...(setup.carried && { carried: setup.carried }),
    loss: (...batch) => expectLoss(subject, expectSynchronous(subject, "loss", setup.loss(...batch))),
    output: (...batch) =>
      expectOutput(subject, expectSynchronous(subject, "output", output(...batch)), batch[0]!.shape[0]!),
    ...(setup.weight && {
      weight: (...batch: readonly Tensor[]) =>
        expectWeight(subject, expectSynchronous(subject, "weight", setup.weight!(...batch))),
    }),
    optimizer: setup.optimizer ?? adam(model),
    batchSize: (train instanceof Dataset ? undefined : setup.batchSize) ?? batchSizeOf(setup) ?? 64,
    metrics: setup.metrics ?? [],
    generator: setup.generator ?? defaultGenerator,
    afterUpdate() {
      expectSynchronous(subject, "afterUpdate", setup.afterUpdate?.());
      if (setup.average?.isUpdated)
        throw new ConfigError(
          subject,
          "`afterUpdate` has updated the average, which is a part of the setup and so updated already",
          "leave out average.update()",
        );
      setup.average?.update();
    },
    state: setup.state ?? {},
  };
}

/** Throws ConfigError for something in `state` that checkpoints hold already, or that has the name of such a part. */
function expectOther(subject: string, name: string, part: unknown, setup: TrainingSetup): void {
  const held = { model: setup.model, optimizer: setup.optimizer, generator: setup.generator };
  const own = Object.entries({ ...held, average: setup.average, carried: setup.carried });
  const isName =
    ["optimizer", "generator"].includes(name) || own.some(([other, it]) => other === name && it !== undefined);
  if (isName || own.some(([, it]) => it === part))
    throw new ConfigError(
      subject,
      `\`state\` has ${name}, and checkpoints hold a part of the setup ${isName ? "by that name" : "that is the same"}`,
      "leave out what the setup has already, and give anything else another name",
    );
}

/** Returns the number of examples in a training batch, if it is known: a source of batches need not tell it. */
export function batchSizeOf({ train, batchSize }: Pick<TrainingSetup, "train" | "batchSize">): number | undefined {
  if (!(train instanceof Dataset)) return train.batchSize;
  return Math.min(batchSize ?? 64, train.length);
}

/** Completes a setup whose data are in memory, so that they can be inspected. Throws ConfigError for other sources of batches. */
export function completeWithData<C extends readonly Column[]>(
  subject: string,
  setup: TrainingSetup<C>,
): CompleteSetup<Dataset> {
  const { validation: _, ...complete } = completeSetup(subject, setup);
  return { ...complete, ...datasetsOf(subject, setup as unknown as TrainingData) };
}

/** Returns how many examples a batch has. */
export function examplesIn([first]: readonly Tensor[]): number {
  return first?.shape[0] ?? 1;
}

/** The data of a setup. */
export type TrainingData<C extends readonly Column[] = readonly Column[]> = Pick<
  TrainingSetup<C>,
  "train" | "validation"
>;

/** Throws ConfigError unless the data are datasets or sources of batches that match each other. */
function expectBatches(subject: string, { train, validation }: TrainingData): void {
  const holds = (value: unknown): boolean => value instanceof Dataset || isBatchSource(value);
  const wanted = "a dataset: dataset(inputs, labels), or a source of batches: loader(data, { batchSize: 32 })";
  expectPart(subject, "train", holds(train), train, wanted);
  expectPart(subject, "validation", validation === undefined || holds(validation), validation, wanted);
  if (train instanceof Dataset && validation instanceof Dataset) expectSameColumns(subject, train, validation);
}

/** Returns the dataset that batches come from, if known: the given dataset or that of a loader. Otherwise the source itself. */
function datasetIn(source: Dataset | BatchSource): Dataset | BatchSource {
  return source instanceof Loader ? (source.dataset ?? source) : source;
}

/**
 * Returns the data of a setup as datasets; those of loaders, before their random changes. Throws ConfigError for other sources of
 * batches, and if the columns differ.
 */
export function datasetsOf(
  subject: string,
  given: TrainingData,
): { readonly train: Dataset; readonly validation?: Dataset } {
  const train = given.train && datasetIn(given.train);
  const validation = given.validation && datasetIn(given.validation);
  const wanted = "a dataset, or a loader over one, whose examples are looked at one by one: dataset(inputs, labels)";
  if (!(train instanceof Dataset)) return failPart(subject, "train", train, wanted);
  if (validation === undefined) return { train };
  if (!(validation instanceof Dataset)) return failPart(subject, "validation", validation, wanted);
  expectSameColumns(subject, train, validation);
  return { train, validation };
}

function expectSameColumns(subject: string, train: Dataset, validation: Dataset): void {
  const show = ({ columns }: Dataset): string =>
    columns
      .map(({ shape, dtype, offsets }) =>
        offsets
          ? `sequences of ${showType({ shape: shape.slice(2), dtype })}`
          : showType({ shape: shape.slice(1), dtype }),
      )
      .join(", ");
  if (show(train) !== show(validation))
    throw new ConfigError(
      subject,
      `an example of \`train\` is ${show(train)}, one of \`validation\` ${show(validation)}`,
      "make both from the same columns",
    );
}

function expectPart(subject: string, name: keyof TrainingSetup, holds: boolean, value: unknown, wanted: string): void {
  if (!holds) failPart(subject, name, value, wanted);
}

function failPart(subject: string, name: keyof TrainingSetup, value: unknown, wanted: string): never {
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

/** Tests by which a part is recognised that another copy of this package made. This copy cannot use such a part. */
const looksLike: { readonly [K in keyof TrainingSetup]?: (value: Readonly<Record<string, unknown>>) => boolean } = {
  model: (value) => "namedStates" in value && "kind" in value,
  train: (value) => "columns" in value && "take" in value,
  validation: (value) => "columns" in value && "take" in value,
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

/** Returns what a function of the setup has returned. Throws ConfigError for a promise, whose own error nobody is told of. */
export function expectSynchronous<R>(subject: string, name: string, result: R): R {
  if (!(result instanceof Promise)) return result;
  result.catch(() => {}); //  the caller must get the error below alone
  throw new ConfigError(
    subject,
    `\`${name}\` is asynchronous`,
    "make it synchronous: nothing can be awaited while the graph is built",
  );
}

const synchronous = (subject: string, schedule: Schedule | Plateau): Schedule | Plateau =>
  schedule instanceof Plateau ? schedule : (step) => expectSynchronous(subject, "schedule", schedule(step));

function expectLoss(subject: string, loss: unknown): Tensor {
  if (!(loss instanceof Tensor))
    throw new ConfigError(subject, `\`loss\` returns ${nameOf(loss)}`, "return the scalar tensor to minimise");
  if (loss.shape.length > 0)
    throw new ShapeError(subject, `\`loss\` returns ${showType(loss)}`, "reduce it to a scalar: .mean()");
  if (!isFloat(loss.dtype))
    throw new DTypeError(subject, `\`loss\` returns ${showType(loss)}`, "return float32 or float64");
  return loss;
}

function expectWeight(subject: string, weight: unknown): Tensor | number {
  if (typeof weight === "number") {
    if (weight > 0 && Number.isFinite(weight)) return weight;
    throw new ConfigError(
      subject,
      `\`weight\` returns ${weight}`,
      "return a finite number above 0, or a scalar tensor",
    );
  }
  if (!(weight instanceof Tensor))
    throw new ConfigError(subject, `\`weight\` returns ${nameOf(weight)}`, "return a number or a scalar tensor");
  if (weight.shape.length > 0)
    throw new ShapeError(subject, `\`weight\` returns ${showType(weight)}`, "reduce it to a scalar: .sum()");
  return weight;
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

/** Throws ConfigError unless `metrics` is a list of metrics with different names. */
function expectMetrics(subject: string, metrics: unknown): asserts metrics is readonly Metric[] {
  const isMetric = (each: unknown): each is Metric =>
    typeof each === "object" &&
    each !== null &&
    "name" in each &&
    typeof each.name === "string" &&
    ("sums" in each || "reads" in each);
  if (!Array.isArray(metrics) || !metrics.every(isMetric))
    throw new ConfigError(
      subject,
      "`metrics` holds something that is no metric",
      "give a list: [metric.accuracy(), metric.f1()]",
    );
  const names = metrics.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i || reserved.includes(name));
  if (twice !== undefined)
    throw new ConfigError(
      subject,
      `two metrics are called ${twice}`,
      `give one another name: metric.accuracy({ name: "…" })`,
    );
}

/** Names that metrics may not have, since evaluations use them. */
const reserved: readonly string[] = ["loss"];
