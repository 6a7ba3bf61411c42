/** Metrics: what an evaluation measures besides the loss. */
import { ConfigError, ShapeError } from "../errors.ts";
import {
  aFlag,
  aText,
  aWhole,
  expectArguments,
  type Kind,
  optional,
  options as record,
  wholeFromZero,
} from "../graph/arguments.ts";
import { showShape, type Values } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What a metric sees of a batch. Parts that no metric uses are not computed. */
export interface Measured {
  /** The result of the setup's `output` for the batch: [examples, …]. */
  readonly output: Tensor;
  /** The last tensor of the batch. */
  readonly target: Tensor;
  readonly batch: readonly Tensor[];
  /** The loss of the batch, a scalar; 0 if the weight is 0. */
  readonly loss: Tensor;
  /** The number of examples, or tokens, that the loss is the mean of: a scalar. */
  readonly weight: Tensor;
}

/** Numbers by name: the sums of a metric over all batches. */
export type Sums = { readonly [name: string]: Values };

/** A number, or a table of numbers. */
export type MetricValue = number | readonly (readonly number[])[];

/** The fields that all metrics have. */
export interface MetricBase {
  /** The name of the metric's value in events and files. */
  readonly name: string;
  /** Whether a larger value is better. */
  readonly greaterIsBetter: boolean;
}

/** A metric computed from sums over all batches. The compiled evaluation step computes and adds them. */
export interface SummedMetric extends MetricBase {
  /** Returns the tensors of one batch that are added up, in float64. Their shapes must be the same for every batch. */
  sums(batch: Measured): { readonly [name: string]: Tensor };
  /** Returns the metric's value, from the sums over all batches. */
  value(sums: Sums): MetricValue;
}

/** A metric that is computed in JavaScript, not in a graph: it reads tensors of each batch. */
export interface HostMetric extends MetricBase {
  /** Returns the tensors of one batch that the metric reads. */
  reads(batch: Measured): { readonly [name: string]: Tensor };
  /** Called at the beginning of each evaluation. */
  begin(): HostCount;
}

/** The counts of a `HostMetric` during one evaluation. */
export interface HostCount {
  /** Adds the next batch: values by name, row-major, and their shapes. */
  add(values: Sums, shapes: { readonly [name: string]: readonly number[] }): void;
  value(): MetricValue;
}

/** Something that an evaluation measures. `metric` holds the metrics of this package. */
export type Metric = SummedMetric | HostMetric;

/** Settings of metrics over classes. */
export interface ClassMetricOptions {
  /** The metric's name. Default: the name of its function. */
  readonly name?: string;
  /** A label whose examples are not counted, as in `crossEntropy`. Default: none. */
  readonly ignore?: number;
}

const classOptions = { name: aText, ignore: aWhole } as const;

/** Returns scores and labels, both flat, of outputs [..., classes] and labels [...], with a weight for each: 1, or 0 if ignored. */
function labelled(
  name: string,
  { output, target }: Measured,
  ignore: number | undefined,
): { readonly scores: Tensor; readonly labels: Tensor; readonly weights: Tensor; readonly classes: number } {
  const classes = output.shape.at(-1) ?? 0;
  const lead = output.shape.slice(0, -1);
  const isFitting = output.shape.length > 0 && showShape(lead) === showShape(target.shape);
  if (!isFitting || target.dtype !== "int32")
    throw new ShapeError(
      name,
      `outputs ${showShape(output.shape)} against targets ${target.dtype}${showShape(target.shape)}`,
      "it needs scores [..., classes] and int32 labels [...]: give the setup `output`, or a metric of your own",
    );
  const labels = target.flatten(0);
  const isCounted = ignore === undefined ? undefined : labels.notEqual(ignore);
  const weights = isCounted ? isCounted.cast("float32") : labels.equal(labels).cast("float32");
  return { scores: output.reshape([labels.size, classes]), labels, weights, classes };
}

const ratio = (part: Values, whole: Values): number => part[0]! / whole[0]!;

/** Makes a metric: the share of examples (or tokens) whose label has the highest score. Outputs [..., classes], int32 labels [...]. */
export function accuracy(options: ClassMetricOptions = {}): SummedMetric {
  expectArguments("metric.accuracy", [optional(record(classOptions))], [options]);
  const { name = "accuracy", ignore } = options;
  return {
    name,
    greaterIsBetter: true,
    sums(batch) {
      const { scores, labels, weights } = labelled(name, batch, ignore);
      const right = scores.argmax(-1).equal(labels).cast("float32");
      return { right: right.mul(weights).sum(), count: weights.sum() };
    },
    value: ({ right, count }) => ratio(right!, count!),
  };
}

