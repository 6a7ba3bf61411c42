/** What an evaluation measures beside the loss. */
import { ConfigError, ShapeError } from "../errors.ts";
import {
  aFlag,
  aText,
  aWhole,
  expectArguments,
  expectOptions,
  optional,
  options as record,
} from "../graph/arguments.ts";
import { showShape, type Values } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What a metric sees of a batch. Whatever it does not look at is not computed for it. */
export interface Measured {
  /** What the setup's `output` says of the batch: [examples, …]. */
  readonly output: Tensor;
  /** The last tensor of the batch. */
  readonly target: Tensor;
  readonly batch: readonly Tensor[];
  /** The loss of the batch, a scalar. */
  readonly loss: Tensor;
  /** How many examples, or tokens, the loss is the mean of: a scalar. */
  readonly weight: Tensor;
}

/** Numbers by name, as a metric has them once all batches have been seen. */
export type Sums = { readonly [name: string]: Values };

/** A number, or a table of numbers. */
export type MetricValue = number | readonly (readonly number[])[];

/** What metrics have in common. */
export interface MetricBase {
  /** Under this name its value is in events and files. */
  readonly name: string;
  /** Whether a larger value is a better one. */
  readonly greaterIsBetter: boolean;
}

/** A metric that follows from sums over all batches: they are computed and added up inside the compiled evaluation step. */
export interface SummedMetric extends MetricBase {
  /** Of one batch: tensors whose shapes are the same for every batch. They are added up in float64. */
  sums(batch: Measured): { readonly [name: string]: Tensor };
  /** From the sums over all batches. */
  value(sums: Sums): MetricValue;
}

/** A metric that no graph computes: it reads tensors of each batch and counts in JavaScript. */
export interface HostMetric extends MetricBase {
  /** Of one batch: what is read. */
  reads(batch: Measured): { readonly [name: string]: Tensor };
  /** At the beginning of each evaluation. */
  begin(): HostCount;
}

/** One evaluation's worth of a `HostMetric`. */
export interface HostCount {
  /** The next batch: values by name, row-major, and their shapes. */
  add(values: Sums, shapes: { readonly [name: string]: readonly number[] }): void;
  value(): MetricValue;
}

/** Something that an evaluation measures; see `metric` for those that come with the package. */
export type Metric = SummedMetric | HostMetric;

/** Settings of metrics over classes. */
export interface ClassMetricOptions {
  /** What the metric is called. Default: as its function. */
  readonly name?: string;
  /** A label that stands for "do not count", as in `crossEntropy`. Default: none. */
  readonly ignore?: number;
}

const classOptions = { name: aText, ignore: aWhole } as const;

/** Labels [...] of outputs [..., classes], flat, with a weight for each: 1, or 0 where it is ignored. */
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

/** The share of examples (or tokens) whose highest score is that of their label: of outputs [..., classes] and int32 labels [...]. */
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

/** The share of examples whose label is among the `k` highest scores. Its name is `top5Accuracy` for 5 of them. */
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

/** Row `label`, column `guess`: how many examples of the label were taken for the guess. */
function confusions(name: string, batch: Measured, ignore: number | undefined): Tensor {
  const { scores, labels, weights, classes } = labelled(name, batch, ignore);
  const guesses = scores.argmax(-1).oneHot(classes).cast("float32") as Tensor;
  // A label that is ignored may lie outside of the classes, so it is another one with no weight.
  const known = ignore === undefined ? labels : labels.mul(weights.cast("int32"));
  const truths = known.oneHot(classes).cast("float32").mul(weights.unsqueeze(1)) as Tensor;
  return truths.transpose().matmul(guesses) as Tensor;
}

/** A table [classes][classes] of counts: the row is the label, the column the class with the highest score. */
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

/** A square table from its values. */
function rowsOf(counts: Values): number[][] {
  const size = Math.sqrt(counts.length);
  return Array.from({ length: size }, (_, row) => Array.from(counts.slice(row * size, (row + 1) * size)));
}

export interface F1Options extends ClassMetricOptions {
  /**
   * "macro": the mean of all classes' F1, each class counting the same. "micro": over all decisions, which is the accuracy where each
   * example has one label. "binary": of class 1 alone, or of `positive`. Default "macro".
   */
  readonly average?: "macro" | "micro" | "binary";
  /** With "binary": the class that counts as positive. Default 1. */
  readonly positive?: number;
}

/** 2·TP / (2·TP + FP + FN), the harmonic mean of precision and recall; 0 for a class that occurs nowhere (as in scikit-learn). */
export function f1(options: F1Options = {}): SummedMetric {
  expectOptions("metric.f1", options, ["name", "ignore", "average", "positive"]);
  const { name = "f1", ignore, average = "macro", positive = 1 } = options;
  if (!["macro", "micro", "binary"].includes(average))
    throw new ConfigError("metric.f1", `the average is ${String(average)}`, 'give "macro", "micro" or "binary"');
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

/** e to the mean loss: of a language model that has cross entropy as its loss, how many tokens it hesitates between on average. */
export function perplexity(options: { readonly name?: string } = {}): SummedMetric {
  expectArguments("metric.perplexity", [optional(record({ name: aText }))], [options]);
  return {
    name: options.name ?? "perplexity",
    greaterIsBetter: false,
    sums: ({ loss, weight }) => ({ loss: loss.cast("float64").mul(weight.cast("float64")), weight }),
    value: ({ loss, weight }) => Math.exp(ratio(loss!, weight!)),
  };
}

export interface EditDistanceOptions {
  /** Default "editDistance". */
  readonly name?: string;
  /** The token that ends a sequence: it and all behind it do not count. Default: none, sequences fill their axis. */
  readonly end?: number;
  /** Tokens that are taken out first, such as padding or a blank. Default: none. */
  readonly skip?: readonly number[];
  /** Whether distances are divided by the lengths of the targets: the token error rate. Default true. */
  readonly normalize?: boolean;
}

/**
 * How many tokens are to be changed, put in or taken out (Levenshtein 1966), by the length of the targets: Σ distances / Σ lengths; or the
 * mean distance of a sequence without `normalize`. Outputs are tokens int32 [examples, length], or scores [examples, length, tokens] whose
 * highest is taken; targets int32 [examples, length].
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

/** How many elements are to be changed, put in or taken out. */
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
