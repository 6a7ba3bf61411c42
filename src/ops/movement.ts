/** Ops that move, repeat or convert elements, without arithmetic. */
import { ShapeError } from "../errors.ts";
import {
  anyType,
  commonType,
  defineOp,
  expectDType,
  expectElement,
  type OnnxGraph,
  type OnnxValue,
  type Op,
  register,
} from "../graph/op.ts";
import { type DType, isFloat, type Shape, showShape, sizeOf, stridesOf } from "../graph/types.ts";
import { broadcastPositions, widens } from "./arithmetic.ts";

export interface ShapeParams {
  readonly shape: Shape;
}

export interface FullParams extends ShapeParams {
  readonly value: number;
  readonly dtype: DType;
}

/** A tensor of one repeated value. */
export const full: Op<FullParams> = defineOp<FullParams>({
  name: "full",
  shape: (_, { shape }) => shape,
  dtype(_, { value, dtype }) {
    expectDType("full", dtype);
    expectElement("full", value, dtype);
    return dtype;
  },
  gradient: () => [],
  onnx(graph, _, { params: { shape, value, dtype } }) {
    const scalar = graph.constant(dtype, [], [value]);
    return shape.length === 0 ? scalar : graph.node("Expand", [scalar, graph.integers(shape)]);
  },
  kernel: (write, _, { value }) => write.constant(value),
  evaluate: (_, y, { value }) => y.values.fill(value),
  limits: (_, { value }) => [value, value],
  samples: () => [
    { inputs: [], params: { shape: [2, 3], value: 0.5, dtype: "float32" } },
    { inputs: [], params: { shape: [], value: -2, dtype: "int32" } },
    { inputs: [], params: { shape: [0, 2], value: 1, dtype: "float64" } },
    { inputs: [], params: { shape: [3], value: 1, dtype: "bool" } },
  ],
});

/** Writes the numbers 0, 1, 2, …, up to below `length`. A constant with all of them would be another one for each size. */
export const rangeNode = (graph: OnnxGraph, dtype: "int32" | "int64", length: number): OnnxValue =>
  graph.node(
    "Range",
    [0, length, 1].map((value) => graph.constant(dtype, [], [value])),
  );

/** 0, 1, 2, … as int32. */
export const arange: Op<{ readonly length: number }> = defineOp<{ readonly length: number }>({
  name: "arange",
  shape: (_, { length }) => [length],
  dtype: () => "int32",
  gradient: () => [],
  onnx: (graph, _, { params: { length } }) => rangeNode(graph, "int32", length),
  evaluate: (_, y) => y.values.forEach((_value, i) => (y.values[i] = i)),
  limits: (_, { length }) => [0, length - 1],
  samples: () => [
    { inputs: [], params: { length: 5 } },
    { inputs: [], params: { length: 0 } },
  ],
});

/** Replaces the one axis that may be −1 by its size. Throws ShapeError when the sizes do not multiply to the same number. */
export function resolveReshape(from: Shape, to: Shape): number[] {
  const size = sizeOf(from);
  const open = to.filter((axis) => axis === -1).length;
  const known = to.reduce((product, axis) => (axis === -1 ? product : product * axis), 1);
  const fits = open === 0 ? known === size : open === 1 && known > 0 && size % known === 0;
  if (!fits || to.some((axis) => !Number.isInteger(axis) || axis < -1))
    throw new ShapeError(
      "reshape",
      `${showShape(from)} has ${size} elements, ${showShape(to)} ${open ? `a multiple of ${known}` : `has ${known}`}`,
      open > 1 ? "leave at most one axis as −1" : "choose sizes with the same product; one axis may be −1",
    );
  return to.map((axis) => (axis === -1 ? size / known : axis));
}

