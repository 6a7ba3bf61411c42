/** The possible problems of data: how each is recognised, and what it means. */
import type { ColumnStatistics } from "./column-statistics.ts";
import type { RunsTest } from "./runs.ts";
import { count, counted, list, plural, show } from "./words.ts";

/** How often a class occurs. */
export interface ClassCount {
  readonly label: number;
  readonly train: number;
  readonly validation: number;
}

/** A finding that needs attention. Columns are counted from 0. */
export type Finding = { readonly verdict: "warn" | "fail" } & (
  | {
      readonly kind: "not-finite";
      readonly part: "training" | "validation";
      readonly column: number;
      readonly count: number;
      /** The first such value: its example and its position in the example. */
      readonly example: number;
      readonly position: number;
    }
  | { readonly kind: "constant"; readonly column: number }
  | { readonly kind: "scale"; readonly column: number; readonly mean: number; readonly deviation: number }
  /** Two deviations of single positions: one near the smallest, one near the largest. */
  | { readonly kind: "uneven"; readonly column: number; readonly small: number; readonly large: number }
  /**
   * The difference between the means of the validation and the training data, and the deviation of the validation data, both in units of
   * the training data's deviation.
   */
  | { readonly kind: "shift"; readonly column: number; readonly mean: number; readonly deviation: number }
  | { readonly kind: "imbalance"; readonly rarest: ClassCount; readonly commonest: ClassCount }
  /** Labels below the largest that no training example has. */
  | { readonly kind: "gaps"; readonly labels: readonly number[] }
  /** Labels that occur in the validation data alone. */
  | { readonly kind: "unseen"; readonly labels: readonly number[] }
  | { readonly kind: "order"; readonly order: RunsTest }
  | { readonly kind: "repeated"; readonly count: number }
  | { readonly kind: "contradictory"; readonly count: number }
  | { readonly kind: "leak"; readonly count: number; readonly validation: number }
);

/** Finds values that are NaN or infinite. */
export function holes(part: "training" | "validation", column: number, statistics: ColumnStatistics): Finding[] {
  const { holes: found, firstHole, positions } = statistics;
  if (found === 0) return [];
  const [example, position] = [Math.floor(firstHole / positions), firstHole % positions];
  return [{ verdict: "fail", kind: "not-finite", part, column, count: found, example, position }];
}

/** Finds a column that is the same in all examples. */
export function sameness(column: number, statistics: ColumnStatistics, isTarget: boolean): Finding[] {
  const { constant, positions } = statistics;
  const verdict = isTarget ? "fail" : "warn";
  return constant === positions ? [{ verdict, kind: "constant", column }] : [];
}

/** Finds inputs of a scale that does not suit initial weights. */
export function scale(column: number, { isReal, mean, deviation, deviations }: ColumnStatistics): Finding[] {
  if (!isReal || !(deviation > 0)) return [];
  const found: Finding[] = [];
  if (deviation > 10 || deviation < 0.01 || Math.abs(mean) > 3 * deviation)
    found.push({ verdict: "warn", kind: "scale", column, mean, deviation });
  const varied = deviations.filter((own) => own > 0).sort();
  const at = (share: number): number => varied[Math.round(share * (varied.length - 1))]!;
  const [small, large] = [at(0.05), at(0.95)];
  if (large > 1000 * small) found.push({ verdict: "warn", kind: "uneven", column, small, large });
  return found;
}

/** Finds validation data with a different scale from the training data. */
export function shift(column: number, train: ColumnStatistics, validation: ColumnStatistics): Finding[] {
  if (!train.isReal || !(train.deviation > 0)) return [];
  const mean = (validation.mean - train.mean) / train.deviation;
  const deviation = validation.deviation / train.deviation;
  const isShifted = Math.abs(mean) > 0.5 || deviation > 2 || deviation < 0.5;
  return isShifted ? [{ verdict: "warn", kind: "shift", column, mean, deviation }] : [];
}

