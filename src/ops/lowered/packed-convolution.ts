/**
 * Convolution over packed tensors (packed.ts).
 *
 * ONNX Runtime has convolutions on blocks of channels (domain com.microsoft.nchwc), as fast as large matrix products (Liu et al. 2019,
 * "Optimizing CNN Model Inference on CPUs"). It uses them by itself only where weights are constant; here the graph brings the weights into
 * the order of the blocks. The n images of a tile lie side by side, so rows are n times as long, and neighbours in one image are n columns
 * apart: the convolution has a dilation of n. The gradient of a kernel is a sum over images, so it is such a convolution too, with the
 * images as channels.
 *
 * Where an engine has no such convolutions, or none for this case, the ops unpack their inputs, convolve them, and pack the result.
 */

import {
  type Data,
  defineOp,
  floats,
  type Lowering,
  type OnnxGraph,
  type OnnxValue,
  type Op,
  type Sampler,
} from "../../graph/op.ts";
import type { Target } from "../../graph/target.ts";
import { type Shape, sizeOf, type TensorType } from "../../graph/types.ts";
import {
  type ConvolutionInputParams,
  type ConvolutionKernelParams,
  type ConvolutionParams,
  convolution,
  convolutionInput,
  convolutionKernel,
  windowCounts,
  zeros,
} from "../convolution.ts";
import {
  blocks,
  evaluatePacked,
  lanesFirst,
  lanesLast,
  moved,
  packedShape,
  packNodes,
  reshaped,
  tilesFor,
  tilesOf,
  unpacked,
  unpackedType,
  unpackNodes,
} from "./packed.ts";
import {
  blockedWeights,
  columnsOf,
  conv,
  flat,
  type Plane,
  padded,
  planeOf,
  type Sides,
  tapCount,
  tapsOf,
  together,
  turnedWeights,
} from "./packed-planes.ts";

export interface BlockParams {
  /** How many channels of the result lie side by side. */
  readonly block: number;
}

/** Whether an engine's blocked convolutions can compute a convolution with a kernel [outputs, channels, …]. */
export function suitsBlocks(
  { block }: Target,
  [outputs, channels, ...kernel]: Shape,
  { groups, stride, dilation }: ConvolutionParams,
): boolean {
  return (
    block !== undefined &&
    groups === 1 &&
    kernel.length <= 2 &&
    outputs! % block === 0 &&
    (channels! % block === 0 || channels! < block) &&
    stride.every((step, i) => step === 1 || dilation[i] === 1)
  );
}

export interface PackedConvolutionParams extends ConvolutionParams, BlockParams {
  /** Whether negative results become 0. */
  readonly relu: boolean;
}

/** The convolution of a packed x with a plain kernel and an optional bias. The result is packed. */
export const packedConvolution: Op<PackedConvolutionParams> = defineOp<PackedConvolutionParams>({
  name: "packedConvolution",
  dtypes: floats,
  onnxTypes: ["float32"],
  shape([x, w, ...bias], params) {
    const [y] = convolution.type([unpackedType(x!), w!, ...bias], params);
    return packedShape("packedConvolution", y!, { ...tilesOf(x!.shape), channels: params.block });
  },
  onnx(graph, [x, w, bias], at) {
    const { params, inputTypes, outputTypes } = at;
    const [typeX, typeW] = inputTypes as [TensorType, TensorType];
    const [y] = outputTypes as [TensorType];
    const { relu } = params;
    if (!hasBlocks(graph, typeW.shape, at, 1)) {
      const plain = plainNodes(graph, convolution, at, 1);
      return packNodes(graph, relu ? graph.node("Relu", [plain]) : plain, y);
    }
    const [[strideY, stride], dilation] = [flat(params.stride, 1), flat(params.dilation, 1)];
    const [rows, columns] = flat(typeW.shape.slice(2), 1);
    const plane = padded(graph, planeOf(x!, typeX.shape), flat(params.padding, [0, 0]));
    // With a stride, columns and taps are split into lots. Each lot of taps meets only its own lot of columns, and the results of the lots
    // are added up.
    const lots = Math.min(stride, columns);
    const width = planeOf(x!, y.shape).shape[3];
    let sum: OnnxValue | undefined;
    for (let lot = 0; lot < lots; lot++) {
      const taps = tapCount(columns, lot, stride);
      const own = columnsOf(graph, plane, lot, stride, stride === 1 ? plane.shape[3] : width + taps - 1);
      const kernel = [...typeW.shape.slice(0, 2), rows, taps];
      const weights = blockedWeights(graph, tapsOf(graph, w!, typeW.shape.length - 1, lot, stride), kernel);
      sum = conv(graph, own, weights, {
        outputs: typeW.shape[0]!,
        kernel: [rows, taps],
        stride: strideY,
        dilation,
        bias: lot === 0 ? bias : undefined,
        sum,
        relu: relu && lot === lots - 1,
      }).value;
    }
    return reshaped(graph, sum!, y.shape);
  },
  evaluate([x, w, ...bias], y, params) {
    evaluatePacked(convolution, [unpacked(x!), w!, ...bias], y, params);
    if (params.relu) y.values.forEach((value, i) => (y.values[i] = Math.max(0, value)));
  },
  samples: (random) => [
    ...cases.map(([x, w, params], i) => ({
      inputs: [packedSample(random, x, params.block), random.real(...w), ...(i % 3 ? [random.real(w[0]!)] : [])],
      params: { ...params, relu: i % 2 === 0 },
    })),
    // With other tiles than the usual ones.
    {
      inputs: [random.real(2, 16, 3, 3, 2, 1), random.real(16, 16, 2, 2)],
      params: { stride: [1, 1], dilation: [1, 1], padding: around(0, 0, 0, 0), groups: 1, block: 16, relu: false },
    },
  ],
});