export const reshape: Op<ShapeParams> = defineOp<ShapeParams>({
  name: "reshape",
  rearranges: true,
  dtypes: anyType,
  shape: ([x], { shape }) => resolveReshape(x!.shape, shape),
  gradient: ([x], _y, dy) => [dy.reshape(x!.shape)],
  onnx: (graph, [x], { params }) => graph.node("Reshape", [x, graph.integers(params.shape)], { allowzero: 1 }),
  kernel: (_, [x]) => x,
  evaluate: ([x], y) => y.values.set(x!.values),
  samples: (random) => [
    { inputs: [random.real(2, 3)], params: { shape: [3, 2] } },
    { inputs: [random.real(1)], params: { shape: [] } },
    { inputs: [random.real(0, 3)], params: { shape: [2, 0] } },
    { inputs: [random.booleans(4)], params: { shape: [2, 2] } },
  ],
});

export interface TransposeParams {
  /** For each axis of the result, the axis of the input that it comes from. */
  readonly permutation: readonly number[];
}

export const transpose: Op<TransposeParams> = defineOp<TransposeParams>({
  name: "transpose",
  rearranges: true,
  dtypes: anyType,
  shape([x], { permutation }) {
    const rank = x!.shape.length;
    if (permutation.length !== rank || new Set(permutation).size !== rank)
      throw new ShapeError(
        "transpose",
        `(${permutation.join(", ")}) does not name each axis of ${showShape(x!.shape)} once`,
        `give ${rank} different axes`,
      );
    return permutation.map((axis) => x!.shape[axis]!);
  },
  gradient: (_, _y, dy, { permutation }) => [dy.transpose(...inverse(permutation))],
  onnx: (graph, [x], { params }) => graph.node("Transpose", [x], { perm: params.permutation }),
  evaluate([x], y, { permutation }) {
    const from = stridesOf(x!.shape);
    const strides = permutation.map((axis) => from[axis]!);
    const to = stridesOf(y.shape);
    for (let i = 0; i < y.values.length; i++)
      y.values[i] =
        x!.values[strides.reduce((at, stride, axis) => at + (Math.floor(i / to[axis]!) % y.shape[axis]!) * stride, 0)]!;
  },
  samples: (random) => [
    { inputs: [random.real(2, 3)], params: { permutation: [1, 0] } },
    { inputs: [random.real(2, 3, 4)], params: { permutation: [1, 2, 0] } },
    { inputs: [random.real()], params: { permutation: [] } },
    { inputs: [random.real(0, 2)], params: { permutation: [1, 0] } },
  ],
});

/** Returns the permutation that undoes the given one. */
export function inverse(permutation: readonly number[]): number[] {
  return [...permutation.keys()].map((axis) => permutation.indexOf(axis));
}

/** The sizes that Expand is given: 1 for each axis that keeps its size, so that only axes that are repeated have their size in the model. */
const repeatsOf = (from: Shape, to: Shape): number[] =>
  to.map((size, axis) => (size === from[axis - to.length + from.length] ? 1 : size));

export const expand: Op<ShapeParams> = defineOp<ShapeParams>({
  name: "expand",
  rearranges: true,
  dtypes: anyType,
  shape([x], { shape }) {
    if (!widens(x!.shape, shape))
      throw new ShapeError(
        "expand",
        `${showShape(x!.shape)} cannot be repeated to ${showShape(shape)}`,
        "each axis, counted from the last, must be equal or 1",
      );
    return shape;
  },
  gradient: ([x], _y, dy) => [dy.sumTo(x!.shape)],
  // ONNX Runtime's Expand keeps an axis of size 1 where size 0 is asked for, so an empty result is written as a constant.
  onnx: (graph, [x], { params: { shape }, inputTypes }) =>
    sizeOf(shape) === 0
      ? graph.constant(inputTypes[0]!.dtype, shape, [])
      : graph.node("Expand", [x, graph.integers(repeatsOf(inputTypes[0]!.shape, shape))]),
  kernel: (_, [x]) => x,
  evaluate([x], y) {
    const at = broadcastPositions(x!.shape, y.shape);
    for (let i = 0; i < y.values.length; i++) y.values[i] = x!.values[at(i)]!;
  },
  samples: (random) => [
    { inputs: [random.real(3)], params: { shape: [2, 3] } },
    { inputs: [random.real(2, 1)], params: { shape: [4, 2, 3] } },
    { inputs: [random.real()], params: { shape: [0] } },
    { inputs: [random.real(3, 1)], params: { shape: [3, 0] } },
  ],
});

