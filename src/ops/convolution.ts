/**
 * Convolution and its gradients. A convolution is linear in its input and linear in its kernel, and so are the transposes of these two
 * maps. So the gradients of each of the three ops are the two others, and derivatives of any order need no further op.
 */
import { ShapeError } from "../errors.ts";
import {
  type Data,
  defineOp,
  floats,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxValue,
  type Op,
  type Sampler,
} from "../graph/op.ts";
import { type Shape, showShape, sizeOf, stridesOf, type TensorType } from "../graph/types.ts";
import { sumNodes } from "./sums.ts";

/** Where windows lie, for each spatial axis. */
export interface WindowParams {
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** How many zeros are added before and after each axis. */
  readonly padding: readonly (readonly [before: number, after: number])[];
}

export interface ConvolutionParams extends WindowParams {
  /** Number of groups that the channels are cut into. Each group is convolved separately. */
  readonly groups: number;
}

/** How many windows of a size fit along each axis. */
export function windowCounts(space: Shape, kernel: Shape, { stride, dilation, padding }: WindowParams): number[] {
  return space.map((size, i) => {
    const [before, after] = padding[i]!;
    return Math.floor((size + before + after - dilation[i]! * (kernel[i]! - 1) - 1) / stride[i]!) + 1;
  });
}

function expectConvolution(op: string, x: Shape, w: Shape, params: ConvolutionParams): void {
  const { groups } = params;
  const fits =
    x.length === w.length &&
    x.length >= 3 &&
    w[1]! * groups === x[1] &&
    w[0]! % groups === 0 &&
    params.stride.length === x.length - 2;
  if (!fits)
    throw new ShapeError(
      op,
      `x ${showShape(x)} with a kernel ${showShape(w)} in ${groups} ${groups === 1 ? "group" : "groups"}`,
      "x is [batch, channels, …], the kernel [outputs, channels / groups, …] with as many axes; groups divide both",
    );
  if (windowCounts(x.slice(2), w.slice(2), params).some((count) => count < 1))
    throw new ShapeError(
      op,
      `a kernel ${showShape(w)} does not fit into x ${showShape(x)} with its padding`,
      "pad more, or use a smaller kernel or dilation",
    );
}

/** Calls `visit` for each product that a convolution adds up, with its positions in x, w and y. */
export function eachProduct(
  x: Shape,
  w: Shape,
  y: Shape,
  { stride, dilation, padding, groups }: ConvolutionParams,
  visit: (x: number, w: number, y: number) => void,
): void {
  const [space, kernel, places] = [x.slice(2), w.slice(2), y.slice(2)];
  const [spaceStrides, kernelStrides, placeStrides] = [space, kernel, places].map(stridesOf) as [
    number[],
    number[],
    number[],
  ];
  const [spaceSize, kernelSize, placeSize] = [space, kernel, places].map(sizeOf) as [number, number, number];
  const [batch, channels, outputs] = [x[0]!, w[1]!, w[0]!];
  const outputsPerGroup = outputs / groups;
  for (let place = 0; place < placeSize; place++)
    for (let tap = 0; tap < kernelSize; tap++) {
      let at = 0;
      for (let i = 0; i < space.length && at >= 0; i++) {
        const position =
          (Math.floor(place / placeStrides[i]!) % places[i]!) * stride[i]! +
          (Math.floor(tap / kernelStrides[i]!) % kernel[i]!) * dilation[i]! -
          padding[i]![0];
        at = position < 0 || position >= space[i]! ? -1 : at + position * spaceStrides[i]!;
      }
      if (at < 0) continue;
      for (let n = 0; n < batch; n++)
        for (let o = 0; o < outputs; o++)
          for (let c = 0; c < channels; c++) {
            const channel = Math.floor(o / outputsPerGroup) * channels + c;
            visit(
              (n * channels * groups + channel) * spaceSize + at,
              (o * channels + c) * kernelSize + tap,
              (n * outputs + o) * placeSize + place,
            );
          }
    }
}

/** The ONNX attributes of windows. */
export const windowAttributes = ({ stride, dilation, padding }: WindowParams): Record<string, readonly number[]> => ({
  strides: stride,
  dilations: dilation,
  pads: [...padding.map(([before]) => before), ...padding.map(([, after]) => after)],
});

const onnxAttributes = (params: ConvolutionParams): Record<string, OnnxAttribute> => ({
  ...windowAttributes(params),
  group: params.groups,
});

