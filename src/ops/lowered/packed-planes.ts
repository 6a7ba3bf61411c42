/**
 * The inputs of ONNX Runtime's blocked convolutions: planes, whose columns are the images of a tile side by side, and kernels in the order
 * of the blocks.
 */
import type { OnnxGraph, OnnxValue } from "../../graph/op.ts";
import { type Shape, sizeOf } from "../../graph/types.ts";
import { blocks, lanesLast, moved, reshaped } from "./packed.ts";

/** A packed tensor with two spatial axes. A single spatial axis becomes the height, and the width is 1. */
export interface Plane {
  readonly value: OnnxValue;
  /** [groups, blocks, height, width, images, channels] */
  readonly shape: readonly [number, number, number, number, number, number];
}

/**
 * Returns the entries for rows and for columns of a list with one entry for each spatial axis. If there is one axis, the entry for columns
 * is `missing`.
 */
export const flat = <T>([rows, columns]: readonly T[], missing: T): readonly [T, T] => [rows!, columns ?? missing];

export function planeOf(value: OnnxValue, packed: Shape): Plane {
  const space = flat(packed.slice(2, -2), 1);
  return { value, shape: [...packed.slice(0, 2), ...space, ...packed.slice(-2)] as unknown as Plane["shape"] };
}

export type Sides = readonly [before: number, after: number];

/** Adds zeros around a plane. Where a side is negative, rows or columns are cut off instead. */
export function padded(graph: OnnxGraph, { value, shape }: Plane, [rows, columns]: readonly [Sides, Sides]): Plane {
  if ([...rows, ...columns].every((width) => width === 0)) return { value, shape };
  const [groups, count, height, width, images, channels] = shape;
  const pads = [0, 0, rows[0], columns[0], 0, 0, 0, rows[1], columns[1], 0];
  const long = reshaped(graph, value, [groups, count, height, width, images * channels]);
  return {
    value: graph.node("Pad", [long, graph.integers(pads), graph.constant("float32", [], [0])]),
    shape: [groups, count, height + rows[0] + rows[1], width + columns[0] + columns[1], images, channels],
  };
}

/** Takes `count` columns of a plane: every `step`-th one from `first` on. */
export function columnsOf(
  graph: OnnxGraph,
  { value, shape }: Plane,
  first: number,
  step: number,
  count: number,
): Plane {
  const [groups, blockCount, height, width, images, channels] = shape;
  if (first === 0 && step === 1 && count === width) return { value, shape };
  const long = reshaped(graph, value, [groups, blockCount, height, width, images * channels]);
  const ends = [[first], [first + (count - 1) * step + 1], [3], [step]].map((each) => graph.integers(each));
  return {
    value: graph.node("Slice", [long, ...ends]),
    shape: [groups, blockCount, height, count, images, channels],
  };
}

interface BlockedConv {
  readonly outputs: number;
  readonly kernel: readonly [number, number];
  /** The stride of rows; that of columns is 1. */
  readonly stride: number;
  readonly dilation: readonly [number, number];
  readonly bias?: OnnxValue | undefined;
  /** Added to the result. */
  readonly sum?: OnnxValue | undefined;
  readonly relu?: boolean;
}

/**
 * Writes one blocked convolution. The images of a tile count as neighbouring columns, so the dilation of columns is multiplied by their
 * number.
 */
export function conv(graph: OnnxGraph, { value, shape }: Plane, weights: OnnxValue, how: BlockedConv): Plane {
  const [groups, count, height, width, images, channels] = shape;
  const { outputs, kernel, stride, dilation, bias, sum, relu } = how;
  const rows = Math.floor((height - dilation[0] * (kernel[0] - 1) - 1) / stride) + 1;
  const columns = width - dilation[1] * (kernel[1] - 1);
  const block = graph.target.block!;
  const y = graph.node(
    "Conv",
    [reshaped(graph, value, [groups, count * channels, height, width * images]), weights, bias, sum],
    {
      kernel_shape: kernel,
      strides: [stride, 1],
      dilations: [dilation[0], dilation[1] * images],
      ...(relu && { activation: "Relu" }),
    },
    blocks,
  );
  return { value: y, shape: [groups, outputs / block, rows, columns, images, block] };
}

/** Brings a kernel [outputs, channels, taps] into the order of the blocks: [outputs / b, channels / b, taps, b channels, b outputs]. */
export function blockedWeights(graph: OnnxGraph, w: OnnxValue, [outputs, channels, ...kernel]: Shape): OnnxValue {
  const [taps, block] = [sizeOf(kernel), graph.target.block!];
  const whole = [outputs!, channels!, ...flat(kernel, 1)];
  const rows = lanesLast(graph, w, "float32", [outputs! / block, block, channels! * taps]);
  if (channels! < block) return reshaped(graph, rows, whole);
  const order = moved(graph, rows, [outputs! / block, channels! / block, block, taps, block], [0, 1, 3, 2, 4]);
  return reshaped(graph, order, whole);
}

/** As `blockedWeights`, for the way back to the input: the taps are reversed, and outputs and channels are exchanged. */
export function turnedWeights(graph: OnnxGraph, w: OnnxValue, [outputs, channels, ...kernel]: Shape): OnnxValue {
  const [taps, block] = [sizeOf(kernel), graph.target.block!];
  const [into, from] = [channels! / block, outputs! / block];
  const rows = lanesLast(graph, w, "float32", [outputs! * into, block, taps]);
  const order = moved(graph, rows, [from, block, into, taps, block], [2, 0, 3, 1, 4]);
  const whole = [channels!, outputs!, ...flat(kernel, 1)];
  if (taps === 1) return reshaped(graph, order, whole);
  const backwards = [[-1], [-(2 ** 31)], [1], [-1]].map((each) => graph.integers(each));
  const lines = reshaped(graph, order, [into * from, taps, block * block]);
  return reshaped(graph, graph.node("Slice", [lines, ...backwards]), whole);
}

/** Takes every `step`-th tap of a kernel from `first` on, along an axis. */
export function tapsOf(graph: OnnxGraph, w: OnnxValue, axis: number, first: number, step: number): OnnxValue {
  if (step === 1) return w;
  const ends = [[first], [2 ** 31], [axis], [step]].map((each) => graph.integers(each));
  return graph.node("Slice", [w, ...ends]);
}

/** How many taps `tapsOf` takes of a kernel with `taps` of them along the axis. */
export const tapCount = (taps: number, first: number, step: number): number =>
  Math.max(0, Math.ceil((taps - first) / step));

/** Puts as many images side by side as a block has channels. Images of zeros are added if necessary. */
export function together(graph: OnnxGraph, { value, shape }: Plane): Plane {
  const block = graph.target.block!;
  const [groups, count, height, width, images, channels] = shape;
  if (images === block) return { value, shape };
  const each = block / images;
  const size = count * height * width;
  const whole = Math.ceil(groups / each);
  const missing = whole * each - groups;
  const long = reshaped(graph, value, [groups, size * images * channels]);
  const type = { dtype: "float32", shape: [whole * each, size * images * channels] } as const;
  const filled = graph.choose(Number(missing > 0), type, [
    () => long,
    (inner) => inner.node("Pad", [long, inner.integers([0, 0, missing, 0]), inner.constant("float32", [], [0])]),
  ]);
  return {
    value: moved(graph, filled, [whole, each, size, images * channels], [0, 2, 1, 3]),
    shape: [whole, count, height, width, block, channels],
  };
}
