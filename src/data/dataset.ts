/** Datasets: columns that share their first axis, the examples. */
import { ConfigError, DataError } from "../errors.ts";
import { anything, described, expectArguments } from "../graph/arguments.ts";
import {
  arrayTypes,
  type DType,
  isFloat,
  type Shape,
  showShape,
  showType,
  sizeOf,
  type Values,
} from "../graph/types.ts";
import { expectSeed } from "../random/generator.ts";
import { folds, parts, type StratifyOptions, stratifyOptions } from "./parts.ts";
import { expectOffsets, gatherSequences } from "./sequences.ts";

/** The values of all examples, in memory. `shape[0]` is the number of examples; the rest is the shape of one example. */
export interface Column<S extends Shape = Shape, D extends DType = DType> {
  readonly shape: S;
  readonly dtype: D;
  /** Row-major, example after example. */
  readonly values: Values;
  /**
   * For sequences of different lengths: the step at which each begins, and at the end the step at which the last one ends. The values are
   * then those of the sequences without padding, and `shape[1]` is the length of the longest. Made by `sequences`.
   */
  readonly offsets?: Int32Array;
  /** The value with which shorter sequences are padded in a batch. Default 0. */
  readonly padding?: number;
}

/** The same columns with any number of examples. */
export type AnyCount<C extends readonly Column[]> = {
  readonly [K in keyof C]: C[K] extends Column<infer S, infer D>
    ? Column<readonly [number, ...ExampleShape<S>], D>
    : never;
};

type ExampleShape<S extends Shape> = S extends readonly [number, ...infer Rest extends Shape] ? Rest : Shape;

/** Examples held in memory. Columns go by position: a loader gives batches in the same order. */
export class Dataset<C extends readonly Column[] = readonly Column[]> {
  readonly columns: C;
  /** The number of examples. */
  readonly length: number;

  /**
   * The dataset keeps the arrays without copying: do not write to them afterwards. Throws DataError without columns, without examples, for
   * columns of different lengths, and for values that do not fill their shape.
   */
  constructor(columns: C) {
    const [first] = columns;
    if (!first)
      throw new DataError("dataset", "it has no columns", "give one column at least: dataset(images, labels)");
    for (const [index, column] of columns.entries()) expectColumn(column, index, first.shape[0]);
    this.columns = columns;
    this.length = first.shape[0]!;
  }

  /**
   * Returns a dataset of the examples at `indices`, in that order; repeated indices repeat examples. Copies the values. Throws DataError
   * for an index out of range.
   */
  take(indices: ArrayLike<number>): Dataset<C> {
    if (indices.length === 0)
      throw new DataError("take", "no index was given, and a dataset is never empty", "take one example at least");
    for (let i = 0; i < indices.length; i++) {
      const index = indices[i]!;
      if (!Number.isInteger(index) || index < 0 || index >= this.length)
        throw new DataError(
          "take",
          `index ${index}, at position ${i}, of a dataset with ${this.length} examples`,
          `give integers from 0 to ${this.length - 1}`,
        );
    }
    return new Dataset(this.columns.map((column) => gatherExamples(column, indices)) as readonly Column[] as C);
  }

  /**
   * Splits the dataset at random into two datasets without common examples. The first has `part` examples, or that fraction of them
   * (rounded) if `part` lies between 0 and 1; the second has the rest. The same seed (default 0) gives the same split. With `stratify`,
   * each class has the same share in both. Throws ConfigError for any other `part`, DataError when one side would be empty, and when a
   * class has fewer than two examples.
   */
  split(part: number, seed: number = 0, options: StratifyOptions = {}): [Dataset<C>, Dataset<C>] {
    expectSeed("split", seed);
    expectArguments("split", [anything, anything, stratifyOptions], [part, seed, options]);
    const { stratify = false } = options;
    const labels = stratify === false ? undefined : this.#labels("split", stratify);
    const [first, second] = parts(this.length, part, seed, labels);
    return [this.take(first), this.take(second)];
  }

  /**
   * Yields `k` pairs for cross-validation. All examples are divided at random, by the seed, into k parts of equal size; each pair has one
   * part for validation and the others for training. With `stratify`, each class has the same share in all parts. The pairs are made one by
   * one, when they are needed. Throws ConfigError for a `k` below 2, DataError for a `k` above the number of examples, or above the number
   * of examples of a class.
   */
  folds(
    k: number,
    seed: number = 0,
    options: StratifyOptions = {},
  ): Iterable<{ readonly train: Dataset<C>; readonly validation: Dataset<C> }> {
    expectSeed("folds", seed);
    expectArguments("folds", [anything, anything, stratifyOptions], [k, seed, options]);
    const { stratify = false } = options;
    const labels = stratify === false ? undefined : this.#labels("folds", stratify);
    const { order, fold } = folds(this.length, k, seed, labels);
    return this.#pairs(k, order, fold);
  }

