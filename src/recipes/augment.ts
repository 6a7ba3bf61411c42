/** Small random changes of images, so that a network cannot memorise single pixels. */
import type { PhiloxStream } from "../random/stream.ts";

export interface MoveOptions {
  /** The largest shift in each direction, in pixels. */
  readonly shift: number;
  /** The largest rotation, in radians. */
  readonly turn: number;
  /** The largest relative change of size. */
  readonly scale: number;
}

/** The copy of an image that is read while the image is overwritten. */
let kept = new Float32Array(0);

function keep(image: Float32Array): Float32Array {
  if (kept.length !== image.length) kept = new Float32Array(image.length);
  kept.set(image);
  return kept;
}

/**
 * Rotates, scales and shifts a square grey image of `side` × `side` pixels, row-major, in place and by random amounts, with bilinear
 * interpolation. Pixels from outside the image are 0.
 */
export function moveImage(image: Float32Array, side: number, random: PhiloxStream, options: MoveOptions): void {
  const before = keep(image);
  const centre = (side - 1) / 2;
  const symmetric = (bound: number): number => (2 * random.uniform() - 1) * bound;
  const angle = symmetric(options.turn);
  const size = 1 + symmetric(options.scale);
  const [cos, sin] = [Math.cos(angle) / size, Math.sin(angle) / size];
  const [dx, dy] = [symmetric(options.shift), symmetric(options.shift)];
  image.fill(0);
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++) {
      // The place from which this pixel comes: the inverse of the move.
      const [y, x] = [row - centre - dy, column - centre - dx];
      const fromX = cos * x + sin * y + centre;
      const fromY = cos * y - sin * x + centre;
      const [left, top] = [Math.floor(fromX), Math.floor(fromY)];
      if (left < -1 || top < -1 || left >= side || top >= side) continue;
      const [u, v] = [fromX - left, fromY - top];
      const at = top * side + left;
      const [hasLeft, hasRight, hasTop, hasBottom] = [left >= 0, left + 1 < side, top >= 0, top + 1 < side];
      const nw = hasTop && hasLeft ? before[at]! : 0;
      const ne = hasTop && hasRight ? before[at + 1]! : 0;
      const sw = hasBottom && hasLeft ? before[at + side]! : 0;
      const se = hasBottom && hasRight ? before[at + side + 1]! : 0;
      image[row * side + column] = (1 - v) * ((1 - u) * nw + u * ne) + v * ((1 - u) * sw + u * se);
    }
}

/** Shifts a square grey image by up to `most` whole pixels in each direction, and mirrors it horizontally with probability ½; in place. */
export function shiftAndFlip(image: Float32Array, side: number, random: PhiloxStream, most: number): void {
  const before = keep(image);
  const whole = (): number => Math.floor(random.uniform() * (2 * most + 1)) - most;
  const [dx, dy] = [whole(), whole()];
  const isFlipped = random.uniform() < 0.5;
  image.fill(0);
  for (let row = Math.max(0, dy); row < Math.min(side, side + dy); row++)
    for (let column = Math.max(0, dx); column < Math.min(side, side + dx); column++) {
      const from = column - dx;
      image[row * side + column] = before[(row - dy) * side + (isFlipped ? side - 1 - from : from)]!;
    }
}
