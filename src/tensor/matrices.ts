/** Diagonals and products, written with other ops. */

import { ShapeError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { aTensor, aWhole, expectArguments, optional } from "../graph/arguments.ts";
import { type DType, type Shape, showType } from "../graph/types.ts";
import * as movement from "../ops/movement.ts";
import * as spectrum from "../ops/spectrum.ts";
import { part } from "./axes.ts";
import { arange } from "./create.ts";
import type { Tensor } from "./tensor.ts";

/** Returns the diagonal of the last two axes, `offset` places above the main one, as a new last axis. */
export function diagonal(x: Tensor, offset: number): Tensor {
  const [rows, columns] = x.shape.slice(-2);
  if (rows === undefined || columns === undefined)
    throw new ShapeError("diagonal", `${showType(x)} is no matrix`, "reshape it to two axes or more");
  const length = Math.max(0, Math.min(rows, columns - offset, rows + offset, columns));
  const lead = x.shape.slice(0, -2);
  const flat = apply(movement.reshape, [x], { shape: [...lead, rows * columns] });
  if (length === 0) return part(flat, lead.length, 0, 0);
  // The diagonal moves one place to the right in each row, so it is every (columns + 1)th element.
  const first = offset >= 0 ? offset : -offset * columns;
  return flat.slice(...lead.map(() => null), [first, first + (length - 1) * (columns + 1) + 1, columns + 1]);
}

/** Returns square matrices with the vectors of the last axis on the diagonal, or `offset` places above it, and zeros elsewhere. */
export function diagonalMatrix<S extends Shape, D extends DType, const O extends number = 0>(
  vectors: Tensor<S, D>,
  offset?: O,
): Tensor<Squared<S, O>, D> {
  expectArguments("diagonalMatrix", [aTensor, optional(aWhole)], [vectors, offset]);
  const [x, above] = [vectors as Tensor, offset ?? 0];
  const length = x.shape.at(-1);
  if (length === undefined) throw new ShapeError("diagonalMatrix", "a scalar has no last axis", "reshape it to [1]");
  const size = length + Math.abs(above);
  const lead = x.shape.slice(0, -1);
  const flat = apply(movement.unslice, [x], {
    starts: [...lead.map(() => 0), above >= 0 ? above : -above * size],
    sizes: [...lead, length],
    steps: [...lead.map(() => 1), size + 1],
    shape: [...lead, size * size],
  });
  return apply(movement.reshape, [flat], { shape: [...lead, size, size] }) as Tensor<Squared<S, O>, D>;
}

type Squared<S extends Shape, O extends number> = S extends readonly [...infer L extends Shape, infer N extends number]
  ? O extends 0
    ? [...L, N, N]
    : [...L, number, number]
  : Shape;

/** Returns the outer product x·yᵀ of two vectors: each element of x times each element of y. */
export function outer<N extends number, M extends number, D extends DType>(
  x: Tensor<[N], D>,
  y: Tensor<[M], NoInfer<D>>,
): Tensor<[N, M], D> {
  expectArguments("outer", [aTensor, aTensor], [x, y]);
  const [a, b] = [x as Tensor, y as Tensor];
  if (a.shape.length !== 1 || b.shape.length !== 1)
    throw new ShapeError("outer", `${showType(a)} and ${showType(b)}`, "give two vectors; einsum takes more axes");
  return a.reshape([a.size, 1]).expand([a.size, b.size]).mul(b) as Tensor<Shape, D> as Tensor<[N, M], D>;
}

/** Returns a float32 matrix with ones on the diagonal: the identity matrix, or a part of it. */
export function eye<const R extends number, const C extends number = R>(
  rows: R,
  columns?: C,
): Tensor<[R, C], "float32"> {
  const width = columns ?? rows;
  const column = arange(width as number).expand([rows, width]) as Tensor;
  return column.equal(arange(rows as number).reshape([rows, 1])).cast("float32") as unknown as Tensor<
    [R, C],
    "float32"
  >;
}

/**
 * Returns all singular values of a matrix [m, n], the largest first: [min(m, n)]. For float32 and float64. The error of each is a few
 * units in the last place of the largest one, so a singular matrix may have tiny values instead of 0. If the matrix contains NaN or an
 * infinity, all values are NaN. The time grows with m·n·min(m, n); docs/benchmarks.md has examples. Not differentiable: `gradients`
 * through it throws GraphError. Throws ShapeError if x is not a matrix, DTypeError for other dtypes.
 */
export function singularValues<M extends number, N extends number, D extends DType>(
  x: Tensor<[M, N], D>,
): Tensor<[number], D> {
  expectArguments("singularValues", [aTensor], [x]);
  return apply(spectrum.singularValues, [x as Tensor], undefined) as Tensor<[number], D>;
}

/** Returns x·Wᵀ + b over the last axis, W [outputs, inputs]. Leading axes are joined: one matrix product that adds the bias is fastest. */
export function affine(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const lead = x.shape.slice(0, -1);
  const flat = lead.length === 1 ? x : x.reshape([-1, x.shape.at(-1)!]);
  const product = flat.matmul(weight.mT()) as Tensor;
  const y = bias ? product.add(bias) : product;
  return (lead.length === 1 ? y : y.reshape([...lead, weight.shape[0]!])) as Tensor;
}
