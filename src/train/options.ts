/** The options of `fit`: checked, and completed with defaults. */
import { ConfigError } from "../errors.ts";
import { aFlag, aFunction, aNumber, aText, aWhole, expectArguments, type Kind, options } from "../graph/arguments.ts";
import { Plateau } from "../optim/schedules.ts";
import { expectSeed } from "../random/generator.ts";
import type { TrainingEvent } from "./events.ts";
import type { Recorder } from "./notes.ts";
import type { CompleteSetup } from "./setup.ts";

/** When something is done: never, after a number of steps, or after each epoch. */
export type Strategy = "no" | "steps" | "epoch";

/** Options of `fit`. Most have names and meanings as in Hugging Face's `TrainingArguments`; the options for debugging, as in Lightning. */
export interface FitOptions {
  /** Number of epochs. Default 3; unlimited if `maxSteps` is given. */
  readonly epochs?: number;
  /** The most steps (updates of the weights). The training ends after them, if its epochs have not ended before. */
  readonly maxSteps?: number;
  /** When the model is evaluated on `validation`, if there is any. Default: "steps" if `evalSteps` is given, else "epoch". */
  readonly evalStrategy?: Strategy;
  /** Steps between evaluations. */
  readonly evalSteps?: number;
  /** Steps between logs of the mean loss. Default 10. */
  readonly loggingSteps?: number;
  /**
   * Whether the model has the weights of the best evaluation at the end, instead of the last ones. Default false. They come from the best
   * checkpoint of the run folder; without a run folder, they are kept in memory.
   */
  readonly loadBestModelAtEnd?: boolean;
  /** The number by which evaluations are compared: "loss" or the name of a metric. Default "loss". */
  readonly metricForBestModel?: string;
  /** Whether a larger number is better. Default: the metric's own `greaterIsBetter`. */
  readonly greaterIsBetter?: boolean;
  /** Number of batches whose gradients are accumulated for one step. Default 1. The last step of an epoch may have fewer. */
  readonly gradientAccumulationSteps?: number;
  /** The largest global norm of the gradients: larger ones are scaled down to it. Default: no limit. */
  readonly maxGradNorm?: number;
  /** The training ends when this many evaluations in a row are not better than the best one. Default: never. */
  readonly earlyStoppingPatience?: number;
  /** An evaluation counts as better only if it is better by more than this. Default 0. */
  readonly earlyStoppingThreshold?: number;
  /**
   * The seed of the order of the examples, if `train` is a dataset. If `seed` is given, the setup's generator is also seeded with it: this
   * affects dropout, but not the initial weights, which are made before. Default 0.
   */
  readonly seed?: number;
  /** The most batches of an epoch to train on; a number below 1 is a share of all batches. */
  readonly limitTrainBatches?: number;
  /** The most batches in an evaluation; a number below 1 is a share of all batches. */
  readonly limitValidationBatches?: number;
  /** Trains and evaluates only on this many batches, the first ones: a model that cannot memorise them has a bug. */
  readonly overfitBatches?: number;
  /** Makes one step, or this many, with everything (training, evaluation, checkpoint), but writes no files. */
  readonly fastDevRun?: boolean | number;
  /**
   * Whether the error of a step with NaN or infinity names the first op that made one, and its module. Waits for each step. Default false.
   */
  readonly detectAnomalies?: boolean;
  /** When the signal is aborted, the training ends after the current step; without a step, if it was aborted before. */
  readonly signal?: AbortSignal;
  /** Called for each event, and awaited. It may record values of its own. Without it, warnings go to standard error. */
  readonly onEvent?: (event: TrainingEvent, record: Recorder) => unknown;
}

/** Options in which all defaults are filled in. */
export interface CompleteOptions extends FitOptions {
  readonly epochs: number;
  readonly maxSteps: number;
  readonly evalStrategy: Strategy;
  readonly evalSteps: number;
  readonly loggingSteps: number;
  readonly loadBestModelAtEnd: boolean;
  readonly metricForBestModel: string;
  readonly gradientAccumulationSteps: number;
  readonly earlyStoppingPatience: number;
  readonly earlyStoppingThreshold: number;
  readonly detectAnomalies: boolean;
}

const aSignal: Kind = (value) =>
  typeof value === "object" && value !== null && "aborted" in value
    ? undefined
    : "give the signal of an AbortController";
export const aStrategy: Kind = (value) =>
  ["no", "steps", "epoch"].includes(value as string) ? undefined : 'give "no", "steps" or "epoch"';
const aFlagOrNumber: Kind = (value) => (aFlag(value) && aWhole(value) ? "give true, or a whole number" : undefined);

/** The kinds of all options, by name. */
export const fitKinds: Readonly<Record<keyof FitOptions, Kind>> = {
  epochs: aWhole,
  maxSteps: aWhole,
  evalStrategy: aStrategy,
  evalSteps: aWhole,
  loggingSteps: aWhole,
  loadBestModelAtEnd: aFlag,
  metricForBestModel: aText,
  greaterIsBetter: aFlag,
  gradientAccumulationSteps: aWhole,
  maxGradNorm: aNumber,
  earlyStoppingPatience: aWhole,
  earlyStoppingThreshold: aNumber,
  seed: aWhole,
  limitTrainBatches: aNumber,
  limitValidationBatches: aNumber,
  overfitBatches: aWhole,
  fastDevRun: aFlagOrNumber,
  detectAnomalies: aFlag,
  signal: aSignal,
  onEvent: aFunction,
};

