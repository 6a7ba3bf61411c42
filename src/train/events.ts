/** What a training tells of itself while it runs. */
import type { MetricValue } from "./metrics.ts";

/** Where in the training something happened. */
export interface TrainingPlace {
  /** Updates of the weights so far: 1 after the first. */
  readonly step: number;
  /** Epochs so far, with a fraction where the number of batches is known: 1.5 in the middle of the second. */
  readonly epoch: number;
}

/** Before the first step. */
export interface StartEvent extends TrainingPlace {
  readonly type: "start";
  /** Where the training will end at the latest, where that is known. */
  readonly steps?: number;
  readonly epochs?: number;
  /** Steps in an epoch, where that is known. */
  readonly stepsPerEpoch?: number;
  /** Elements of the parameters that are trained. */
  readonly parameters: number;
  /** Whether the training goes on from a checkpoint. */
  readonly isResumed: boolean;
}

/** After every few steps, for whoever shows progress. */
export interface ProgressEvent extends TrainingPlace {
  readonly type: "progress";
  readonly steps?: number;
  /** Of the last step. */
  readonly loss: number;
  /** Training examples a second so far, evaluations left out. */
  readonly examplesPerSecond: number;
  /** At the rate so far, evaluations included; absent where the end is not known. */
  readonly secondsLeft?: number;
}

/** Every `loggingSteps` steps. */
export interface LogEvent extends TrainingPlace {
  readonly type: "log";
  /** The mean over the examples, or tokens, since the last log. */
  readonly loss: number;
  /** Of the step that was done. */
  readonly learningRate: number;
  /** The mean norm of the gradients before clipping, where they are clipped. */
  readonly gradientNorm?: number;
  readonly examplesPerSecond: number;
}

/** After each evaluation. */
export interface EvaluationEvent extends TrainingPlace, EvaluationReport {
  readonly type: "evaluation";
  /** Whether it is the best so far, by `metricForBestModel`. */
  readonly isBest: boolean;
}

/** What an evaluation found. */
export interface EvaluationReport {
  /** The mean over all examples, or tokens. */
  readonly loss: number;
  /** By the names of the metrics. */
  readonly metrics: { readonly [name: string]: MetricValue };
  /** How many were seen. */
  readonly examples: number;
  readonly seconds: number;
}

/** A checkpoint is safe. */
export interface CheckpointEvent extends TrainingPlace {
  readonly type: "checkpoint";
  /** Where it is: a folder, in Node. */
  readonly path: string;
  readonly isBest: boolean;
}

/** After each epoch, behind its evaluation and checkpoint. */
export interface EpochEvent extends TrainingPlace {
  readonly type: "epoch";
  /** The mean over the examples, or tokens, of the epoch. */
  readonly loss: number;
  readonly examples: number;
  /** Of the epoch's steps, without evaluations. */
  readonly examplesPerSecond: number;
  /** Since the training began, what was before a resume not counted. */
  readonly seconds: number;
}

/** Something went wrong that training survives. */
export interface WarningEvent extends TrainingPlace {
  readonly type: "warning";
  readonly message: string;
}

/** Why a training ended. */
export type EndReason =
  /** All epochs or steps were made. */
  | "finished"
  /** `earlyStoppingPatience` evaluations in a row were no better. */
  | "early-stopping"
  /** The signal was aborted. */
  | "stopped";

/** After the last step. */
export interface EndEvent extends TrainingPlace {
  readonly type: "end";
  readonly reason: EndReason;
  readonly seconds: number;
}

/** What `fit` tells of, by `type`. */
export type TrainingEvent =
  | StartEvent
  | ProgressEvent
  | LogEvent
  | EvaluationEvent
  | CheckpointEvent
  | EpochEvent
  | WarningEvent
  | EndEvent;

/** Fields that a clock fills: all others are the same whenever and wherever the same training runs. */
export const clockFields: readonly string[] = ["time", "seconds", "secondsLeft", "examplesPerSecond"];
