/** Standardising: scales every feature to mean 0 and standard deviation 1, with statistics of the training data. */

import { ConfigError, DataError } from "../errors.ts";
import { aColumn, aRecord, expectArguments, optional } from "../graph/arguments.ts";
import { arrayTypes, type DType, type Shape, sameShape, showShape, sizeOf } from "../graph/types.ts";
import type { Column } from "./dataset.ts";

/** Options of `fitStandardizer`. */
export interface StandardizeOptions {
  /** Whether each position of an example has its own mean and scale. Default true; with false all positions share one pair. */
  readonly perFeature?: boolean;
}

/** The statistics of the training data. Plain JSON, exact when written and read again. */
export interface StandardStatistics {
  /** The shape of one example if each of its positions is a feature; null if all positions share one mean and scale. */
  readonly exampleShape: readonly number[] | null;
  /** The means by feature, row-major within the example. */
  readonly mean: readonly number[];
  /** Standard deviations (divided by n, as scikit-learn does), and 1 for a feature that never changes. */
  readonly scale: readonly number[];
  /** The features that never change, in order. They become 0 everywhere and give a model no information. */
  readonly constant: readonly number[];
}

/** Subtracts each feature's mean and divides by its standard deviation. */
export class Standardizer {
  readonly statistics: StandardStatistics;

  /** Takes saved statistics. Throws ConfigError when they do not fit together. */
  constructor(statistics: StandardStatistics) {
    const { exampleShape, mean, scale, constant } = statistics;
    const features = exampleShape === null ? 1 : areFinite(exampleShape) ? sizeOf(exampleShape) : Number.NaN;
    const fits =
      areFinite(mean) &&
      areFinite(scale) &&
      areFinite(constant) &&
      mean.length === features &&
      scale.length === features &&
      scale.every((value) => value > 0) &&
      constant.every((feature) => Number.isInteger(feature) && feature >= 0 && feature < features);
    if (!fits)
      throw new ConfigError(
        "Standardizer",
        "the statistics are no finite mean and positive scale for each feature of the example's shape",
        "pass the statistics that a fitted standardizer had",
      );
    this.statistics = statistics;
  }

  /**
   * Returns the column (x − mean) / scale: float64 for float64, float32 for every other dtype. Throws DataError for examples of another
   * shape than those of the fit, and for NaN or infinite values.
   */
  apply<S extends Shape, D extends DType>(
    column: Column<S, D>,
  ): Column<S, D extends "float64" ? "float64" : "float32"> {
    const { exampleShape, mean, scale } = this.statistics;
    const example = featuresOf(column);
    if (exampleShape !== null && !sameShape(example, exampleShape))
      throw new DataError(
        "standardize",
        `the statistics are of examples of shape ${showShape(exampleShape)}, and got ${showShape(example)}`,
        "apply it to data with the features it was fitted to",
      );
    expectFinite(column);
    const dtype = column.dtype === "float64" ? "float64" : "float32";
    const values = new arrayTypes[dtype](column.values.length);
    for (let at = 0; at < values.length; )
      for (let feature = 0; feature < mean.length; feature++, at++)
        values[at] = (column.values[at]! - mean[feature]!) / scale[feature]!;
    return { ...column, dtype, values } as ReturnType<typeof this.apply<S, D>>;
  }

  /** Returns the statistics for JSON.stringify. `standardizer(JSON.parse(text))` restores the standardizer. */
  toJSON(): StandardStatistics {
    return this.statistics;
  }
}

/** The shape of the features: that of an example, or of a step of a sequence. */
const featuresOf = ({ shape, offsets }: Column): Shape => shape.slice(offsets ? 2 : 1);

/** Checks statistics from files: they may not be the arrays of numbers that their types promise. */
function areFinite(values: readonly number[]): boolean {
  return Array.isArray(values) && values.every(Number.isFinite);
}

/**
 * Fits a standardizer to training data; apply the same one to validation and test data. Means and deviations are summed
 * in float64, in three passes. Throws DataError for NaN or infinite values, and for values whose sum float64 cannot
 * hold.
 */
export function fitStandardizer(column: Column, options: StandardizeOptions = {}): Standardizer {
  expectArguments("fitStandardizer", [aColumn, optional(aRecord)], [column, options]);
  const { perFeature = true } = options;
  const { values } = column;
  const exampleShape: Shape = featuresOf(column);
  const features = perFeature ? sizeOf(exampleShape) : 1;
  const count = values.length / features;
  if (values.length === 0)
    throw new DataError("standardize", "the column holds no values", "fit it to one example at least");
  expectFinite(column);

  const mean = new Float64Array(features);
  for (let at = 0; at < values.length; ) for (let f = 0; f < features; f++, at++) mean[f]! += values[at]!;
  for (let f = 0; f < features; f++) mean[f]! /= count;

  const largest = new Float64Array(features);
  const changes = new Uint8Array(features);
  for (let at = 0; at < values.length; )
    for (let f = 0; f < features; f++, at++) {
      largest[f] = Math.max(largest[f]!, Math.abs(values[at]! - mean[f]!));
      // Constant features are found by comparing values: the rounded mean of equal values may differ from them, which would give a tiny
      // variance.
      if (values[at] !== values[f]) changes[f] = 1;
    }
  // Differences are taken relative to the largest, so that squares of tiny differences do not underflow.
  const squares = new Float64Array(features);
  for (let at = 0; at < values.length; )
    for (let f = 0; f < features; f++, at++) squares[f]! += ((values[at]! - mean[f]!) / (largest[f]! || 1)) ** 2;

  const scale = new Float64Array(features).fill(1);
  const constant: number[] = [];
  for (let f = 0; f < features; f++) {
    const deviation = largest[f]! * Math.sqrt(squares[f]! / count);
    // A deviation too small for float64 counts as 0.
    if (changes[f] && deviation > 0) scale[f] = deviation;
    else constant.push(f);
    if (!changes[f]) mean[f] = values[f]!;
    if (!Number.isFinite(scale[f]!) || !Number.isFinite(mean[f]!))
      throw new DataError(
        "standardize",
        `the mean of feature ${f} is beyond float64`,
        "divide the data by a power of ten first",
      );
  }
  return new Standardizer({
    exampleShape: perFeature ? exampleShape : null,
    mean: [...mean],
    scale: [...scale],
    constant,
  });
}

function expectFinite(column: Column): void {
  const at = column.values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  const example = sizeOf(featuresOf(column));
  throw new DataError(
    "standardize",
    `feature ${at % example} of ${column.offsets ? "step" : "example"} ${Math.floor(at / example)} is ${column.values[at]}`,
    "drop the example, or fill the value in, before standardising",
  );
}

/** Makes a standardizer with these statistics, such as saved ones. Throws ConfigError for invalid statistics. */
export function standardizer(statistics: StandardStatistics): Standardizer {
  expectArguments("standardizer", [aRecord], [statistics]);
  return new Standardizer(statistics);
}
