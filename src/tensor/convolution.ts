/** Convolution and pooling over [batch, channels, length] and [batch, channels, height, width]. */

import { ConfigError, ShapeError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { aRecord, aTensor, described, expectArguments, optional } from "../graph/arguments.ts";
import type { Agree, Show } from "../graph/shape-types.ts";
import { type DType, type Shape, showShape, showType, sizeOf } from "../graph/types.ts";
import * as ops from "../ops/convolution.ts";
import * as pooling from "../ops/pooling.ts";
import type { Tensor } from "./tensor.ts";

/** One number for all spatial axes, or one for each. */
export type PerAxis = number | readonly number[];

/**
 * Zeros added on both sides of each axis: one number, one for each axis, or [before, after] for each axis. "same" adds as many zeros
 * as give ⌈n / stride⌉ places for n elements. If their number is odd, one more is added after than before, as in Keras and PyTorch.
 */
export type Padding = "same" | number | readonly (number | readonly [before: number, after: number])[];

/** How windows move over an input: options of convolutions and of pooling. */
export interface WindowOptions {
  /** The distance from one window to the next. Default: 1 for convolutions, the size of the window for pooling. */
  readonly stride?: PerAxis;
  /** Default 0. */
  readonly padding?: Padding;
  /** The distance from one element of a window to the next. Default 1. */
  readonly dilation?: PerAxis;
}

/** Options of convolutions as functions: `functional.conv2d` and its like. */
export interface ConvolveOptions extends WindowOptions {
  /** A vector [outputs] that is added at every place. */
  readonly bias?: Tensor;
  /** The number of groups into which channels are divided; each group is convolved separately. Default 1. */
  readonly groups?: number;
}

function perAxis(subject: string, name: string, value: PerAxis, axes: number, least: number): number[] {
  const list = typeof value === "number" ? Array<number>(axes).fill(value) : Array.isArray(value) ? [...value] : [];
  if (list.length !== axes || !list.every((each) => Number.isInteger(each) && each >= least))
    throw new ConfigError(
      subject,
      `${name} is ${list.map(described).join(", ") || described(value)}`,
      `give a whole number of at least ${least}, or ${axes} of them, one for each axis of space`,
    );
  return list;
}

function windows(
  subject: string,
  { shape }: Tensor,
  kernel: Shape,
  { stride = 1, padding = 0, dilation = 1 }: WindowOptions,
  addedForSame: AddedForSame = added,
): ops.WindowParams {
  const axes = shape.length - 2;
  if (axes < 1)
    throw new ShapeError(subject, `x [${shape.join(", ")}] has no axis of space`, "x is [batch, channels, …]");
  if (padding === "same") {
    const steps = perAxis(subject, "stride", stride, axes, 1);
    const gaps = perAxis(subject, "dilation", dilation, axes, 1);
    const sides = steps.map((step, i) => {
      const all = Math.max(0, addedForSame(shape[i + 2]!, gaps[i]! * (kernel[i]! - 1) + 1, step));
      return [Math.floor(all / 2), Math.ceil(all / 2)] as const;
    });
    return { stride: steps, dilation: gaps, padding: sides };
  }
  if (typeof padding !== "number" && !Array.isArray(padding))
    throw new ConfigError(
      subject,
      `padding is ${described(padding)}`,
      'give zeros for each side, [before, after] for each axis, or "same"',
    );
  const sides = typeof padding === "number" ? Array<number>(axes).fill(padding) : padding;
  const pairs = sides.map((side) => (typeof side === "number" ? ([side, side] as const) : side));
  perAxis(subject, "padding", pairs.flat(), 2 * axes, 0);
  return {
    stride: perAxis(subject, "stride", stride, axes, 1),
    dilation: perAxis(subject, "dilation", dilation, axes, 1),
    padding: pairs,
  };
}

/** Returns how many zeros "same" adds in total to n elements, for windows that span `reach` elements and move by `stride`. */
type AddedForSame = (n: number, reach: number, stride: number) => number;

/** For convolutions and pooling: so many that exactly ⌈n / stride⌉ windows fit. */
const added: AddedForSame = (n, reach, stride) => (Math.ceil(n / stride) - 1) * stride + reach - n;

/** For transposed convolutions: how many elements are removed from the result, so that stride · n elements are left. */
const takenAway: AddedForSame = (_n, reach, stride) => reach - stride;

function expectGroups(subject: string, groups: number): void {
  if (!Number.isInteger(groups) || groups < 1)
    throw new ConfigError(subject, `groups is ${groups}`, "give a whole number of at least 1");
}

function expectChannels(subject: string, x: Tensor, kernel: Tensor, taken: number | undefined): void {
  const channels = x.shape[1];
  if (channels !== taken)
    throw new ShapeError(
      subject,
      `x ${showShape(x.shape)} has ${channels} channels, the kernel ${showShape(kernel.shape)} takes ${taken}`,
      "x is [batch, channels, …]; a kernel's channels are those of a group",
    );
}

/**
 * Returns the convolution of x with a weight; as in other frameworks, this is cross-correlation. x [batch, channels, …space] with a
 * weight [outputs, channels / groups, …kernel] gives [batch, outputs, …places]. One spatial axis or more. float32; float64 on the
 * plain engine.
 *
 * Throws ShapeError when channels, groups or axes do not go together or no window fits, ConfigError for an option out of range.
 */
export function conv<
  N extends number,
  C extends number,
  S extends Shape,
  O extends number,
  I extends number,
  K extends Shape,
  D extends DType,
  const G extends ConvolveOptions = object,
>(
  x: Tensor<[N, C, ...S], D>,
  weight: Tensor<[O, I, ...K], NoInfer<D>> &
    (G extends { readonly groups: number }
      ? unknown
      : Agree<C, I, `conv: x ${Show<[N, C, ...S]>} has ${C} channels, the kernel ${Show<[O, I, ...K]>} takes ${I}`>),
  options?: G,
): Tensor<[N, O, ...{ [A in keyof S]: number }], D> {
  expectArguments("conv", [aTensor, aTensor, optional(aRecord)], [x, weight, options]);
  const { bias, groups = 1, ...rest } = (options ?? {}) as ConvolveOptions;
  const [input, kernel] = [x as Tensor, weight as Tensor];
  expectGroups("conv", groups);
  expectChannels("conv", input, kernel, groups * kernel.shape[1]!);
  const params = { ...windows("conv", input, kernel.shape.slice(2), rest), groups };
  return apply(ops.convolution, bias ? [input, kernel, bias] : [input, kernel], params) as ReturnType<
    typeof conv<N, C, S, O, I, K, D, G>
  >;
}

/** Options of transposed convolutions as functions. */
export interface TransposedOptions extends ConvolveOptions {
  /** Elements added at the end of each axis, since with a stride several output sizes are possible. Default 0. */
  readonly outputPadding?: PerAxis;
}

/**
 * Returns the transpose of `conv`, which spreads each element over a window: x [batch, channels, …] with a weight [channels, outputs /
 * groups, …kernel], PyTorch's layout, gives [batch, outputs, …] of the size stride·(n − 1) + dilation·(k − 1) + 1 − padding +
 * outputPadding. Throws the same errors as `conv`.
 */
export function convTranspose<
  N extends number,
  C extends number,
  S extends Shape,
  I extends number,
  O extends number,
  K extends Shape,
  D extends DType,
  const G extends TransposedOptions = object,
>(
  x: Tensor<[N, C, ...S], D>,
  weight: Tensor<[I, O, ...K], NoInfer<D>> &
    Agree<
      C,
      I,
      `convTranspose: x ${Show<[N, C, ...S]>} has ${C} channels, the kernel ${Show<[I, O, ...K]>} takes ${I}`
    >,
  options?: G,
): Tensor<[N, G extends { readonly groups: number } ? number : O, ...{ [A in keyof S]: number }], D> {
  expectArguments("convTranspose", [aTensor, aTensor, optional(aRecord)], [x, weight, options]);
  const { bias, groups = 1, outputPadding = 0, ...rest } = (options ?? {}) as TransposedOptions;
  const [input, matrix] = [x as Tensor, weight as Tensor];
  expectGroups("convTranspose", groups);
  expectChannels("convTranspose", input, matrix, matrix.shape[0]);
  const kernel = matrix.shape.slice(2);
  const params = windows("convTranspose", input, kernel, rest, takenAway);
  const more = perAxis("convTranspose", "outputPadding", outputPadding, kernel.length, 0);
  const space = input.shape.slice(2).map((size, i) => {
    const [before, after] = params.padding[i]!;
    const { stride, dilation } = params;
    return stride[i]! * (size - 1) + dilation[i]! * (kernel[i]! - 1) + 1 - before - after + more[i]!;
  });
  const y = apply(ops.convolutionInput, [input, matrix], { ...params, groups, space });
  return (bias ? y.add(bias.reshape([bias.size, ...kernel.map(() => 1)])) : y) as ReturnType<
    typeof convTranspose<N, C, S, I, O, K, D, G>
  >;
}

/** Options of pooling. */
export interface PoolOptions extends WindowOptions {
  /** Size of the windows. */
  readonly kernel: PerAxis;
}

function poolParams(subject: string, x: Tensor, options: PoolOptions): pooling.PoolParams {
  const kernel = perAxis(subject, "kernel", options.kernel, x.shape.length - 2, 1);
  return { kernel, ...windows(subject, x, kernel, { ...options, stride: options.stride ?? kernel }) };
}

/** A shape with the same batch and channels; the spatial sizes are not known. */
type Pooled<S extends Shape> = S extends readonly [
  infer N extends number,
  infer C extends number,
  ...infer R extends Shape,
]
  ? [N, C, ...{ [A in keyof R]: number }]
  : Shape;

/** Returns the largest element of each window of x [batch, channels, …]. If several are equal, the first gets the gradient. */
export function maxPool<S extends Shape, D extends DType>(x: Tensor<S, D>, options: PoolOptions): Tensor<Pooled<S>, D> {
  expectArguments("maxPool", [aTensor, aRecord], [x, options]);
  const input = x as Tensor;
  return apply(pooling.maxPool, [input], poolParams("maxPool", input, options)) as Tensor<Pooled<S>, D>;
}

/** Options of average pooling. */
export interface AveragePoolOptions extends PoolOptions {
  /** Whether the padding counts in the mean, as zeros. Default true. */
  readonly countPadding?: boolean;
}

/** Returns the mean of each window of x [batch, channels, …]. */
export function avgPool<S extends Shape, D extends DType>(
  x: Tensor<S, D>,
  given: AveragePoolOptions,
): Tensor<Pooled<S>, D> {
  expectArguments("avgPool", [aTensor, aRecord], [x, given]);
  const { countPadding = true, ...options } = given;
  const input = x as Tensor;
  const params = poolParams("avgPool", input, options);
  const y = apply(pooling.avgPool, [input], params);
  if (countPadding || params.padding.every(([before, after]) => before + after === 0)) return y as Tensor<Pooled<S>, D>;
  // The share of each window that lies inside of x, not in the padding.
  const ones = input.scalar(1).expand([1, 1, ...input.shape.slice(2)]);
  return y.div(apply(pooling.avgPool, [ones], params)) as Tensor<Pooled<S>, D>;
}

/** Returns the mean of each channel of x [batch, channels, …], with the shape [batch, channels]. */
export function globalAvgPool<N extends number, C extends number, S extends Shape, D extends DType>(
  x: Tensor<[N, C, ...S], D>,
): Tensor<[N, C], D> {
  expectArguments("globalAvgPool", [aTensor], [x]);
  const input = x as Tensor;
  if (input.shape.length < 3)
    throw new ShapeError("globalAvgPool", `${showType(input)} has no space`, "x is [batch, channels, …]");
  const [batch, channels, ...space] = input.shape as [number, number, ...number[]];
  return input.reshape([batch, channels, sizeOf(space)]).mean(-1) as Tensor<Shape, D> as Tensor<[N, C], D>;
}