export interface SliceParams {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
  readonly steps: readonly number[];
}

/** Turns ranges as users write them into starts, sizes and steps for every axis, clamped as NumPy does. */
export function resolveSlice(
  shape: Shape,
  ranges: readonly (null | readonly [start: number, stop?: number | undefined, step?: number])[],
): SliceParams {
  if (ranges.length > shape.length)
    throw new ShapeError(
      "slice",
      `${ranges.length} ranges for ${showShape(shape)}`,
      `give at most ${shape.length}, one for each axis`,
    );
  const starts: number[] = [];
  const sizes: number[] = [];
  const steps: number[] = [];
  shape.forEach((size, axis) => {
    const [first, last, step = 1] = ranges[axis] ?? [0];
    if (![first, last ?? 0, step].every(Number.isInteger) || step === 0)
      throw new ShapeError(
        "slice",
        `[${first}, ${last ?? "end"}, ${step}] on axis ${axis}`,
        "use integers and a step that is not 0",
      );
    // With a negative step, a slice starts at the last position at most, and stops just before position 0 at most. That stop is −1 here;
    // users cannot write it, since −1 means the last position to them.
    const [low, high] = step > 0 ? [0, size] : [-1, size - 1];
    const clamp = (at: number): number => Math.min(high, Math.max(low, at < 0 ? at + size : at));
    const start = clamp(first);
    const stop = last === undefined ? (step > 0 ? high : low) : clamp(last);
    const count = Math.max(0, Math.ceil((stop - start) / step));
    starts.push(count === 0 ? 0 : start);
    sizes.push(count);
    steps.push(step);
  });
  return { starts, sizes, steps };
}

/** The stops of a slice: just behind the last element, or, for a negative step, just before it. */
const stopsOf = ({ starts, sizes, steps }: SliceParams): number[] =>
  starts.map((start, axis) =>
    sizes[axis] === 0 ? start : start + (sizes[axis]! - 1) * steps[axis]! + Math.sign(steps[axis]!),
  );

/** The stops that mean "to the end of the axis, inclusive" in ONNX, upwards and downwards, whatever the axis's size is. */
const [upToLast, downToFirst] = [2 ** 31 - 1, -(2 ** 31)] as const;

/**
 * Adds a Slice. It names only the axes that are cut or turned, and a range that begins or ends where the axis does is written without the
 * axis's size: so the model holds no size that it does not need.
 */
function sliceNode(graph: OnnxGraph, x: OnnxValue, shape: Shape, params: SliceParams): OnnxValue {
  const { starts, sizes, steps } = params;
  if (shape.length === 0) return graph.node("Identity", [x]);
  const cut = [...shape.keys()].filter((axis) => sizes[axis] !== shape[axis] || steps[axis] !== 1);
  // A slice that cuts nothing has one axis too: then it differs only in numbers from a slice that cuts.
  const axes = cut.length > 0 ? cut : [0];
  const stops = stopsOf(params);
  const startAt = (axis: number): number =>
    sizes[axis]! > 0 && steps[axis]! < 0 && starts[axis] === shape[axis]! - 1 ? -1 : starts[axis]!;
  const stopAt = (axis: number): number => {
    const next = starts[axis]! + sizes[axis]! * steps[axis]!;
    if (sizes[axis] === 0) return stops[axis]!;
    if (steps[axis]! > 0) return next >= shape[axis]! ? upToLast : stops[axis]!;
    return next < 0 ? downToFirst : stops[axis]!;
  };
  return graph.node("Slice", [
    x,
    graph.integers(axes.map(startAt)),
    graph.integers(axes.map(stopAt)),
    graph.integers(axes),
    graph.integers(axes.map((axis) => steps[axis]!)),
  ]);
}

/** Returns a function from each position in a slice to the position of the same element in the whole tensor. */
function slicePositions(whole: Shape, part: Shape, { starts, steps }: SliceParams): (position: number) => number {
  const from = stridesOf(whole);
  const to = stridesOf(part);
  return (i) =>
    part.reduce(
      (at, size, axis) => at + (starts[axis]! + (Math.floor(i / to[axis]!) % size) * steps[axis]!) * from[axis]!,
      0,
    );
}

