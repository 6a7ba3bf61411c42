/** Checks of the data: non-finite values, scale, constants, classes, order, duplicates. */

import { type Column, Dataset } from "../data/dataset.ts";
import { padded } from "../data/sequences.ts";
import { aRecord, expectArguments } from "../graph/arguments.ts";
import { isFloat, sizeOf, type Values } from "../graph/types.ts";
import { datasetsOf, type TrainingData } from "../train/setup.ts";
import { type ColumnStatistics, statisticsOf } from "./column-statistics.ts";
import { Examples } from "./duplicates.ts";
import {
  balance,
  type ClassCount,
  explainFinding,
  type Finding,
  holes,
  order,
  sameness,
  scale,
  shift,
} from "./findings.ts";
import type { Explanation, Verdict } from "./report.ts";
import { type RunsTest, runsTest } from "./runs.ts";
import { count, counted, show } from "./words.ts";

/** What `check.data` found in one column. */
export interface ColumnReport extends Omit<ColumnStatistics, "deviations" | "firstHole"> {
  /** The last column is the target if there are several columns. */
  readonly role: "input" | "target";
}

/** What `check.data` found. */
export interface DataReport {
  readonly check: "data";
  readonly verdict: Verdict;
  readonly examples: number;
  readonly validationExamples: number;
  /** The columns of the training data. */
  readonly columns: readonly ColumnReport[];
  /** The classes in the order of their labels, if each example has one label. */
  readonly classes?: readonly ClassCount[];
  /** The runs test of the training targets, if each example has one: of labels, or of the sides of the median. */
  readonly order?: RunsTest;
  /** The number of training examples whose inputs equal those of an earlier example, bit for bit. */
  readonly repeated: number;
  /** The number of those whose target differs. */
  readonly contradictory: number;
  /** The number of validation examples whose inputs equal those of a training example. */
  readonly leaked: number;
  /** The findings that need attention. */
  readonly findings: readonly Finding[];
}

/**
 * Checks all data for values that are not finite, constant columns, scale, the balance of classes, the order of the targets, and inputs
 * that occur twice or in both parts. It takes some seconds for a gigabyte. Throws ConfigError when `train` or `validation` is not a dataset
 * or their columns differ.
 */
export function data<C extends readonly Column[]>(setup: TrainingData<C>): DataReport {
  expectArguments("check.data", [aRecord], [setup]);
  const { train, validation } = inFull(datasetsOf("data", setup as unknown as TrainingData));
  const hasTargets = train.columns.length > 1;
  const last = train.columns.length - 1;
  const isTarget = (column: number): boolean => hasTargets && column === last;
  const statistics = train.columns.map(statisticsOf);
  const validationStatistics = validation?.columns.map(statisticsOf) ?? [];

  const target = train.columns[last]!;
  const isScalar = sizeOf(target.shape.slice(1)) === 1;
  const classes = isScalar && !isFloat(target.dtype) ? countClasses(target, validation?.columns[last]) : undefined;
  const runs = isScalar ? runsTest(classes ? target.values : sides(target.values)) : undefined;

  const inputs = hasTargets ? train.columns.slice(0, last) : train.columns;
  const known = new Examples(inputs);
  const targets = new Examples([target]);
  const repeated = known.first.filter((first, i) => first !== i).length;
  const contradictory = known.first.filter((first, i) => targets.first[first] !== targets.first[i]).length;
  const leaked = validation
    ? known.match(validation.columns.slice(0, inputs.length)).filter((match) => match >= 0).length
    : 0;

  const findings: Finding[] = [
    ...statistics.flatMap((own, column) => holes("training", column, own)),
    ...validationStatistics.flatMap((own, column) => holes("validation", column, own)),
    ...statistics.flatMap((own, column) => sameness(column, own, isTarget(column))),
    ...statistics.flatMap((own, column) => (isTarget(column) ? [] : scale(column, own))),
    ...validationStatistics.flatMap((own, column) => shift(column, statistics[column]!, own)),
    ...(classes ? balance(classes) : []),
    ...(runs ? order(runs) : []),
  ];
  if (repeated > train.length / 100) findings.push({ verdict: "warn", kind: "repeated", count: repeated });
  if (contradictory > 0) findings.push({ verdict: "warn", kind: "contradictory", count: contradictory });
  if (validation && leaked > 0) {
    const verdict = leaked >= validation.length / 100 ? "fail" : "warn";
    findings.push({ verdict, kind: "leak", count: leaked, validation: validation.length });
  }
  const isBad = findings.some(({ verdict }) => verdict === "fail");
  return {
    check: "data",
    verdict: isBad ? "fail" : findings.length > 0 ? "warn" : "pass",
    examples: train.length,
    validationExamples: validation?.length ?? 0,
    columns: statistics.map(({ deviations, firstHole, ...own }, column) => ({
      ...own,
      role: isTarget(column) ? "target" : "input",
    })),
    ...(classes && { classes }),
    ...(runs && { order: runs }),
    repeated,
    contradictory,
    leaked,
    findings,
  };
}