export interface PackedConvolutionInputParams extends ConvolutionInputParams, BlockParams {}

/** The transpose of `packedConvolution` with respect to its input. Inputs: a packed dy and a plain kernel. The result is packed. */
export const packedConvolutionInput: Op<PackedConvolutionInputParams> = defineOp<PackedConvolutionInputParams>({
  name: "packedConvolutionInput",
  dtypes: floats,
  onnxTypes: ["float32"],
  shape([dy, w], params) {
    const [dx] = convolutionInput.type([unpackedType(dy!), w!], params);
    return packedShape("packedConvolutionInput", dx!, { ...tilesOf(dy!.shape), channels: params.block });
  },
  onnx(graph, [dy, w], at) {
    const { params, inputTypes, outputTypes } = at;
    const [typeDy, typeW] = inputTypes as [TensorType, TensorType];
    const [dx] = outputTypes as [TensorType];
    if (!hasBlocks(graph, typeW.shape, at, 1) || typeW.shape[1]! % params.block !== 0)
      return packNodes(graph, plainNodes(graph, convolutionInput, at, 1), dx);
    const slopes = planeOf(dy!, typeDy.shape);
    const outputs = typeW.shape[1]!;
    const [rows, columns] = [0, 1].map((axis) => wayBack(axis, slopes, typeW.shape, params)) as [WayBack, WayBack];
    const [groups, , , , ...tile] = slopes.shape;
    const shape = [groups, outputs / params.block, rows.count, columns.count, ...tile];
    const lines = rows.lots.map((row, y) => {
      const lots = columns.lots.map((column, x) => {
        const kernel = [row.taps, column.taps] as const;
        if (row.taps === 0 || column.taps === 0) return zeros(graph, { shape, dtype: "float32" });
        const taps = tapsOf(graph, tapsOf(graph, w!, 2, y, rows.step), 3, x, columns.step);
        const weights = turnedWeights(graph, taps, [...typeW.shape.slice(0, 2), ...kernel]);
        const dilation = [rows.dilation, columns.dilation] as const;
        const around = padded(graph, slopes, [row.sides, column.sides]);
        return conv(graph, around, weights, { outputs, kernel, stride: 1, dilation }).value;
      });
      return inTurn(graph, lots, sizeOf(shape.slice(0, 4)));
    });
    const whole = inTurn(graph, lines, sizeOf(shape.slice(0, 3)));
    const [height, width] = [rows.step * rows.count, columns.step * columns.count];
    if (height === rows.size && width === columns.size) return reshaped(graph, whole, dx.shape);
    const starts = [rows.start, columns.start];
    const cut = graph.node("Slice", [
      reshaped(graph, whole, [...shape.slice(0, 2), height, width, sizeOf(tile)]),
      graph.integers(starts),
      graph.integers([rows.start + rows.size, columns.start + columns.size]),
      graph.integers([2, 3]),
    ]);
    return reshaped(graph, cut, dx.shape);
  },
  evaluate: ([dy, w], dx, params) => evaluatePacked(convolutionInput, [unpacked(dy!), w!], dx, params),
  samples: (random) =>
    cases
      .filter(([, w, { block }]) => w[1]! % block === 0)
      .map(([x, w, params]) => ({
        inputs: [packedSample(random, resultOf(x, w, params), params.block), random.real(...w)],
        params: { ...params, space: x.slice(2) },
      })),
});