/** y[n, o, p] = Σ x[n, c, p·stride + k·dilation − before]·w[o, c, k], plus a bias [o] if there is a third input. */
export const convolution: Op<ConvolutionParams> = defineOp<ConvolutionParams>({
  name: "convolution",
  dtypes: floats,
  onnxTypes: ["float32"],
  shape([x, w, bias], params) {
    expectConvolution("convolution", x!.shape, w!.shape, params);
    if (bias && `${bias.shape}` !== `${w!.shape[0]}`)
      throw new ShapeError(
        "convolution",
        `a bias ${showShape(bias.shape)} for ${w!.shape[0]} outputs`,
        "give a vector with one element for each output channel",
      );
    return [x!.shape[0]!, w!.shape[0]!, ...windowCounts(x!.shape.slice(2), w!.shape.slice(2), params)];
  },
  gradient([x, w, bias], _y, dy, params) {
    const dx = dy.apply(convolutionInput, [w!], { ...params, space: x!.shape.slice(2) });
    const dw = x!.apply(convolutionKernel, [dy], { ...params, kernel: w!.shape.slice(2) });
    return bias ? [dx, dw, dy.sum([...dy.shape.keys()].filter((axis) => axis !== 1))] : [dx, dw];
  },
  onnx: (graph, inputs, { params, outputTypes }) =>
    sizeOf(outputTypes[0]!.shape) === 0
      ? zeros(graph, outputTypes[0]!)
      : graph.node("Conv", inputs, onnxAttributes(params)),
  evaluate([x, w, bias], y, params) {
    if (bias) {
      const places = sizeOf(y.shape.slice(2));
      for (let i = 0; i < y.values.length; i++) y.values[i] = bias.values[Math.floor(i / places) % bias.values.length]!;
    }
    eachProduct(x!.shape, w!.shape, y.shape, params, (atX, atW, atY) => {
      y.values[atY]! += x!.values[atX]! * w!.values[atW]!;
    });
  },
  samples: (random) =>
    cases(random).map(({ x, w, params }, i) => ({ inputs: i % 2 ? [x, w] : [x, w, random.real(w.shape[0]!)], params })),
});

export interface ConvolutionInputParams extends ConvolutionParams {
  /** The sizes of the input's spatial axes. */
  readonly space: Shape;
}

/** The transpose of a convolution with respect to its input: its gradient, and the transposed convolution. Inputs: dy and w. */
export const convolutionInput: Op<ConvolutionInputParams> = defineOp<ConvolutionInputParams>({
  name: "convolutionInput",
  dtypes: floats,
  onnxTypes: ["float32"],
  shape([dy, w], params) {
    const shape = [dy!.shape[0]!, w!.shape[1]! * params.groups, ...params.space];
    expectConvolution("convolutionInput", shape, w!.shape, params);
    const places = windowCounts(params.space, w!.shape.slice(2), params);
    if (dy!.shape[1] !== w!.shape[0] || `${dy!.shape.slice(2)}` !== `${places}`)
      throw new ShapeError(
        "convolutionInput",
        `${showShape(dy!.shape)} with a kernel ${showShape(w!.shape)} for the space ${showShape(params.space)}`,
        "its shape is that of the convolution's result",
      );
    return shape;
  },
  gradient: ([dy, w], _dx, g, params) => [
    g.apply(convolution, [w!], plain(params)),
    g.apply(convolutionKernel, [dy!], { ...plain(params), kernel: w!.shape.slice(2) }),
  ],
  onnx(graph, [dy, w], { params, inputTypes, outputTypes }) {
    const [typeDy, typeW] = inputTypes as [TensorType, TensorType];
    if (sizeOf(outputTypes[0]!.shape) === 0 || sizeOf(typeDy.shape) === 0) return zeros(graph, outputTypes[0]!);
    const flipped = params.stride.every((step) => step === 1) && flippedPadding(typeW.shape, params);
    // With stride 1 it is a convolution with the kernel reversed and its channels exchanged, as fast as the forward one.
    if (flipped)
      return graph.node("Conv", [dy, exchanged(graph, w!, typeW.shape, params.groups)], {
        ...onnxAttributes({ ...params, padding: flipped }),
      });
    const missing = params.space.map((size, i) => {
      const [before, after] = params.padding[i]!;
      const covered =
        params.stride[i]! * (typeDy.shape[i + 2]! - 1) + params.dilation[i]! * (typeW.shape[i + 2]! - 1) + 1;
      return size + before + after - covered;
    });
    return graph.node("ConvTranspose", [dy, w], { ...onnxAttributes(params), output_padding: missing });
  },
  evaluate([dy, w], dx, params) {
    eachProduct(dx.shape, w!.shape, dy!.shape, params, (atX, atW, atY) => {
      dx.values[atX]! += dy!.values[atY]! * w!.values[atW]!;
    });
  },
  samples: (random) =>
    cases(random).map(({ x, w, y, params }) => ({
      inputs: [random.real(...y), w],
      params: { ...params, space: x.shape.slice(2) },
    })),
});

