/** Questions about each element. Every function exported here is also a method of Tensor, with a bool result. */
import type { Tensor } from "./tensor.ts";

const isNotANumber = (x: Tensor): Tensor => x.notEqual(x);

const isFiniteNumber = (x: Tensor): Tensor => x.abs().less(Number.POSITIVE_INFINITY);

const isInfinite = (x: Tensor): Tensor => x.abs().equal(Number.POSITIVE_INFINITY);

export { isFiniteNumber as isFinite, isInfinite, isNotANumber as isNaN };
