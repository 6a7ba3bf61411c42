/** Data whose examples say which they are. */
import { type Column, type Dataset, dataset } from "../../src/data/dataset.ts";

type Rows = Column<readonly [number, 2], "float32">;
type Labels = Column<readonly [number], "int32">;

/** `count` examples: example i is (i, i + 0.5), its label i. */
export function numbered(count: number): Dataset<readonly [Rows, Labels]> {
  return dataset(
    { shape: [count, 2], dtype: "float32", values: Float32Array.from({ length: 2 * count }, (_, i) => i / 2) },
    { shape: [count], dtype: "int32", values: Int32Array.from({ length: count }, (_, i) => i) },
  );
}

/** The labels among some columns of a batch or a dataset. */
export const labelsOf = ([, labels]: readonly Column[]): number[] => [...labels!.values];

/** A column of float64. */
export const f64 = (shape: readonly number[], ...values: number[]): Column => ({
  shape,
  dtype: "float64",
  values: Float64Array.from(values),
});