/** Returns the padding of the convolution with the reversed kernel; undefined if it would be negative. */
function flippedPadding(w: Shape, { dilation, padding }: ConvolutionInputParams): [number, number][] | undefined {
  const flipped = padding.map(([before, after], i): [number, number] => {
    const reach = dilation[i]! * (w[i + 2]! - 1);
    return [reach - before, reach - after];
  });
  return flipped.flat().every((width) => width >= 0) ? flipped : undefined;
}

/** Reverses a kernel [O, C/g, …] along its spatial axes, and exchanges its channels: [C, O/g, …]. */
function exchanged(graph: OnnxGraph, w: OnnxValue, shape: Shape, groups: number): OnnxValue {
  const [outputs, channels, ...kernel] = shape as [number, number, ...number[]];
  const axes = kernel.map((_, i) => i + 2);
  const turned = graph.node("Slice", [
    w,
    graph.integers(axes.map(() => -1)),
    graph.integers(axes.map(() => -(2 ** 31))),
    graph.integers(axes),
    graph.integers(axes.map(() => -1)),
  ]);
  if (groups === 1) return graph.node("Transpose", [turned], { perm: [1, 0, ...axes] });
  const split = graph.node("Reshape", [turned, graph.integers([groups, outputs / groups, channels, ...kernel])]);
  const swapped = graph.node("Transpose", [split], { perm: [0, 2, 1, ...axes.map((axis) => axis + 1)] });
  return graph.node("Reshape", [swapped, graph.integers([groups * channels, outputs / groups, ...kernel])]);
}

export interface ConvolutionKernelParams extends ConvolutionParams {
  /** The sizes of the kernel's spatial axes. */
  readonly kernel: Shape;
}

/** The transpose of a convolution with respect to its kernel: its gradient. Inputs: x and dy. */
export const convolutionKernel: Op<ConvolutionKernelParams> = defineOp<ConvolutionKernelParams>({
  name: "convolutionKernel",
  dtypes: floats,
  shape([x, dy], params) {
    const shape = [dy!.shape[1]!, x!.shape[1]! / params.groups, ...params.kernel];
    expectConvolution("convolutionKernel", x!.shape, shape, params);
    const places = windowCounts(x!.shape.slice(2), params.kernel, params);
    if (dy!.shape[0] !== x!.shape[0] || `${dy!.shape.slice(2)}` !== `${places}`)
      throw new ShapeError(
        "convolutionKernel",
        `x ${showShape(x!.shape)} and ${showShape(dy!.shape)} for the kernel ${showShape(params.kernel)}`,
        "the second is of the shape of the convolution's result",
      );
    return shape;
  },
  gradient: ([x, dy], _dw, g, params) => [
    dy!.apply(convolutionInput, [g], { ...plain(params), space: x!.shape.slice(2) }),
    x!.apply(convolution, [g], plain(params)),
  ],
  onnx(graph, [x, dy], { params, inputTypes, outputTypes }) {
    const [typeX, typeDy] = inputTypes as [TensorType, TensorType];
    const [output] = outputTypes as [TensorType];
    const [batch, outputs, ...places] = typeDy.shape as [number, number, ...number[]];
    if (sizeOf(typeX.shape) === 0 || sizeOf(typeDy.shape) === 0) return zeros(graph, output);
    const { groups, kernel } = params;
    const channels = output.shape[1]!;
    const taps = sizeOf(kernel);
    // For each tap, the elements of x that it meets, as [batch, groups, channels · taps, places]; then one product for each example and
    // group.
    const columns = graph.node("Reshape", [
      tapColumns(graph, x!, typeX, places, params),
      graph.integers([batch, groups, channels * taps, sizeOf(places)]),
    ]);
    const slopes = graph.node("Reshape", [dy, graph.integers([batch, groups, outputs / groups, sizeOf(places)])]);
    const products = graph.target.contrib
      ? graph.node("FusedMatMul", [slopes, columns], { transB: 1 }, "com.microsoft")
      : graph.node("MatMul", [slopes, graph.node("Transpose", [columns], { perm: [0, 1, 3, 2] })]);
    const type = { shape: [batch, groups, outputs / groups, channels * taps], dtype: output.dtype };
    const summed = sumNodes(graph, products, type, { axes: [0], keepDims: false });
    return graph.node("Reshape", [summed, graph.integers(output.shape)]);
  },
  evaluate([x, dy], dw, params) {
    eachProduct(x!.shape, dw.shape, dy!.shape, params, (atX, atW, atY) => {
      dw.values[atW]! += x!.values[atX]! * dy!.values[atY]!;
    });
  },
  samples: (random) =>
    cases(random).map(({ x, w, y, params }) => ({
      inputs: [x, random.real(...y)],
      params: { ...params, kernel: w.shape.slice(2) },
    })),
});