  *#pairs(
    k: number,
    order: Uint32Array,
    fold: Uint32Array,
  ): Generator<{ readonly train: Dataset<C>; readonly validation: Dataset<C> }, void> {
    for (let held = 0; held < k; held++)
      yield {
        train: this.take(order.filter((index) => fold[index] !== held)),
        validation: this.take(order.filter((index) => fold[index] === held)),
      };
  }

  #labels(subject: string, stratify: true | number): Values {
    const index = stratify === true ? this.columns.length - 1 : stratify;
    const column = this.columns[index];
    if (!column)
      throw new ConfigError(
        subject,
        `there is no column ${index}`,
        `give the place of a column, from 0 to ${this.columns.length - 1}`,
      );
    if (column.shape.length !== 1 || isFloat(column.dtype))
      throw new DataError(
        subject,
        `column ${index} is ${showType({ shape: ["examples", ...column.shape.slice(1)] as never, dtype: column.dtype })}, and labels are int32[examples]`,
        "stratify by a column of labels: { stratify: 1 } takes column 1",
      );
    return column.values;
  }
}

/**
 * Makes a dataset of columns with the same first size: `dataset({ shape: [150, 4], dtype: "float32", values }, labels)`. It keeps the
 * arrays without copying. Throws DataError as the constructor does.
 */
export function dataset<const C extends readonly Column[]>(...columns: C): Dataset<AnyCount<C>> {
  for (const [i, column] of columns.entries())
    if (typeof column !== "object" || column === null || !Array.isArray(column.shape) || !("values" in column))
      throw new DataError(
        `dataset: column ${i}`,
        `it is ${described(column)}`,
        'give a column as { shape, dtype, values }, with values in a typed array: { shape: [2, 2], dtype: "float32", values: Float32Array.of(1, 2, 3, 4) }',
      );
  return new Dataset(columns as readonly Column[] as AnyCount<C>);
}

function expectColumn(column: Column, index: number, examples: number | undefined): void {
  const { shape } = column;
  const subject = `dataset: column ${index}`;
  const [count] = shape;
  if (count === undefined)
    throw new DataError(
      subject,
      "it is a scalar, without an axis of examples",
      "give a shape that starts with the number of examples",
    );
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw new DataError(subject, `its shape is ${showShape(shape)}`, "give whole numbers");
  if (count === 0)
    throw new DataError(subject, "it has no examples", "check where the data come from: a filter may have dropped all");
  if (count !== examples)
    throw new DataError(
      subject,
      `it has ${count} examples, and column 0 has ${examples}`,
      "give columns with one row per example",
    );
  expectValues(subject, column);
}

/** Throws DataError unless the values are in an array of the column's dtype and fill its shape. */
export function expectValues(subject: string, column: Column): void {
  const { shape, dtype, values } = column;
  if (!Object.hasOwn(arrayTypes, dtype))
    throw new DataError(subject, `its dtype is ${described(dtype)}`, `give ${Object.keys(arrayTypes).join(", ")}`);
  if (!(values instanceof arrayTypes[dtype]))
    throw new DataError(
      subject,
      `values of ${dtype} should be in ${arrayTypes[dtype].name}, and came in ${(values as Values).constructor.name}`,
      "pass the array of the dtype, or name the dtype of the array",
    );
  if (column.offsets) expectOffsets(subject, column);
  else if (values.length !== sizeOf(shape))
    throw new DataError(
      subject,
      `${showType(column)} needs ${sizeOf(shape)} values, and got ${values.length}`,
      "make shape and values agree",
    );
}

/** Returns the rows of a column at `indices` as a new column. The indices must be in range. */
export function gatherExamples(column: Column, indices: ArrayLike<number>): Column {
  if (column.offsets) return gatherSequences(column, indices);
  const example = sizeOf(column.shape.slice(1));
  const values = new arrayTypes[column.dtype](indices.length * example);
  for (let i = 0; i < indices.length; i++) {
    const from = indices[i]! * example;
    if (example === 1) values[i] = column.values[from]!;
    else values.set(column.values.subarray(from, from + example), i * example);
  }
  return { shape: [indices.length, ...column.shape.slice(1)], dtype: column.dtype, values };
}

/** Returns the rows of a column from `begin` to before `end` as a new column, with its own copy of the values. */
export function sliceExamples(column: Column, begin: number, end: number): Column {
  const example = sizeOf(column.shape.slice(1));
  // The constructor copies; `slice` of a Node Buffer would return a view.
  const values = new arrayTypes[column.dtype](column.values.subarray(begin * example, end * example));
  return { shape: [end - begin, ...column.shape.slice(1)], dtype: column.dtype, values };
}
