/** Pooling: the largest element or the mean of each window. */
import { ShapeError } from "../errors.ts";
import {
  type Data,
  defineOp,
  expectType,
  floats,
  type OnnxGraph,
  type OnnxValue,
  type Op,
  type Sampler,
} from "../graph/op.ts";
import { type Shape, sameShape, showShape, showType, sizeOf, stridesOf, type TensorType } from "../graph/types.ts";
import {
  convolutionInput,
  eachProduct,
  type WindowParams,
  windowAttributes,
  windowCounts,
  zeros,
} from "./convolution.ts";
import { gather } from "./indexing.ts";
import { rangeNode } from "./movement.ts";
import { forNumbers, nanFlags } from "./nonfinite.ts";
import { blocksOf, inFloat64, longestRow, sliced } from "./sums.ts";

export interface PoolParams extends WindowParams {
  /** Size of the windows. */
  readonly kernel: Shape;
}

/** Calls `visit` for each element of each window, with its position in x and the position of the window in y. Padding is left out. */
function eachElement(x: Shape, y: Shape, params: PoolParams, visit: (x: number, y: number) => void): void {
  const [space, places] = [sizeOf(x.slice(2)), sizeOf(y.slice(2))];
  const one = (shape: Shape): Shape => [1, 1, ...shape];
  for (let image = 0; image < x[0]! * x[1]!; image++)
    eachProduct(one(x.slice(2)), one(params.kernel), one(y.slice(2)), { ...params, groups: 1 }, (atX, _, atY) =>
      visit(image * space + atX, image * places + atY),
    );
}

/**
 * Calls `visit` for each window, with the position in x of its first maximum, or of its first NaN if there is one, and the position of the
 * window in y.
 */
function eachMaximum(x: Data, y: Shape, params: PoolParams, visit: (x: number, y: number) => void): void {
  const best = new Map<number, number>();
  eachElement(x.shape, y, params, (atX, atY) => {
    const known = best.get(atY);
    const [value, most] = [x.values[atX]!, known === undefined ? undefined : x.values[known]!];
    if (most === undefined || value > most || (Number.isNaN(value) && !Number.isNaN(most))) best.set(atY, atX);
  });
  for (const [atY, atX] of best) visit(atX, atY);
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
  if (counts.some((count) => count < 1) || isTooWide || shape.includes(0, 2))
    throw new ShapeError(
      op,
      `windows ${showShape(params.kernel)} do not fit into ${showType(x)} with its padding`,
      "use smaller windows, and less padding than their size",
    );
  return [...shape.slice(0, 2), ...counts];
}

const poolAttributes = (params: PoolParams): Record<string, readonly number[]> => ({
  ...windowAttributes(params),
  kernel_shape: params.kernel,
});

/** Writes nodes for the maxima of windows: their values, and their positions (int32) in x as one long vector. */
function maxima(
  graph: OnnxGraph,
  x: OnnxValue,
  type: TensorType,
  { shape }: TensorType,
  params: PoolParams,
): readonly [values: OnnxValue, positions: OnnxValue] {
  const quick = (branch: OnnxGraph): OnnxValue[] => {
    const [values, positions] = branch.nodes("MaxPool", [x], 2, poolAttributes(params));
    return [values!, branch.cast(positions!, "int32")];
  };
  const types: TensorType[] = [
    { shape, dtype: type.dtype },
    { shape, dtype: "int32" },
  ];
  return forNumbers(graph, [x], type.dtype, types, quick, (branch) =>
    gatheredMaxima(branch, x, type, shape, params),
  ) as [OnnxValue, OnnxValue];
}

/**
 * As `maxima`, but with the elements of all windows gathered side by side. This is slow, but right for NaN and −∞, which MaxPool ignores.
 */
