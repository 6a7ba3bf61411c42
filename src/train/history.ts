/** Smoothing of the losses of single steps, for plots. */

import { ConfigError } from "../errors.ts";
import { aNumber, expectArguments, optional } from "../graph/arguments.ts";
import { averaged, unbiased } from "../tensor/average.ts";

/**
 * Returns a function that smooths numbers that vary, such as the losses of single steps: each call takes the next number and returns
 * the exponentially weighted average of all so far, without its bias towards 0. `beta` is the share of the old average that is kept;
 * 0.98 averages over about fifty numbers. Throws ConfigError for a beta outside [0, 1).
 */
export function smoother(beta: number = 0.98): (value: number) => number {
  expectArguments("smoother", [optional(aNumber)], [beta]);
  if (!(beta >= 0 && beta < 1)) throw new ConfigError("smoother", `beta is ${beta}`, "give a number from 0 to below 1");
  let [average, count] = [0, 0];
  return (value) => {
    average = averaged(average, value, beta);
    return unbiased(average, beta, ++count);
  };
}
