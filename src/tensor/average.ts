/** The exponentially weighted average: of gradients in optimizers, of statistics in batch normalisation, of losses in plots. */
import { Tensor } from "./tensor.ts";

/** β·old + (1 − β)·next: what is β times as old counts β times as much. */
export function averaged<T extends Tensor | number>(old: T, next: T, beta: number): T {
  if (old instanceof Tensor) return old.mul(beta).add((next as Tensor).mul(1 - beta)) as T;
  return (beta * (old as number) + (1 - beta) * (next as number)) as T;
}

/**
 * An average that began at 0, after t updates, without its bias towards 0: average / (1 − βᵗ) (Kingma and Ba 2015, section 3).
 * For tensors t is a scalar.
 */
export function unbiased<T extends Tensor | number>(average: T, beta: number, t: T): T {
  if (average instanceof Tensor) return average.div(remaining(beta, t as Tensor)) as T;
  return ((average as number) / (1 - beta ** (t as number))) as T;
}

/** 1 − βᵗ for a scalar t. */
export function remaining(beta: number, t: Tensor): Tensor {
  return t.scalar(beta).pow(t).neg().add(1);
}
