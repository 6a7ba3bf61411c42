/**
 * Reads the files of a run's folder. They may have been edited, truncated, or written by another program, so they are checked. This file is
 * imported when a folder is read or written, and not before: its schemas take longer to make than all else that an import of Glissade does.
 */
import { z } from "zod";
import { FormatError } from "../../errors.ts";
import type { CheckpointSheet, MetricRecord, RunConfig, RunStatus } from "./layout.ts";

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
    settings: z.object({ frozen: z.array(z.string()), evaluating: z.array(z.string()) }).exactOptional(),
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