export const slice: Op<SliceParams> = defineOp<SliceParams>({
  name: "slice",
  dtypes: anyType,
  shape: (_, { sizes }) => sizes,
  gradient: ([x], _y, dy, params) => [dy.apply(unslice, [], { ...params, shape: x!.shape })],
  onnx: (graph, [x], { params, inputTypes }) => sliceNode(graph, x!, inputTypes[0]!.shape, params),
  evaluate([x], y, params) {
    const at = slicePositions(x!.shape, y.shape, params);
    for (let i = 0; i < y.values.length; i++) y.values[i] = x!.values[at(i)]!;
  },
  samples: (random) => [
    { inputs: [random.real(4, 5)], params: { starts: [1, 0], sizes: [2, 5], steps: [1, 1] } },
    { inputs: [random.real(4, 5)], params: { starts: [0, 1], sizes: [2, 2], steps: [3, 2] } },
    { inputs: [random.real(4, 5)], params: { starts: [3, 4], sizes: [4, 2], steps: [-1, -2] } },
    { inputs: [random.real(3)], params: { starts: [1], sizes: [0], steps: [1] } },
  ],
});

export interface UnsliceParams extends SliceParams, ShapeParams {
  /** The value of all other elements. Default 0. */
  readonly fill?: number;
}

/**
 * Puts a tensor at the positions from which `slice` would take it, and `fill` everywhere else. With a fill of 0, this is the transpose of
 * `slice`.
 */
export const unslice: Op<UnsliceParams> = defineOp<UnsliceParams>({
  name: "unslice",
  shape: (_, { shape }) => shape,
  dtype([x], { fill = 0 }) {
    expectElement("unslice", fill, x!.dtype);
    return x!.dtype;
  },
  gradient: (_, _y, dy, params) => [
    dy.apply(slice, [], { starts: params.starts, sizes: params.sizes, steps: params.steps }),
  ],
  onnx(graph, [x], { params, inputTypes }) {
    const { shape, fill = 0 } = params;
    const { dtype, shape: sizes } = inputTypes[0]!;
    if (shape.length === 0) return graph.node("Identity", [x]);
    const rest = graph.constant(dtype, [], [fill]);
    const pad = (value: OnnxValue, before: readonly number[], after: readonly number[]): OnnxValue =>
      graph.node("Pad", [value, graph.integers([...before, ...after]), rest]);
    // A negative step along an axis is a positive step with the tensor reversed along that axis.
    const turned = params.steps.flatMap((step, axis) => (step < 0 ? [axis] : []));
    const forward = turned.length === 0 ? x! : reversed(graph, x!, sizes, turned);
    const steps = params.steps.map(Math.abs);
    const starts = params.starts.map((start, axis) =>
      params.steps[axis]! < 0 && sizes[axis]! > 0 ? start + (sizes[axis]! - 1) * params.steps[axis]! : start,
    );
    const stops = stopsOf({ starts, sizes, steps });
    const after = shape.map((size, axis) => size - stops[axis]!);
    if (steps.every((step) => step === 1)) return pad(forward, starts, after);
    // For a step of s, each element becomes a block of s elements: itself and s − 1 times the fill. The last block is cut to one element.
    const apart = sizes.flatMap((size) => [size, 1]);
    const spread = graph.node("Reshape", [forward, graph.integers(apart)], { allowzero: 1 });
    const blocks = pad(
      spread,
      apart.map(() => 0),
      steps.flatMap((step) => [0, step - 1]),
    );
    const joined = sizes.map((size, axis) => size * steps[axis]!);
    const long = graph.node("Reshape", [blocks, graph.integers(joined)], { allowzero: 1 });
    const ends = stops.map((stop, axis) => stop - starts[axis]!);
    const cut = sliceNode(graph, long, joined, { starts: ends.map(() => 0), sizes: ends, steps: ends.map(() => 1) });
    return pad(cut, starts, after);
  },
  evaluate([x], y, params) {
    const at = slicePositions(y.shape, x!.shape, params);
    y.values.fill(params.fill ?? 0);
    for (let i = 0; i < x!.values.length; i++) y.values[at(i)] = x!.values[i]!;
  },
  samples: (random) => [
    { inputs: [random.real(2, 5)], params: { starts: [1, 0], sizes: [2, 5], steps: [1, 1], shape: [4, 5] } },
    { inputs: [random.real(2, 2)], params: { starts: [0, 1], sizes: [2, 2], steps: [3, 2], shape: [4, 5] } },
    { inputs: [random.real(0)], params: { starts: [1], sizes: [0], steps: [1], shape: [3] } },
    { inputs: [random.real(2, 2)], params: { starts: [3, 4], sizes: [2, 2], steps: [-1, -3], shape: [4, 5], fill: 2 } },
  ],
});

