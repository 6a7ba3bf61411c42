/** Layers without parameters of their own: what they compute. */
import { ConfigError } from "../errors.ts";
import type { Agree, Show } from "../graph/shape-types.ts";
import type { DType, Shape } from "../graph/types.ts";
import { layerNorm } from "../ops/normalize.ts";
import { apply } from "../tensor/apply.ts";
import { where } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Generator } from "./generator.ts";

/**
 * y = x·Wᵀ + b over the last axis; the weight is [out, in] as in PyTorch. Leading axes are flattened into one long matrix, for
 * which one product with the bias inside is fastest.
 */
export function affine<L extends Shape, K extends number, J extends number, O extends number, D extends DType>(
  x: Tensor<[...L, K], D>,
  weight: Tensor<[O, J], NoInfer<D>> &
    Agree<K, J, `linear: x ${Show<[...L, K]>} ends in ${K}, the weight ${Show<[O, J]>} takes ${J}`>,
  bias?: Tensor<[NoInfer<O>], NoInfer<D>>,
): Tensor<[...L, O], D> {
  const input = x as Tensor;
  const matrix = weight as Tensor;
  const lead = input.shape.slice(0, -1);
  const flat = input.shape.length === 2 ? input : input.reshape([-1, input.shape.at(-1)!]);
  const product = flat.matmul(matrix.mT());
  const y = bias ? product.add(bias as Tensor) : product;
  return (input.shape.length === 2 ? y : y.reshape([...lead, matrix.shape[0]!])) as Tensor<[...L, O], D>;
}

/** (x − μ) / √(σ² + ε) · scale + shift over the last axis. */
export function layerNormalize<L extends Shape, W extends number, D extends DType>(
  x: Tensor<[...L, W], D>,
  scale: Tensor<[NoInfer<W>], NoInfer<D>>,
  shift: Tensor<[NoInfer<W>], NoInfer<D>>,
  epsilon: number = 1e-5,
): Tensor<[...L, W], D> {
  return apply(layerNorm, [x as Tensor, scale as Tensor, shift as Tensor], { epsilon }) as Tensor<[...L, W], D>;
}

/** Throws ConfigError unless a rate is in [0, 1). */
export function expectRate(rate: number): void {
  if (!(rate >= 0 && rate < 1))
    throw new ConfigError("dropout", `the rate is ${rate}`, "give a number from 0 to below 1");
}

/** Zeroes each element with probability `rate` and scales the others by 1 / (1 − rate) (Srivastava et al. 2014). */
export function drop<S extends Shape>(
  x: Tensor<S, "float32">,
  rate: number,
  generator: Generator,
): Tensor<S, "float32"> {
  expectRate(rate);
  if (rate === 0) return x;
  const kept = (generator.uniform((x as Tensor).shape) as Tensor).less(rate).not();
  return where(kept, x.mul(1 / (1 - rate)), 0) as Tensor<S, "float32">;
}
