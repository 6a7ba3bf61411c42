/** Convolutional and pooling layers, in PyTorch's names and layouts. */
import { aRecord, aWhole, expectArguments, optional, perAxis } from "../../graph/arguments.ts";
import type { Shape } from "../../graph/types.ts";
import {
  type AveragePoolOptions,
  avgPool,
  type ConvolveOptions,
  conv,
  convTranspose,
  maxPool,
  type PerAxis,
  type PoolOptions,
  type TransposedOptions,
} from "../../tensor/convolution.ts";
import type { Parameter } from "../../tensor/state.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Generator } from "../generator.ts";
import { type Initializer, uniform } from "../initializers.ts";
import { type Module, module } from "../module.ts";
import { type BiasOf, type BiasOption, expectSizes, type HasBias, weightAndBias } from "../parameters.ts";

/** A convolution. Space is the axes after batch and channels: one or two. */
export interface Convolution<I extends number, O extends number, Space extends Shape, Bias extends boolean = true>
  extends Module {
  <N extends number>(x: Tensor<[N, I, ...Space], "float32">): Tensor<[N, O, ...Space], "float32">;
  /** [outputs, inputs / groups, …kernel]; of a transposed convolution [inputs, outputs / groups, …kernel]. */
  readonly weight: Parameter<Shape, "float32">;
  /** Undefined with `bias: false`. */
  readonly bias: BiasOf<Bias, O>;
}

interface ParameterOptions {
  /** Default: uniform in ±1/√(inputs of a unit), as in PyTorch. */
  readonly weight?: Initializer;
  /** How the bias begins, or `false` for a layer without one. Default: uniform in ±1/√(inputs of a unit), as in PyTorch. */
  readonly bias?: BiasOption;
  readonly generator?: Generator;
}

/** Options of `conv1d` and `conv2d`. */
export interface ConvolutionOptions extends Omit<ConvolveOptions, "bias">, ParameterOptions {}

/** Options of `convTranspose1d` and `convTranspose2d`. */
export interface TransposedConvolutionOptions extends Omit<TransposedOptions, "bias">, ParameterOptions {}

/** The sizes of windows, one for each axis of space. */
function sizesOf(kernel: PerAxis, axes: number): number[] {
  return typeof kernel === "number" ? Array<number>(axes).fill(kernel) : [...kernel];
}

/** The rule of PyTorch's layers: uniform in ±1/√(elements of one unit's kernel). */
function usual(channels: number, field: readonly number[]): Initializer {
  return uniform(1 / Math.sqrt(field.reduce((product, size) => product * size, channels)));
}

type Convolve = (x: Tensor, weight: Tensor, options: TransposedOptions) => Tensor;

/** A convolution over a number of spatial axes, or its transpose. The weight of the transpose has the inputs first, as in PyTorch. */
function layer(
  kind: string,
  axes: number,
  inputs: number,
  outputs: number,
  kernel: PerAxis,
  options: TransposedConvolutionOptions = {},
  isTransposed: boolean = false,
): unknown {
  expectArguments(kind, [aWhole, aWhole, perAxis, optional(aRecord)], [inputs, outputs, kernel, options]);
  const { weight: _, bias: __, generator: ___, ...windows } = options;
  const field = sizesOf(kernel, axes);
  const { groups = 1 } = windows;
  expectSizes(kind, [inputs, outputs, groups, ...field]);
  const [first, second] = isTransposed ? [inputs, outputs / groups] : [outputs, inputs / groups];
  const children = weightAndBias([first, second, ...field], outputs, usual(second, field), options);
  const call = (isTransposed ? convTranspose : conv) as Convolve;
  return module(kind, children, (x: Tensor) =>
    call(x, children.weight, { ...windows, ...(children.bias && { bias: children.bias }) }),
  );
}

