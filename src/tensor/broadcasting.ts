/** Broadcasting: operands of different shapes are widened to their common shape, as in NumPy. */
import { ShapeError } from "../errors.ts";
import { currentPath } from "../graph/scope.ts";
import { type Shape, sameShape, showShape } from "../graph/types.ts";
import type { Tensor } from "./tensor.ts";

/**
 * Returns the common shape of two shapes: axes are compared from the last, and 1 becomes the size on the other side. Throws
 * ShapeError when two axes differ and neither is 1.
 */
export function commonShape(subject: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  const shape = Array<number>(rank);
  for (let fromLast = 1; fromLast <= rank; fromLast++) {
    const [sizeA, sizeB] = [a[a.length - fromLast] ?? 1, b[b.length - fromLast] ?? 1];
    if (sizeA !== sizeB && sizeA !== 1 && sizeB !== 1)
      throw new ShapeError(
        subject,
        `${showShape(a)} and ${showShape(b)} do not broadcast — axes ${sizeA} and ${sizeB} differ`,
        "axes are compared from the last: reshape one side so that they are equal, or 1 on one side",
        currentPath(),
      );
    shape[rank - fromLast] = sizeA === 1 ? sizeB : sizeA;
  }
  return shape;
}

/** Returns x repeated to a shape, or x itself if it has that shape. */
export function expanded(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : (x.expand(shape) as Tensor);
}

/** Returns a, repeated to the common shape of a and b, so that b can be widened to it. Throws ShapeError if there is no common shape. */
export function madeWide(subject: string, a: Tensor, b: Tensor): Tensor {
  return expanded(a, commonShape(subject, a.shape, b.shape));
}
