/** Small random moves of images, so that a network cannot learn single pixels by heart. */
import type { PhiloxStream } from "../random/stream.ts";

export interface MoveOptions {
  /** Largest shift in each direction, pixels. */
  readonly shift: number;
  /** Largest turn, radians. */
  readonly turn: number;
  /** Largest relative change of size. */
  readonly scale: number;
}

/**
 * Turns, scales and shifts each image by its own random amounts, with bilinear interpolation; what comes in from outside is
 * 0. `images` holds square images of `side` × `side` pixels, row-major, one after the other; a new array is returned.
 */
export function moveImages(
  images: Float32Array,
  side: number,
  random: PhiloxStream,
  options: MoveOptions,
): Float32Array {
  const moved = new Float32Array(images.length);
  const centre = (side - 1) / 2;
  const symmetric = (bound: number): number => (2 * random.uniform() - 1) * bound;
  for (let start = 0; start < images.length; start += side * side) {
    const angle = symmetric(options.turn);
    const size = 1 + symmetric(options.scale);
    const [cos, sin] = [Math.cos(angle) / size, Math.sin(angle) / size];
    const [dx, dy] = [symmetric(options.shift), symmetric(options.shift)];
    for (let row = 0; row < side; row++)
      for (let column = 0; column < side; column++) {
        // Where this pixel comes from: the inverse of the move.
        const [y, x] = [row - centre - dy, column - centre - dx];
        const fromX = cos * x + sin * y + centre;
        const fromY = cos * y - sin * x + centre;
        const [left, top] = [Math.floor(fromX), Math.floor(fromY)];
        if (left < -1 || top < -1 || left >= side || top >= side) continue;
        const [u, v] = [fromX - left, fromY - top];
        const at = start + top * side + left;
        const [hasLeft, hasRight, hasTop, hasBottom] = [left >= 0, left + 1 < side, top >= 0, top + 1 < side];
        const nw = hasTop && hasLeft ? images[at]! : 0;
        const ne = hasTop && hasRight ? images[at + 1]! : 0;
        const sw = hasBottom && hasLeft ? images[at + side]! : 0;
        const se = hasBottom && hasRight ? images[at + side + 1]! : 0;
        moved[start + row * side + column] = (1 - v) * ((1 - u) * nw + u * ne) + v * ((1 - u) * sw + u * se);
      }
  }
  return moved;
}
