/** Statistics of a column: mean, deviation and non-finite values, over all values and by position. */
import type { Column } from "../data/dataset.ts";
import { isFloat, showType, sizeOf } from "../graph/types.ts";

/** The statistics of one column of a dataset. */
export interface ColumnStatistics {
  /** The type of one example, such as `float32[784]`. */
  readonly type: string;
  /** The mean of the finite values. All further statistics also use only the finite values. */
  readonly mean: number;
  /** Standard deviation. */
  readonly deviation: number;
  readonly smallest: number;
  readonly largest: number;
  /** The number of positions of an example, and how many of them have the same value in all examples. */
  readonly positions: number;
  readonly constant: number;
  /** Standard deviation by position. */
  readonly deviations: Float64Array;
  /** The number of values that are not finite, and where the first of them is. */
  readonly holes: number;
  readonly firstHole: number;
  /** Whether the values are real numbers, so that their scale has a meaning. */
  readonly isReal: boolean;
}

/** Computes the statistics in two passes over the values, in float64. */
export function statisticsOf({ shape, dtype, values }: Column): ColumnStatistics {
  const positions = sizeOf(shape.slice(1));
  const [sums, squares] = [new Float64Array(positions), new Float64Array(positions)];
  const counts = new Uint32Array(positions);
  const smallest = new Float64Array(positions).fill(Number.POSITIVE_INFINITY);
  const largest = new Float64Array(positions).fill(Number.NEGATIVE_INFINITY);
  const next = (position: number): number => (position + 1 === positions ? 0 : position + 1);
  let firstHole = -1;
  for (let at = 0, position = 0; at < values.length; at++, position = next(position)) {
    const value = values[at]!;
    if (!Number.isFinite(value)) {
      if (firstHole < 0) firstHole = at;
      continue;
    }
    counts[position]!++;
    sums[position]! += value;
    if (value < smallest[position]!) smallest[position] = value;
    if (value > largest[position]!) largest[position] = value;
  }
  const means = sums.map((sum, position) => sum / Math.max(1, counts[position]!));
  for (let at = 0, position = 0; at < values.length; at++, position = next(position))
    if (Number.isFinite(values[at]!)) squares[position]! += (values[at]! - means[position]!) ** 2;

  const count = total(counts);
  const mean = total(sums) / count;
  // Σ(x − x̄)² is the sum of the part within positions and the part between positions.
  const between = means.reduce((sum, own, position) => sum + counts[position]! * (own - mean) ** 2, 0);
  return {
    type: showType({ shape: shape.slice(1), dtype }),
    mean,
    deviation: Math.sqrt((total(squares) + between) / count),
    smallest: smallest.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    largest: largest.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
    positions,
    constant: smallest.reduce((found, value, position) => found + Number(value === largest[position]), 0),
    deviations: squares.map((square, position) => Math.sqrt(square / Math.max(1, counts[position]!))),
    holes: values.length - count,
    firstHole,
    isReal: isFloat(dtype),
  };
}

function total(values: Float64Array | Uint32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
