/** Adam and its relatives. */
import { averaged, decayed, remaining, unbiased } from "../tensor/average.ts";
import { where } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  type At,
  type Defaults,
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

/** Options of `adam`, `adamW`, `amsgrad` and `radam`. */
export interface AdamOptions extends OptimizerOptions {
  /** α. Default 0.001, the paper's. */
  readonly learningRate?: number;
  /** β₁ and β₂, the decay of the two moments. Default 0.9 and 0.999, the paper's. */
  readonly betas?: readonly [number, number];
  /** ε, added to √v̂. Default 1e-8, the paper's. */
  readonly epsilon?: number;
}

interface Hyper {
  readonly b1: number;
  readonly b2: number;
  readonly epsilon: number;
}

/** mₜ = β₁·mₜ₋₁ + (1 − β₁)·gₜ,  vₜ = β₂·vₜ₋₁ + (1 − β₂)·gₜ² */
function moments({ g, slots, hyper: { b1, b2 } }: At<"m" | "v", Hyper>): { readonly m: Tensor; readonly v: Tensor } {
  return { m: averaged(slots.m, g, b1), v: averaged(slots.v, g.mul(g), b2) };
}

/** Kingma and Ba 2015, Algorithm 1. */
export const adamRule: Rule<"m" | "v", Hyper> = {
  slots: () => ({ m: {}, v: {} }),
  update(at) {
    const { theta, t, rate, hyper } = at;
    const { m, v } = moments(at);
    const step = unbiased(m, hyper.b1, t).div(unbiased(v, hyper.b2, t).sqrt().add(hyper.epsilon));
    return { theta: theta.sub(step.mul(rate)), slots: { m, v } }; //  θₜ = θₜ₋₁ − α·m̂ₜ / (√v̂ₜ + ε)
  },
};

/**
 * The same update with three passes fewer over each parameter; `adam` runs this rule. The slots are decayed sums: Sₜ = β₁·Sₜ₋₁ + gₜ and Qₜ
 * = β₂·Qₜ₋₁ + gₜ², so mₜ = (1 − β₁)·Sₜ and vₜ = (1 − β₂)·Qₜ.
 */
export const adamSumsRule: Rule<"gradientSum" | "squareSum", Hyper> = {
  slots: () => ({ gradientSum: {}, squareSum: {} }),
  update({ theta, g, t, preciseRate, slots: { gradientSum, squareSum }, hyper: { b1, b2, epsilon } }) {
    const s = decayed(gradientSum, b1).add(g); //                      Sₜ = β₁·Sₜ₋₁ + gₜ
    const q = decayed(squareSum, b2).add(g.mul(g)); //                 Qₜ = β₂·Qₜ₋₁ + gₜ²
    const k1 = remaining(b1, t).mul(1 / (1 - b1)); //                  m̂ₜ = Sₜ / k₁,  k₁ = (1 − β₁ᵗ) / (1 − β₁)
    const k2 = remaining(b2, t).mul(1 / (1 - b2)); //                  v̂ₜ = Qₜ / k₂,  k₂ = (1 − β₂ᵗ) / (1 − β₂)
    // α·m̂ₜ / (√v̂ₜ + ε) = (α·√k₂/k₁) · Sₜ / (√Qₜ + ε·√k₂)
    const root = k2.sqrt();
    const [margin, rate] = [root.mul(epsilon).cast(theta.dtype), preciseRate.mul(root).div(k1).cast(theta.dtype)];
    const step = s.div(q.sqrt().add(margin)).mul(rate);
    return { theta: theta.sub(step), slots: { gradientSum: s, squareSum: q } };
  },
};

/**
 * Reddi, Kale and Kumar 2018: the root is taken of the largest v so far. With Adam's bias corrections, which the paper leaves out, as in
 * PyTorch.
 */
const amsgradRule: Rule<"m" | "v" | "vMax", Hyper> = {
  slots: () => ({ m: {}, v: {}, vMax: {} }),
  update(at) {
    const { theta, t, rate, slots, hyper } = at;
    const { m, v } = moments(at);
    const vMax = slots.vMax.maximum(v); //                             max(v₁, …, vₜ)
    const step = unbiased(m, hyper.b1, t).div(unbiased(vMax, hyper.b2, t).sqrt().add(hyper.epsilon));
    return { theta: theta.sub(step.mul(rate)), slots: { m, v, vMax } };
  },
};

interface NadamHyper extends Hyper {
  /** ψ, the speed at which the momentum grows to β₁. */
  readonly momentumDecay: number;
}

/** Dozat 2016, Algorithm 2: Adam with Nesterov's momentum; μₜ = β₁·(1 − ½·0.96^(t·ψ)). */
const nadamRule: Rule<"m" | "v" | "muProduct", NadamHyper> = {
  slots: () => ({ m: {}, v: {}, muProduct: { value: 1, scalar: true } }),
  update(at) {
    const { theta, g, t, rate, slots, hyper } = at;
    const { b1, b2, epsilon, momentumDecay } = hyper;
    const muAt = (time: Tensor): Tensor => t.scalar(0.96).pow(time.mul(momentumDecay)).mul(-0.5).add(1).mul(b1);
    const { m, v } = moments(at);
    const [mu, muNext] = [muAt(t), muAt(t.add(1))];
    const muProduct = slots.muProduct.mul(mu); //                      Π μᵢ
    const ofGradient = mu.neg().add(1).div(muProduct.neg().add(1)); //   (1 − μₜ) / (1 − Π μᵢ)
    const ofMomentum = muNext.div(muProduct.mul(muNext).neg().add(1)); // μₜ₊₁ / (1 − μₜ₊₁·Π μᵢ)
    const step = g
      .mul(ofGradient.cast(g.dtype))
      .add(m.mul(ofMomentum.cast(g.dtype)))
      .div(unbiased(v, b2, t).sqrt().add(epsilon));
    return { theta: theta.sub(step.mul(rate)), slots: { m, v, muProduct } };
  },
};