function reversed(graph: OnnxGraph, x: OnnxValue, sizes: Shape, axes: readonly number[]): OnnxValue {
  const isTurned = sizes.map((_, axis) => axes.includes(axis));
  return sliceNode(graph, x, sizes, {
    starts: sizes.map((size, axis) => (isTurned[axis] ? Math.max(0, size - 1) : 0)),
    sizes,
    steps: isTurned.map((turned) => (turned ? -1 : 1)),
  });
}

export const concat: Op<{ readonly axis: number }> = defineOp<{ readonly axis: number }>({
  name: "concat",
  dtypes: anyType,
  shape(inputs, { axis }) {
    const [first] = inputs;
    const odd = inputs.find(
      ({ shape }) =>
        shape.length !== first!.shape.length || shape.some((s, at) => at !== axis && s !== first!.shape[at]),
    );
    if (odd)
      throw new ShapeError(
        "concat",
        `${showShape(first!.shape)} and ${showShape(odd.shape)} differ on another axis than ${axis}`,
        "make all other axes equal",
      );
    return first!.shape.map((size, at) =>
      at === axis ? inputs.reduce((sum, { shape }) => sum + shape[at]!, 0) : size,
    );
  },
  gradient: (inputs, _y, dy, { axis }) =>
    dy.split(
      inputs.map(({ shape }) => shape[axis]!),
      axis,
    ),
  onnx: (graph, inputs, { params }) => graph.node("Concat", inputs, { axis: params.axis }),
  evaluate(inputs, y, { axis }) {
    let start = 0;
    for (const x of inputs) {
      const at = partPositions(y.shape, x.shape, axis, start);
      for (let i = 0; i < x.values.length; i++) y.values[at(i)] = x.values[i]!;
      start += x.shape[axis]!;
    }
  },
  samples: (random) => [
    { inputs: [random.real(2, 3), random.real(2, 1)], params: { axis: 1 } },
    { inputs: [random.real(1, 2), random.real(0, 2), random.real(3, 2)], params: { axis: 0 } },
  ],
});

function partPositions(whole: Shape, part: Shape, axis: number, start: number): (position: number) => number {
  const starts = whole.map((_, at) => (at === axis ? start : 0));
  return slicePositions(whole, part, { starts, sizes: part, steps: whole.map(() => 1) });
}

export interface SplitParams {
  readonly sizes: readonly number[];
  readonly axis: number;
}