/** Finds labels that are rare, missing, or only in the validation data. `classes` must be in the order of their labels. */
export function balance(classes: readonly ClassCount[]): Finding[] {
  const found: Finding[] = [];
  const trained = classes.filter(({ train }) => train > 0);
  const [rarest, commonest] = [
    trained.reduce((a, b) => (b.train < a.train ? b : a)),
    trained.reduce((a, b) => (b.train > a.train ? b : a)),
  ];
  if (commonest.train > 10 * rarest.train) found.push({ verdict: "warn", kind: "imbalance", rarest, commonest });
  const known = new Set(trained.map(({ label }) => label));
  const labels = Array.from({ length: Math.max(0, trained.at(-1)!.label) }, (_, label) => label);
  const gaps = labels.filter((label) => !known.has(label));
  if (gaps.length > 0) found.push({ verdict: "warn", kind: "gaps", labels: gaps });
  const unseen = classes.filter(({ train }) => train === 0).map(({ label }) => label);
  if (unseen.length > 0) found.push({ verdict: "fail", kind: "unseen", labels: unseen });
  return found;
}

/** A random order is this many standard deviations away once in 30,000 times. */
const mostDeviations = 4;

/** Finds targets whose order is not random. */
export function order(test: RunsTest): Finding[] {
  return test.z < -mostDeviations ? [{ verdict: "warn", kind: "order", order: test }] : [];
}

/** Explains what a finding means and what to do about it. */
export function explainFinding(finding: Finding): string {
  switch (finding.kind) {
    case "not-finite": {
      const { part, column, count: values, example, position } = finding;
      return (
        `column ${column} of the ${part} data holds NaN or infinity, ${counted(values, "value")}, the first in example ` +
        `${example} at position ${position}: a loss that sees one is NaN. Clean them, or leave these examples out`
      );
    }
    case "constant":
      return (
        `column ${finding.column} is the same in all examples: there is nothing to learn in it. Look at how it is ` +
        "read"
      );
    case "scale":
      return (
        `column ${finding.column} has the mean ${show(finding.mean)} and the deviation ${show(finding.deviation)}: ` +
        "initial weights are made for a mean near 0 and a deviation near 1. Standardise it: fitStandardizer"
      );
    case "uneven":
      return (
        `the positions of column ${finding.column} have deviations from ${show(finding.small)} to ` +
        `${show(finding.large)}: the large ones drown the small. Standardise each: fitStandardizer`
      );
    case "shift":
      return (
        `column ${finding.column} of the validation data: its mean is ${show(finding.mean, 2)} of the training data's ` +
        `deviations away from theirs, its deviation ${show(finding.deviation, 2)} of them. Was it scaled by ` +
        "statistics of its own? Those of the training data serve both"
      );
    case "imbalance": {
      const { commonest, rarest } = finding;
      return (
        `class ${commonest.label} has ${counted(commonest.train, "example")} and class ${rarest.label} ` +
        `${count(rarest.train)}: a network that always says ${commonest.label} looks good. Measure each class by ` +
        "itself; weigh the classes in the loss, or draw the rare ones more often"
      );
    }
    case "gaps":
      return (
        `no training example has the ${plural("label", finding.labels.length)} ${list(finding.labels)}: labels count ` +
        "from 0, and each below the largest takes an output"
      );
    case "unseen":
      return (
        `the ${plural("label", finding.labels.length)} ${list(finding.labels)}: in the validation data alone, so that ` +
        "nothing can be learnt of them. Split anew, at random"
      );
    case "order":
      return (
        `the targets come in ${counted(finding.order.runs, "run")} of equal ones, where a random order has ` +
        `${count(Math.round(finding.order.expected))}: in this order batches are one-sided, and training forgets what ` +
        "it saw before. Shuffle: loader(data, { shuffle: true }); and split at random"
      );
    case "repeated":
      return `${count(finding.count)} training examples have the inputs of an earlier one: what they say counts twice`;
    case "contradictory":
      return (
        `${counted(finding.count, "training example")} with the inputs of an earlier one and another target: no model ` +
        "can be right about both"
      );
    case "leak":
      return (
        `${count(finding.count)} of ${counted(finding.validation, "validation example")} with the inputs of a training example: ` +
        "validation measures what was learnt by heart. Remove duplicates before splitting"
      );
  }
}