interface Data {
  readonly train: Dataset;
  readonly validation?: Dataset;
}

/** Returns the data with all sequences padded to the length of the longest in both parts. */
function inFull({ train, validation }: Data): Data {
  const longest = (data: Dataset | undefined, column: number): number => data?.columns[column]?.shape[1] ?? 0;
  const lengths = train.columns.map((_, i) => Math.max(longest(train, i), longest(validation, i)));
  const full = (data: Dataset): Dataset =>
    data.columns.some(({ offsets }) => offsets)
      ? new Dataset(data.columns.map((column, i) => padded<Column>(column, lengths[i])))
      : data;
  return { train: full(train), ...(validation && { validation: full(validation) }) };
}

/** Returns the classes in the order of their labels, or undefined if there are more labels than a quarter of the examples. */
function countClasses(train: Column, validation: Column | undefined): ClassCount[] | undefined {
  const [own, others] = [tally(train.values), tally(validation?.values ?? new Int32Array(0))];
  if (own.size > train.values.length / 4) return undefined;
  const labels = [...new Set([...own.keys(), ...others.keys()])].sort((a, b) => a - b);
  return labels.map((label) => ({ label, train: own.get(label) ?? 0, validation: others.get(label) ?? 0 }));
}

function tally(values: Values): Map<number, number> {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** Returns on which side of the median each value is. */
function sides(values: Values): Uint8Array {
  const median = Float64Array.from(values).sort()[Math.floor(values.length / 2)]!;
  return Uint8Array.from(values, (value) => Number(value >= median));
}

/** Explains a report in sentences. */
export function explainData(report: DataReport): Explanation {
  const { examples, validationExamples, columns, classes, order: runs, repeated, leaked, findings } = report;
  const parts = `${counted(examples, "example")} to train on, ${count(validationExamples)} to validate on`;
  const found = findings.length === 0 ? "nothing stands out" : `${counted(findings.length, "thing")} to look at`;
  const details = columns.map(({ type, role, isReal, smallest, largest, mean, deviation, positions, constant }, i) => {
    const moments = isReal ? `, mean ${show(mean)}, deviation ${show(deviation)}` : "";
    const still = constant > 0 && positions > 1 ? `, ${count(constant)} of ${count(positions)} positions constant` : "";
    return `column ${i}, ${role}, ${type}: ${show(smallest)} to ${show(largest)}${moments}${still}`;
  });
  if (classes) {
    const sizes = classes.map(({ train }) => train);
    const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
    details.push(`${counted(classes.length, "label")}, each on ${count(least)} to ${count(most)} examples`);
  }
  if (runs)
    details.push(`order: ${count(runs.runs)} runs of equal targets, ${count(Math.round(runs.expected))} when shuffled`);
  details.push(`inputs that occur twice: ${count(repeated)}; in both parts: ${count(leaked)}`);
  return { headline: `${parts}; ${found}`, details, advice: findings.map(explainFinding) };
}
