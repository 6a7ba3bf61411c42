/** Exponentially weighted averages: of gradients in optimizers, of statistics in batch normalisation, of losses in plots. */
import { Tensor } from "./tensor.ts";

/**
 * Returns β·x. If rounding β to float32 would change 1 − β by more than a thousandth, as for β = 1 − 10⁻⁷, it computes x − (1 − β)·x
 * instead, which does not round β.
 */
export function decayed(x: Tensor, beta: number): Tensor {
  const rounded = x.dtype === "float32" ? Math.fround(beta) : beta;
  return Math.abs(rounded - beta) <= 1e-3 * (1 - beta) ? x.mul(beta) : x.sub(x.mul(1 - beta));
}

/** Returns β·old + (1 − β)·next. Each step multiplies the weights of all earlier values by β. */
export function averaged<T extends Tensor | number>(old: T, next: T, beta: number): T {
  if (old instanceof Tensor) return decayed(old, beta).add((next as Tensor).mul(1 - beta)) as T;
  return (beta * (old as number) + (1 - beta) * (next as number)) as T;
}

/**
 * Returns average / (1 − βᵗ): an average that began at 0, after t updates, without its bias towards 0 (Kingma and Ba 2015, section 3).
 * For tensors, t is a float64 scalar, and the correction is rounded only once.
 */
export function unbiased<T extends Tensor | number>(average: T, beta: number, t: T): T {
  if (average instanceof Tensor) return average.div(remaining(beta, t as Tensor).cast(average.dtype)) as T;
  return ((average as number) / (1 - beta ** (t as number))) as T;
}

/** Returns 1 − βᵗ for a float64 scalar t. In float32, the result would have no correct digits for a β near 1. */
export function remaining(beta: number, t: Tensor): Tensor {
  return t.scalar(beta).pow(t).neg().add(1);
}
