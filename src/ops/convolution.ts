/**
 * Convolution and pooling. A convolution is linear in its input and in its kernel, and so is the transpose of either map: each of the
 * three ops is the gradient of the other two, so that derivatives of any order need no more.
 */
import { ShapeError } from "../errors.ts";
import {
  commonType,
  type Data,
  defineOp,
  floats,
  type OnnxGraph,
  type OnnxValue,
  type Op,
  register,
  type Sampler,
} from "../graph/op.ts";
import { type Shape, showShape, showType, sizeOf, stridesOf, type TensorType } from "../graph/types.ts";
import { scatterElements } from "./indexing.ts";

/** Where windows lie, axis by axis of space. */
export interface WindowParams {
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** Zeros before and after. */
  readonly padding: readonly (readonly [before: number, after: number])[];
}

export interface ConvolutionParams extends WindowParams {
  /** Channels are cut into so many groups, each convolved by itself. */
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

/** Calls `visit` with the positions in x, w and y of each product that a convolution adds up. */
function eachProduct(
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

const onnxAttributes = ({ stride, dilation, padding, groups }: ConvolutionParams) => ({
  strides: stride,
  dilations: dilation,
  pads: [...padding.map(([before]) => before), ...padding.map(([, after]) => after)],
  group: groups,
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
  /** The input's axes of space. */
  readonly space: Shape;
}

/** The transpose of a convolution with respect to its input, from dy and w: its gradient, and the transposed convolution. */
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
    // With stride 1: a convolution with the kernel turned around and its channels exchanged, as fast as the forward one.
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

/** Padding of the flipped convolution; nothing when it would have to be negative. */
function flippedPadding(w: Shape, { dilation, padding }: ConvolutionInputParams): [number, number][] | undefined {
  const flipped = padding.map(([before, after], i): [number, number] => {
    const reach = dilation[i]! * (w[i + 2]! - 1);
    return [reach - before, reach - after];
  });
  return flipped.flat().every((width) => width >= 0) ? flipped : undefined;
}

/** [O, C/g, …] turned around in space, as [C, O/g, …]. */
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
  /** The kernel's axes of space. */
  readonly kernel: Shape;
}

/** The transpose of a convolution with respect to its kernel, from x and dy: its gradient. */
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
    // Every tap's view of x side by side: [batch, groups, channels · taps, places], then one product for each example and group.
    const columns = graph.node("Reshape", [
      tapColumns(graph, x!, typeX, places, params),
      graph.integers([batch, groups, channels * taps, sizeOf(places)]),
    ]);
    const slopes = graph.node("Reshape", [dy, graph.integers([batch, groups, outputs / groups, sizeOf(places)])]);
    const products = graph.target.contrib
      ? graph.node("FusedMatMul", [slopes, columns], { transB: 1 }, "com.microsoft")
      : graph.node("MatMul", [slopes, graph.node("Transpose", [columns], { perm: [0, 1, 3, 2] })]);
    const summed = graph.node("ReduceSum", [products, graph.integers([0])], { keepdims: 0 });
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

/** [batch, channels, taps, …places]: for each tap of the kernel the elements of x that it meets. */
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

function zeros(graph: OnnxGraph, { shape, dtype }: TensorType): OnnxValue {
  return graph.node("Expand", [graph.constant(dtype, [], [0]), graph.integers(shape)]);
}

interface Case {
  readonly x: Data;
  readonly w: Data;
  readonly y: number[];
  readonly params: ConvolutionParams;
}

/** Convolutions worth testing. */
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

export interface PoolParams extends WindowParams {
  /** Size of the windows. */
  readonly kernel: Shape;
}

/** Calls `visit` with the position in x and in y of each element of each window, padding left out. */
function eachElement(x: Shape, y: Shape, params: PoolParams, visit: (x: number, y: number) => void): void {
  const [space, places] = [sizeOf(x.slice(2)), sizeOf(y.slice(2))];
  const one = (shape: Shape): Shape => [1, 1, ...shape];
  for (let image = 0; image < x[0]! * x[1]!; image++)
    eachProduct(one(x.slice(2)), one(params.kernel), one(y.slice(2)), { ...params, groups: 1 }, (atX, _, atY) =>
      visit(image * space + atX, image * places + atY),
    );
}

function poolShape(op: string, x: TensorType, params: PoolParams): Shape {
  const { shape } = x;
  if (shape.length !== params.kernel.length + 2)
    throw new ShapeError(
      op,
      `windows ${showShape(params.kernel)} for ${showType(x)}`,
      "x is [batch, channels, …] with one axis of space for each axis of the windows",
    );
  const counts = windowCounts(shape.slice(2), params.kernel, params);
  const isTooWide = params.padding.some(
    ([before, after], i) => Math.max(before, after) >= params.kernel[i]! * params.dilation[i]!,
  );
  if (counts.some((count) => count < 1) || isTooWide)
    throw new ShapeError(
      op,
      `windows ${showShape(params.kernel)} do not fit into ${showType(x)} with its padding`,
      "use smaller windows, and less padding than their size",
    );
  return [...shape.slice(0, 2), ...counts];
}

const poolAttributes = ({ kernel, ...params }: PoolParams) => {
  const { group: _, ...attributes } = onnxAttributes({ ...params, groups: 1 });
  return { ...attributes, kernel_shape: kernel };
};

/** The largest element of each window, and its position in x as one long vector: int32. Padding is never the largest. */
export const maxPool: Op<PoolParams> = register<PoolParams>({
  name: "maxPool",
  type([x], params) {
    const shape = poolShape("maxPool", x!, params);
    const dtype = commonType("maxPool", [x!], floats);
    return [
      { shape, dtype },
      { shape, dtype: "int32" },
    ];
  },
  gradient({ inputs: [x], outputs: [, positions], gradients: [dy] }) {
    if (!dy) return [undefined];
    const zero = dy.scalar(0).expandTo([x!.size]);
    const laid = zero.apply(scatterElements, [positions!.reshape([-1]), dy.reshape([-1])], {
      axis: 0,
      reduction: "add",
    });
    return [laid.reshape(x!.shape)];
  },
  onnx(graph, { inputs: [x], params, outputTypes }) {
    if (sizeOf(outputTypes[0]!.shape) === 0) return outputTypes.map((type) => zeros(graph, type));
    const [y, positions] = graph.nodes("MaxPool", [x], 2, poolAttributes(params));
    return [y!, graph.cast(positions!, "int32")];
  },
  evaluate([x], [y, positions], params) {
    y!.values.fill(Number.NEGATIVE_INFINITY);
    eachElement(x!.shape, y!.shape, params, (atX, atY) => {
      if (!(x!.values[atX]! > y!.values[atY]!)) return;
      y!.values[atY] = x!.values[atX]!;
      positions!.values[atY] = atX;
    });
  },
  samples: poolSamples,
});

/** The mean of each window; padding counts as zeros. */
export const averagePool: Op<PoolParams> = defineOp<PoolParams>({
  name: "averagePool",
  dtypes: floats,
  onnxTypes: ["float32"],
  shape: ([x], params) => poolShape("averagePool", x!, params),
  gradient([x], _y, dy, { kernel, ...params }) {
    // Each channel by itself is convolved with windows of 1 / size.
    const images = x!.shape[0]! * x!.shape[1]!;
    const weight = dy.scalar(1 / sizeOf(kernel)).expandTo([1, 1, ...kernel]);
    const spread = dy
      .reshape([images, 1, ...dy.shape.slice(2)])
      .apply(convolutionInput, [weight], { ...params, groups: 1, space: x!.shape.slice(2) });
    return [spread.reshape(x!.shape)];
  },
  onnx: (graph, [x], { params, outputTypes }) =>
    sizeOf(outputTypes[0]!.shape) === 0
      ? zeros(graph, outputTypes[0]!)
      : graph.node("AveragePool", [x], { ...poolAttributes(params), count_include_pad: 1 }),
  evaluate([x], y, params) {
    const share = 1 / sizeOf(params.kernel);
    eachElement(x!.shape, y.shape, params, (atX, atY) => (y.values[atY]! += share * x!.values[atX]!));
  },
  samples: poolSamples,
});

function poolSamples(random: Sampler): { inputs: Data[]; params: PoolParams }[] {
  const make = (x: number[], kernel: number[], params: Partial<PoolParams> = {}) => ({
    inputs: [random.real(...x)],
    params: {
      kernel,
      stride: kernel,
      dilation: kernel.map(() => 1),
      padding: kernel.map(() => [0, 0] as const),
      ...params,
    },
  });
  return [
    make([2, 2, 4, 6], [2, 2]),
    make([1, 2, 5, 5], [3, 2], {
      stride: [1, 2],
      padding: [
        [1, 1],
        [0, 1],
      ],
    }),
    make([2, 1, 7], [2], { stride: [2] }),
    make([0, 2, 4, 4], [2, 2]),
  ];
}
