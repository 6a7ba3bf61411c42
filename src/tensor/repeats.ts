/** Repetition along axes. */
import { ShapeError } from "../errors.ts";
import { resolveAxis, showShape, showType } from "../graph/types.ts";
import type { Tensor } from "./tensor.ts";

/** Repeats the whole tensor `counts[i]` times along axis i. If there are more counts than axes, new leading axes are added. */
export function tile(x: Tensor, counts: readonly number[]): Tensor {
  if (!counts.every((count) => Number.isInteger(count) && count >= 0))
    throw new ShapeError("tile", `counts ${showShape(counts)} for ${showType(x)}`, "give whole numbers of at least 0");
  const rank = Math.max(x.shape.length, counts.length);
  const shape = [...Array<number>(rank - x.shape.length).fill(1), ...x.shape];
  const times = [...Array<number>(rank - counts.length).fill(1), ...counts];
  // A new axis is inserted before each axis, repeated, and then joined with that axis.
  return x
    .reshape(shape.flatMap((size) => [1, size]))
    .expand(shape.flatMap((size, axis) => [times[axis]!, size]))
    .reshape(shape.map((size, axis) => size * times[axis]!));
}

/** Repeats each element `count` times in a row along an axis. */
export function repeat(x: Tensor, count: number, axis: number): Tensor {
  const at = resolveAxis("repeat", axis, x.shape.length);
  if (!Number.isInteger(count) || count < 0)
    throw new ShapeError("repeat", `a count of ${count} for ${showType(x)}`, "give a whole number of at least 0");
  const [before, size, after] = [x.shape.slice(0, at), x.shape[at]!, x.shape.slice(at + 1)];
  return x
    .reshape([...before, size, 1, ...after])
    .expand([...before, size, count, ...after])
    .reshape([...before, size * count, ...after]);
}
