/** Padding: elements added at the ends of axes. */
import { ShapeError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { showType } from "../graph/types.ts";
import * as movement from "../ops/movement.ts";
import { part } from "./axes.ts";
import { flip } from "./pointwise.ts";
import type { Tensor } from "./tensor.ts";

/** Options of `Tensor.pad`. */
export interface PadOptions {
  /** Where the added elements come from: one value, x mirrored at its edge, the edge itself, or x's opposite end. Default "constant". */
  readonly mode?: "constant" | "reflect" | "edge" | "circular";
  /** The value of "constant". Default 0. */
  readonly value?: number;
}

type Widths = readonly (readonly [before: number, after: number])[];

/** Pads the last axes by `widths`. Negative widths remove elements. */
export function pad(x: Tensor, widths: Widths, { mode = "constant", value = 0 }: PadOptions): Tensor {
  const lead = x.shape.length - widths.length;
  if (lead < 0 || !widths.flat().every(Number.isInteger))
    throw new ShapeError(
      "pad",
      `widths [${widths.map((width) => `[${width.join(", ")}]`).join(", ")}] for ${showType(x)}`,
      "give [before, after] in whole numbers, at most one pair for each axis",
    );
  const all: Widths = [...x.shape.slice(0, lead).map(() => [0, 0] as const), ...widths];
  const cut = x.slice(
    ...all.map(([before, after], axis) => [Math.max(0, -before), x.shape[axis]! - Math.max(0, -after)] as const),
  );
  const grown = all.map(([before, after]) => [Math.max(0, before), Math.max(0, after)] as const);
  if (mode === "constant") return constant(cut, grown, value);
  return grown.reduce(
    (y, [before, after], axis) => (before + after === 0 ? y : extended(y, axis, before, after, mode)),
    cut,
  );
}

function constant(x: Tensor, widths: Widths, fill: number): Tensor {
  if (widths.every(([before, after]) => before + after === 0)) return x;
  return apply(movement.unslice, [x], {
    starts: widths.map(([before]) => before),
    sizes: [...x.shape],
    steps: widths.map(() => 1),
    shape: x.shape.map((size, axis) => size + widths[axis]![0] + widths[axis]![1]),
    ...(fill !== 0 && { fill }),
  });
}

function extended(
  x: Tensor,
  axis: number,
  before: number,
  after: number,
  mode: "reflect" | "edge" | "circular",
): Tensor {
  const size = x.shape[axis]!;
  const most = { reflect: size - 1, edge: size === 0 ? 0 : Number.POSITIVE_INFINITY, circular: size }[mode];
  if (before > most || after > most)
    throw new ShapeError(
      "pad",
      `[${before}, ${after}] on axis ${axis} of ${showType(x)} with mode "${mode}"`,
      `there are ${most} elements to take on each side; pad less, or with a constant`,
    );
  const repeated = (start: number, count: number): Tensor =>
    part(x, axis, start, start + 1).expand(x.shape.map((full, at) => (at === axis ? count : full)));
  const [left, right] = {
    reflect: () => [flip(part(x, axis, 1, 1 + before), axis), flip(part(x, axis, size - 1 - after, size - 1), axis)],
    edge: () => [repeated(0, before), repeated(size - 1, after)],
    circular: () => [part(x, axis, size - before), part(x, axis, 0, after)],
  }[mode]() as [Tensor, Tensor];
  const [first, ...rest] = [...(before > 0 ? [left] : []), x, ...(after > 0 ? [right] : [])] as [Tensor, ...Tensor[]];
  return first.apply(movement.concat, rest, { axis });
}
