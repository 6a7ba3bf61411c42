/** Diagonals and products written with other ops. */
import { ShapeError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { type DType, showType } from "../graph/types.ts";
import * as movement from "../ops/movement.ts";
import * as spectrum from "../ops/spectrum.ts";
import { part } from "./axes.ts";
import { range } from "./create.ts";
import type { Tensor } from "./tensor.ts";

/** The diagonal of the last two axes, `offset` places above the main one, as a last axis. */
export function diagonal(x: Tensor, offset: number): Tensor {
  const [rows, columns] = x.shape.slice(-2);
  if (rows === undefined || columns === undefined)
    throw new ShapeError("diagonal", `${showType(x)} is no matrix`, "reshape it to two axes or more");
  const length = Math.max(0, Math.min(rows, columns - offset, rows + offset, columns));
  const lead = x.shape.slice(0, -2);
  const flat = apply(movement.reshape, [x], { shape: [...lead, rows * columns] });
  if (length === 0) return part(flat, lead.length, 0, 0);
  // One place further in each row: every (columns + 1)th element.
  const first = offset >= 0 ? offset : -offset * columns;
  return flat.slice(...lead.map(() => null), [first, first + (length - 1) * (columns + 1) + 1, columns + 1]);
}

/** Square matrices with vectors (the last axis) on their diagonal, or `offset` places above it, and zeros elsewhere. */
export function diagonalMatrix(x: Tensor, offset: number = 0): Tensor {
  const length = x.shape.at(-1);
  if (length === undefined) throw new ShapeError("diagonalMatrix", "a scalar has no last axis", "reshape it to [1]");
  const size = length + Math.abs(offset);
  const lead = x.shape.slice(0, -1);
  const flat = apply(movement.unslice, [x], {
    starts: [...lead.map(() => 0), offset >= 0 ? offset : -offset * size],
    sizes: [...lead, length],
    steps: [...lead.map(() => 1), size + 1],
    shape: [...lead, size * size],
  });
  return apply(movement.reshape, [flat], { shape: [...lead, size, size] });
}

/** x·yᵀ of two vectors: every element of one times every element of the other. */
export function outer<N extends number, M extends number>(x: Tensor<[N]>, y: Tensor<[M]>): Tensor<[N, M]> {
  const [a, b] = [x as Tensor, y as Tensor];
  if (a.shape.length !== 1 || b.shape.length !== 1)
    throw new ShapeError("outer", `${showType(a)} and ${showType(b)}`, "give two vectors; einsum takes more axes");
  return a.reshape([a.size, 1]).expandTo([a.size, b.size]).mul(b) as Tensor<[N, M]>;
}

/** float32 with ones on the diagonal: the identity matrix, or a part of it. */
export function eye(rows: number, columns: number = rows): Tensor<[number, number], "float32"> {
  const column = range(columns).expandTo([rows, columns]) as Tensor;
  return column.equal(range(rows).reshape([rows, 1])).cast("float32") as Tensor<[number, number], "float32">;
}

/**
 * All singular values of a matrix [m, n], the largest first: [min(m, n)]. For float32 and float64; each is right to a few units in the
 * last place of the largest one, so that of a singular matrix some may be tiny instead of 0. Of a matrix that holds NaN or an
 * infinity all are NaN. The time grows with m·n·min(m, n): docs/benchmarks.md has some. Not differentiable: `gradients` through
 * it throws GraphError. Throws ShapeError for what is no matrix, DTypeError for other dtypes.
 */
export function singularValues<M extends number, N extends number, D extends DType>(
  x: Tensor<[M, N], D>,
): Tensor<[number], D> {
  return apply(spectrum.singularValues, [x as Tensor], undefined) as Tensor<[number], D>;
}
