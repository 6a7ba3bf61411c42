/** How a training is run: the options of `fit`, checked and with nothing left open. */
import { ConfigError } from "../errors.ts";
import { aFlag, aFunction, aNumber, aText, aWhole, expectArguments, type Kind, options } from "../graph/arguments.ts";
import { expectSeed } from "../random/generator.ts";
import type { TrainingEvent } from "./events.ts";
import type { Recorder } from "./notes.ts";

/** When something is done: never, every so many steps, after each epoch. */
export type Strategy = "no" | "steps" | "epoch";

/** Options of `fit`. Most have the names and meanings of Hugging Face's `TrainingArguments`, the switches for debugging those of Lightning. */
export interface FitOptions {
  /** How often all batches are seen. Default 3; without end where `maxSteps` is given. */
  readonly epochs?: number;
  /** The training ends after so many steps (updates of the weights), if its epochs have not ended before. */
  readonly maxSteps?: number;
  /** When `validation` is looked at. Default: "steps" where `evalSteps` is given, else "epoch". Nothing happens without `validation`. */
  readonly evalStrategy?: Strategy;
  /** Steps between evaluations. */
  readonly evalSteps?: number;
  /** Steps between logs of the mean loss. Default 10. */
  readonly loggingSteps?: number;
  /**
   * The weights at the end are those of the best evaluation instead of the last ones. Default false. In a run folder they are its best
   * checkpoint's; otherwise they are kept in memory.
   */
  readonly loadBestModelAtEnd?: boolean;
  /** Which number of an evaluation says how good a model is: "loss" or the name of a metric. Default "loss". */
  readonly metricForBestModel?: string;
  /** Whether a larger one is better. Default: what the metric says of itself. */
  readonly greaterIsBetter?: boolean;
  /** Batches whose gradients are added up for one step. Default 1. The last step of an epoch may have fewer. */
  readonly gradientAccumulationSteps?: number;
  /** The global norm that gradients are scaled down to. Default: they are not. */
  readonly maxGradNorm?: number;
  /** The training ends when so many evaluations in a row are no better than the best one. Default: never. */
  readonly earlyStoppingPatience?: number;
  /** An evaluation must be better by more than this to count. Default 0. */
  readonly earlyStoppingThreshold?: number;
  /**
   * What the order of the examples follows from, where `train` is a dataset. Where it is given, the setup's generator also begins anew from
   * it: so does dropout, but not the initial weights, which are there already. Default 0.
   */
  readonly seed?: number;
  /** At most so many batches of an epoch are trained on; a fraction below 1 is a share of them. */
  readonly limitTrainBatches?: number;
  /** At most so many batches are looked at in an evaluation; a fraction below 1 is a share of them. */
  readonly limitValidationBatches?: number;
  /** Trains on the first so many batches alone, and evaluates on them: a model that cannot learn them by heart has a mistake in it. */
  readonly overfitBatches?: number;
  /** One step, or so many, through everything (training, evaluation, checkpoint), and nothing is written. */
  readonly fastDevRun?: boolean | number;
  /**
   * A step that meets NaN or infinity names the first op, and the path of its module, that made one. Each step is waited for. Default false.
   */
  readonly detectAnomalies?: boolean;
  /** Aborted, it ends the training after the step under way. */
  readonly signal?: AbortSignal;
  /** Hears what happens, and may record things of its own; awaited. Without it warnings go to standard error. */
  readonly onEvent?: (event: TrainingEvent, record: Recorder) => unknown;
}

/** Options with nothing left open that has a default. */
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

/** Checks options against their kinds and ranges. Throws ConfigError. `kinds` are those of further options. */
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
  if (maxGradNorm !== undefined && !(maxGradNorm > 0 && Number.isFinite(maxGradNorm)))
    throw new ConfigError(subject, `maxGradNorm is ${maxGradNorm}`, "give a finite number above 0, or leave it out");
  if (!(earlyStoppingThreshold >= 0))
    throw new ConfigError(subject, `earlyStoppingThreshold is ${earlyStoppingThreshold}`, "give a number from 0 on");
  if (given.seed !== undefined) expectSeed(subject, given.seed);
  if (evalStrategy === "steps" && evalSteps === undefined)
    throw new ConfigError(subject, 'evalStrategy is "steps", and there are no evalSteps', "give evalSteps: 100");
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

/** Throws ConfigError unless a number that is given is at least so large. */
export function expectFrom(subject: string, name: string, value: number | undefined, least: number): void {
  if (value !== undefined && value < least)
    throw new ConfigError(subject, `${name} is ${value}`, `give a whole number from ${least} on`);
}