function gatheredMaxima(
  graph: OnnxGraph,
  x: OnnxValue,
  { shape, dtype }: TensorType,
  pooled: Shape,
  { kernel, stride, dilation, padding }: PoolParams,
): OnnxValue[] {
  const [images, space, places] = [sizeOf(shape.slice(0, 2)), shape.slice(2), pooled.slice(2)];
  const whole = space.map((size, i) => padding[i]![0] + size + padding[i]![1]);
  const integers = (dims: Shape, values: readonly number[]): OnnxValue => graph.constant("int64", dims, values);
  const starts = (size: Shape): OnnxValue => integers([1, sizeOf(places), 1], gridPositions(places, stride, size));
  const steps = (size: Shape): readonly number[] => gridPositions(kernel, dilation, size);
  /** Returns the elements of all windows: [images, places, elements of a window]. */
  const windows = (value: OnnxValue, count: number, filling: OnnxValue): OnnxValue => {
    const sides = [0, 1].flatMap((side) => [0, ...padding.map((widths) => widths[side]!)]);
    const planes = graph.node("Reshape", [value, graph.integers([count, ...space])]);
    const padded = graph.node("Pad", [planes, graph.integers(sides), filling]);
    const flat = graph.node("Reshape", [padded, graph.integers([count, sizeOf(whole)])]);
    const table = graph.node("Add", [starts(whole), integers([steps(whole).length], steps(whole))]);
    return graph.node("Gather", [flat, graph.node("Squeeze", [table, graph.integers([0])])], { axis: 1 });
  };
  const elements = windows(x, images, graph.constant(dtype, [], [Number.NEGATIVE_INFINITY]));
  const ones = graph.node("Expand", [graph.constant("float32", [], [1]), graph.integers(space)]);
  const isInside = graph.cast(windows(ones, 1, graph.constant("float32", [], [0])), "bool");
  const most = (of: OnnxValue): OnnxValue => graph.node("ReduceMax", [of, graph.integers([2])], { keepdims: 1 });
  const nan = graph.constant(dtype, [], [Number.NaN]);
  const largest = graph.node("Where", [graph.cast(most(nanFlags(graph, elements)), "bool"), nan, most(elements)]);
  const isLargest = graph.node("Or", [graph.node("IsNaN", [elements]), graph.node("Equal", [elements, largest])]);
  // Padding is −∞ too, but is never the maximum.
  const candidates = graph.cast(graph.node("And", [isLargest, isInside]), "int32");
  const first = graph.node("ArgMax", [candidates], { axis: 2, keepdims: 1 });
  // The grids count from the corner of the padding. Adding this number gives positions in x.
  const corner = stridesOf(space).reduce((at, width, i) => at - width * padding[i]![0], 0);
  const scalar = (value: number): OnnxValue => integers([], [value]);
  const begins = graph.node("Add", [
    graph.node("Mul", [rangeNode(graph, "int64", images), scalar(sizeOf(space))]),
    scalar(corner),
  ]);
  const inWindow = graph.node("Gather", [integers([steps(space).length], steps(space)), first]);
  const inImage = graph.node("Add", [starts(space), inWindow]);
  const positions = graph.node("Add", [graph.node("Reshape", [begins, graph.integers([images, 1, 1])]), inImage]);
  const shaped = (value: OnnxValue): OnnxValue => graph.node("Reshape", [value, graph.integers(pooled)]);
  return [shaped(largest), graph.cast(shaped(positions), "int32")];
}

/** Returns the positions of the points of a grid, in a space of the given size. */
function gridPositions(counts: Shape, steps: Shape, size: Shape): readonly number[] {
  const strides = stridesOf(size);
  return counts.reduce<readonly number[]>(
    (all, count, i) => all.flatMap((at) => Array.from({ length: count }, (_, n) => at + n * steps[i]! * strides[i]!)),
    [0],
  );
}

/** The largest element of each window, or NaN if the window holds one. Padding is never the largest. */
export const maxPool: Op<PoolParams> = defineOp<PoolParams>({
  name: "maxPool",
  dtypes: floats,
  shape: ([x], params) => poolShape("maxPool", x!, params),
  gradient: ([x], _y, dy, params) => [x!.apply(maxPoolInput, [dy], params)],
  onnx: (graph, [x], { params, inputTypes: [type], outputTypes: [y] }) =>
    sizeOf(y!.shape) === 0 ? zeros(graph, y!) : maxima(graph, x!, type!, y!, params)[0],
  evaluate: ([x], y, params) => eachMaximum(x!, y.shape, params, (atX, atY) => (y.values[atY] = x!.values[atX]!)),
  samples: poolSamples,
});

