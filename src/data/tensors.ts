/** Loaders that yield tensors. */
import { aColumn, expectArguments } from "../graph/arguments.ts";
import { copyOf, type DType, type Shape } from "../graph/types.ts";
import { adopt } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Column, type Dataset, expectValues } from "./dataset.ts";
import { createLoader, type Loader, type LoaderOptions } from "./loader.ts";

/** The tensors of a batch, one for each column: the number of examples is not known to the compiler. */
export type Batch<C extends readonly Column[]> = {
  -readonly [K in keyof C]: C[K] extends Column<infer S, infer D> ? Tensor<Batched<S>, D> : never;
};

type Batched<S extends Shape> = S extends readonly [number, ...infer Rest extends Shape] ? [number, ...Rest] : Shape;

/**
 * Batches of a dataset as tensors, one epoch for each iteration: `for (const [images, labels] of loader(data, options))`.
 * Throws ConfigError for a batch size that is no whole number from 1 on, DataError for a batch larger than the data.
 */
export function loader<C extends readonly Column[]>(data: Dataset<C>, options: LoaderOptions): Loader<Batch<C>> {
  // A loader makes an array for each batch.
  return createLoader(data, options, (column) => adopt(column, column.values)) as Loader<Batch<C>>;
}

/**
 * A column as one tensor. Copies the column's array, which may be changed, or given to another thread, afterwards. Throws DataError for
 * an array of another kind or length than the column says.
 */
export function toTensor<S extends Shape, D extends DType>(column: Column<S, D>): Tensor<[...S], D> {
  expectArguments("toTensor", [aColumn], [column]);
  expectValues("toTensor", column);
  return adopt(column, copyOf(column.values, column.dtype)) as Tensor<[...S], D>;
}
