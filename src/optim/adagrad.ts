/** Adagrad, RMSProp and Adadelta: optimizers that divide by the root of a sum or an average of past squared gradients. */
import { averaged, decayed } from "../tensor/average.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  expectAtLeastZero,
  expectEpsilon,
  expectFractions,
  type Optimizer,
  type OptimizerOptions,
  optimizerOf,
  type Rule,
  type Trainable,
  withHyper,
} from "./optimizer.ts";

/** Options of `adagrad`. */
export interface AdagradOptions extends OptimizerOptions {
  /** α. Default 0.01. */
  readonly learningRate?: number;
  /** The decay of α: in step t it is α / (1 + (t − 1)·decay). Default 0. */
  readonly rateDecay?: number;
  /** The initial value of the sum of squares. Default 0. */
  readonly initialSum?: number;
  /** ε, added to the root. Default 1e-10. */
  readonly epsilon?: number;
}

/** Duchi, Hazan and Singer 2011. */
const adagradRule: Rule<"sum", { readonly rateDecay: number; readonly initialSum: number; readonly epsilon: number }> =
  {
    slots: ({ initialSum }) => ({ sum: { value: initialSum } }),
    update({ theta, g, t, preciseRate, slots, hyper: { rateDecay, epsilon } }) {
      const sum = slots.sum.add(g.mul(g)); //                               Gₜ = Gₜ₋₁ + gₜ²
      const rate = preciseRate.div(t.sub(1).mul(rateDecay).add(1));
      const step = g.div(sum.sqrt().add(epsilon)).mul(rate.cast(g.dtype));
      return { theta: theta.sub(step), slots: { sum } }; //                 θₜ = θₜ₋₁ − α·gₜ / (√Gₜ + ε)
    },
  };

/**
 * Makes an Adagrad optimizer, whose rates shrink where gradients have been large or frequent. Throws ConfigError for a negative rate decay
 * or initial sum, and for an epsilon that is not positive.
 */
export function adagrad(model: Trainable<AdagradOptions>, options: AdagradOptions = {}): Optimizer {
  return optimizerOf("adagrad", model, options, { learningRate: 0.01 }, (own) => {
    const { rateDecay = 0, initialSum = 0, epsilon = 1e-10 } = own;
    expectAtLeastZero("adagrad", "the rate decay", rateDecay);
    expectAtLeastZero("adagrad", "the initial sum", initialSum);
    expectEpsilon("adagrad", epsilon);
    return withHyper(adagradRule, { rateDecay, initialSum, epsilon });
  });
}

/** Options of `rmsprop`. */
export interface RmspropOptions extends OptimizerOptions {
  /** α. Default 0.01. */
  readonly learningRate?: number;
  /** ρ, the decay of the average of squares. Default 0.99. */
  readonly decay?: number;
  /** ε, added to the root. Default 1e-8. */
  readonly epsilon?: number;
  /** μ. Default 0. */
  readonly momentum?: number;
  /** Whether the squared mean is subtracted from the mean square, which gives the variance (Graves 2013). Default false. */
  readonly centered?: boolean;
}

interface RmspropHyper {
  readonly decay: number;
  readonly epsilon: number;
  readonly momentum: number;
  readonly centered: boolean;
}

/**
 * Returns the averages of g and of its squared distance from its mean: mₜ = ρ·mₜ₋₁ + (1 − ρ)·gₜ, and the mean square minus mₜ², which is
 * ρ·(sₜ₋₁ + (1 − ρ)·(gₜ − mₜ₋₁)²). This form contains no difference that rounding could make negative.
 */
function centredAverages(variance: Tensor, mean: Tensor, g: Tensor, decay: number): { variance: Tensor; mean: Tensor } {
  const distance = g.sub(mean);
  return {
    variance: decayed(variance.add(distance.mul(distance).mul(1 - decay)), decay),
    mean: averaged(mean, g, decay),
  };
}