/** The gradient of `maxPool`: adds each element of dy at the first maximum of its window in x. Inputs: x and dy. */
export const maxPoolInput: Op<PoolParams> = defineOp<PoolParams>({
  name: "maxPoolInput",
  dtypes: floats,
  shape([x, dy], params) {
    const places = poolShape("maxPoolInput", x!, params);
    if (!sameShape(dy!.shape, places))
      throw new ShapeError(
        "maxPoolInput",
        `${showType(dy!)} for the windows ${showShape(places)} of ${showType(x!)}`,
        "its shape is that of the pooling's result",
      );
    return x!.shape;
  },
  // Almost everywhere, a small change of x does not move a window's maximum.
  gradient([x, dy], _dx, g, params) {
    const positions = x!.apply(maxPoolPositions, [], params).reshape([-1]);
    return [undefined, g.reshape([-1]).apply(gather, [positions], { axis: 0 }).reshape(dy!.shape)];
  },
  onnx(graph, [x, dy], { params, inputTypes, outputTypes: [dx] }) {
    if (sizeOf(inputTypes[1]!.shape) === 0) return zeros(graph, dx!);
    const flat = graph.integers([-1]);
    const [typeX, typeDy] = inputTypes as [TensorType, TensorType];
    const [, positions] = maxima(graph, x!, typeX, typeDy, params);
    const list = graph.node("Reshape", [positions, flat]);
    const laid = (nothing: OnnxValue, slopes: OnnxValue): OnnxValue =>
      graph.node("ScatterElements", [nothing, list, slopes], { axis: 0, reduction: "add" });
    const values = [zeros(graph, { ...dx!, shape: [sizeOf(dx!.shape)] }), graph.node("Reshape", [dy, flat])] as const;
    // The most windows that may have their maximum at the same element.
    const meeting = params.kernel.reduce((count, size, i) => count * Math.ceil(size / params.stride[i]!), 1);
    const sums = meeting > longestRow ? inFloat64(graph, dx!, laid, ...values) : laid(...values);
    return graph.node("Reshape", [sums, graph.integers(dx!.shape)]);
  },
  evaluate([x, dy], dx, params) {
    eachMaximum(x!, dy!.shape, params, (atX, atY) => (dx.values[atX]! += dy!.values[atY]!));
  },
  samples: (random) =>
    poolSamples(random).map(({ inputs: [x], params }) => ({
      inputs: [x!, random.real(...poolShape("maxPoolInput", x!, params))],
      params,
    })),
});

/** The position of the first maximum of each window in x as one long vector: int32. */
export const maxPoolPositions: Op<PoolParams> = defineOp<PoolParams>({
  name: "maxPoolPositions",
  shape: ([x], params) => poolShape("maxPoolPositions", x!, params),
  dtype([x]) {
    expectType("maxPoolPositions", x!, floats);
    return "int32";
  },
  gradient: () => [undefined],
  onnx: (graph, [x], { params, inputTypes: [type], outputTypes: [y] }) =>
    sizeOf(y!.shape) === 0 ? zeros(graph, y!) : maxima(graph, x!, type!, y!, params)[1],
  evaluate: ([x], y, params) => eachMaximum(x!, y.shape, params, (atX, atY) => (y.values[atY] = atX)),
  samples: poolSamples,
  limits: ([x]) => [0, sizeOf(x!.shape) - 1],
});

/** The mean of each window; padding counts as zeros. */
export const avgPool: Op<PoolParams> = defineOp<PoolParams>({
  name: "avgPool",
  dtypes: floats,
  onnxTypes: ["float32"],
  shape: ([x], params) => poolShape("avgPool", x!, params),
  gradient([x], _y, dy, { kernel, ...params }) {
    // The mean is a convolution of each channel with a kernel of 1 / size; this is the gradient of that convolution.
    const images = x!.shape[0]! * x!.shape[1]!;
    const weight = dy.scalar(1 / sizeOf(kernel)).expand([1, 1, ...kernel]);
    const spread = dy
      .reshape([images, 1, ...dy.shape.slice(2)])
      .apply(convolutionInput, [weight], { ...params, groups: 1, space: x!.shape.slice(2) });
    return [spread.reshape(x!.shape)];
  },
  onnx(graph, [x], { params, inputTypes: [type], outputTypes: [y] }) {
    if (sizeOf(y!.shape) === 0) return zeros(graph, y!);
    if (sizeOf(params.kernel) > longestRow) return averageNodes(graph, x!, type!, y!.shape, params);
    return graph.node("AveragePool", [x], { ...poolAttributes(params), count_include_pad: 1 });
  },
  evaluate([x], y, params) {
    const share = 1 / sizeOf(params.kernel);
    eachElement(x!.shape, y.shape, params, (atX, atY) => (y.values[atY]! += share * x!.values[atX]!));
  },
  samples: poolSamples,
});

