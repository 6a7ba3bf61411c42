/** Layers that normalise, in PyTorch's names, so that its checkpoints load as they are. */
import { ConfigError } from "../errors.ts";
import type { Shape } from "../graph/types.ts";
import { averaged } from "../tensor/average.ts";
import { type Parameter, State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  batchNormalize,
  batchNormalizeInTraining,
  groupNormalize,
  layerNormalize,
  rmsNormalize,
} from "./functional.ts";
import { constant } from "./initializers.ts";
import { type Module, module } from "./module.ts";
import { expectSizes, parameter } from "./parameters.ts";

export interface LayerNorm<W extends number> extends Module {
  <L extends Shape>(x: Tensor<[...L, W], "float32">): Tensor<[...L, W], "float32">;
  /** The scale γ, ones at first. */
  readonly weight: Parameter<[W], "float32">;
  /** The shift β, zeros at first. */
  readonly bias: Parameter<[W], "float32">;
}

/** Layer normalisation over the last axis (Ba, Kiros and Hinton 2016). */
export function layerNorm<const W extends number>(
  width: W,
  options: { /** Added to the variance. Default 1e-5. */ readonly epsilon?: number } = {},
): LayerNorm<W> {
  expectSizes("layerNorm", [width]);
  const weight = parameter([width], constant(1));
  const bias = parameter([width], constant(0));
  return module("LayerNorm", { weight, bias }, <L extends Shape>(x: Tensor<[...L, W], "float32">) =>
    layerNormalize(x, weight, bias, options.epsilon),
  );
}

export interface RmsNorm<W extends number> extends Module {
  <L extends Shape>(x: Tensor<[...L, W], "float32">): Tensor<[...L, W], "float32">;
  /** The scale, ones at first. */
  readonly weight: Parameter<[W], "float32">;
}

/** Division by the root of the mean square over the last axis (Zhang and Sennrich 2019). */
export function rmsNorm<const W extends number>(
  width: W,
  options: { /** Added to the mean square. Default 1e-6. */ readonly epsilon?: number } = {},
): RmsNorm<W> {
  expectSizes("rmsNorm", [width]);
  const weight = parameter([width], constant(1));
  return module("RmsNorm", { weight }, <L extends Shape>(x: Tensor<[...L, W], "float32">) =>
    rmsNormalize(x, weight, options.epsilon),
  );
}

/** A layer over tensors whose axis 1 is that of channels: [batch, channels, …]. */
export interface ChannelNorm<C extends number> extends Module {
  <N extends number, S extends Shape>(x: Tensor<[N, C, ...S], "float32">): Tensor<[N, C, ...S], "float32">;
  /** The scale γ, ones at first. */
  readonly weight: Parameter<[C], "float32">;
  /** The shift β, zeros at first. */
  readonly bias: Parameter<[C], "float32">;
}

export interface BatchNorm<C extends number> extends ChannelNorm<C> {
  /** The exponentially weighted average of the batches' means, for evaluation. */
  readonly running_mean: State<[C], "float32">;
  /** The same of their variances, unbiased. */
  readonly running_var: State<[C], "float32">;
  /** How many batches it has seen. */
  readonly num_batches_tracked: State<[], "int32">;
}

export interface BatchNormOptions {
  /** How much a new batch counts in the running averages, 1 − β. Default 0.1. */
  readonly momentum?: number;
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
}

/**
 * Batch normalisation (Ioffe and Szegedy 2015) of [batch, channels] or [batch, channels, …]: in training by the statistics of the
 * batch, in evaluation by their running averages, then scaled and shifted. It may stand before the activation, as in the
 * paper, or behind it. Throws ConfigError for a momentum outside [0, 1].
 */
export function batchNorm<const C extends number>(channels: C, options: BatchNormOptions = {}): BatchNorm<C> {
  expectSizes("batchNorm", [channels]);
  const { momentum = 0.1, epsilon } = options;
  if (!(momentum >= 0 && momentum <= 1))
    throw new ConfigError("batchNorm", `the momentum is ${momentum}`, "give a number from 0 to 1");
  const weight = parameter([channels], constant(1));
  const bias = parameter([channels], constant(0));
  const statistic = (value: number): State<[C], "float32"> =>
    new State({ shape: [channels] as const, dtype: "float32" }, new Float32Array(channels).fill(value));
  const running_mean = statistic(0);
  const running_var = statistic(1);
  const num_batches_tracked = new State({ shape: [] as const, dtype: "int32" }, new Int32Array(1));
  const children = { weight, bias, running_mean, running_var, num_batches_tracked };
  const self: BatchNorm<C> = module(
    "BatchNorm",
    children,
    <N extends number, S extends Shape>(x: Tensor<[N, C, ...S], "float32">) => {
      if (!self.training) return batchNormalize(x, running_mean, running_var, weight, bias, epsilon);
      const { y, mean, variance } = batchNormalizeInTraining(x, weight, bias, epsilon);
      const count = (x as Tensor).size / channels;
      const keep = (running: State, next: Tensor): void =>
        running.assign(averaged(running.current(), next, 1 - momentum));
      keep(running_mean as unknown as State, mean.detach() as Tensor);
      keep(running_var as unknown as State, variance.detach().mul(count / Math.max(1, count - 1)) as Tensor);
      num_batches_tracked.assign(num_batches_tracked.add(1));
      return y;
    },
  ) as BatchNorm<C>;
  return self;
}

/** Group normalisation (Wu and He 2018) of [batch, channels, …]. */
export function groupNorm<const C extends number>(
  groups: number,
  channels: C,
  options: { /** Added to the variance. Default 1e-5. */ readonly epsilon?: number } = {},
): ChannelNorm<C> {
  expectSizes("groupNorm", [groups, channels]);
  const weight = parameter([channels], constant(1));
  const bias = parameter([channels], constant(0));
  return module(
    "GroupNorm",
    { weight, bias },
    <N extends number, S extends Shape>(x: Tensor<[N, C, ...S], "float32">) =>
      groupNormalize(x, groups, weight, bias, options.epsilon),
  ) as ChannelNorm<C>;
}
