/** Lion. */
import { averaged } from "../tensor/average.ts";
import {
  expectFractions,
  type Optimizer,
  type OptimizerOptions,
  optimizerOf,
  type Rule,
  type Trainable,
  withHyper,
} from "./optimizer.ts";

/** Options of `lion`. */
export interface LionOptions extends OptimizerOptions {
  /** α. Default 0.0001: a third to a tenth of Adam's rate, because every step changes every element by α. */
  readonly learningRate?: number;
  /** β₁, for the direction, and β₂, for the momentum. Default 0.9 and 0.99, the paper's. */
  readonly betas?: readonly [number, number];
}

/** Chen et al. 2023, Algorithm 2. */
const lionRule: Rule<"momentum", { readonly b1: number; readonly b2: number }> = {
  slots: () => ({ momentum: {} }),
  update({ theta, g, rate, slots, hyper: { b1, b2 } }) {
    const direction = averaged(slots.momentum, g, b1).sign(); //        sign(β₁·mₜ₋₁ + (1 − β₁)·gₜ)
    const momentum = averaged(slots.momentum, g, b2); //               mₜ = β₂·mₜ₋₁ + (1 − β₂)·gₜ
    return { theta: theta.sub(direction.mul(rate)), slots: { momentum } };
  },
};

/**
 * Makes a Lion optimizer: its steps are the sign of a momentum, with decoupled weight decay. Throws ConfigError for betas outside [0, 1).
 */
export function lion(model: Trainable<LionOptions>, options: LionOptions = {}): Optimizer {
  return optimizerOf("lion", model, options, { learningRate: 1e-4, decoupled: true }, ({ betas = [0.9, 0.99] }) => {
    const [b1, b2] = betas;
    expectFractions("lion", "the betas are", b1, b2);
    return withHyper(lionRule, { b1, b2 });
  });
}