/**
 * Writes nodes for the means of large windows. ONNX Runtime adds up the elements of a window one after the other. So the means are taken
 * along one axis after the other, in blocks.
 */
function averageNodes(
  graph: OnnxGraph,
  x: OnnxValue,
  { shape }: TensorType,
  places: Shape,
  { kernel, stride, dilation, padding }: PoolParams,
): OnnxValue {
  let sizes = shape;
  let y = x;
  kernel.forEach((size, i) => {
    const axis = i + 2;
    const [outer, length, inner] = [sizeOf(sizes.slice(0, axis)), sizes[axis]!, sizeOf(sizes.slice(axis + 1))];
    const [before, after] = padding[i]!;
    const reshaped = (value: OnnxValue, to: Shape): OnnxValue => graph.node("Reshape", [value, graph.integers(to)]);
    const pads = [0, before, 0, 0, after, 0];
    // Padded with three axes: with four, ONNX Runtime would merge the Pad into the pooling node, which allows less padding.
    const rows = reshaped(y, [outer, length, inner]);
    const padded =
      before + after ? graph.node("Pad", [rows, graph.integers(pads), graph.constant("float32", [], [0])]) : rows;
    const lines = reshaped(padded, [outer, 1, before + length + after, inner]);
    const windows = { size, stride: stride[i]!, dilation: dilation[i]! };
    sizes = sizes.with(axis, places[axis]!);
    y = reshaped(averagesAlong(graph, lines, places[axis]!, windows), sizes);
  });
  return y;
}

interface Windows {
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
}

/**
 * Writes nodes for the means of `count` windows along axis 2 of four, from the means of blocks of their elements, and of the elements left
 * over.
 */
function averagesAlong(graph: OnnxGraph, x: OnnxValue, count: number, { size, stride, dilation }: Windows): OnnxValue {
  const pooled = (windows: Windows): OnnxValue =>
    graph.node("AveragePool", [x], {
      kernel_shape: [windows.size, 1],
      strides: [windows.stride, 1],
      dilations: [windows.dilation, 1],
    });
  if (size <= longestRow) return sliced(graph, pooled({ size, stride, dilation }), 2, 0, count);
  const { block, count: blocks, rest } = blocksOf(size, longestRow);
  // Blocks begin where windows begin, or a whole number of blocks behind that.
  const step = greatestDivisor(stride, block * dilation);
  const main = averagesAlong(graph, pooled({ size: block, stride: step, dilation }), count, {
    size: blocks,
    stride: stride / step,
    dilation: (block * dilation) / step,
  });
  if (rest === 0) return main;
  const behind = sliced(graph, x, 2, block * blocks * dilation, Number.MAX_SAFE_INTEGER);
  const left = averagesAlong(graph, behind, count, { size: rest, stride, dilation });
  const share = (y: OnnxValue, elements: number): OnnxValue =>
    graph.node("Mul", [y, graph.constant("float32", [], [elements / size])]);
  return graph.node("Add", [share(main, block * blocks), share(left, rest)]);
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

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
    make([1, 1, 12, 9], [9, 8], { stride: [3, 1] }),
    make([1, 1, 60], [67], { stride: [20], padding: [[66, 12]] }),
    make([2, 1, 5, 6], [9, 10], {
      stride: [2, 3],
      padding: [
        [4, 8],
        [9, 1],
      ],
    }),
    make([1, 1, 1, 139], [1, 66], { stride: [1, 3], dilation: [1, 2] }),
    make([0, 2, 4, 4], [2, 2]),
  ];
}
