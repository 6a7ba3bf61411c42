/**
 * Functions that reduce axes. Every function exported here is also a method of Tensor, under its own name and without its
 * first argument: over one axis, over several, or over all when none is named.
 */
import { ConfigError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { expectType, floats } from "../graph/op.ts";
import * as movement from "../ops/movement.ts";
import * as reduce from "../ops/reduce.ts";
import { axisList } from "./axes.ts";
import { where } from "./create.ts";
import type { Tensor } from "./tensor.ts";

/** Nothing means all axes. */
export type ReducedAxes = number | readonly number[] | undefined;

export interface ReductionOptions {
  /** Whether a reduced axis stays, with size 1. Default false. */
  readonly keepAxes?: boolean;
}

function axesOf(subject: string, x: Tensor, axis: ReducedAxes): number[] {
  return axis === undefined ? [...x.shape.keys()] : axisList(subject, axis, x.shape.length);
}

function reduced(op: typeof reduce.sum, x: Tensor, axis: ReducedAxes, options: ReductionOptions = {}): Tensor {
  return apply(op, [x], { axes: axesOf(op.name, x, axis), keepAxes: options.keepAxes ?? false });
}

/** How many elements make one of the result. */
function countOf(subject: string, x: Tensor, axis: ReducedAxes): number {
  return axesOf(subject, x, axis).reduce((count, at) => count * x.shape[at]!, 1);
}

export const sum = (x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor =>
  reduced(reduce.sum, x, axis, options);

/** The mean of real numbers; of no elements it is NaN. */
export function mean(x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor {
  expectType("mean", x, floats);
  return sum(x, axis, options).mul(1 / countOf("mean", x, axis));
}

/** The largest element. Where several are largest they share the gradient. Throws ShapeError when there are none. */
export const max = (x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor =>
  reduced(reduce.max, x, axis, options);

/** The smallest element. Where several are smallest they share the gradient. Throws ShapeError when there are none. */
export const min = (x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor =>
  reduced(reduce.min, x, axis, options);

/** The product; of no elements it is 1. The gradient is right where elements are 0. */
export function prod(x: Tensor, axis?: ReducedAxes, { keepAxes = false }: ReductionOptions = {}): Tensor {
  const axes = axesOf("prod", x, axis);
  const product = axes.reduce((y, at) => apply(reduce.prod, [y], { axis: at }), x);
  return keepAxes ? product : withoutAxes(product, axes);
}

function withoutAxes(x: Tensor, axes: readonly number[]): Tensor {
  return apply(movement.reshape, [x], { shape: x.shape.filter((_, at) => !axes.includes(at)) });
}

export interface VarianceOptions extends ReductionOptions {
  /** Subtracted from the number of elements: 0 for the mean square deviation, 1 for the unbiased estimate. Default 0. */
  readonly correction?: number;
}

/** Σ(x − x̄)² / (n − correction) */
export function variance(x: Tensor, axis?: ReducedAxes, options: VarianceOptions = {}): Tensor {
  const { correction = 0, ...rest } = options;
  return reduced(reduce.squaredDeviations, x, axis, rest).mul(
    1 / Math.max(0, countOf("variance", x, axis) - correction),
  );
}

/** The square root of the variance. */
export const standardDeviation = (x: Tensor, axis?: ReducedAxes, options?: VarianceOptions): Tensor =>
  rootOf(variance(x, axis, options));

/** √x with the gradient 0 where x is 0, as for the length of a vector of zeros. */
function rootOf(x: Tensor): Tensor {
  const isZero = x.equal(0);
  return where(isZero, x, where(isZero, x.add(1), x).sqrt());
}

export interface NormOptions extends ReductionOptions {
  /** p of (Σ|x|ᵖ)^(1/p); Infinity is the largest size, −Infinity the smallest, 0 the number of elements that are not 0. Default 2. */
  readonly order?: number;
}

/** The length of a vector: (Σ|x|ᵖ)^(1/p). The gradient at a vector of zeros is 0. */
export function norm(x: Tensor, axis?: ReducedAxes, options: NormOptions = {}): Tensor {
  const { order = 2, ...rest } = options;
  if (Number.isNaN(order)) throw new ConfigError("norm", "the order is NaN", "give a number, such as 2");
  if (order === 2) return rootOf(sum(x.mul(x), axis, rest));
  if (order === Number.POSITIVE_INFINITY) return max(x.abs(), axis, rest);
  if (order === Number.NEGATIVE_INFINITY) return min(x.abs(), axis, rest);
  if (order === 0) return sum(x.equal(0).not().cast(x.dtype), axis, rest);
  if (order === 1) return sum(x.abs(), axis, rest);
  const size = x.abs();
  // Below 1 the power is infinitely steep at 0, where the gradient is taken to be 0 all the same.
  const isNothing = size.equal(0);
  const powers = order > 1 ? size.pow(order) : where(isNothing, size, where(isNothing, size.add(1), size).pow(order));
  const total = sum(powers, axis, rest);
  // For a negative order a single 0 makes the norm 0.
  const isZero = order > 0 ? total.equal(0) : isNothing.any(axis, rest);
  return where(isZero, total.mul(0), where(isZero, total.add(1), total).pow(1 / order));
}

/** ln Σ eˣ, which neither overflows nor loses small parts. */
export function logSumExp(x: Tensor, axis?: ReducedAxes, options?: ReductionOptions): Tensor {
  const largest = max(x, axis, { keepAxes: true }).detach();
  const shift = where(largest.isFinite(), largest, 0);
  const kept = sum(x.sub(shift).exp(), axis, { keepAxes: true }).log().add(shift);
  return options?.keepAxes ? kept : withoutAxes(kept, axesOf("logSumExp", x, axis));
}