/** Checks options against their kinds and ranges, and fills in defaults. Throws ConfigError. `kinds` are those of further options. */
export function completeOptions(
  subject: string,
  given: FitOptions,
  kinds: Readonly<Record<string, Kind>> = fitKinds,
): CompleteOptions {
  expectArguments(subject, [options(kinds)], [given]);
  for (const name of [
    "epochs",
    "maxSteps",
    "evalSteps",
    "loggingSteps",
    "gradientAccumulationSteps",
    "earlyStoppingPatience",
    "overfitBatches",
  ] as const)
    expectFrom(subject, name, given[name], 1);
  if (typeof given.fastDevRun === "number") expectFrom(subject, "fastDevRun", given.fastDevRun, 1);
  for (const name of ["limitTrainBatches", "limitValidationBatches"] as const) {
    const value = given[name];
    if (value !== undefined && !((value > 0 && value < 1) || (Number.isSafeInteger(value) && value >= 1)))
      throw new ConfigError(subject, `${name} is ${value}`, "give a number of batches, or a share between 0 and 1");
  }
  const { maxGradNorm, earlyStoppingThreshold = 0, evalStrategy, evalSteps } = given;
  if (maxGradNorm !== undefined && !(maxGradNorm > 0))
    throw new ConfigError(
      subject,
      `maxGradNorm is ${maxGradNorm}`,
      "give a number above 0; with Infinity the norm is only measured",
    );
  if (!(earlyStoppingThreshold >= 0))
    throw new ConfigError(subject, `earlyStoppingThreshold is ${earlyStoppingThreshold}`, "give a number from 0 on");
  if (given.seed !== undefined) expectSeed(subject, given.seed);
  if (evalStrategy === "steps" && evalSteps === undefined)
    throw new ConfigError(subject, 'evalStrategy is "steps", and there are no evalSteps', "give evalSteps: 100");
  expectUsed(
    subject,
    given,
    ["evalSteps"],
    ['evalStrategy "epoch"', 'give evalStrategy: "steps"'],
    evalStrategy === "epoch",
  );
  expectUsed(
    subject,
    given,
    ["evalSteps", "loadBestModelAtEnd", "earlyStoppingPatience"],
    withoutEvaluations,
    evalStrategy === "no",
  );
  expectUsed(
    subject,
    given,
    ["limitTrainBatches", "limitValidationBatches"],
    ["overfitBatches, which chooses all batches", "leave out overfitBatches"],
    given.overfitBatches !== undefined,
  );
  const dev = given.fastDevRun === true ? 1 : given.fastDevRun || undefined;
  return {
    ...given,
    epochs: given.epochs ?? (given.maxSteps === undefined ? 3 : Number.POSITIVE_INFINITY),
    maxSteps: Math.min(given.maxSteps ?? Number.POSITIVE_INFINITY, dev ?? Number.POSITIVE_INFINITY),
    evalStrategy: dev ? "epoch" : (evalStrategy ?? (evalSteps === undefined ? "epoch" : "steps")),
    evalSteps: evalSteps ?? Number.POSITIVE_INFINITY,
    loggingSteps: dev ? 1 : (given.loggingSteps ?? 10),
    loadBestModelAtEnd: given.loadBestModelAtEnd ?? false,
    metricForBestModel: given.metricForBestModel ?? "loss",
    gradientAccumulationSteps: given.gradientAccumulationSteps ?? 1,
    earlyStoppingPatience: given.earlyStoppingPatience ?? Number.POSITIVE_INFINITY,
    earlyStoppingThreshold,
    detectAnomalies: given.detectAnomalies ?? false,
    ...(dev && { fastDevRun: dev, limitTrainBatches: dev, limitValidationBatches: dev }),
  };
}

/**
 * Throws ConfigError if there is `other`, beside which one of the options has no effect, and this option is given. An option that is false
 * or "no" asks for nothing.
 */
export function expectUsed<O extends object>(
  subject: string,
  given: O,
  names: readonly (keyof O & string)[],
  [other, change]: readonly [other: string, change: string],
  isThere: boolean,
): void {
  const useless = isThere
    ? names.find((name) => ![undefined, false, "no"].includes(given[name] as undefined))
    : undefined;
  if (useless === undefined) return;
  throw new ConfigError(
    subject,
    `there is ${useless} and ${other}, so that ${useless} has no effect`,
    `leave out ${useless}, or ${change}`,
  );
}

const withoutEvaluations = ['evalStrategy "no"', 'leave out evalStrategy: "no"'] as const;

/** Options of evaluations. */
const ofEvaluations = [
  "evalStrategy",
  "evalSteps",
  "loadBestModelAtEnd",
  "metricForBestModel",
  "greaterIsBetter",
  "earlyStoppingPatience",
  "earlyStoppingThreshold",
  "limitValidationBatches",
] as const;

/** Throws ConfigError if an option, or a plateau as the schedule, needs evaluations and there are none. */
export function expectEvaluations(
  subject: string,
  given: FitOptions,
  { validation, schedule }: Pick<CompleteSetup, "validation" | "schedule">,
): void {
  const options = {
    ...given,
    ...(given.greaterIsBetter !== undefined && { greaterIsBetter: true }), //  false says something too
    ...(schedule instanceof Plateau && { "a schedule.Plateau": true }),
  };
  const isNone = validation === undefined;
  expectUsed(
    subject,
    options,
    [...ofEvaluations, "a schedule.Plateau"],
    ["no `validation` in the setup", "give the setup data to evaluate on: validation: dataset(inputs, labels)"],
    isNone,
  );
  expectUsed(
    subject,
    options,
    ["a schedule.Plateau"],
    withoutEvaluations,
    given.evalStrategy === "no" && !given.fastDevRun,
  );
}

/** Throws ConfigError if a number is given and is less than `least`. */
export function expectFrom(subject: string, name: string, value: number | undefined, least: number): void {
  if (value !== undefined && value < least)
    throw new ConfigError(subject, `${name} is ${value}`, `give a whole number from ${least} on`);
}
