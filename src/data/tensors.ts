/** Loaders that yield tensors. */
import type { DType, Shape } from "../graph/types.ts";
import { adopt } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Column, Dataset } from "./dataset.ts";
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
  return createLoader(data, options, toTensor) as Loader<Batch<C>>;
}

/** A column as one tensor; the column's array must not be written to afterwards. */
export function toTensor<S extends Shape, D extends DType>(column: Column<S, D>): Tensor<[...S], D> {
  return adopt(column, column.values) as Tensor<[...S], D>;
}