/** Makes a metric: the share of examples whose label is among the `k` highest scores. Default name for k = 5: `top5Accuracy`. */
export function topK(k: number, options: ClassMetricOptions = {}): SummedMetric {
  expectArguments("metric.topK", [aWhole, optional(record(classOptions))], [k, options]);
  if (k < 1) throw new ConfigError("metric.topK", `k is ${k}`, "give a whole number from 1 on");
  const { name = `top${k}Accuracy`, ignore } = options;
  return {
    name,
    greaterIsBetter: true,
    sums(batch) {
      const { scores, labels, weights, classes } = labelled(name, batch, ignore);
      const [, best] = scores.topK(Math.min(k, classes)) as readonly [Tensor, Tensor];
      const right = best.equal(labels.unsqueeze(1).expand(best.shape)).cast("float32").sum(1) as Tensor;
      return { right: right.mul(weights).sum(), count: weights.sum() };
    },
    value: ({ right, count }) => ratio(right!, count!),
  };
}

/** Returns the table of counts: row `label`, column `guess` holds how many examples of the label have the highest score for the guess. */
function confusions(name: string, batch: Measured, ignore: number | undefined): Tensor {
  const { scores, labels, weights, classes } = labelled(name, batch, ignore);
  const guesses = scores.argmax(-1).oneHot(classes).cast("float32") as Tensor;
  // An ignored label may lie outside of the classes, so it becomes label 0 with weight 0.
  const known = ignore === undefined ? labels : labels.mul(weights.cast("int32"));
  const truths = known.oneHot(classes).cast("float32").mul(weights.unsqueeze(1)) as Tensor;
  return truths.transpose().matmul(guesses) as Tensor;
}

/** Makes a metric: a table [classes][classes] of counts. The row is the label, the column the class with the highest score. */
export function confusionMatrix(options: ClassMetricOptions = {}): SummedMetric {
  expectArguments("metric.confusionMatrix", [optional(record(classOptions))], [options]);
  const { name = "confusionMatrix", ignore } = options;
  return {
    name,
    greaterIsBetter: true,
    sums: (batch) => ({ counts: confusions(name, batch, ignore) }),
    value: ({ counts }) => rowsOf(counts!),
  };
}

/** Returns the rows of a square table. */
function rowsOf(counts: Values): number[][] {
  const size = Math.sqrt(counts.length);
  return Array.from({ length: size }, (_, row) => Array.from(counts.slice(row * size, (row + 1) * size)));
}

/** Options of `metric.f1`. */
export interface F1Options extends ClassMetricOptions {
  /**
   * "macro": the mean of all classes' F1, with equal weights. "micro": F1 over all decisions, which is the accuracy if each example has
   * one label. "binary": F1 of the class `positive` only. Default "macro".
   */
  readonly average?: "macro" | "micro" | "binary";
  /** With "binary": the class that counts as positive. Default 1. */
  readonly positive?: number;
}

const anAverage: Kind = (value) =>
  ["macro", "micro", "binary"].includes(value as string) ? undefined : 'give "macro", "micro" or "binary"';

/** Makes the metric F1 = 2·TP / (2·TP + FP + FN), the harmonic mean of precision and recall; 0 for an absent class (as in scikit-learn). */
export function f1(options: F1Options = {}): SummedMetric {
  const kinds = { ...classOptions, average: anAverage, positive: wholeFromZero };
  expectArguments("metric.f1", [optional(record(kinds))], [options]);
  const { name = "f1", ignore, average = "macro", positive = 1 } = options;
  return {
    name,
    greaterIsBetter: true,
    sums: (batch) => ({ counts: confusions(name, batch, ignore) }),
    value({ counts }) {
      const rows = rowsOf(counts!);
      const classes = rows.map((row, k) => {
        const truePositives = row[k]!;
        const falseNegatives = row.reduce((sum, count) => sum + count, 0) - truePositives;
        const falsePositives = rows.reduce((sum, other) => sum + other[k]!, 0) - truePositives;
        return { truePositives, errors: falseNegatives + falsePositives };
      });
      const score = (of: readonly { readonly truePositives: number; readonly errors: number }[]): number => {
        const hits = of.reduce((sum, { truePositives }) => sum + 2 * truePositives, 0);
        const errors = of.reduce((sum, own) => sum + own.errors, 0);
        return hits === 0 ? 0 : hits / (hits + errors);
      };
      if (average === "micro") return score(classes);
      if (average === "macro") return classes.reduce((sum, own) => sum + score([own]), 0) / classes.length;
      if (!classes[positive])
        throw new ConfigError(
          name,
          `class ${positive} of ${classes.length} is to be the positive one`,
          `give a class from 0 to ${classes.length - 1}`,
        );
      return score([classes[positive]]);
    },
  };
}

