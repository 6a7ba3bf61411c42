/** Adam. */
import { ConfigError } from "../errors.ts";
import { Optimizer, type Rule, type Trainable } from "./optimizer.ts";

export interface AdamOptions {
  /** α. Default 0.001, the paper's. */
  readonly learningRate?: number;
  /** β₁ and β₂, how much of the moments stays. Default 0.9 and 0.999, the paper's. */
  readonly betas?: readonly [number, number];
  /** ε, added to √v̂. Default 1e-8, the paper's. */
  readonly epsilon?: number;
}

interface Hyper {
  readonly b1: number;
  readonly b2: number;
  readonly epsilon: number;
}

/** Kingma and Ba 2015, Algorithm 1. */
export const adamRule: Rule<"m" | "v", Hyper> = {
  name: "adam",
  slots: () => ["m", "v"],
  update({ theta, g, t, rate, slots: { m, v }, hyper: { b1, b2, epsilon } }) {
    m = m.mul(b1).add(g.mul(1 - b1)); //                               mₜ = β₁·mₜ₋₁ + (1 − β₁)·gₜ
    v = v.mul(b2).add(g.mul(g).mul(1 - b2)); //                        vₜ = β₂·vₜ₋₁ + (1 − β₂)·gₜ²
    const c1 = t.scalar(b1).pow(t).neg().add(1); //                    m̂ₜ = mₜ / (1 − β₁ᵗ)
    const c2 = t.scalar(b2).pow(t).neg().add(1); //                    v̂ₜ = vₜ / (1 − β₂ᵗ)
    // θₜ = θₜ₋₁ − α·m̂ₜ / (√v̂ₜ + ε), with the scalars gathered first: α/c₁ · m / (√v/√c₂ + ε).
    const step = m.div(v.sqrt().div(c2.sqrt()).add(epsilon)).mul(rate.div(c1));
    return { theta: theta.sub(step), slots: { m, v } };
  },
};

/**
 * The same update in three passes less over each parameter, which is what `adam` runs. The slots are decayed sums:
 * Sₜ = β₁·Sₜ₋₁ + gₜ and Qₜ = β₂·Qₜ₋₁ + gₜ², so mₜ = (1 − β₁)·Sₜ and vₜ = (1 − β₂)·Qₜ.
 */
export const adamSumsRule: Rule<"gradientSum" | "squareSum", Hyper> = {
  name: "adam",
  slots: () => ["gradientSum", "squareSum"],
  update({ theta, g, t, rate, slots: { gradientSum, squareSum }, hyper: { b1, b2, epsilon } }) {
    const s = gradientSum.mul(b1).add(g); //                           Sₜ = β₁·Sₜ₋₁ + gₜ
    const q = squareSum.mul(b2).add(g.mul(g)); //                      Qₜ = β₂·Qₜ₋₁ + gₜ²
    const k1 = t
      .scalar(b1)
      .pow(t)
      .neg()
      .add(1)
      .mul(1 / (1 - b1)); //  m̂ₜ = Sₜ / k₁,  k₁ = (1 − β₁ᵗ) / (1 − β₁)
    const k2 = t
      .scalar(b2)
      .pow(t)
      .neg()
      .add(1)
      .mul(1 / (1 - b2)); //  v̂ₜ = Qₜ / k₂,  k₂ = (1 − β₂ᵗ) / (1 − β₂)
    // α·m̂ₜ / (√v̂ₜ + ε) = (α·√k₂/k₁) · Sₜ / (√Qₜ + ε·√k₂)
    const root = k2.sqrt();
    const step = s.div(q.sqrt().add(root.mul(epsilon))).mul(rate.mul(root).div(k1));
    return { theta: theta.sub(step), slots: { gradientSum: s, squareSum: q } };
  },
};

/** Adam. Throws ConfigError for betas outside [0, 1) and an epsilon that is not positive. */
export function adam(model: Trainable, options: AdamOptions = {}): Optimizer {
  const { learningRate = 0.001, betas = [0.9, 0.999], epsilon = 1e-8 } = options;
  const [b1, b2] = betas;
  for (const beta of betas)
    if (!(beta >= 0 && beta < 1))
      throw new ConfigError("adam", `the betas are ${betas.join(", ")}`, "give numbers from 0 to below 1");
  if (!(epsilon > 0)) throw new ConfigError("adam", `epsilon is ${epsilon}`, "give a small positive number");
  return new Optimizer(model, { learningRate }, adamSumsRule as Rule<string, unknown>, { b1, b2, epsilon });
}
