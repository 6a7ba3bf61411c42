/** Dropout as a function, which draws its mask anew in every run. */
import { aNumber, aTensor, expectArguments, type Kind } from "../graph/arguments.ts";
import type { Shape } from "../graph/types.ts";
import { where } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Generator } from "./generator.ts";
import { expectRate } from "./parameters.ts";

/** A generator of random numbers. */
export const aGenerator: Kind = (value) =>
  typeof value === "object" && value !== null && "uniform" in value ? undefined : "give a generator: defaultGenerator";

/** Zeroes each element with probability `rate` and scales the others by 1 / (1 − rate) (Srivastava et al. 2014). */
export function dropout<S extends Shape>(
  x: Tensor<S, "float32">,
  rate: number,
  generator: Generator,
): Tensor<S, "float32"> {
  expectArguments("dropout", [aTensor, aNumber, aGenerator], [x, rate, generator]);
  expectRate(rate);
  if (rate === 0) return x;
  const kept = generator.bernoulli(rate, (x as Tensor).shape).not();
  return where(kept, x.mul(1 / (1 - rate)), 0) as Tensor<S, "float32">;
}