const weightedLoss = ({ loss, weight }: Measured): Readonly<Record<string, Tensor>> => ({
  loss: loss.cast("float64").mul(weight.cast("float64")),
  weight,
});

/** Makes the metric perplexity: e to the power of the mean loss, for a language model whose loss is cross entropy. */
export function perplexity(options: { readonly name?: string } = {}): SummedMetric {
  expectArguments("metric.perplexity", [optional(record({ name: aText }))], [options]);
  return {
    name: options.name ?? "perplexity",
    greaterIsBetter: false,
    sums: weightedLoss,
    value: ({ loss, weight }) => Math.exp(ratio(loss!, weight!)),
  };
}

/**
 * Makes the metric bits per character: the mean loss divided by log 2, for a language model of characters whose loss is cross entropy. The
 * ends of texts count as characters if the loss counts them.
 */
export function bitsPerCharacter(options: { readonly name?: string } = {}): SummedMetric {
  expectArguments("metric.bitsPerCharacter", [optional(record({ name: aText }))], [options]);
  return {
    name: options.name ?? "bitsPerCharacter",
    greaterIsBetter: false,
    sums: weightedLoss,
    value: ({ loss, weight }) => ratio(loss!, weight!) / Math.LN2,
  };
}

/** Options of `metric.editDistance`. */
export interface EditDistanceOptions {
  /** Default "editDistance". */
  readonly name?: string;
  /** The token that ends a sequence. It and all tokens after it are not counted. Default: none; sequences fill their axis. */
  readonly end?: number;
  /** Tokens that are removed first, such as padding or a blank. Default: none. */
  readonly skip?: readonly number[];
  /** Whether distances are divided by the lengths of the targets: the token error rate. Default true. */
  readonly normalize?: boolean;
}

/**
 * Makes a metric: how many tokens must be changed, inserted or removed (Levenshtein 1966), divided by the length of the targets:
 * Σ distances / Σ lengths. Without `normalize`: the mean distance of a sequence. Outputs are tokens int32 [examples, length], or scores
 * [examples, length, tokens], of which the highest is taken; targets are int32 [examples, length].
 */
export function editDistance(options: EditDistanceOptions = {}): HostMetric {
  const kinds = { name: aText, end: aWhole, normalize: aFlag, skip: someTokens };
  expectArguments("metric.editDistance", [optional(record(kinds))], [options]);
  const { name = "editDistance", end, skip = [], normalize = true } = options;
  const skipped = new Set(skip);
  const sequence = (values: Values, row: number, length: number): number[] => {
    const tokens = Array.from(values.subarray(row * length, (row + 1) * length));
    const stop = end === undefined ? -1 : tokens.indexOf(end);
    return (stop < 0 ? tokens : tokens.slice(0, stop)).filter((token) => !skipped.has(token));
  };
  return {
    name,
    greaterIsBetter: false,
    reads({ output, target }) {
      const guess = output.shape.length === 3 ? (output.argmax(-1) as Tensor) : output;
      if (guess.shape.length !== 2 || target.shape.length !== 2 || target.dtype !== "int32")
        throw new ShapeError(
          name,
          `outputs ${showShape(output.shape)} against targets ${target.dtype}${showShape(target.shape)}`,
          "it needs tokens [examples, length] or scores [examples, length, tokens], and int32 targets [examples, length]",
        );
      return { guess, target };
    },
    begin() {
      let [distances, lengths, count] = [0, 0, 0];
      return {
        add({ guess, target }, shapes) {
          const [[examples, guessed], [, length]] = [shapes.guess!, shapes.target!] as const;
          for (let row = 0; row < examples!; row++) {
            const truth = sequence(target!, row, length!);
            distances += levenshtein(sequence(guess!, row, guessed!), truth);
            lengths += truth.length;
            count++;
          }
        },
        value: () => distances / (normalize ? lengths : count),
      };
    },
  };
}

const someTokens = (value: unknown): string | undefined =>
  Array.isArray(value) && value.every(Number.isSafeInteger) ? undefined : "give an array of whole numbers";

/** Returns how many elements must be changed, inserted or removed. */
function levenshtein(a: readonly number[], b: readonly number[]): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])));
    row = next;
  }
  return row[b.length]!;
}
