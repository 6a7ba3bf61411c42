/**
 * Functions of two operands, element by element, written with other ops. Every function exported here is also a method of Tensor
 * with the same name, whose argument may be a number. The right side is widened to the left.
 */
import { isFloat } from "../graph/types.ts";
import { where } from "./create.ts";
import type { Tensor } from "./tensor.ts";

/** The quotient rounded down; for floats divided by 0, the quotient itself. */
export const floorDivide = (a: Tensor, b: Tensor): Tensor => {
  const towardsZero = a.dtype === "int32" ? a.div(b) : a.sub(a.fmod(b)).div(b).round();
  // The two remainders differ exactly where rounding towards zero rounded up.
  const down = towardsZero.sub(a.remainder(b).notEqual(a.fmod(b)).cast(a.dtype));
  return a.dtype === "int32" ? down : where(b.equal(0), a.div(b).round(), down);
};

/** log₂(2ᵃ + 2ᵇ) */
export const logAddExp2 = (a: Tensor, b: Tensor): Tensor => a.mul(Math.LN2).logAddExp(b.mul(Math.LN2)).mul(Math.LOG2E);

/** a·2ᵇ */
export const ldexp = (a: Tensor, b: Tensor): Tensor => a.mul(a.scalar(2).expand(b.shape).pow(b));

/** The larger of two; where one is NaN, the other. If both are equal, a gets the gradient. */
export const fmax = (a: Tensor, b: Tensor): Tensor => where(a.greaterEqual(b).or(b.isNaN()), a, b);

/** The smaller of two; where one is NaN, the other. If both are equal, a gets the gradient. */
export const fmin = (a: Tensor, b: Tensor): Tensor => where(a.lessEqual(b).or(b.isNaN()), a, b);

/** |a| with the sign of b. The sign of a zero in b counts too. */
export const copySign = (a: Tensor, b: Tensor): Tensor => a.abs().mul(b.signBit().cast(a.dtype).mul(-2).add(1));

/** 0 where a < 0, 1 where a > 0, b where a is 0. */
export const heaviside = (a: Tensor, b: Tensor): Tensor =>
  where(a.equal(0), b, isFloat(a.dtype) ? a.step() : a.greater(0).cast(a.dtype));

/** leakyRelu with a learned slope, which is widened to a (He et al. 2015). */
export const prelu = (a: Tensor, slope: Tensor): Tensor => where(a.greater(0), a, a.mul(slope));