/** Liu et al. 2020, Algorithm 2: the step is not divided by the root until its variance can be trusted. */
const radamRule: Rule<"m" | "v", Hyper> = {
  slots: () => ({ m: {}, v: {} }),
  update(at) {
    const { theta, t, rate, hyper } = at;
    const { b1, b2, epsilon } = hyper;
    const { m, v } = moments(at);
    const rhoEnd = 2 / (1 - b2) - 1; //                                ρ∞ = 2 / (1 − β₂) − 1
    const c2 = remaining(b2, t);
    const rho = t.mul(-2).mul(c2.neg().add(1)).div(c2).add(rhoEnd); //  ρₜ = ρ∞ − 2·t·β₂ᵗ / (1 − β₂ᵗ)
    const isTrusted = rho.greater(5);
    const safe = where(isTrusted, rho, 6);
    // rₜ = √((ρₜ − 4)(ρₜ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρₜ))
    const r = safe
      .sub(4)
      .mul(safe.sub(2))
      .mul(rhoEnd / ((rhoEnd - 4) * (rhoEnd - 2)))
      .div(safe)
      .sqrt();
    const none = t.scalar(0);
    const adapted = where(isTrusted, r.mul(c2.sqrt()), none); //       rₜ·√(1 − β₂ᵗ), or 0 …
    const plain = where(isTrusted, none, t.scalar(1)); //              … and then 1 in its place
    const [share, rest] = [adapted.cast(v.dtype), plain.cast(v.dtype)];
    const factor = v.sqrt().add(epsilon).reciprocal().mul(share).add(rest);
    return { theta: theta.sub(unbiased(m, b1, t).mul(factor).mul(rate)), slots: { m, v } };
  },
};

/**
 * Checks the options that Adam and its relatives share. Throws ConfigError for betas outside [0, 1) and an epsilon that is not positive.
 */
function hyperOf(name: string, { betas = [0.9, 0.999], epsilon = 1e-8 }: AdamOptions): Hyper {
  const [b1, b2] = betas;
  expectFractions(name, "the betas are", b1, b2);
  expectEpsilon(name, epsilon);
  return { b1, b2, epsilon };
}

/** Makes an optimizer of this family that has no further options. */
function adamLike(
  name: string,
  rule: Rule<string, Hyper>,
  model: Trainable<AdamOptions>,
  options: AdamOptions,
  defaults: Defaults = { learningRate: 0.001 },
): Optimizer {
  return optimizerOf(name, model, options, defaults, (own) => withHyper(rule, hyperOf(name, own)));
}

/** Makes an Adam optimizer. Throws ConfigError for betas outside [0, 1) and an epsilon that is not positive. */
export function adam(model: Trainable<AdamOptions>, options: AdamOptions = {}): Optimizer {
  return adamLike("adam", adamSumsRule, model, options);
}

/** Makes an AMSGrad optimizer: Adam whose second moment never falls. Throws as `adam` does. */
export function amsgrad(model: Trainable<AdamOptions>, options: AdamOptions = {}): Optimizer {
  return adamLike("amsgrad", amsgradRule, model, options);
}

/** Makes an AdamW optimizer: Adam with decoupled weight decay, 0.01 by default (Loshchilov and Hutter 2019). Throws as `adam` does. */
export function adamW(model: Trainable<AdamOptions>, options: AdamOptions = {}): Optimizer {
  const defaults: Defaults = { learningRate: 0.001, weightDecay: 0.01, decoupled: true };
  return adamLike("adamW", adamSumsRule, model, options, defaults);
}

/** Options of `nadam`. */
export interface NadamOptions extends AdamOptions {
  /** α. Default 0.002. */
  readonly learningRate?: number;
  /** ψ, the speed at which the momentum grows to β₁. Default 0.004. */
  readonly momentumDecay?: number;
}

/** Makes an NAdam optimizer: Adam with Nesterov's momentum. Throws as `adam` does, and for a momentum decay below 0. */
export function nadam(model: Trainable<NadamOptions>, options: NadamOptions = {}): Optimizer {
  return optimizerOf("nadam", model, options, { learningRate: 0.002 }, (own) => {
    const momentumDecay = expectAtLeastZero("nadam", "the momentum decay", own.momentumDecay ?? 0.004);
    return withHyper(nadamRule, { ...hyperOf("nadam", own), momentumDecay });
  });
}

/** Makes an RAdam optimizer: Adam with a rectified start. Throws as `adam` does. */
export function radam(model: Trainable<AdamOptions>, options: AdamOptions = {}): Optimizer {
  return adamLike("radam", radamRule, model, options);
}
