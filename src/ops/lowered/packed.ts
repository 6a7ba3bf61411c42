/**
 * Packed tensors, [batch / n, channels / c, …space, n, c]: the two innermost axes are tiles of n images by c channels. Convolutions are
 * fastest in this order of memory (see packed-convolution.ts), and elementwise ops work in any order.
 */
import { ShapeError } from "../../errors.ts";
import { type Data, defineOp, floats, type OnnxGraph, type OnnxValue, type Op } from "../../graph/op.ts";
import { type DType, type Shape, showShape, sizeOf, type TensorType } from "../../graph/types.ts";
import { zeros } from "../convolution.ts";

export interface PackParams {
  /** How many images lie side by side. */
  readonly images: number;
  /** How many channels lie side by side. */
  readonly channels: number;
}

/**
 * Returns the tiles for a tensor [batch, channels, …]: up to `block` images, and `block` channels if it divides them, else single channels.
 */
export function tilesFor([batch, channels]: Shape, block: number): PackParams {
  let images = block;
  while (batch! % images !== 0) images /= 2;
  return { images, channels: channels! % block === 0 ? block : 1 };
}

/** Returns the shape of a tensor packed in tiles. Throws ShapeError when the tiles do not divide it. */
export function packedShape(op: string, { shape }: TensorType, { images, channels }: PackParams): Shape {
  const [batch = 0, all = 0, ...space] = shape;
  if (space.length === 0 || batch % images !== 0 || all % channels !== 0)
    throw new ShapeError(
      op,
      `${showShape(shape)} in tiles of ${images} images and ${channels} channels`,
      "x is [batch, channels, …]; the tiles divide both",
    );
  return [batch / images, all / channels, ...space, images, channels];
}

function unpackedShape(packed: Shape): Shape {
  const [images, channels] = packed.slice(-2) as [number, number];
  const [groups, blocks, ...space] = packed.slice(0, -2) as [number, number, ...number[]];
  return [groups * images, blocks * channels, ...space];
}

/** Returns the type that a packed tensor has when it is unpacked. */
export const unpackedType = ({ shape, dtype }: TensorType): TensorType => ({ shape: unpackedShape(shape), dtype });

/** Returns the tiles of a packed tensor. */
export const tilesOf = (packed: Shape): PackParams => ({ images: packed.at(-2)!, channels: packed.at(-1)! });

/** Calls `visit` for each element, with its position in a packed tensor and in the same tensor unpacked. */
function eachPacked(packed: Shape, visit: (packed: number, plain: number) => void): void {
  const { images, channels } = tilesOf(packed);
  const blocks = packed[1]!;
  const space = sizeOf(packed.slice(2, -2));
  for (let at = 0; at < sizeOf(packed); at++) {
    const lane = at % channels;
    const image = Math.floor(at / channels) % images;
    const place = Math.floor(at / (channels * images)) % space;
    const block = Math.floor(at / (channels * images * space)) % blocks;
    const group = Math.floor(at / (channels * images * space * blocks));
    visit(at, ((group * images + image) * blocks * channels + block * channels + lane) * space + place);
  }
}

/** Returns the same values, unpacked. */
export function unpacked(x: Data): Data {
  const plain: Data = { ...unpackedType(x), values: new Float64Array(x.values.length) };
  eachPacked(x.shape, (at, to) => (plain.values[to] = x.values[at]!));
  return plain;
}

/** Evaluates an op on plain tensors and packs its result. */
export function evaluatePacked<P>(op: Op<P>, inputs: readonly Data[], y: Data, params: P): void {
  const plain: Data = { ...unpackedType(y), values: new Float64Array(y.values.length) };
  op.evaluate(inputs, [plain], params);
  eachPacked(y.shape, (at, from) => (y.values[at] = plain.values[from]!));
}

/** Packs a tensor [batch, channels, …space] in tiles. */
export const pack: Op<PackParams> = defineOp<PackParams>({
  name: "pack",
  dtypes: floats,
  shape: ([x], params) => packedShape("pack", x!, params),
  gradient: (_x, _y, dy) => [dy.apply(unpack, [], undefined)],
  onnx: (graph, [x], { outputTypes: [y] }) => packNodes(graph, x!, y!),
  evaluate: ([x], y) => eachPacked(y.shape, (at, from) => (y.values[at] = x!.values[from]!)),
  samples: (random) => [
    { inputs: [random.real(4, 6, 2, 3)], params: { images: 2, channels: 3 } },
    { inputs: [random.real(16, 32, 3)], params: { images: 16, channels: 16 } },
    { inputs: [random.real(8, 8, 2, 2)], params: { images: 4, channels: 8 } },
    { inputs: [random.real(16, 3, 2, 2)], params: { images: 16, channels: 1 } },
    { inputs: [random.real(0, 2, 2)], params: { images: 2, channels: 2 } },
  ],
});