/**
 * One axis of the way from the gradient of a convolution's result back to its input. With a stride, the positions between two steps of the
 * stride form lots. Each lot meets its own lot of taps, and is a convolution without a stride. The results of the lots are then
 * interleaved.
 */
interface WayBack {
  readonly step: number;
  readonly dilation: number;
  readonly lots: readonly { readonly taps: number; readonly sides: Sides }[];
  /** Number of results of each lot. */
  readonly count: number;
  /** The first of the interleaved results that belongs to the input, and how many do. */
  readonly start: number;
  readonly size: number;
}

function wayBack(axis: number, dy: Plane, w: Shape, params: PackedConvolutionInputParams): WayBack {
  const [step, dilation] = [flat(params.stride, 1)[axis]!, flat(params.dilation, 1)[axis]!];
  const [size, taps] = [flat(params.space, 1)[axis]!, flat(w.slice(2), 1)[axis]!];
  const [before] = flat(params.padding, [0, 0])[axis]!;
  const first = Math.floor(before / step);
  const count = Math.ceil((before + size) / step) - first;
  const lots = Array.from({ length: step }, (_, lot) => {
    const own = tapCount(taps, lot, step);
    return { taps: own, sides: [dilation * (own - 1) - first, first + count - dy.shape[2 + axis]!] as const };
  });
  return { step, dilation, lots, count, start: before - step * first, size };
}

/** Interleaves tensors: for each of the `lead` leading positions, the elements of one tensor follow those of the tensor before it. */
const inTurn = (graph: OnnxGraph, lots: readonly OnnxValue[], lead: number): OnnxValue =>
  lots.length === 1
    ? lots[0]!
    : graph.node(
        "Concat",
        lots.map((lot) => reshaped(graph, lot, [lead, 1, -1])),
        { axis: 1 },
      );

export interface PackedConvolutionKernelParams extends ConvolutionKernelParams, BlockParams {}

/** The transpose of `packedConvolution` with respect to its kernel. Inputs: packed x and dy. The result is plain. */
export const packedConvolutionKernel: Op<PackedConvolutionKernelParams> = defineOp<PackedConvolutionKernelParams>({
  name: "packedConvolutionKernel",
  dtypes: floats,
  onnxTypes: ["float32"],
  shape([x, dy], params) {
    return convolutionKernel.type([unpackedType(x!), unpackedType(dy!)], params)[0]!.shape;
  },
  onnx(graph, [x, dy], at) {
    const { params, inputTypes, outputTypes } = at;
    const [typeX, typeDy] = inputTypes as [TensorType, TensorType];
    const [outputs, channels, ...kernel] = outputTypes[0]!.shape as [number, number, ...number[]];
    const { block } = params;
    if (!hasBlocks(graph, outputTypes[0]!.shape, at, 2) || flat(params.dilation, 1)[1] !== 1)
      return plainNodes(graph, convolutionKernel, at, 2);
    const [rows, columns] = flat(kernel, 1);
    const [strideY, strideX] = flat(params.stride, 1);
    const [dilationY] = params.dilation as [number];
    const slopes = together(graph, planeOf(dy!, typeDy.shape));
    const [groups, , placesY, placesX] = slopes.shape;
    const whole = planeOf(x!, typeX.shape);
    const sides = [0, 1].map((axis) => coveredSides(axis, whole, slopes, kernel, params)) as [Sides, Sides];
    const { value, shape } = together(graph, padded(graph, whole, sides));
    const [, count, height, width, , lanes] = shape;
    // The images of x become its channels, and its channels become columns between its columns. So the channels of a tap lie side by side
    // in the result.
    const turned = lanesLast(graph, value, "float32", [groups * count * height * width, block, lanes]);
    const size = height * width * lanes * block;
    const images = moved(graph, turned, [groups, count, size], [1, 0, 2]);
    const [from, to] = [outputs / block, placesY * placesX * block * block];
    const weights = moved(graph, slopes.value, [groups, from, to], [1, 0, 2]);
    const products = graph.node(
      "Conv",
      [
        reshaped(graph, images, [count, groups * block, height, width * lanes]),
        reshaped(graph, weights, [outputs, groups * block, placesY, placesX]),
      ],
      {
        kernel_shape: [placesY, placesX],
        strides: [dilationY, 1],
        dilations: [strideY, strideX * lanes],
        group: 1,
      },
      blocks,
    );
    const taps = rows * columns;
    const order = moved(graph, products, [count, from, taps, lanes, block], [1, 0, 3, 2, 4]);
    const plain = lanesFirst(graph, order, "float32", [from, channels * taps, block]);
    return reshaped(graph, plain, outputTypes[0]!.shape);
  },
  evaluate: ([x, dy], dw, params) => convolutionKernel.evaluate([unpacked(x!), unpacked(dy!)], [dw], params),
  samples: (random) =>
    cases.map(([x, w, params]) => ({
      inputs: [packedSample(random, x, params.block), packedSample(random, resultOf(x, w, params), params.block)],
      params: { ...params, kernel: w.slice(2) },
    })),
});

