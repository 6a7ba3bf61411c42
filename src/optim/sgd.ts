/** Stochastic gradient descent. */
import { ConfigError } from "../errors.ts";
import { Optimizer, type OptimizerOptions, type Rule, type Trainable } from "./optimizer.ts";

export interface SgdOptions extends OptimizerOptions {
  /** μ, how much of the last velocity stays. Default 0. */
  readonly momentum?: number;
}

/** Robbins and Monro 1951; with momentum Polyak 1964, in PyTorch's form. */
export const sgdRule: Rule<"velocity", { readonly momentum: number }> = {
  name: "sgd",
  slots: ({ momentum }) => (momentum === 0 ? [] : ["velocity"]),
  update({ theta, g, rate, slots, hyper: { momentum } }) {
    if (momentum === 0) return { theta: theta.sub(g.mul(rate)), slots }; //  θₜ = θₜ₋₁ − α·gₜ
    const velocity = slots.velocity.mul(momentum).add(g); //                 vₜ = μ·vₜ₋₁ + gₜ
    return { theta: theta.sub(velocity.mul(rate)), slots: { velocity } }; // θₜ = θₜ₋₁ − α·vₜ
  },
};

/** Stochastic gradient descent, optionally with momentum. Throws ConfigError for a momentum outside [0, 1). */
export function sgd(model: Trainable, options: SgdOptions): Optimizer {
  const { momentum = 0 } = options;
  if (!(momentum >= 0 && momentum < 1))
    throw new ConfigError("sgd", `the momentum is ${momentum}`, "give a number from 0 to below 1");
  return new Optimizer(model, options, sgdRule as Rule<string, unknown>, { momentum });
}