/** Makes a convolution along one axis: x [batch, inputs, length]. Options as in `conv`. */
export function conv1d<const I extends number, const O extends number, const P extends ConvolutionOptions = object>(
  inputs: I,
  outputs: O,
  kernel: PerAxis,
  options?: P & ConvolutionOptions,
): Convolution<I, O, [number], HasBias<P>> {
  return layer("Conv1d", 1, inputs, outputs, kernel, options) as Convolution<I, O, [number], HasBias<P>>;
}

/** Makes a convolution over images: x [batch, inputs, height, width]. Options as in `conv`. */
export function conv2d<const I extends number, const O extends number, const P extends ConvolutionOptions = object>(
  inputs: I,
  outputs: O,
  kernel: PerAxis,
  options?: P & ConvolutionOptions,
): Convolution<I, O, [number, number], HasBias<P>> {
  return layer("Conv2d", 2, inputs, outputs, kernel, options) as Convolution<I, O, [number, number], HasBias<P>>;
}

/**
 * Makes a transposed convolution along one axis, which makes the sequence longer: x [batch, inputs, length]. Options as in `convTranspose`.
 */
export function convTranspose1d<
  const I extends number,
  const O extends number,
  const P extends TransposedConvolutionOptions = object,
>(
  inputs: I,
  outputs: O,
  kernel: PerAxis,
  options?: P & TransposedConvolutionOptions,
): Convolution<I, O, [number], HasBias<P>> {
  return layer("ConvTranspose1d", 1, inputs, outputs, kernel, options, true) as Convolution<I, O, [number], HasBias<P>>;
}

/** Makes a transposed convolution, which makes images larger: x [batch, inputs, height, width]. Options as in `convTranspose`. */
export function convTranspose2d<
  const I extends number,
  const O extends number,
  const P extends TransposedConvolutionOptions = object,
>(
  inputs: I,
  outputs: O,
  kernel: PerAxis,
  options?: P & TransposedConvolutionOptions,
): Convolution<I, O, [number, number], HasBias<P>> {
  return layer("ConvTranspose2d", 2, inputs, outputs, kernel, options, true) as Convolution<
    I,
    O,
    [number, number],
    HasBias<P>
  >;
}

/** A layer that makes the spatial axes smaller and keeps batch and channels. */
export interface Pool<Space extends Shape> extends Module {
  <N extends number, C extends number>(x: Tensor<[N, C, ...Space], "float32">): Tensor<[N, C, ...Space], "float32">;
}

function pool<Space extends Shape>(kind: string, call: (x: Tensor) => unknown): Pool<Space> {
  return module(kind, {}, call as never) as unknown as Pool<Space>;
}

/**
 * Makes a layer that takes the largest element of each window along one axis: x [batch, channels, length]. Options as in `maxPool`; the
 * stride is the window's size.
 */
export function maxPool1d(kernel: PerAxis, options: Omit<PoolOptions, "kernel"> = {}): Pool<[number]> {
  return pool("MaxPool1d", (x) => maxPool(x, { ...options, kernel }));
}

/**
 * Makes a layer that takes the largest element of each window of images: x [batch, channels, height, width]. Options as in `maxPool`; the
 * stride is the window's size.
 */
export function maxPool2d(kernel: PerAxis, options: Omit<PoolOptions, "kernel"> = {}): Pool<[number, number]> {
  return pool("MaxPool2d", (x) => maxPool(x, { ...options, kernel }));
}

/**
 * Makes a layer that takes the mean of each window along one axis: x [batch, channels, length]. Options as in `avgPool`; the stride is the
 * window's size.
 */
export function avgPool1d(kernel: PerAxis, options: Omit<AveragePoolOptions, "kernel"> = {}): Pool<[number]> {
  return pool("AvgPool1d", (x) => avgPool(x, { ...options, kernel }));
}

/**
 * Makes a layer that takes the mean of each window of images: x [batch, channels, height, width]. Options as in `avgPool`; the stride is
 * the window's size.
 */
export function avgPool2d(kernel: PerAxis, options: Omit<AveragePoolOptions, "kernel"> = {}): Pool<[number, number]> {
  return pool("AvgPool2d", (x) => avgPool(x, { ...options, kernel }));
}
