/** Loaders that yield tensors. */
import { aColumn, expectArguments } from "../graph/arguments.ts";
import { copyOf, type DType, type Shape } from "../graph/types.ts";
import { adopt } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Column, type Dataset, expectValues } from "./dataset.ts";
import { createLoader, type Loader, type LoaderOptions } from "./loader.ts";
import { padded } from "./sequences.ts";

/** The tensors of a batch, one for each column. TypeScript does not know the number of examples. */
export type Batch<C extends readonly Column[]> = {
  -readonly [K in keyof C]: C[K] extends Column<infer S, infer D> ? Tensor<Batched<S>, D> : never;
};

type Batched<S extends Shape> = S extends readonly [number, ...infer Rest extends Shape] ? [number, ...Rest] : Shape;

/**
 * Makes a loader that yields the batches of a dataset as tensors, one epoch in each iteration: `for (const [images, labels] of loader(data,
 * options))`. Sequences of different lengths are padded to one length in each batch. Throws ConfigError for a batch size that is not a
 * whole number from 1 on, DataError for a batch larger than the data.
 */
export function loader<C extends readonly Column[], const M extends readonly Column[] = C>(
  data: Dataset<C>,
  options: LoaderOptions<C, M>,
): Loader<Batch<M>> {
  // The loader makes new arrays for each batch, so the tensors need not copy them.
  return createLoader(data, options, (column) => adopt(column, column.values)) as unknown as Loader<Batch<M>>;
}

/**
 * Returns a column as one tensor; sequences are padded to the longest. The column's array is copied, so it may be changed or transferred to
 * another thread afterwards. Throws DataError for an array whose kind or length does not fit the column.
 */
export function toTensor<S extends Shape, D extends DType>(column: Column<S, D>): Tensor<[...S], D> {
  expectArguments("toTensor", [aColumn], [column]);
  expectValues("toTensor", column);
  if (column.offsets) {
    const { shape, dtype, values } = padded<Column>(column);
    return adopt({ shape, dtype }, values) as Tensor<[...S], D>;
  }
  return adopt(column, copyOf(column.values, column.dtype)) as Tensor<[...S], D>;
}
