/**
 * Functions that reduce axes: one axis, several, or all axes when none is named. Every function exported here is also a method
 * of Tensor, with the same name and without the first argument.
 */
import { ConfigError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { expectType, floats } from "../graph/op.ts";
import * as movement from "../ops/movement.ts";
import { norm as normOp } from "../ops/norm.ts";
import * as reduce from "../ops/reduce.ts";
import { axisList } from "./axes.ts";
import { where } from "./create.ts";
import { clip } from "./pointwise.ts";
import type { Tensor } from "./tensor.ts";

/** The axes to reduce; `undefined` means all axes. */
export type ReducedAxes = number | readonly number[] | undefined;

export interface ReductionOptions {
  /** Whether a reduced axis stays, with size 1. Default false. */
  readonly keepDims?: boolean;
}

function axesOf(subject: string, x: Tensor, axis: ReducedAxes): number[] {
  return axis === undefined ? [...x.shape.keys()] : axisList(subject, axis, x.shape.length);
}

function reduced(op: typeof reduce.sum, x: Tensor, axis: ReducedAxes, options: ReductionOptions = {}): Tensor {
  return apply(op, [x], { axes: axesOf(op.name, x, axis), keepDims: options.keepDims ?? false });
}

/** Returns how many elements are reduced to one element of the result. */
function countOf(subject: string, x: Tensor, axis: ReducedAxes): number {
  return axesOf(subject, x, axis).reduce((count, at) => count * x.shape[at]!, 1);
}

export const sum = (x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor =>
  reduced(reduce.sum, x, axis, options);

/** Returns the mean, for float dtypes. The mean of zero elements is NaN. */
export function mean(x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor {
  expectType("mean", x, floats);
  return sum(x, axis, options).mul(1 / countOf("mean", x, axis));
}

/** Returns the largest element. If several are largest, they share the gradient. Throws ShapeError when there are no elements. */
export const max = (x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor =>
  reduced(reduce.max, x, axis, options);

/** Returns the smallest element. If several are smallest, they share the gradient. Throws ShapeError when there are no elements. */
export const min = (x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor =>
  reduced(reduce.min, x, axis, options);

/** Returns the product. The product of zero elements is 1. The gradient is also correct where elements are 0. */
export function prod(x: Tensor, axis?: ReducedAxes, { keepDims = false }: ReductionOptions = {}): Tensor {
  const axes = axesOf("prod", x, axis);
  const product = axes.reduce((y, at) => apply(reduce.prod, [y], { axis: at }), x);
  return keepDims ? product : withoutAxes(product, axes);
}

function withoutAxes(x: Tensor, axes: readonly number[]): Tensor {
  return apply(movement.reshape, [x], { shape: x.shape.filter((_, at) => !axes.includes(at)) });
}

export interface VarianceOptions extends ReductionOptions {
  /** Subtracted from the number of elements: 0 for the mean square deviation, 1 for the unbiased estimate. Default 0. */
  readonly correction?: number;
}

/** Returns the variance: Σ(x − x̄)² / (n − correction). */
export function variance(x: Tensor, axis?: ReducedAxes, options: VarianceOptions = {}): Tensor {
  const { correction = 0, ...rest } = options;
  return reduced(reduce.squaredDeviations, x, axis, rest).mul(
    1 / Math.max(0, countOf("variance", x, axis) - correction),
  );
}

/** Returns the square root of the variance, also where the variance is out of range. The gradient is 0 where all elements are equal. */
export function std(x: Tensor, axis?: ReducedAxes, options: VarianceOptions = {}): Tensor {
  const { correction = 0, ...rest } = options;
  // The first element is subtracted from all, which does not change the result: equal elements then have exactly deviation 0, even
  // though the mean is rounded.
  const axes = axesOf("std", x, axis);
  const first = x.slice(...x.shape.map((_, at) => (axes.includes(at) ? ([0, 1] as const) : null)));
  const moved = x.size === 0 ? x : x.sub(first.detach());
  const centered = moved.sub(mean(moved, axis, { keepDims: true }));
  return norm(centered, axis, rest).mul(1 / Math.sqrt(Math.max(0, countOf("std", x, axis) - correction)));
}

export interface NormOptions extends ReductionOptions {
  /** p in (Σ|x|ᵖ)^(1/p). Infinity gives the largest |x|, −Infinity the smallest, 0 the number of elements that are not 0. Default 2. */
  readonly order?: number;
}

/**
 * Returns the length of a vector: (Σ|x|ᵖ)^(1/p). The powers do not overflow or underflow where the result is in range. The gradient is
 * 0 at a vector of zeros and for an element that is 0.
 */
export function norm(x: Tensor, axis?: ReducedAxes, options: NormOptions = {}): Tensor {
  const { order = 2, ...rest } = options;
  if (Number.isNaN(order)) throw new ConfigError("norm", "the order is NaN", "give a number, such as 2");
  if (order === Number.POSITIVE_INFINITY) return max(x.abs(), axis, rest);
  if (order === Number.NEGATIVE_INFINITY) return min(x.abs(), axis, rest);
  if (order === 0) return sum(x.equal(0).not().cast(x.dtype), axis, rest);
  if (order === 1) return sum(x.abs(), axis, rest);
  return apply(normOp, [x], { axes: axesOf("norm", x, axis), keepDims: rest.keepDims ?? false, order });
}

/**
 * Returns ln Σ eˣ, without overflow or underflow of the sum. If all elements are −∞, the result is −∞ and the gradient 0. Elements of
 * +∞ share the gradient.
 */
export function logSumExp(x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor {
  const largest = max(x, axis, { keepDims: true });
  // The result does not depend on the shift, nor does any derivative of it.
  const shift = where(largest.isInf().not(), largest, 0).detach();
  const total = sum(clip(x.sub(shift), undefined, 0).exp(), axis, { keepDims: true });
  const isSome = total.greater(0).or(total.isNaN());
  const counted = where(isSome, total, 1).log().add(shift);
  const isEndless = largest.equal(Number.POSITIVE_INFINITY);
  const kept = where(isEndless, largest, where(isSome, counted, Number.NEGATIVE_INFINITY));
  return options?.keepDims ? kept : withoutAxes(kept, axesOf("logSumExp", x, axis));
}