/**
 * Returns how many rows or columns to add on either side of x so that it is exactly what the windows cover. A negative number means that
 * they are cut off.
 */
function coveredSides(axis: number, x: Plane, y: Plane, kernel: Shape, params: ConvolutionParams): Sides {
  const [before] = flat(params.padding, [0, 0])[axis]!;
  const [step, dilation] = [flat(params.stride, 1)[axis]!, flat(params.dilation, 1)[axis]!];
  const covered = step * (y.shape[2 + axis]! - 1) + dilation * (flat(kernel, 1)[axis]! - 1) + 1;
  return [before, covered - before - x.shape[2 + axis]!];
}

/** Whether the engine's blocked convolutions can compute an op with this kernel, whose first `packed` inputs are packed. */
function hasBlocks<P extends ConvolutionParams & BlockParams>(
  graph: OnnxGraph,
  kernel: Shape,
  { params, inputTypes, outputTypes }: Lowering<P>,
  packed: number,
): boolean {
  const { block } = params;
  if (block !== graph.target.block || !suitsBlocks(graph.target, kernel, params)) return false;
  if ([...inputTypes, ...outputTypes].some(({ shape }) => sizeOf(shape) === 0)) return false;
  return inputTypes.slice(0, packed).every((type) => {
    const [own, usual] = [tilesOf(type.shape), tilesFor(unpackedType(type).shape, block)];
    return usual.images % own.images === 0 && own.channels === usual.channels;
  });
}

/** Unpacks the first `packed` inputs, and writes nodes for an op of plain tensors on them. */
function plainNodes<P>(
  graph: OnnxGraph,
  op: Op<P>,
  { inputs, inputTypes, params }: Lowering<P>,
  packed: number,
): OnnxValue {
  const types = inputTypes.map((type, i) => (i < packed ? unpackedType(type) : type));
  const plain = inputs.map((x, i) => (i < packed ? unpackNodes(graph, x, inputTypes[i]!) : x));
  return op.onnx(graph, { inputs: plain, inputTypes: types, outputTypes: op.type(types, params), params })[0]!;
}

type Case = readonly [x: Shape, w: Shape, params: ConvolutionParams & BlockParams];

const around = (...widths: readonly number[]): Sides[] =>
  widths.flatMap((width, i) => (i % 2 ? [] : [[width, widths[i + 1]!] as const]));

const cases: readonly Case[] = (
  [
    [[4, 2, 3, 4], [4, 2, 2, 3], 2, { padding: around(0, 1, 1, 1) }],
    [[16, 16, 4, 3], [16, 16, 3, 3], 16, { padding: around(1, 1, 1, 1) }],
    [[32, 3, 5, 4], [32, 3, 3, 2], 16, { stride: [2, 2], padding: around(1, 0, 0, 1) }],
    [[6, 32, 4, 5], [16, 32, 1, 3], 16, { dilation: [1, 2] }],
    [[16, 16, 5], [16, 16, 3], 16, { stride: [2], padding: around(1, 1) }],
    [[8, 8, 6, 6], [8, 8, 3, 1], 8, { stride: [2, 3], dilation: [2, 1] }],
    [[16, 16, 6, 5], [32, 16, 2, 3], 16, { stride: [3, 2], padding: around(3, 2, 0, 1) }],
    [[16, 16, 3, 3], [16, 16, 2, 2], 16, { padding: around(2, 1, 1, 2) }],
    [[20, 1, 4, 4], [16, 1, 3, 3], 16, {}],
    [[0, 16, 3, 3], [16, 16, 2, 2], 16, {}],
  ] as const
).map(([x, w, block, given]) => {
  const axes = x.slice(2);
  const params = {
    stride: axes.map(() => 1),
    dilation: axes.map(() => 1),
    padding: axes.map(() => [0, 0] as const),
    groups: 1,
    block,
    ...given,
  };
  return [x, w, params];
});

/** The shape of a convolution's result. */
const resultOf = ([batch, , ...space]: Shape, [outputs, , ...kernel]: Shape, params: ConvolutionParams): Shape => [
  batch!,
  outputs!,
  ...windowCounts(space, kernel, params),
];

function packedSample(random: Sampler, shape: Shape, block: number): Data {
  return random.real(...packedShape("pack", { shape, dtype: random.float }, tilesFor(shape, block)));
}
