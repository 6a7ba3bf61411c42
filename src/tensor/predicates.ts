/** Questions about each element. Every function exported here is also a method of Tensor, with a bool result. */
import { isFloat } from "../graph/types.ts";
import type { Tensor } from "./tensor.ts";

const isNotANumber = (x: Tensor): Tensor => x.notEqual(x);

// Whole numbers are finite, and there is no infinity among them to compare with.
const isFiniteNumber = (x: Tensor): Tensor => (isFloat(x.dtype) ? x.abs().less(Number.POSITIVE_INFINITY) : x.equal(x));

const isInf = (x: Tensor): Tensor => (isFloat(x.dtype) ? x.abs().equal(Number.POSITIVE_INFINITY) : x.notEqual(x));

/** Whether it is negative, or the zero below 0. */
export const signBit = (x: Tensor): Tensor => {
  const isBelow = x.less(0);
  return isFloat(x.dtype) ? isBelow.or(x.reciprocal().less(0)) : isBelow;
};

export { isFiniteNumber as isFinite, isInf, isNotANumber as isNaN };
