/** Divides examples into parts: at random, or so that each class has the same share in all parts. */
import { ConfigError, DataError } from "../errors.ts";
import { described, type Kind, options as optionsOf } from "../graph/arguments.ts";
import { hostStream } from "../random/generator.ts";
import { permutation } from "./shuffle.ts";

/** The option `stratify` when a dataset is split. */
export interface StratifyOptions {
  /**
   * Whether each class has the same share in all parts. True uses the last column as labels; a number is the position of another column.
   * Default false.
   */
  readonly stratify?: boolean | number;
}

/** The option `stratify` when a table is split. */
export interface StratifyByName {
  /** Whether each class has the same share in all parts. True uses the label; a text is the name of another column. Default false. */
  readonly stratify?: boolean | string;
}

export const stratifyOptions: Kind = optionsOf({
  stratify: (value) =>
    typeof value === "boolean" || (Number.isSafeInteger(value) && (value as number) >= 0)
      ? undefined
      : "give true or the place of a column",
});

export const stratifyByName: Kind = optionsOf({
  stratify: (value) =>
    typeof value === "boolean" || typeof value === "string" ? undefined : "give true or the name of a column",
});

/**
 * Returns the indices of two parts of `length` examples, in random order: `part` examples, or that fraction, and the rest. With labels,
 * each class has the same share in both. Throws ConfigError for any other `part`, DataError when one side is empty or a class has fewer
 * than two examples.
 */
export function parts(
  length: number,
  part: number,
  seed: number,
  labels?: ArrayLike<number>,
): [Uint32Array, Uint32Array] {
  const isFraction = part > 0 && part < 1;
  if (!isFraction && !(Number.isInteger(part) && part > 0))
    throw new ConfigError(
      "split",
      `the first part is ${described(part)}`,
      "give a number of examples, or a fraction between 0 and 1",
    );
  const count = isFraction ? Math.round(part * length) : part;
  if (count < 1 || count >= length)
    throw new DataError(
      "split",
      `${count} of ${length} examples in the first part leave ${count < 1 ? "it" : "the second"} empty`,
      length < 2 ? "a split needs two examples at least" : `give a count from 1 to ${length - 1}`,
    );
  const order = permutation(length, hostStream(seed, "split"));
  if (!labels) return [order.subarray(0, count), order.subarray(count)];
  return stratified(order, labels, count);
}

/** Returns the fold of each example, and the order in which the examples are used. */
export function folds(
  length: number,
  k: number,
  seed: number,
  labels?: ArrayLike<number>,
): { readonly order: Uint32Array; readonly fold: Uint32Array } {
  if (!Number.isSafeInteger(k) || k < 2)
    throw new ConfigError("folds", `k is ${described(k)}`, "give a whole number from 2 on");
  if (k > length) throw new DataError("folds", `${k} parts of ${length} examples`, `set k to ${length} or less`);
  const order = permutation(length, hostStream(seed, "split"));
  const fold = new Uint32Array(length);
  let next = 0;
  for (const group of labels ? byClass("folds", order, labels, k) : [order])
    for (const index of group) fold[index] = next++ % k;
  return { order, fold };
}

/** Returns the indices of each class, in the given order. Throws DataError for a class with fewer than `least` examples. */
function byClass(subject: string, order: Uint32Array, labels: ArrayLike<number>, least: number): Uint32Array[] {
  const groups = new Map<number, number[]>();
  for (const index of order) {
    const label = labels[index]!;
    const group = groups.get(label);
    if (group) group.push(index);
    else groups.set(label, [index]);
  }
  const sorted = [...groups].sort(([a], [b]) => a - b);
  for (const [label, { length }] of sorted)
    if (length < least)
      throw new DataError(
        subject,
        `class ${label} has ${length} example${length === 1 ? "" : "s"}, and ${least} parts are to have one each`,
        "drop the class, put it into another, or leave stratify out",
      );
  return sorted.map(([, group]) => Uint32Array.from(group));
}

/**
 * Divides the indices into `count` and the rest, each class in proportion. Rounding down leaves some over, which go to the classes with the
 * largest remainders.
 */
function stratified(order: Uint32Array, labels: ArrayLike<number>, count: number): [Uint32Array, Uint32Array] {
  const groups = byClass("split", order, labels, 2);
  const exact = groups.map(({ length }) => (length * count) / order.length);
  const counts = exact.map(Math.floor);
  const left = count - counts.reduce((sum, each) => sum + each, 0);
  const byRemainder = exact.map((share, i) => ({ i, rest: share - counts[i]! })).sort((a, b) => b.rest - a.rest);
  for (const { i } of byRemainder.slice(0, left)) counts[i]!++;
  const isFirst = new Uint8Array(order.length);
  groups.forEach((group, i) => {
    for (const index of group.subarray(0, counts[i]!)) isFirst[index] = 1;
  });
  // The indices keep the order that was drawn, so the classes stay mixed.
  return [order.filter((index) => isFirst[index]), order.filter((index) => !isFirst[index])];
}