/** Tieleman and Hinton 2012, lecture 6.5; centred and with momentum Graves 2013, in PyTorch's form. */
const rmspropRule: Rule<"square" | "variance" | "mean" | "velocity", RmspropHyper> = {
  slots: ({ centered, momentum }) => ({
    ...(centered ? { variance: {}, mean: {} } : { square: {} }),
    ...(momentum > 0 && { velocity: {} }),
  }),
  update({ theta, g, rate, slots, hyper: { decay, epsilon, momentum, centered } }) {
    const averages = centered ? centredAverages(slots.variance, slots.mean, g, decay) : undefined;
    const square = averages ? averages.variance : averaged(slots.square, g.mul(g), decay); //  vₜ = ρ·vₜ₋₁ + (1 − ρ)·gₜ²
    const scaled = g.div(square.sqrt().add(epsilon)); //                                      gₜ / (√vₜ + ε)
    const velocity = momentum > 0 ? slots.velocity.mul(momentum).add(scaled) : undefined;
    return {
      theta: theta.sub((velocity ?? scaled).mul(rate)),
      slots: { ...(averages ?? { square }), ...(velocity && { velocity }) },
    };
  },
};

/**
 * Makes an RMSProp optimizer: Adagrad with a decaying average in place of the sum. Throws ConfigError for a decay or momentum outside [0,
 * 1) and an epsilon that is not positive.
 */
export function rmsprop(model: Trainable<RmspropOptions>, options: RmspropOptions = {}): Optimizer {
  return optimizerOf("rmsprop", model, options, { learningRate: 0.01 }, (own) => {
    const { decay = 0.99, epsilon = 1e-8, momentum = 0, centered = false } = own;
    expectFractions("rmsprop", "the decay and the momentum are", decay, momentum);
    expectEpsilon("rmsprop", epsilon);
    return withHyper(rmspropRule, { decay, epsilon, momentum, centered });
  });
}

/** Options of `adadelta`. */
export interface AdadeltaOptions extends OptimizerOptions {
  /** A factor of the step, which is not in the paper. Default 1. */
  readonly learningRate?: number;
  /** ρ, the decay of both averages. Default 0.9. */
  readonly decay?: number;
  /** ε, inside both roots. Default 1e-6. */
  readonly epsilon?: number;
}

/** Zeiler 2012, Algorithm 1. */
const adadeltaRule: Rule<"square" | "delta", { readonly decay: number; readonly epsilon: number }> = {
  slots: () => ({ square: {}, delta: {} }),
  update({ theta, g, rate, slots, hyper: { decay, epsilon } }) {
    const square = averaged(slots.square, g.mul(g), decay); //            E[g²]ₜ  = ρ·E[g²]ₜ₋₁ + (1 − ρ)·gₜ²
    const step = slots.delta.add(epsilon).sqrt().div(square.add(epsilon).sqrt()).mul(g); //  Δₜ = RMS[Δ]ₜ₋₁ / RMS[g]ₜ · gₜ
    const delta = averaged(slots.delta, step.mul(step), decay); //        E[Δ²]ₜ  = ρ·E[Δ²]ₜ₋₁ + (1 − ρ)·Δₜ²
    return { theta: theta.sub(step.mul(rate)), slots: { square, delta } };
  },
};

/**
 * Makes an Adadelta optimizer, whose steps have the units of the parameters, so no rate must be chosen. Throws ConfigError as `rmsprop`
 * does.
 */
export function adadelta(model: Trainable<AdadeltaOptions>, options: AdadeltaOptions = {}): Optimizer {
  return optimizerOf("adadelta", model, options, { learningRate: 1 }, ({ decay = 0.9, epsilon = 1e-6 }) => {
    expectFractions("adadelta", "the decay is", decay);
    expectEpsilon("adadelta", epsilon);
    return withHyper(adadeltaRule, { decay, epsilon });
  });
}
