/** Stochastic gradient descent, alone and with momentum. */
import { ConfigError } from "../errors.ts";
import { where } from "../tensor/create.ts";
import {
  expectFractions,
  type Optimizer,
  type OptimizerOptions,
  optimizerOf,
  type Rule,
  type Trainable,
  withHyper,
} from "./optimizer.ts";

/** Options of `sgd`. */
export interface SgdOptions extends OptimizerOptions {
  readonly learningRate: number;
  /** μ, the share of the last velocity that is kept. Default 0. */
  readonly momentum?: number;
  /** Whether the step looks ahead along the velocity (Nesterov 1983). Default false. */
  readonly nesterov?: boolean;
  /** τ: after the first step, the gradient enters the velocity with the factor 1 − τ. Default 0. */
  readonly dampening?: number;
}

/** Robbins and Monro 1951. */
const sgdRule: Rule<never, undefined> = {
  slots: () => ({}),
  update: ({ theta, g, rate, slots }) => ({ theta: theta.sub(g.mul(rate)), slots }), //  θₜ = θₜ₋₁ − α·gₜ
};

/** Polyak 1964, with the rate outside of the velocity and with the dampening τ, both as in PyTorch. */
const momentumRule: Rule<"velocity", { readonly momentum: number; readonly dampening: number }> = {
  slots: () => ({ velocity: {} }),
  update({ theta, g, t, rate, slots, hyper: { momentum, dampening } }) {
    const enters = dampening === 0 ? g : g.mul(where(t.equal(1), t.scalar(1), 1 - dampening).cast(g.dtype));
    const velocity = slots.velocity.mul(momentum).add(enters); //       vₜ = μ·vₜ₋₁ + (1 − τ)·gₜ, v₁ = g₁
    return { theta: theta.sub(velocity.mul(rate)), slots: { velocity } }; //  θₜ = θₜ₋₁ − α·vₜ
  },
};

/** Nesterov 1983, as Sutskever et al. 2013 write it, in terms of the point looked ahead to. */
const nesterovRule: Rule<"velocity", { readonly momentum: number }> = {
  slots: () => ({ velocity: {} }),
  update({ theta, g, rate, slots, hyper: { momentum } }) {
    const velocity = slots.velocity.mul(momentum).add(g); //            vₜ = μ·vₜ₋₁ + gₜ
    const ahead = velocity.mul(momentum).add(g); //                     direction from the point looked ahead to: μ·vₜ + gₜ
    return { theta: theta.sub(ahead.mul(rate)), slots: { velocity } }; //  θₜ = θₜ₋₁ − α·(μ·vₜ + gₜ)
  },
};

/** Makes a stochastic gradient descent optimizer. Throws ConfigError for a momentum outside [0, 1), and for Nesterov without momentum. */
export function sgd(model: Trainable<SgdOptions>, options: SgdOptions): Optimizer {
  return optimizerOf("sgd", model, options, { learningRate: 0.01 }, (own) => {
    const { momentum = 0, nesterov = false, dampening = 0 } = own;
    expectFractions("sgd", "the momentum is", momentum);
    expectFractions("sgd", "the dampening is", dampening);
    if (nesterov && (momentum === 0 || dampening !== 0))
      throw new ConfigError(
        "sgd",
        `nesterov with a momentum of ${momentum} and a dampening of ${dampening}`,
        "give a momentum above 0 and no dampening",
      );
    if (nesterov) return withHyper(nesterovRule, { momentum });
    return momentum === 0 ? withHyper(sgdRule, undefined) : withHyper(momentumRule, { momentum, dampening });
  });
}
