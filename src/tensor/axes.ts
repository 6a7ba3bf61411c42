/** Axes as users name them: several at once, and counted from the end. */
import { ShapeError } from "../errors.ts";
import { currentPath } from "../graph/scope.ts";
import { resolveAxis, showType } from "../graph/types.ts";
import type { Tensor } from "./tensor.ts";

/** x[start:stop] along one axis. */
export function part(x: Tensor, axis: number, start: number, stop?: number): Tensor {
  return x.slice(...x.shape.map((_, at) => (at === axis ? ([start, stop] as const) : null)));
}

/** Returns one axis or several as a list of different axes, counted from the front. */
export function axisList(subject: string, axes: number | readonly number[], rank: number): number[] {
  const list = (typeof axes === "number" ? [axes] : axes).map((axis) => resolveAxis(subject, axis, rank));
  if (new Set(list).size !== list.length)
    throw new ShapeError(subject, `the axes ${list.join(", ")} repeat one`, "name each axis once");
  return list;
}

/** Returns the two halves along an axis. Throws ShapeError for an odd size. */
export function halves(subject: string, x: Tensor, axis: number): [Tensor, Tensor] {
  const size = x.shape[resolveAxis(subject, axis, x.shape.length)]!;
  if (size % 2 === 1)
    throw new ShapeError(
      subject,
      `${showType(x)} has no two halves along axis ${axis}`,
      "give an even size",
      currentPath(),
    );
  return x.split([size / 2, size / 2], axis) as [Tensor, Tensor];
}