/** Splits a tensor into consecutive parts along an axis: one output for each size. */
export const split: Op<SplitParams> = register<SplitParams>({
  name: "split",
  type([x], { sizes, axis }) {
    const dtype = commonType("split", [x!], anyType);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (total !== x!.shape[axis])
      throw new ShapeError(
        "split",
        `parts of ${showShape(sizes)} make ${total}, axis ${axis} of ${showShape(x!.shape)} has ${x!.shape[axis]}`,
        "choose sizes that add up to the axis",
      );
    return sizes.map((size) => ({ shape: x!.shape.map((whole, at) => (at === axis ? size : whole)), dtype }));
  },
  gradient({ outputs, gradients, params }) {
    const known = gradients.find((g) => g !== undefined)!;
    const all = gradients.map((g, i) => g ?? known.scalar(0).expand(outputs[i]!.shape));
    return [all[0]!.apply(concat, all.slice(1), { axis: params.axis })];
  },
  onnx: (graph, { inputs, params: { sizes, axis } }) =>
    graph.nodes("Split", [inputs[0], graph.integers(sizes)], sizes.length, { axis }),
  evaluate([x], outputs, { axis }) {
    let start = 0;
    for (const y of outputs) {
      const at = partPositions(x!.shape, y.shape, axis, start);
      for (let i = 0; i < y.values.length; i++) y.values[i] = x!.values[at(i)]!;
      start += y.shape[axis]!;
    }
  },
  samples: (random) => [
    { inputs: [random.real(2, 5)], params: { sizes: [2, 3], axis: 1 } },
    { inputs: [random.real(3, 2)], params: { sizes: [1, 0, 2], axis: 0 } },
  ],
});

/** Drops the fraction. Returns −2³¹ for NaN and for numbers outside of int32. */
function toInt32(value: number): number {
  const whole = Math.trunc(value);
  return whole >= -(2 ** 31) && whole < 2 ** 31 ? whole : -(2 ** 31);
}

const conversions: Readonly<Record<DType, (value: number) => number>> = {
  float32: Math.fround,
  float64: (value) => value,
  int32: toInt32,
  bool: (value) => Number(value !== 0),
};

export const cast: Op<{ readonly dtype: DType }> = defineOp<{ readonly dtype: DType }>({
  name: "cast",
  dtypes: anyType,
  shape: ([x]) => x!.shape,
  dtype(_, { dtype }) {
    expectDType("cast", dtype);
    return dtype;
  },
  gradient: ([x], y, dy) => [
    // A small change of x makes a small change of y only if both are floats; else there is no gradient.
    isFloat(x!.dtype) && isFloat(y.dtype) ? dy.cast(x!.dtype) : undefined,
  ],
  onnx(graph, [x], { params, inputTypes: [from] }) {
    if (params.dtype !== "int32" || !isFloat(from!.dtype)) return graph.cast(x!, params.dtype);
    // Processors differ in what they make of numbers outside of int32: these become −2³¹ here.
    const [low, high] = [-(2 ** 31), from!.dtype === "float32" ? 2 ** 31 - 128 : 2 ** 31 - 1].map((bound) =>
      graph.constant(from!.dtype, [], [bound]),
    );
    const whole =
      from!.dtype === "float32"
        ? x!
        : graph.node("Mul", [graph.node("Sign", [x]), graph.node("Floor", [graph.node("Abs", [x])])]);
    const isInRange = graph.node("Equal", [whole, graph.node("Clip", [whole, low, high])]);
    return graph.cast(graph.node("Where", [isInRange, whole, low]), "int32");
  },
  kernel(write, [x], { dtype }, [from]) {
    if (dtype !== "float32" || from!.dtype !== "bool") return undefined;
    return write.apply("select", x!, write.constant(1), write.constant(0));
  },
  evaluate([x], y, { dtype }) {
    x!.values.forEach((value, i) => (y.values[i] = conversions[dtype](value)));
  },
  samples: (random) => [
    { inputs: [random.real(2, 3)], params: { dtype: "int32" } },
    { inputs: [random.real(2, 3)], params: { dtype: "bool" } },
    { inputs: [random.real(2, 3)], params: { dtype: "float64" } },
    { inputs: [random.booleans(2, 3)], params: { dtype: "float32" } },
    { inputs: [random.integers(5, 3)], params: { dtype: "float32" } },
  ],
});

/** Returns the same values, but no gradient flows through them. */
export const detach: Op<undefined> = defineOp<undefined>({
  name: "detach",
  rearranges: true,
  endsGradient: true,
  dtypes: anyType,
  shape: ([x]) => x!.shape,
  gradient: () => [undefined],
  onnx: (graph, [x]) => graph.node("Identity", [x]),
  evaluate: ([x], y) => y.values.set(x!.values),
  samples: (random) => [{ inputs: [random.real(2, 3)], params: undefined }],
});
