/**
 * What a run's folder holds:
 *
 *     config.json              the description of the run: written once
 *     status.json              the run's progress, and the process that trains it
 *     metrics.jsonl            a line for each log, evaluation and epoch
 *     events.out.tfevents.*    the same for TensorBoard
 *     checkpoints/
 *       last, best             the names of checkpoints: step-120
 *       step-120/              model.safetensors, optimizer.safetensors, trainer.json
 */
import { join } from "node:path";
import { ConfigError, FormatError, printable } from "../../errors.ts";
import { FileError, readFileChecked } from "../../files/node/atomic.ts";
import type { TrainerState } from "../checkpoint.ts";
import type { EpochEvent, EvaluationEvent, LogEvent } from "../events.ts";

/** The paths of files in a run's folder. */
export interface RunPaths {
  readonly config: string;
  readonly status: string;
  readonly metrics: string;
  readonly checkpoints: string;
  readonly last: string;
  readonly best: string;
  checkpoint(step: number): string;
}

export function pathsIn(folder: string): RunPaths {
  const checkpoints = join(folder, "checkpoints");
  return {
    config: join(folder, "config.json"),
    status: join(folder, "status.json"),
    metrics: join(folder, "metrics.jsonl"),
    checkpoints,
    last: join(checkpoints, "last"),
    best: join(checkpoints, "best"),
    checkpoint: (step) => join(checkpoints, `step-${step}`),
  };
}

/** Returns the step of a checkpoint from the name of its folder; `undefined` for another name. */
export function stepOf(name: string): number | undefined {
  const digits = /^step-(0|[1-9]\d{0,15})$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** `config.json`: everything that defines a run. */
export interface RunConfig {
  readonly format: 1;
  readonly name: string | null;
  /** The time of creation, in ISO 8601. */
  readonly created: string;
  readonly model: { readonly kind: string; readonly parameters: number; readonly trainable: number };
  readonly optimizer: {
    readonly name: string;
    readonly learningRate: number;
    readonly groups: readonly {
      readonly parameters: number;
      readonly rateFactor: number;
      readonly weightDecay: number;
      readonly decoupled: boolean;
    }[];
  };
  /** "function", "plateau", or null for a constant rate. */
  readonly schedule: "function" | "plateau" | null;
  readonly batchSize: number;
  readonly metrics: readonly string[];
  /** Those options of `fit` that can be written to a file. */
  readonly options: { readonly [name: string]: unknown };
  /** The caller's `hyperparameters`. */
  readonly hyperparameters: { readonly [name: string]: unknown };
  readonly seed: number;
  /** The step at which the training ends at the latest; null if it was not known. */
  readonly steps: number | null;
  readonly versions: { readonly [name: string]: string };
  readonly git: { readonly revision: string; readonly isDirty: boolean } | null;
  readonly command: readonly string[];
}

/** The state of a run. */
export type RunState = "running" | "finished" | "early-stopping" | "stopped" | "failed" | "interrupted";

/** `status.json`: the progress of a run. The state "interrupted" is never written: readers derive it if the process no longer exists. */
export interface RunStatus {
  readonly format: 1;
  readonly state: RunState;
  readonly step: number;
  readonly epoch: number;
  readonly steps: number | null;
  /** The times of the latest start and of the latest write, in ISO 8601. */
  readonly started: string;
  readonly updated: string;
  /** Seconds of training so far, in all processes together. */
  readonly seconds: number;
  /** The best evaluation, by `metricForBestModel`. */
  readonly best: { readonly step: number; readonly metric: string; readonly value: number } | null;
  readonly error: string | null;
  /** The process that trains the run. */
  readonly process: { readonly host: string; readonly pid: number; readonly started: number; readonly thread: number };
}

/** A line of `metrics.jsonl`. */
export type MetricRecord = (LogEvent | EvaluationEvent | EpochEvent | OwnRecord) & {
  /** Seconds since 1970. */
  readonly time: number;
};

/** Numbers that the user has recorded. */
export interface OwnRecord {
  readonly type: "own";
  readonly step: number;
  readonly epoch: number;
  readonly values: { readonly [name: string]: number };
}

/** The size and checksum of a file of a checkpoint. */
export interface FileSeal {
  readonly bytes: number;
  /** The SHA-256 checksum, hexadecimal. */
  readonly sha256: string;
}

/** The lengths in bytes of a run's record files when a checkpoint was taken. */
export interface RecordMark {
  readonly metrics: number;
  readonly events: { readonly [name: string]: number };
}

/** `trainer.json` without its own checksum. */
export interface CheckpointSheet {
  readonly format: 1;
  readonly state: TrainerState;
  readonly mark: RecordMark;
  readonly files: { readonly "model.safetensors": FileSeal; readonly "optimizer.safetensors": FileSeal };
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Returns JSON in which NaN and the infinities are written as texts. */
export function jsonOf(value: unknown, space?: number): string {
  const text = JSON.stringify(value, null, space);
  if (!text.includes("null")) return text; //  calling a function for each value would take most of the time
  const nothingLost = (_: string, each: unknown): unknown =>
    typeof each === "number" && !Number.isFinite(each) ? String(each) : each;
  return JSON.stringify(value, nothingLost, space);
}

/** Reads `config.json` of a run. Throws FileError if it is missing, FormatError if it is damaged. */
export async function readConfig(folder: string): Promise<RunConfig> {
  const { config } = pathsIn(folder);
  const { decodeConfig } = await import("./formats.ts");
  return decodeConfig(textOf(await readFileChecked(config)), config);
}

/**
 * Reads `metrics.jsonl` of a run, also while it is written: text after the last line end is left out, since it may be incomplete. Throws
 * FileError if the file is missing, FormatError for an invalid line.
 */
export async function readMetrics(folder: string): Promise<MetricRecord[]> {
  expectFolder("readMetrics", folder);
  const { metrics } = pathsIn(folder);
  const { decodeMetric } = await import("./formats.ts");
  const lines = textOf(await readFileChecked(metrics))
    .split("\n")
    .slice(0, -1);
  return lines.map((line, i) => decodeMetric(line, `${metrics}:${i + 1}`));
}

/** Returns the step that `last` or `best` names; `undefined` if there is no such file. Throws FormatError if it does not name a step. */
export async function readPointer(path: string): Promise<number | undefined> {
  const text = await readFileChecked(path).then(textOf, (error: unknown) => {
    if (error instanceof FileError && ["ENOENT", "ENOTDIR"].includes(error.code)) return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const step = stepOf(text.trim());
  if (step === undefined)
    throw new FormatError(
      path,
      `names no checkpoint: ${printable(text, 80)}`,
      "write the name of one of the folders beside it into it, such as step-120",
    );
  return step;
}

/** Throws ConfigError if `folder` is not a path. */
export function expectFolder(subject: string, folder: unknown): asserts folder is string {
  if (typeof folder === "string" && folder !== "" && !folder.includes("\0")) return;
  throw new ConfigError(subject, "that is no path of a folder", "give a path as text");
}
