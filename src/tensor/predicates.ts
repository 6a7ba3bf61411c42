/** Tests of each element, with a bool result. Every function exported here is also a method of Tensor. */
import { isFloat } from "../graph/types.ts";
import type { Tensor } from "./tensor.ts";

const isNotANumber = (x: Tensor): Tensor => x.notEqual(x);

// int32 numbers are always finite, and int32 has no infinity to compare with.
const isFiniteNumber = (x: Tensor): Tensor => (isFloat(x.dtype) ? x.abs().less(Number.POSITIVE_INFINITY) : x.equal(x));

const isInf = (x: Tensor): Tensor => (isFloat(x.dtype) ? x.abs().equal(Number.POSITIVE_INFINITY) : x.notEqual(x));

/** Whether an element is negative, or −0. */
export const signBit = (x: Tensor): Tensor => {
  const isBelow = x.less(0);
  return isFloat(x.dtype) ? isBelow.or(x.reciprocal().less(0)) : isBelow;
};

export { isFiniteNumber as isFinite, isInf, isNotANumber as isNaN };
