/** The computations of layers, as functions of their parameters: `functional.linear(x, weight, bias)`. */

import { ConfigError, ShapeError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { aNumber, aTensor, aWhole, expectArguments, optional } from "../graph/arguments.ts";
import { currentPath } from "../graph/scope.ts";
import type { Agree, Show } from "../graph/shape-types.ts";
import { type DType, type Shape, showShape, sizeOf } from "../graph/types.ts";
import { layerNorm as layerNormOp } from "../ops/normalize.ts";
import { affine } from "../tensor/matrices.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Computes y = x·Wᵀ + b over the last axis. The weight is [out, in], as in PyTorch. */
export function linear<L extends Shape, K extends number, J extends number, O extends number, D extends DType>(
  x: Tensor<[...L, K], D>,
  weight: Tensor<[O, J], NoInfer<D>> &
    Agree<K, J, `linear: x ${Show<[...L, K]>} ends in ${K}, the weight ${Show<[O, J]>} takes ${J}`>,
  bias?: Tensor<[NoInfer<O>], NoInfer<D>>,
): Tensor<[...L, O], D> {
  expectArguments("linear", [aTensor, aTensor, optional(aTensor)], [x, weight, bias]);
  const input = x as Tensor;
  const matrix = weight as Tensor;
  const [inputs, taken] = [input.shape.at(-1), matrix.shape[1]];
  if (inputs !== taken)
    throw new ShapeError(
      "linear",
      `x ${showShape(input.shape)} ends in ${inputs}, the weight ${showShape(matrix.shape)} takes ${taken}`,
      "make x's last axis and the layer's number of inputs equal",
      currentPath(),
    );
  return affine(input, matrix, bias as Tensor | undefined) as Tensor<[...L, O], D>;
}

type LayerNormMessage<
  S extends Shape,
  A extends number,
  B extends number,
> = `layerNorm: x ${Show<S>} with scale ${Show<[A]>} and shift ${Show<[B]>}`;

/** Computes (x − μ) / √(σ² + ε) · scale + shift over the last axis. ε is 1e-5 by default. */
export function layerNorm<L extends Shape, W extends number, A extends number, B extends number, D extends DType>(
  x: Tensor<[...L, W], D>,
  scale: Tensor<[A], NoInfer<D>> & Agree<A, W, LayerNormMessage<[...L, W], A, B>>,
  shift: Tensor<[B], NoInfer<D>> & Agree<B, W, LayerNormMessage<[...L, W], A, B>>,
  epsilon: number = 1e-5,
): Tensor<[...L, W], D> {
  expectArguments("layerNorm", [aTensor, aTensor, aTensor, optional(aNumber)], [x, scale, shift, epsilon]);
  return apply(layerNormOp, [x as Tensor, scale as Tensor, shift as Tensor], { epsilon }) as Tensor<[...L, W], D>;
}

/** Computes x / √(mean x² + ε) · scale over the last axis (Zhang and Sennrich 2019). ε is 1e-6 by default. */
export function rmsNorm<L extends Shape, W extends number, A extends number, D extends DType>(
  x: Tensor<[...L, W], D>,
  scale: Tensor<[A], NoInfer<D>> & Agree<A, W, `rmsNorm: x ${Show<[...L, W]>} with scale ${Show<[A]>}`>,
  epsilon: number = 1e-6,
): Tensor<[...L, W], D> {
  expectArguments("rmsNorm", [aTensor, aTensor, optional(aNumber)], [x, scale, epsilon]);
  const [input, factor] = [x as Tensor, scale as Tensor];
  if (factor.shape.length !== 1 || factor.shape[0] !== input.shape.at(-1))
    throw new ShapeError(
      "rmsNorm",
      `x ${showShape(input.shape)} with scale ${showShape(factor.shape)}`,
      "scale has one element for each of x's last axis",
    );
  // √(mean x² + ε) is computed with `norm` and `hypot`: the squares themselves might overflow or underflow.
  const size = input.norm(-1, { keepDims: true }).mul(1 / Math.sqrt(input.shape.at(-1)!));
  return input.div(size.hypot(Math.sqrt(epsilon))).mul(factor) as Tensor<[...L, W], D>;
}

/** The type of a vector with one element for each of x's C channels; a message where the sizes differ. */
type PerChannel<Op extends string, S extends Shape, C extends number, V extends number, D extends DType> = Tensor<
  [V],
  D
> &
  Agree<V, C, `${Op}: x ${Show<S>} with ${Show<[V]>}`>;

/**
 * Computes (x − mean) / √(variance + ε) · scale + shift for each channel (Ioffe and Szegedy 2015). Channels are axis 1: x is [batch,
 * channels, …], all other tensors are [channels]. In training the statistics are those of the batch: `x.mean(axes)` and `x.variance(axes)`
 * over all axes but 1.
 */
export function batchNorm<
  N extends number,
  C extends number,
  S extends Shape,
  D extends DType,
  M extends number,
  V extends number,
  A extends number,
  B extends number,
>(
  x: Tensor<[N, C, ...S], D>,
  mean: PerChannel<"batchNorm", [N, C, ...S], C, M, NoInfer<D>>,
  variance: PerChannel<"batchNorm", [N, C, ...S], C, V, NoInfer<D>>,
  scale?: PerChannel<"batchNorm", [N, C, ...S], C, A, NoInfer<D>>,
  shift?: PerChannel<"batchNorm", [N, C, ...S], C, B, NoInfer<D>>,
  epsilon: number = 1e-5,
): Tensor<[N, C, ...S], D> {
  expectArguments(
    "batchNorm",
    [aTensor, aTensor, aTensor, optional(aTensor), optional(aTensor), optional(aNumber)],
    [x, mean, variance, scale, shift, epsilon],
  );
  const input = x as Tensor;
  expectChannels("batchNorm", input, [mean, variance, scale, shift]);
  const rate = (variance as Tensor).add(epsilon).rsqrt();
  const factor = scale ? rate.mul(scale as Tensor) : rate;
  const centered = input.sub(perChannel(mean as Tensor, input));
  const y = centered.mul(perChannel(factor, input));
  return (shift ? y.add(perChannel(shift as Tensor, input)) : y) as Tensor<[N, C, ...S], D>;
}

/**
 * Computes `batchNorm` with the statistics of the batch itself, and returns them too: mean and variance (mean square deviation) of each
 * channel. Gradients flow through the statistics. Throws ShapeError when there are fewer than two values for each channel.
 */
export function batchNormInTraining<
  N extends number,
  C extends number,
  S extends Shape,
  D extends DType,
  A extends number,
  B extends number,
>(
  x: Tensor<[N, C, ...S], D>,
  scale?: PerChannel<"batchNormInTraining", [N, C, ...S], C, A, NoInfer<D>>,
  shift?: PerChannel<"batchNormInTraining", [N, C, ...S], C, B, NoInfer<D>>,
  epsilon: number = 1e-5,
): {
  readonly y: Tensor<[N, C, ...S], D>;
  readonly mean: Tensor<[C], D>;
  readonly variance: Tensor<[C], D>;
} {
  expectArguments(
    "batchNormInTraining",
    [aTensor, optional(aTensor), optional(aTensor), optional(aNumber)],
    [x, scale, shift, epsilon],
  );
  const input = x as Tensor;
  expectChannels("batchNormInTraining", input, [scale, shift]);
  if (input.size < 2 * input.shape[1]!)
    throw new ShapeError(
      "batchNormInTraining",
      `x ${showShape(input.shape)} has ${input.size / input.shape[1]!} values for each channel, too few for a variance`,
      "train with larger batches (drop a last one that is left over), or call eval() on the model first",
      currentPath(),
    );
  const axes = [...input.shape.keys()].filter((axis) => axis !== 1);
  const mean = input.mean(axes, { keepDims: true });
  const variance = input.variance(axes, { keepDims: true });
  const rate = variance.add(epsilon).rsqrt();
  const factor = scale ? rate.mul(perChannel(scale as Tensor, input)) : rate;
  const normal = input.sub(mean).mul(factor);
  const y = shift ? normal.add(perChannel(shift as Tensor, input)) : normal;
  const statistic = (x: Tensor): Tensor<[C], D> => x.reshape([x.size]) as Tensor<Shape, D> as Tensor<[C], D>;
  return {
    y: y as Tensor<[N, C, ...S], D>,
    mean: statistic(mean),
    variance: statistic(variance),
  };
}

/**
 * Normalises each example's channels (axis 1) in `groups` groups, then scales and shifts each channel (Wu and He 2018). One group is layer
 * normalisation over all axes but the batch; as many groups as channels is instance normalisation.
 */
export function groupNorm<
  N extends number,
  C extends number,
  S extends Shape,
  D extends DType,
  A extends number,
  B extends number,
>(
  x: Tensor<[N, C, ...S], D>,
  groups: number,
  scale?: PerChannel<"groupNorm", [N, C, ...S], C, A, NoInfer<D>>,
  shift?: PerChannel<"groupNorm", [N, C, ...S], C, B, NoInfer<D>>,
  epsilon: number = 1e-5,
): Tensor<[N, C, ...S], D> {
  expectArguments(
    "groupNorm",
    [aTensor, aWhole, optional(aTensor), optional(aTensor), optional(aNumber)],
    [x, groups, scale, shift, epsilon],
  );
  const input = x as Tensor;
  expectChannels("groupNorm", input, [scale, shift]);
  const channels = input.shape[1]!;
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0)
    throw new ConfigError(
      "groupNorm",
      `${groups} groups of ${channels} channels`,
      "give a number that divides the channels",
    );
  const split = input.reshape([input.shape[0]!, groups, sizeOf(input.shape.slice(1)) / groups]);
  const rate = split.variance(-1, { keepDims: true }).add(epsilon).rsqrt();
  const normal = split
    .sub(split.mean(-1, { keepDims: true }))
    .mul(rate)
    .reshape(input.shape);
  const scaled = scale ? normal.mul(perChannel(scale as Tensor, input)) : normal;
  return (shift ? scaled.add(perChannel(shift as Tensor, input)) : scaled) as Tensor<[N, C, ...S], D>;
}

function expectChannels(subject: string, x: Tensor, vectors: readonly (Tensor | undefined)[]): void {
  const channels = x.shape[1];
  const odd = vectors.find((vector) => vector && (vector.shape.length !== 1 || vector.shape[0] !== channels));
  if (channels === undefined || odd)
    throw new ShapeError(
      subject,
      `x ${showShape(x.shape)}${odd ? ` with ${showShape(odd.shape)}` : ""}`,
      "x is [batch, channels, …], and each statistic, scale and shift is [channels]",
      currentPath(),
    );
}

/** A vector over the channels, reshaped so that it broadcasts to x. */
function perChannel(vector: Tensor, x: Tensor): Tensor {
  return vector.reshape([vector.size, ...x.shape.slice(2).map(() => 1)]);
}

export { avgPool, conv, convTranspose, globalAvgPool, maxPool } from "../tensor/convolution.ts";
export { embed as embedding } from "../tensor/create.ts";
export { attention, attentionEquation, attentionWeights, sinusoidalTable } from "./attention.ts";
export { gruCell, gruEquations, lstmCell, lstmEquations, rnnCell, rnnEquations } from "./cells.ts";
export { dropout } from "./dropout.ts";
