/** Normalisation layers. The parameters have PyTorch's names, so PyTorch's checkpoints load unchanged. */

import { ConfigError } from "../../errors.ts";
import { expectOptions } from "../../graph/arguments.ts";
import type { Shape } from "../../graph/types.ts";
import { averaged } from "../../tensor/average.ts";
import { type Parameter, State } from "../../tensor/state.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as functional from "../functional.ts";
import { constant } from "../initializers.ts";
import { type Module, module } from "../module.ts";
import { expectSizes, parameter } from "../parameters.ts";

/** A layer that `layerNorm` makes. */
export interface LayerNorm<W extends number> extends Module {
  <L extends Shape>(x: Tensor<[...L, W], "float32">): Tensor<[...L, W], "float32">;
  /** The scale γ, initially ones. */
  readonly weight: Parameter<[W], "float32">;
  /** The shift β, initially zeros. */
  readonly bias: Parameter<[W], "float32">;
}

/** Makes a layer normalisation over the last axis (Ba, Kiros and Hinton 2016). */
export function layerNorm<const W extends number>(
  width: W,
  options: { /** Added to the variance. Default 1e-5. */ readonly epsilon?: number } = {},
): LayerNorm<W> {
  expectOptions("layerNorm", options, ["epsilon"]);
  expectSizes("layerNorm", [width]);
  const weight = parameter([width], constant(1));
  const bias = parameter([width], constant(0));
  return module("LayerNorm", { weight, bias }, <L extends Shape>(x: Tensor<[...L, W], "float32">) =>
    functional.layerNorm(x, weight, bias, options.epsilon),
  );
}

/** A layer that `rmsNorm` makes. */
export interface RmsNorm<W extends number> extends Module {
  <L extends Shape>(x: Tensor<[...L, W], "float32">): Tensor<[...L, W], "float32">;
  /** The scale, initially ones. */
  readonly weight: Parameter<[W], "float32">;
}

/** Makes a layer that divides by the root of the mean square over the last axis (Zhang and Sennrich 2019). */
export function rmsNorm<const W extends number>(
  width: W,
  options: { /** Added to the mean square. Default 1e-6. */ readonly epsilon?: number } = {},
): RmsNorm<W> {
  expectOptions("rmsNorm", options, ["epsilon"]);
  expectSizes("rmsNorm", [width]);
  const weight = parameter([width], constant(1));
  return module("RmsNorm", { weight }, <L extends Shape>(x: Tensor<[...L, W], "float32">) =>
    functional.rmsNorm(x, weight, options.epsilon),
  );
}

/** Scale and shift of each channel. */
interface PerChannel<C extends number> {
  /** The scale γ, initially ones. */
  readonly weight: Parameter<[C], "float32">;
  /** The shift β, initially zeros. */
  readonly bias: Parameter<[C], "float32">;
}

/** A layer over tensors whose axis 1 is the channels: [batch, channels, …]. */
export interface OverChannels<C extends number> extends Module {
  <N extends number, S extends Shape>(x: Tensor<[N, C, ...S], "float32">): Tensor<[N, C, ...S], "float32">;
}

/** A layer that `groupNorm` makes. */
export type GroupNorm<C extends number> = OverChannels<C> & PerChannel<C>;

/** The layer, with γ and β unless `affine` is false. */
export type BatchNorm<C extends number, Affine extends boolean = true> = OverChannels<C> &
  (Affine extends true ? PerChannel<C> : unknown) & {
    /** The exponentially weighted average of the batches' means, for evaluation. */
    readonly running_mean: State<[C], "float32">;
    /** The exponentially weighted average of the batches' unbiased variances, for evaluation. */
    readonly running_var: State<[C], "float32">;
    /** The number of training batches so far. */
    readonly num_batches_tracked: State<[], "int32">;
  };

/** Options of `batchNorm`. */
export interface BatchNormOptions<Affine extends boolean = boolean> {
  /** The weight of a new batch in the running averages, 1 − β: PyTorch's momentum, or 1 − Keras's momentum. Default 0.1. */
  readonly momentum?: number;
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
  /** Whether the normalised values are scaled and shifted by a learned γ and β. Default true. */
  readonly affine?: Affine;
}

/**
 * Makes a batch normalisation (Ioffe and Szegedy 2015) of [batch, channels] or [batch, channels, …]. In training it normalises with the
 * statistics of the batch, in evaluation with their running averages; then it scales and shifts. It may be used before the activation, as
 * in the paper, or after it. Throws ConfigError for a momentum outside [0, 1]; in training ShapeError for a batch with only one value for
 * each channel, which has no variance.
 */
export function batchNorm<const C extends number, const Affine extends boolean = true>(
  channels: C,
  options: BatchNormOptions<Affine> = {},
): BatchNorm<C, Affine> {
  expectOptions("batchNorm", options, ["momentum", "epsilon", "affine"]);
  expectSizes("batchNorm", [channels]);
  const { momentum = 0.1, epsilon, affine = true } = options;
  if (!(momentum >= 0 && momentum <= 1))
    throw new ConfigError("batchNorm", `the momentum is ${momentum}`, "give a number from 0 to 1");
  const { weight, bias }: Partial<PerChannel<C>> = affine ? perChannel(channels) : {};
  const statistic = (value: number): State<[C], "float32"> =>
    new State({ shape: [channels] as const, dtype: "float32" }, new Float32Array(channels).fill(value));
  const running_mean = statistic(0);
  const running_var = statistic(1);
  const num_batches_tracked = new State({ shape: [] as const, dtype: "int32" }, new Int32Array(1));
  const children = { ...(weight && bias && { weight, bias }), running_mean, running_var, num_batches_tracked };
  const forward = <N extends number, S extends Shape>(x: Tensor<[N, C, ...S], "float32">) => {
    if (!self.training) return functional.batchNorm(x, running_mean, running_var, weight, bias, epsilon);
    const { y, mean, variance } = functional.batchNormInTraining(x, weight, bias, epsilon);
    const count = (x as Tensor).size / channels;
    const keep = (running: State, next: Tensor): void =>
      running.assign(averaged(running.current(), next, 1 - momentum));
    keep(running_mean as unknown as State, mean.detach() as Tensor);
    keep(running_var as unknown as State, variance.detach().mul(count / (count - 1)) as Tensor);
    num_batches_tracked.assign(num_batches_tracked.add(1));
    return y;
  };
  const self: OverChannels<C> = module("BatchNorm", children, forward);
  return self as BatchNorm<C, Affine>;
}

function perChannel<C extends number>(channels: C): PerChannel<C> {
  return { weight: parameter([channels], constant(1)), bias: parameter([channels], constant(0)) };
}

/** Makes a group normalisation (Wu and He 2018) of [batch, channels, …]. */
export function groupNorm<const C extends number>(
  groups: number,
  channels: C,
  options: { /** Added to the variance. Default 1e-5. */ readonly epsilon?: number } = {},
): GroupNorm<C> {
  expectOptions("groupNorm", options, ["epsilon"]);
  expectSizes("groupNorm", [groups, channels]);
  const { weight, bias } = perChannel(channels);
  return module(
    "GroupNorm",
    { weight, bias },
    <N extends number, S extends Shape>(x: Tensor<[N, C, ...S], "float32">) =>
      functional.groupNorm(x, groups, weight, bias, options.epsilon),
  ) as GroupNorm<C>;
}