/** Unpacks a packed tensor: the inverse of `pack`. */
export const unpack: Op<undefined> = defineOp<undefined>({
  name: "unpack",
  dtypes: floats,
  shape([x]) {
    if (x!.shape.length < 5)
      throw new ShapeError("unpack", showShape(x!.shape), "x is [batch / n, channels / c, …space, n, c]");
    return unpackedShape(x!.shape);
  },
  gradient: ([x], _y, dy) => [dy.apply(pack, [], tilesOf(x!.shape))],
  onnx: (graph, [x], { inputTypes: [type] }) => unpackNodes(graph, x!, type!),
  evaluate: ([x], y) => eachPacked(x!.shape, (at, to) => (y.values[to] = x!.values[at]!)),
  samples: (random) =>
    [
      random.real(2, 2, 2, 3, 2, 3),
      random.real(1, 2, 3, 16, 16),
      random.real(2, 1, 2, 2, 4, 8),
      random.real(1, 3, 2, 2, 16, 1),
      random.real(0, 1, 2, 2, 2),
    ].map((x) => ({ inputs: [x], params: undefined })),
});

/**
 * Transposes [a, lanes, rest] to [a, rest, lanes]. ONNX Runtime has a fast node for it if there are as many lanes as a block has channels.
 */
export function lanesLast(
  graph: OnnxGraph,
  x: OnnxValue,
  dtype: DType,
  [a, lanes, rest]: readonly [number, number, number],
): OnnxValue {
  if (lanes === 1 || rest === 1) return x;
  return dtype === "float32" && graph.target.block === lanes
    ? graph.node("ReorderInput", [reshaped(graph, x, [a, lanes, rest, 1])], {}, blocks)
    : graph.node("Transpose", [reshaped(graph, x, [a, lanes, rest])], { perm: [0, 2, 1] });
}

/** Transposes [a, rest, lanes] to [a, lanes, rest]. */
export function lanesFirst(
  graph: OnnxGraph,
  x: OnnxValue,
  dtype: DType,
  [a, rest, lanes]: readonly [number, number, number],
): OnnxValue {
  if (lanes === 1 || rest === 1) return x;
  return dtype === "float32" && graph.target.block === lanes
    ? graph.node("ReorderOutput", [reshaped(graph, x, [a, lanes, rest, 1])], { channels: lanes }, blocks)
    : graph.node("Transpose", [reshaped(graph, x, [a, rest, lanes])], { perm: [0, 2, 1] });
}

/** The domain of ONNX Runtime's ops on blocks of channels. */
export const blocks = "com.microsoft.nchwc";

export const reshaped = (graph: OnnxGraph, x: OnnxValue, shape: Shape): OnnxValue =>
  graph.node("Reshape", [x, graph.integers(shape)]);

/** Transposes x, of the given shape. Where only axes of size 1 would move, nothing is copied. */
export function moved(
  graph: OnnxGraph,
  x: OnnxValue,
  shape: Shape,
  perm: readonly number[],
  dtype: DType = "float32",
): OnnxValue {
  const long = perm.filter((axis) => shape[axis] !== 1);
  const isMoved = long.some((axis, i) => i > 0 && axis < long[i - 1]!);
  const order = perm.map((axis) => shape[axis]!);
  return graph.choose(Number(isMoved), { dtype, shape: order }, [
    (inner) => reshaped(inner, x, order),
    (inner) => inner.node("Transpose", [reshaped(inner, x, shape)], { perm }),
  ]);
}

/** Writes nodes that pack x into a tensor of the given type. */
export function packNodes(graph: OnnxGraph, x: OnnxValue, { shape, dtype }: TensorType): OnnxValue {
  if (sizeOf(shape) === 0) return zeros(graph, { shape, dtype });
  const { images, channels } = tilesOf(shape);
  const [groups, count] = shape as [number, number];
  const space = sizeOf(shape.slice(2, -2));
  const tall = lanesLast(graph, x, dtype, [groups * images * count, channels, space]);
  const wide =
    channels === 1
      ? lanesLast(graph, tall, dtype, [groups, images, count * space])
      : moved(graph, tall, [groups, images, count * space, channels], [0, 2, 1, 3], dtype);
  return reshaped(graph, wide, shape);
}

/** Writes nodes that unpack x, a packed tensor of the given type. */
export function unpackNodes(graph: OnnxGraph, x: OnnxValue, { shape, dtype }: TensorType): OnnxValue {
  const plain = unpackedShape(shape);
  if (sizeOf(shape) === 0) return zeros(graph, { shape: plain, dtype });
  const { images, channels } = tilesOf(shape);
  const [groups, count] = shape as [number, number];
  const space = sizeOf(shape.slice(2, -2));
  const tall =
    channels === 1
      ? lanesFirst(graph, x, dtype, [groups, count * space, images])
      : moved(graph, x, [groups, count * space, images, channels], [0, 2, 1, 3], dtype);
  return reshaped(graph, lanesFirst(graph, tall, dtype, [groups * images * count, space, channels]), plain);
}
