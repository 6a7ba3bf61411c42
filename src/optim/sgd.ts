/** Stochastic gradient descent, alone and with momentum. */
import { ConfigError } from "../errors.ts";
import { where } from "../tensor/create.ts";
import { expectFractions, Optimizer, type OptimizerOptions, type Rule, type Trainable } from "./optimizer.ts";

export interface SgdOptions extends OptimizerOptions {
  readonly learningRate: number;
  /** μ, how much of the last velocity stays. Default 0. */
  readonly momentum?: number;
  /** Looks ahead along the velocity (Nesterov 1983). Default false. */
  readonly nesterov?: boolean;
  /** How much less than the whole gradient enters the velocity after the first step. Default 0. */
  readonly dampening?: number;
}

interface Hyper {
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly dampening: number;
}

/** Robbins and Monro 1951; with momentum Polyak 1964; looking ahead Nesterov 1983, as Sutskever et al. 2013 write it. */
export const sgdRule: Rule<"velocity", Hyper> = {
  name: "sgd",
  slots: ({ momentum }) => (momentum === 0 ? {} : { velocity: {} }),
  update({ theta, g, t, rate, slots, hyper: { momentum, nesterov, dampening } }) {
    if (momentum === 0) return { theta: theta.sub(g.mul(rate)), slots }; //  θₜ = θₜ₋₁ − α·gₜ
    const enters = dampening === 0 ? g : g.mul(where(t.equal(1), t.scalar(1), 1 - dampening));
    const velocity = slots.velocity.mul(momentum).add(enters); //            vₜ = μ·vₜ₋₁ + gₜ
    const step = nesterov ? g.add(velocity.mul(momentum)) : velocity; //     with Nesterov: gₜ + μ·vₜ
    return { theta: theta.sub(step.mul(rate)), slots: { velocity } }; //     θₜ = θₜ₋₁ − α·vₜ
  },
};

/** Stochastic gradient descent. Throws ConfigError for a momentum outside [0, 1), and for Nesterov without momentum. */
export function sgd(model: Trainable, options: SgdOptions): Optimizer {
  const { momentum = 0, nesterov = false, dampening = 0 } = options;
  expectFractions("sgd", "the momentum is", momentum);
  expectFractions("sgd", "the dampening is", dampening);
  if (nesterov && (momentum === 0 || dampening !== 0))
    throw new ConfigError(
      "sgd",
      `nesterov with a momentum of ${momentum} and a dampening of ${dampening}`,
      "give a momentum above 0 and no dampening",
    );
  const hyper = { momentum, nesterov, dampening };
  return new Optimizer(model, options, { learningRate: 0.01 }, sgdRule as Rule<string, unknown>, hyper);
}
