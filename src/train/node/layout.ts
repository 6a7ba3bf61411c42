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
import { z } from "zod";
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

// Reading. Files may have been edited, truncated, or written by another program, so they are checked.

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const record = z.record(z.string(), z.unknown());
/** A number. JSON has no NaN and no infinity, so these are written as texts. */
const real = z.union([z.number(), z.enum(["NaN", "Infinity", "-Infinity"]).transform(Number)]);
const metricValue = z.union([real, z.array(z.array(real))]);
const mean = z.object({ sum: z.number(), weight: z.number() });
const place = { step: count, epoch: z.number().min(0) };

const log = z.object({
  type: z.literal("log"),
  ...place,
  loss: real,
  learningRate: z.number(),
  gradientNorm: real.exactOptional(),
  examplesPerSecond: z.number(),
});
const evaluation = z.object({
  type: z.literal("evaluation"),
  ...place,
  loss: real,
  metrics: z.record(z.string(), metricValue),
  examples: count,
  seconds: z.number(),
  isBest: z.boolean(),
});
const epoch = z.object({
  type: z.literal("epoch"),
  ...place,
  loss: real,
  examples: count,
  examplesPerSecond: z.number(),
  seconds: z.number(),
});
const own = z.object({ type: z.literal("own"), ...place, values: z.record(z.string(), real) });
const time = { time: z.number() };
const metricRecord = z.discriminatedUnion("type", [
  log.extend(time),
  evaluation.extend(time),
  epoch.extend(time),
  own.extend(time),
]);

const configFile = z.object({
  format: z.literal(1),
  name: z.string().nullable(),
  created: z.string(),
  model: z.object({ kind: z.string(), parameters: count, trainable: count }),
  optimizer: z.object({
    name: z.string(),
    learningRate: z.number(),
    groups: z.array(
      z.object({ parameters: count, rateFactor: z.number(), weightDecay: z.number(), decoupled: z.boolean() }),
    ),
  }),
  schedule: z.enum(["function", "plateau"]).nullable(),
  batchSize: count,
  metrics: z.array(z.string()),
  options: record,
  hyperparameters: record,
  seed: count,
  steps: count.nullable(),
  versions: z.record(z.string(), z.string()),
  git: z.object({ revision: z.string(), isDirty: z.boolean() }).nullable(),
  command: z.array(z.string()),
});

const statusFile = z.object({
  format: z.literal(1),
  state: z.enum(["running", "finished", "early-stopping", "stopped", "failed", "interrupted"]),
  ...place,
  steps: count.nullable(),
  started: z.string(),
  updated: z.string(),
  seconds: z.number().min(0),
  best: z.object({ step: count, metric: z.string(), value: real }).nullable(),
  error: z.string().nullable(),
  process: z.object({ host: z.string(), pid: count, started: count, thread: count }),
});

const seal = z.object({ bytes: count, sha256: z.string().regex(/^[0-9a-f]{64}$/) });
const checkpointSheet = z.object({
  format: z.literal(1),
  state: z.object({
    step: count,
    epochs: count,
    batch: count,
    isExhausted: z.boolean(),
    source: z.looseObject({ epoch: count, batch: count }),
    means: z.object({ log: mean, norm: mean, epoch: mean }),
    examples: count,
    plateau: z.object({ rate: z.number(), best: z.number().nullable(), bad: count, cooling: count }).nullable(),
    best: z.object({ step: count, value: z.number() }).nullable(),
    bad: count,
    evaluatedAt: count,
    history: z.object({ epochs: z.array(epoch), evaluations: z.array(evaluation) }),
  }),
  mark: z.object({ metrics: count, events: z.record(z.string().regex(/^events\.out\.tfevents\.[\w.-]+$/), count) }),
  files: z.object({ "model.safetensors": seal, "optimizer.safetensors": seal }),
});

/** Parses JSON and checks it against a schema. Throws FormatError with the place of the error. */
function parsed<T>(schema: z.ZodType<T>, text: string, source: string): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(
      source,
      `is no JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      "restore the file, or the run's folder, from where it came from",
      "",
      { cause },
    );
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const at = issue && issue.path.length > 0 ? `\`${issue.path.map(String).join(".")}\`: ` : "";
  throw new FormatError(
    source,
    `is not what a run writes: ${at}${issue?.message ?? "something else"}`,
    "restore the file, or the run's folder, from where it came from",
  );
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

export function decodeConfig(text: string, source: string): RunConfig {
  return parsed<RunConfig>(configFile, text, source);
}

export function decodeStatus(text: string, source: string): RunStatus {
  return parsed<RunStatus>(statusFile, text, source);
}

export function decodeMetric(line: string, source: string): MetricRecord {
  return parsed<MetricRecord>(metricRecord as z.ZodType<MetricRecord>, line, source);
}

export function decodeSheet(json: unknown, source: string): CheckpointSheet {
  return parsed<CheckpointSheet>(checkpointSheet, JSON.stringify(json), source);
}

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
  return decodeConfig(textOf(await readFileChecked(config)), config);
}

/**
 * Reads `metrics.jsonl` of a run, also while it is written: text after the last line end is left out, since it may be incomplete. Throws
 * FileError if the file is missing, FormatError for an invalid line.
 */
export async function readMetrics(folder: string): Promise<MetricRecord[]> {
  expectFolder("readMetrics", folder);
  const { metrics } = pathsIn(folder);
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
