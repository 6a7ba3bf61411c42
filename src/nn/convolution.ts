/** Convolutional layers, in PyTorch's names and layouts. */
import type { Shape } from "../graph/types.ts";
import { type ConvolveOptions, convolve, type PerAxis } from "../tensor/convolution.ts";
import type { Parameter } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Generator } from "./generator.ts";
import { type Initializer, uniform } from "./initializers.ts";
import { type Module, module } from "./module.ts";
import { expectSizes, parameter } from "./parameters.ts";

/** Space is the axes behind batch and channels: one or two. */
export interface Convolution<I extends number, O extends number, Space extends Shape> extends Module {
  <N extends number>(x: Tensor<[N, I, ...Space], "float32">): Tensor<[N, O, ...Space], "float32">;
  /** [outputs, inputs / groups, …kernel] */
  readonly weight: Parameter<Shape, "float32">;
  readonly bias: Parameter<[O], "float32">;
}

export interface ConvolutionOptions extends Omit<ConvolveOptions, "bias"> {
  /** Default: uniform in ±1/√(inputs of a unit), as PyTorch's. */
  readonly weight?: Initializer;
  /** Default: uniform in ±1/√(inputs of a unit), as PyTorch's. */
  readonly bias?: Initializer;
  readonly generator?: Generator;
}

function layer(
  kind: string,
  axes: number,
  inputs: number,
  outputs: number,
  kernel: PerAxis,
  { weight: ofWeight, bias: ofBias, generator, ...options }: ConvolutionOptions,
): unknown {
  const field = typeof kernel === "number" ? Array<number>(axes).fill(kernel) : [...kernel];
  const groups = options.groups ?? 1;
  expectSizes(kind, [inputs, outputs, groups, ...field]);
  const own = inputs / groups;
  const usual = uniform(1 / Math.sqrt(field.reduce((product, size) => product * size, own)));
  const weight = parameter([outputs, own, ...field], ofWeight ?? usual, generator);
  const bias = parameter([outputs], ofBias ?? usual, generator);
  return module(kind, { weight, bias }, (x: Tensor) =>
    convolve(x as Tensor<[number, number, ...Shape]>, weight as never, { ...options, bias } as never),
  );
}

/** A convolution along one axis: x [batch, inputs, length]. Options as in `convolve`. */
export function conv1d<const I extends number, const O extends number>(
  inputs: I,
  outputs: O,
  kernel: PerAxis,
  options: ConvolutionOptions = {},
): Convolution<I, O, [number]> {
  return layer("Conv1d", 1, inputs, outputs, kernel, options) as Convolution<I, O, [number]>;
}

/** A convolution over images: x [batch, inputs, height, width]. Options as in `convolve`. */
export function conv2d<const I extends number, const O extends number>(
  inputs: I,
  outputs: O,
  kernel: PerAxis,
  options: ConvolutionOptions = {},
): Convolution<I, O, [number, number]> {
  return layer("Conv2d", 2, inputs, outputs, kernel, options) as Convolution<I, O, [number, number]>;
}
