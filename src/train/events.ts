/** Events that a training reports while it runs. */
import type { MetricValue } from "./metrics.ts";

/** The place in the training at which something happened. */
export interface TrainingPlace {
  /** Number of updates of the weights so far: 1 after the first. */
  readonly step: number;
  /** Number of epochs so far, with a fraction if the number of batches is known: 1.5 in the middle of the second. */
  readonly epoch: number;
}

/** Reported before the first step. */
export interface StartEvent extends TrainingPlace {
  readonly type: "start";
  /** The step at which the training will end at the latest, if known. */
  readonly steps?: number;
  readonly epochs?: number;
  /** Number of steps in an epoch, if known. */
  readonly stepsPerEpoch?: number;
  /** Number of elements of all parameters that are trained. */
  readonly parameters: number;
  /** Whether the training continues from a checkpoint. */
  readonly isResumed: boolean;
}

/** Reported after every few steps, to show progress. */
export interface ProgressEvent extends TrainingPlace {
  readonly type: "progress";
  readonly steps?: number;
  /** The loss of the last step. */
  readonly loss: number;
  /** Training examples per second so far, without evaluations. */
  readonly examplesPerSecond: number;
  /** Seconds left at the rate so far, including evaluations; absent if the end is not known. */
  readonly secondsLeft?: number;
}

/** Reported every `loggingSteps` steps. */
export interface LogEvent extends TrainingPlace {
  readonly type: "log";
  /** The mean loss over the examples, or tokens, since the last log. */
  readonly loss: number;
  /** The learning rate of the step. */
  readonly learningRate: number;
  /** The mean norm of the gradients before clipping, if they are clipped. */
  readonly gradientNorm?: number;
  readonly examplesPerSecond: number;
}

/** Reported after each evaluation. */
export interface EvaluationEvent extends TrainingPlace, EvaluationReport {
  readonly type: "evaluation";
  /** Whether this evaluation is the best so far, by `metricForBestModel`. */
  readonly isBest: boolean;
}

/** The result of an evaluation. */
export interface EvaluationReport {
  /** The mean loss over all examples, or tokens. */
  readonly loss: number;
  /** The values of the metrics, by name. */
  readonly metrics: { readonly [name: string]: MetricValue };
  /** Number of examples that were evaluated. */
  readonly examples: number;
  readonly seconds: number;
}

/** Reported when a checkpoint has been stored safely. */
export interface CheckpointEvent extends TrainingPlace {
  readonly type: "checkpoint";
  /** Where the checkpoint is: in Node, a folder. */
  readonly path: string;
  readonly isBest: boolean;
}

/** Reported after each epoch. */
export interface EpochEvent extends TrainingPlace {
  readonly type: "epoch";
  /** The mean loss over the epoch's examples, or tokens. */
  readonly loss: number;
  readonly examples: number;
  /** Training examples per second so far, without evaluations. */
  readonly examplesPerSecond: number;
  /** Seconds since the training began, or since the resume. */
  readonly seconds: number;
}

/** Reported when something went wrong but training continues. */
export interface WarningEvent extends TrainingPlace {
  readonly type: "warning";
  readonly message: string;
}

/** Why a training ended. */
export type EndReason =
  /** All epochs or steps were made. */
  | "finished"
  /** `earlyStoppingPatience` evaluations in a row were not better than the best. */
  | "early-stopping"
  /** The signal was aborted. */
  | "stopped";

/** Reported after the last step. */
export interface EndEvent extends TrainingPlace {
  readonly type: "end";
  readonly reason: EndReason;
  readonly seconds: number;
}

/** The events that `fit` reports; `type` tells them apart. */
export type TrainingEvent =
  | StartEvent
  | ProgressEvent
  | LogEvent
  | EvaluationEvent
  | CheckpointEvent
  | EpochEvent
  | WarningEvent
  | EndEvent;

/** Fields that depend on a clock. All others are the same each time the same training runs. */
export const clockFields: readonly string[] = ["time", "seconds", "secondsLeft", "examplesPerSecond"];
