/** Gradient clipping (Pascanu, Mikolov and Bengio 2013). */

import { ConfigError } from "../errors.ts";
import { aNumber, expectArguments, tensors } from "../graph/arguments.ts";
import { concat, stack } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";

function expectLimit(subject: string, limit: number): void {
  if (!(limit > 0 && Number.isFinite(limit)))
    throw new ConfigError(subject, `the limit is ${limit}`, "give a finite number above 0, or do not clip");
}

/** Gradients of at most this many elements are concatenated rather than processed one by one. */
const fewElements = 2048;

/** Returns the norm of all gradients as one vector: √Σ‖g‖². */
export function globalNorm(gradients: readonly Tensor[]): Tensor {
  expectArguments("globalNorm", [tensors], [gradients]);
  const [first] = gradients;
  if (!first) throw new ConfigError("globalNorm", "there are no gradients", "give at least one");
  // Small gradients are joined into one vector, because each norm takes several nodes.
  const isSmall = ({ size, dtype }: Tensor): boolean => size <= fewElements && dtype === first.dtype;
  const small = gradients.filter(isSmall).map((g) => g.reshape([g.size]));
  const vectors = [...gradients.filter((g) => !isSmall(g)), ...(small.length > 0 ? [concat(small)] : [])];
  const [only, ...others] = vectors.map((g) => g.norm().cast(first.dtype)) as [Tensor, ...Tensor[]];
  return others.length > 0 ? stack([only, ...others]).norm() : only;
}

/** Clips each element to [−limit, limit]. */
export function clipByValue(gradients: readonly Tensor[], limit: number): Tensor[] {
  expectArguments("clipByValue", [tensors, aNumber], [gradients, limit]);
  expectLimit("clipByValue", limit);
  return gradients.map((g) => g.clip(-limit, limit));
}

/** Scales each gradient so that its own norm is at most `limit`. Returns the gradients and their norms before scaling. */
export function clipByNorm(
  gradients: readonly Tensor[],
  limit: number,
): { readonly gradients: Tensor[]; readonly norms: Tensor[] } {
  expectArguments("clipByNorm", [tensors, aNumber], [gradients, limit]);
  expectLimit("clipByNorm", limit);
  const norms = gradients.map((g) => g.norm());
  return { gradients: gradients.map((g, i) => g.mul(factor(norms[i]!, limit))), norms };
}

/** Scales all gradients together so that their global norm is at most `limit`. Returns the gradients and the norm before scaling. */
export function clipByGlobalNorm(
  gradients: readonly Tensor[],
  limit: number,
): { readonly gradients: Tensor[]; readonly norm: Tensor } {
  expectArguments("clipByGlobalNorm", [tensors, aNumber], [gradients, limit]);
  expectLimit("clipByGlobalNorm", limit);
  const norm = globalNorm(gradients);
  const scale = factor(norm, limit);
  return { gradients: gradients.map((g) => g.mul(scale.cast(g.dtype))), norm };
}

/** min(1, limit / ‖g‖) */
const factor = (norm: Tensor, limit: number): Tensor => norm.maximum(limit).reciprocal().mul(limit);
