/** Gradient clipping (Pascanu, Mikolov and Bengio 2013). */

import { ConfigError } from "../errors.ts";
import { aNumber, expectArguments, tensors } from "../graph/arguments.ts";
import type { DType } from "../graph/types.ts";
import { concat, stack } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";

function expectLimit(subject: string, limit: number): void {
  if (!(limit > 0))
    throw new ConfigError(subject, `the limit is ${limit}`, "give a number above 0; with Infinity nothing is clipped");
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

/** Clips each element to [−limit, limit]. Infinity is a limit that changes nothing. */
export function clipByValue(gradients: readonly Tensor[], limit: number): Tensor[] {
  expectArguments("clipByValue", [tensors, aNumber], [gradients, limit]);
  expectLimit("clipByValue", limit);
  return gradients.map((g) => (isAboveAll(limit, g.dtype) ? g : g.clip(-limit, limit)));
}

/**
 * Scales each gradient so that its own norm is at most `limit`. Returns the gradients and their norms before scaling. Infinity is a limit
 * that changes nothing.
 */
export function clipByNorm(
  gradients: readonly Tensor[],
  limit: number,
): { readonly gradients: Tensor[]; readonly norms: Tensor[] } {
  expectArguments("clipByNorm", [tensors, aNumber], [gradients, limit]);
  expectLimit("clipByNorm", limit);
  const norms = gradients.map((g) => g.norm());
  return { gradients: gradients.map((g, i) => scaled(g, factor(norms[i]!, limit))), norms };
}

/**
 * Scales all gradients together so that their global norm is at most `limit`. Returns the gradients and the norm before scaling. Infinity
 * is a limit that changes nothing.
 */
export function clipByGlobalNorm(
  gradients: readonly Tensor[],
  limit: number,
): { readonly gradients: Tensor[]; readonly norm: Tensor } {
  expectArguments("clipByGlobalNorm", [tensors, aNumber], [gradients, limit]);
  expectLimit("clipByGlobalNorm", limit);
  const norm = globalNorm(gradients);
  const scale = factor(norm, limit);
  return { gradients: gradients.map((g) => scaled(g, scale)), norm };
}

/** The largest number of a dtype, and the largest power of 2 whose reciprocal engines do not flush to 0. */
const ranges = {
  float32: { largest: (2 - 2 ** -23) * 2 ** 127, power: 126 },
  float64: { largest: Number.MAX_VALUE, power: 1022 },
} as const;

const rangeOf = (dtype: DType): (typeof ranges)["float32" | "float64"] =>
  dtype === "float64" ? ranges.float64 : ranges.float32;

/** Whether no finite number of the dtype is above the limit. */
const isAboveAll = (limit: number, dtype: DType): boolean => limit >= rangeOf(dtype).largest;

/**
 * min(1, limit / ‖g‖), as 1 / max(‖g‖, limit) · limit; undefined if no norm is above the limit. Norm and limit are first multiplied by the
 * power of 2 that brings the limit near 1, because the reciprocal of a very large limit would be flushed to 0.
 */
function factor(norm: Tensor, limit: number): Tensor | undefined {
  if (isAboveAll(limit, norm.dtype)) return undefined;
  const { power } = rangeOf(norm.dtype);
  const unit = 2 ** Math.min(power, Math.max(-power, -Math.floor(Math.log2(limit))));
  const near = Math.max(limit * unit, 2 ** -power);
  return (unit === 1 ? norm : norm.mul(unit)).maximum(near).reciprocal().mul(near);
}

const scaled = (g: Tensor, scale: Tensor | undefined): Tensor => (scale ? g.mul(scale.cast(g.dtype)) : g);