/** Returns [batch, channels, taps, places]: for each tap of the kernel, the elements of x that it meets. */
function tapColumns(
  graph: OnnxGraph,
  x: OnnxValue,
  { shape, dtype }: TensorType,
  places: Shape,
  { stride, dilation, padding, kernel }: ConvolutionKernelParams,
): OnnxValue {
  const axes = kernel.map((_, i) => i + 2);
  const isPadded = padding.some(([before, after]) => before + after > 0);
  const pads = [0, 0, ...padding.map(([before]) => before), 0, 0, ...padding.map(([, after]) => after)];
  const padded = isPadded ? graph.node("Pad", [x, graph.integers(pads), graph.constant(dtype, [], [0])]) : x;
  const strides = stridesOf(kernel);
  const views = Array.from({ length: sizeOf(kernel) }, (_, tap) => {
    const starts = kernel.map((size, i) => (Math.floor(tap / strides[i]!) % size) * dilation[i]!);
    const stops = starts.map((start, i) => start + (places[i]! - 1) * stride[i]! + 1);
    const view = graph.node("Slice", [
      padded,
      graph.integers(starts),
      graph.integers(stops),
      graph.integers(axes),
      graph.integers(stride),
    ]);
    return graph.node("Reshape", [view, graph.integers([shape[0]!, shape[1]!, 1, sizeOf(places)])]);
  });
  return graph.node("Concat", views, { axis: 2 });
}

const plain = ({ stride, dilation, padding, groups }: ConvolutionParams): ConvolutionParams => ({
  stride,
  dilation,
  padding,
  groups,
});

/** A tensor of zeros, which may be empty. */
export function zeros(graph: OnnxGraph, { shape, dtype }: TensorType): OnnxValue {
  return graph.node("Expand", [graph.constant(dtype, [], [0]), graph.integers(shape)]);
}

interface Case {
  readonly x: Data;
  readonly w: Data;
  readonly y: number[];
  readonly params: ConvolutionParams;
}

/** Convolutions for the samples. */
function cases(random: Sampler): Case[] {
  const make = (x: number[], w: number[], params: Partial<ConvolutionParams> = {}): Case => {
    const axes = x.slice(2);
    const all: ConvolutionParams = {
      stride: axes.map(() => 1),
      dilation: axes.map(() => 1),
      padding: axes.map(() => [0, 0] as const),
      groups: 1,
      ...params,
    };
    return {
      x: random.real(...x),
      w: random.real(...w),
      y: [x[0]!, w[0]!, ...windowCounts(axes, w.slice(2), all)],
      params: all,
    };
  };
  return [
    make([2, 3, 4, 5], [2, 3, 3, 2]),
    make([1, 2, 5, 5], [3, 2, 3, 3], {
      padding: [
        [1, 1],
        [1, 1],
      ],
    }),
    make([2, 2, 6, 5], [2, 2, 3, 2], {
      stride: [2, 3],
      padding: [
        [1, 0],
        [0, 2],
      ],
    }),
    make([1, 4, 5, 4], [6, 2, 2, 2], { groups: 2 }),
    make([1, 3, 5, 5], [3, 1, 2, 2], {
      groups: 3,
      dilation: [2, 3],
      padding: [
        [0, 1],
        [1, 0],
      ],
    }),
    make([2, 2, 7], [3, 2, 3], { stride: [2], padding: [[1, 1]] }),
    make([2, 3, 3, 3], [4, 3, 1, 1]),
    make([1, 1, 3, 3], [1, 1, 1, 1], {
      padding: [
        [1, 1],
        [1, 1],
      ],
    }),
    make([0, 2, 4, 4], [2, 2, 2, 2]),
  ];
}
