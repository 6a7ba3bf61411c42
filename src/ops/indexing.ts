/** Ops that get positions as a tensor of indices: embedding, picking, one-hot, and the scatters that are their gradients; and topK. */
import { DTypeError, ShapeError } from "../errors.ts";
import {
  anyType,
  commonType,
  type Data,
  defineOp,
  expectType,
  type IndexWords,
  numeric,
  type OnnxGraph,
  type OnnxValue,
  type Op,
  register,
} from "../graph/op.ts";
import {
  type DType,
  isFloat,
  type Shape,
  showShape,
  showType,
  sizeOf,
  stridesOf,
  type TensorType,
} from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { productNodes } from "./matmul.ts";
import { rangeNode } from "./movement.ts";
import { forNumbers, nanFlags } from "./nonfinite.ts";
import { choice, inFloat64, longestRow } from "./sums.ts";

function expectIndices(op: string, indices: TensorType): void {
  if (indices.dtype !== "int32")
    throw new DTypeError(
      op,
      `indices must be int32, and got ${showType(indices)}`,
      'make them with tensor(values, "int32"), or .cast("int32")',
    );
}

/** Returns [outer, axis, inner]: the product of the sizes before an axis, the size of the axis, and the product of the sizes behind it. */
function around(shape: Shape, axis: number): readonly [number, number, number] {
  return [sizeOf(shape.slice(0, axis)), shape[axis]!, sizeOf(shape.slice(axis + 1))];
}

/** Calls `visit` for every gathered element, with its position in the table and its position in the gathered tensor. */
function eachGathered(
  table: Shape,
  indices: Data,
  axis: number,
  visit: (inTable: number, gathered: number) => void,
): void {
  const [outer, size, inner] = around(table, axis);
  const count = indices.values.length;
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < count; j++)
      for (let i = 0; i < inner; i++) visit((o * size + indices.values[j]!) * inner + i, (o * count + j) * inner + i);
}

export interface TakeParams {
  readonly axis: number;
  /** The words of the message about an index that is out of range. */
  readonly words?: IndexWords;
}

/** Takes the entries of a table along an axis at the given indices. In the result, the axes of the indices replace that axis. */
export const take: Op<TakeParams> = defineOp<TakeParams>({
  name: "take",
  shape: ([x, indices], { axis }) => [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)],
  dtype([x, indices]) {
    expectIndices("take", indices!);
    return x!.dtype;
  },
  gradient: ([x, indices], _y, dy, { axis }) => [
    dy.apply(scatterAdd, [indices!], { axis, size: x!.shape[axis]! }),
    undefined,
  ],
  onnx: (graph, [x, indices], { params }) => graph.node("Gather", [x, indices], { axis: params.axis }),
  evaluate([x, indices], y, { axis }) {
    eachGathered(x!.shape, indices!, axis, (from, to) => (y.values[to] = x!.values[from]!));
  },
  samples: (random) => [
    { inputs: [random.real(5, 3), random.integers(5, 2, 4)], params: { axis: 0 } },
    { inputs: [random.real(2, 4, 3), random.integers(4, 6)], params: { axis: 1 } },
    { inputs: [random.real(5, 3), random.integers(5)], params: { axis: 0 } },
    { inputs: [random.real(5, 3), random.integers(5, 0)], params: { axis: 0 } },
  ],
  indices: ([x], { axis, words }) => ({ input: 1, below: x!.shape[axis]!, words }),
});

/** Up to this many rows, a product with one-hot vectors is faster than scattering. */
const smallTable = 192;

/** The numbers of parts into which updates may be cut, to be added one after the other. */
const partCounts = [1, 2, 4, 8, 16, 32, 64, 128, 256] as const;

/** Splits the rows of a tensor into parts. */
function inParts(graph: OnnxGraph, whole: OnnxValue, rows: number, parts: number): readonly OnnxValue[] {
  if (parts === 1) return [whole];
  const ends = Array.from({ length: parts }, (_, i) => Math.floor(((i + 1) * rows) / parts));
  const sizes = ends.map((end, i) => end - (ends[i - 1] ?? 0));
  return graph.nodes("Split", [whole, graph.integers(sizes)], parts, { axis: 0 });
}

/** Vectors to add to rows of tables: `outer` tables [size, inner], and `count` vectors for each table. */
interface Updates {
  readonly dy: OnnxValue;
  readonly indices: OnnxValue;
  readonly count: number;
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
  readonly dtype: DType;
}

/** Whether so many updates may be added to one row that a float32 sum would lose digits. */
const mayMeet = (graph: OnnxGraph, { dtype, count }: Updates): boolean =>
  dtype === "float32" && (count > longestRow || graph.open !== undefined);

/** The type of the tables, as [size, inner]. */
const tableOf = ({ outer, size, inner, dtype }: Updates): TensorType => ({ shape: [outer * size, inner], dtype });

/** Adds rows by ScatterND, in `parts` so small that ONNX Runtime works on each with one thread. */
function addedRowByRow(graph: OnnxGraph, updates: Updates, parts: number): OnnxValue {
  const { count, size, inner, dtype } = updates;
  /** Adds to a table of zeros. */
  const added = (to: OnnxGraph, table: TensorType, at: OnnxValue, rows: OnnxValue): OnnxValue => {
    const listed = to.node("Reshape", [at, to.integers([count, 1])]);
    const cut = [listed, rows].map((whole) => inParts(to, whole, count, parts));
    return cut[0]!.reduce(
      (sums, some, i) => to.node("ScatterND", [sums, some, cut[1]![i]], { reduction: "add" }),
      zeros(to, table),
    );
  };
  const places = (to: OnnxGraph): OnnxValue => to.cast(updates.indices, "int64");
  const rows = (to: OnnxGraph): OnnxValue => to.node("Reshape", [updates.dy, to.integers([count, inner])]);
  const inWide = (to: OnnxGraph, length: number, at: OnnxValue): OnnxValue =>
    inFloat64(to, { dtype }, (wide) => added(to, { shape: [length, inner], dtype: "float64" }, at, wide), rows(to));
  const table = tableOf(updates);
  return choice(graph, !mayMeet(graph, updates) ? 0 : size <= 2 * count ? 1 : 2, table, [
    (to) => added(to, table, places(to), rows(to)),
    (to) => inWide(to, size, places(to)),
    // A large table in float64 would take much memory. So the updates of equal indices are added up first, in a table of `count` rows.
    (to) => {
      const at = places(to);
      return added(to, table, at, inWide(to, count, meetings(to, at, count, size)));
    },
  ]);
}

/**
 * Returns, for each of `count` indices, the position of the last index that is equal. All updates with equal indices are added up at that
 * position, and the other positions get none.
 */
function meetings(graph: OnnxGraph, indices: OnnxValue, count: number, size: number): OnnxValue {
  const list = graph.node("Reshape", [indices, graph.integers([count])]);
  const none = graph.node("Expand", [graph.constant("int64", [], [0]), graph.integers([size])]);
  const positions = rangeNode(graph, "int64", count);
  const last = graph.node("ScatterElements", [none, list, positions], { axis: 0, reduction: "max" });
  return graph.node("Gather", [last, list]);
}

/**
 * Adds rows to a small table, as a product of one-hot vectors with the rows. In such a product a single NaN or infinity would reach every
 * row of the table, so updates that hold any are added element by element.
 */
function addedAsProduct(graph: OnnxGraph, updates: Updates): OnnxValue {
  const { dy, indices, count, size, inner, dtype } = updates;
  const rows = graph.node("Reshape", [dy, graph.integers([count, inner])]);
  const list = graph.node("Reshape", [indices, graph.integers([count])]);
  const types = [size, inner].map((width): TensorType => ({ shape: [count, width], dtype }));
  const params = { transposeA: true, transposeB: false, alpha: 1 };
  const table: TensorType = { shape: [size, inner], dtype };
  const quick = (branch: OnnxGraph): OnnxValue[] => [
    productNodes(branch, [floatOneHots(branch, list, size, -1), rows], types, params, longestRow),
  ];
  const careful = (branch: OnnxGraph): OnnxValue[] => [addedElements(branch, updates)];
  return forNumbers(graph, [dy], dtype, [table], quick, careful)[0]!;
}

/**
 * Adds element by element. On more than one thread ScatterND has a race where indices repeat; ScatterElements has none. It does more work
 * per element for tensors of more axes: on one axis it takes less than half the time.
 */
function addedElements(graph: OnnxGraph, updates: Updates): OnnxValue {
  const { dy, indices, count, outer, size, inner, dtype } = updates;
  const far = (positions: OnnxValue, stride: number): OnnxValue =>
    graph.node("Mul", [positions, graph.constant("int64", [], [stride])]);
  const along = (length: number, shape: Shape): OnnxValue =>
    graph.node("Reshape", [rangeNode(graph, "int64", length), graph.integers(shape)]);
  const rows = graph.node("Reshape", [graph.cast(indices, "int64"), graph.integers([1, count, 1])]);
  const starts =
    outer === 1
      ? far(rows, inner)
      : graph.node("Add", [far(along(outer, [outer, 1, 1]), size * inner), far(rows, inner)]);
  const positions = inner === 1 ? starts : graph.node("Add", [starts, along(inner, [1, 1, inner])]);
  const flat = graph.integers([-1]);
  const places = graph.node("Reshape", [positions, flat]);
  const added = (to: OnnxGraph, type: DType, values: OnnxValue): OnnxValue =>
    to.node("ScatterElements", [zeros(to, { shape: [outer * size * inner], dtype: type }), places, values], {
      axis: 0,
      reduction: "add",
    });
  const values = graph.node("Reshape", [dy, flat]);
  const table = tableOf(updates);
  const inRows = (to: OnnxGraph, sums: OnnxValue): OnnxValue => to.node("Reshape", [sums, to.integers(table.shape)]);
  return choice(graph, Number(mayMeet(graph, updates)), table, [
    (to) => inRows(to, added(to, dtype, values)),
    (to) =>
      inRows(
        to,
        inFloat64(to, { dtype }, (wide) => added(to, "float64", wide), values),
      ),
  ]);
}

/** Adds each entry at the position from which `take` would take it: the transpose of `take`. */
export const scatterAdd: Op<{ readonly axis: number; readonly size: number }> = defineOp<{
  readonly axis: number;
  readonly size: number;
}>({
  name: "scatterAdd",
  shape([dy, indices], { axis, size }) {
    return [...dy!.shape.slice(0, axis), size, ...dy!.shape.slice(axis + indices!.shape.length)];
  },
  dtype([dy, indices]) {
    expectType("scatterAdd", dy!, numeric);
    expectIndices("scatterAdd", indices!);
    return dy!.dtype;
  },
  gradient: ([, indices], _y, dy, { axis }) => [dy.take(indices!, axis), undefined],
  onnx(graph, [dy, indices], { params: { axis, size }, inputTypes, outputTypes }) {
    const [typeDy, typeIndices] = inputTypes as [TensorType, TensorType];
    const output = outputTypes[0]!;
    const count = sizeOf(typeIndices.shape);
    const [outer, , inner] = around(output.shape, axis);
    if (count === 0 || sizeOf(output.shape) === 0) return zeros(graph, output);
    const updates: Updates = { dy: dy!, indices: indices!, count, outer, size, inner, dtype: typeDy.dtype };
    const rowsAtOnce = Math.min(count, Math.floor((graph.target.serialElements ?? 0) / inner));
    const parts = outer === 1 ? partCounts.findIndex((parts) => Math.ceil(count / parts) <= rowsAtOnce) : -1;
    const isSmall = outer === 1 && size <= smallTable && typeDy.dtype === "float32";
    const added = choice(graph, parts < 0 ? partCounts.length : parts, tableOf(updates), [
      ...partCounts.map((parts) => (inner: OnnxGraph) => addedRowByRow(inner, updates, parts)),
      (inner) => (isSmall ? addedAsProduct(inner, updates) : addedElements(inner, updates)),
    ]);
    return graph.node("Reshape", [added, graph.integers(output.shape)]);
  },
  evaluate([dy, indices], y, { axis }) {
    eachGathered(y.shape, indices!, axis, (to, from) => (y.values[to]! += dy!.values[from]!));
  },
  samples: (random) => [
    { inputs: [random.real(2, 4, 3), random.integers(5, 2, 4)], params: { axis: 0, size: 5 } },
    { inputs: [random.real(6, 3), random.integers(300, 6)], params: { axis: 0, size: 300 } },
    { inputs: [random.real(2, 6, 3), random.integers(4, 6)], params: { axis: 1, size: 4 } },
    { inputs: [random.real(70, 2), random.integers(3, 70)], params: { axis: 0, size: 3 } },
    { inputs: [random.real(70), random.integers(200, 70)], params: { axis: 0, size: 200 } },
    { inputs: [random.real(0, 3), random.integers(5, 0)], params: { axis: 0, size: 5 } },
  ],
  indices: (_, { size }) => ({ input: 1, below: size }),
});

function zeros(graph: OnnxGraph, { shape, dtype }: TensorType): OnnxValue {
  return graph.node("Expand", [graph.constant(dtype, [], [0]), graph.integers(shape)]);
}

function pickShape(x: TensorType, indices: TensorType): Shape {
  const lead = x.shape.slice(0, -1);
  if (x.shape.length === 0 || `${lead}` !== `${indices.shape}`)
    throw new ShapeError(
      "pick",
      `${showShape(x.shape)} needs one index for each of ${showShape(lead)}, and got ${showShape(indices.shape)}`,
      "give indices of the shape without its last axis",
    );
  return lead;
}

/** Takes one element along the last axis for each position of the other axes: y[i…] = x[i…, indices[i…]]. */
export const pick: Op<undefined> = defineOp<undefined>({
  name: "pick",
  shape: ([x, indices]) => pickShape(x!, indices!),
  dtype([x, indices]) {
    expectIndices("pick", indices!);
    return x!.dtype;
  },
  gradient: ([x, indices], _y, dy) => [dy.apply(unpick, [indices!], { depth: x!.shape.at(-1)! }), undefined],
  onnx(graph, [x, indices], { inputTypes, outputTypes }) {
    const column = graph.node("Unsqueeze", [indices, graph.integers([-1])]);
    const picked = graph.node("GatherElements", [x, column], { axis: inputTypes[0]!.shape.length - 1 });
    return graph.node("Reshape", [picked, graph.integers(outputTypes[0]!.shape)], { allowzero: 1 });
  },
  evaluate([x, indices], y) {
    const depth = x!.shape.at(-1)!;
    for (let i = 0; i < y.values.length; i++) y.values[i] = x!.values[i * depth + indices!.values[i]!]!;
  },
  samples: (random) => [
    { inputs: [random.real(4, 3), random.integers(3, 4)], params: undefined },
    { inputs: [random.real(2, 2, 5), random.integers(5, 2, 2)], params: undefined },
    { inputs: [random.real(3), random.integers(3)], params: undefined },
    { inputs: [random.real(0, 3), random.integers(3, 0)], params: undefined },
  ],
  indices: ([x]) => ({ input: 1, below: x!.shape.at(-1)! }),
});

/** Puts each value at its index along a new last axis, and zeros elsewhere: the transpose of `pick`. */
export const unpick: Op<{ readonly depth: number }> = defineOp<{ readonly depth: number }>({
  name: "unpick",
  shape: ([x], { depth }) => [...x!.shape, depth],
  dtype([x, indices]) {
    expectType("unpick", x!, numeric);
    expectIndices("unpick", indices!);
    return x!.dtype;
  },
  gradient: ([, indices], _y, dy) => [dy.pick(indices!), undefined],
  onnx(graph, [x, indices], { params: { depth }, inputTypes, outputTypes }) {
    const [typeX, typeIndices] = inputTypes as [TensorType, TensorType];
    const column = graph.node("Unsqueeze", [x, graph.integers([-1])]);
    const oneHots = (branch: OnnxGraph, dtype: DType): OnnxValue =>
      oneHotNode(branch, indices!, typeIndices.shape.length, depth, dtype);
    const zero = (branch: OnnxGraph): OnnxValue => branch.constant(typeX.dtype, [], [0]);
    // NaN or infinity times 0 is NaN, not 0.
    return forNumbers(
      graph,
      [x!],
      typeX.dtype,
      outputTypes,
      (branch) => [branch.node("Mul", [oneHots(branch, typeX.dtype), column])],
      (branch) => [branch.node("Where", [oneHots(branch, "bool"), column, zero(branch)])],
    )[0]!;
  },
  evaluate([x, indices], y, { depth }) {
    for (let i = 0; i < x!.values.length; i++) y.values[i * depth + indices!.values[i]!] = x!.values[i]!;
  },
  samples: (random) => [
    { inputs: [random.real(4), random.integers(3, 4)], params: { depth: 3 } },
    { inputs: [random.real(2, 2), random.integers(5, 2, 2)], params: { depth: 5 } },
    { inputs: [random.real(), random.integers(5)], params: { depth: 5 } },
  ],
  indices: (_, { depth }) => ({ input: 1, below: depth }),
});

/** Adds x[i…] to y[i…, indices[i…]]: `y + unpick(x, indices)`, but without making the zeros. Only the compiler makes this op. */
export const addAt: Op<undefined> = defineOp<undefined>({
  name: "addAt",
  shape([y, x, indices]) {
    pickShape(y!, indices!);
    pickShape(y!, x!);
    return y!.shape;
  },
  dtype([y, x, indices]) {
    expectIndices("addAt", indices!);
    return commonType("addAt", [y!, x!], numeric);
  },
  onnx(graph, [y, x, indices], { inputTypes }) {
    const columns = [x, indices].map((value) => graph.node("Unsqueeze", [value, graph.integers([-1])]));
    return graph.node("ScatterElements", [y, columns[1], columns[0]], {
      axis: inputTypes[0]!.shape.length - 1,
      reduction: "add",
    });
  },
  evaluate([y, x, indices], z) {
    const depth = y!.shape.at(-1)!;
    z.values.set(y!.values);
    for (let i = 0; i < x!.values.length; i++) z.values[i * depth + indices!.values[i]!]! += x!.values[i]!;
  },
  samples: (random) => [
    { inputs: [random.real(4, 3), random.real(4), random.integers(3, 4)], params: undefined },
    { inputs: [random.real(2, 2, 5), random.real(2, 2), random.integers(5, 2, 2)], params: undefined },
  ],
  indices: ([y]) => ({ input: 2, below: y!.shape.at(-1)! }),
});

/** Makes a vector of length `depth` for each index, with 1 at the index and 0 elsewhere. */
export const oneHot: Op<{ readonly depth: number; readonly dtype: DType }> = defineOp<{
  readonly depth: number;
  readonly dtype: DType;
}>({
  name: "oneHot",
  shape: ([x], { depth }) => [...x!.shape, depth],
  dtype([x], { dtype }) {
    expectIndices("oneHot", x!);
    return dtype;
  },
  gradient: () => [undefined],
  onnx: (graph, [x], { params: { depth, dtype }, inputTypes }) =>
    oneHotNode(graph, x!, inputTypes[0]!.shape.length, depth, dtype),
  evaluate: ([x], y, { depth }) => x!.values.forEach((index, i) => (y.values[i * depth + index] = 1)),
  samples: (random) => [
    { inputs: [random.integers(3, 4)], params: { depth: 3, dtype: "float32" } },
    { inputs: [random.integers(5, 2, 2)], params: { depth: 5, dtype: "int32" } },
    { inputs: [random.integers(5)], params: { depth: 5, dtype: "float64" } },
  ],
  indices: (_, { depth }) => ({ input: 0, below: depth }),
});

function oneHotNode(graph: OnnxGraph, indices: OnnxValue, rank: number, depth: number, dtype: DType): OnnxValue {
  // ONNX needs indices with at least one axis.
  const listed = rank > 0 ? indices : graph.node("Reshape", [indices, graph.integers([1])]);
  const ones = floatOneHots(graph, listed, depth, -1);
  const shaped = rank > 0 ? ones : graph.node("Reshape", [ones, graph.integers([depth])]);
  return dtype === "float32" ? shaped : graph.cast(shaped, dtype);
}

/** ONNX Runtime has an implementation for int32 indices with an int32 depth and float32 values, and none for our other dtypes. */
function floatOneHots(graph: OnnxGraph, indices: OnnxValue, depth: number, axis: number): OnnxValue {
  return graph.node(
    "OneHot",
    [indices, graph.constant("int32", [1], [depth]), graph.constant("float32", [2], [0, 1])],
    { axis },
  );
}

/** Returns a function from each position in the indices to the position in the table that the index there selects along the axis. */
function elementPositions(table: Shape, indices: Data, axis: number): (position: number) => number {
  const from = stridesOf(indices.shape);
  const to = stridesOf(table);
  return (i) =>
    indices.shape.reduce(
      (at, size, k) => at + (k === axis ? indices.values[i]! : Math.floor(i / from[k]!) % size) * to[k]!,
      0,
    );
}

function expectElements(op: string, table: TensorType, indices: TensorType, axis: number): void {
  expectIndices(op, indices);
  const fits =
    table.shape.length === indices.shape.length &&
    indices.shape.every((size, at) => at === axis || size <= table.shape[at]!);
  if (!fits)
    throw new ShapeError(
      op,
      `indices ${showShape(indices.shape)} along axis ${axis} of ${showShape(table.shape)}`,
      "give indices with as many axes, none of them larger except the one along which they count",
    );
}

/** Takes elements along an axis at the given indices: y[i, j, k] = x[i, indices[i, j, k], k] for axis 1 of three. */
export const gather: Op<TakeParams> = defineOp<TakeParams>({
  name: "gather",
  shape: ([, indices]) => indices!.shape,
  dtype([x, indices], { axis }) {
    expectElements("gather", x!, indices!, axis);
    return x!.dtype;
  },
  gradient([x, indices], _y, dy, { axis }) {
    const zero = dy.scalar(0).expand(x!.shape);
    return [zero.apply(scatter, [indices!, dy], { axis, reduction: "add" }), undefined];
  },
  onnx: (graph, [x, indices], { params, outputTypes }) =>
    sizeOf(outputTypes[0]!.shape) === 0
      ? zeros(graph, outputTypes[0]!)
      : graph.node("GatherElements", [x, indices], { axis: params.axis }),
  evaluate([x, indices], y, { axis }) {
    const at = elementPositions(x!.shape, indices!, axis);
    for (let i = 0; i < y.values.length; i++) y.values[i] = x!.values[at(i)]!;
  },
  samples: (random) => [
    { inputs: [random.real(4, 3), random.integers(4, 2, 3)], params: { axis: 0 } },
    { inputs: [random.real(2, 5, 2), random.integers(5, 2, 7, 2)], params: { axis: 1 } },
    { inputs: [random.real(3), random.integers(3, 0)], params: { axis: 0 } },
  ],
  indices: ([x], { axis, words }) => ({ input: 1, below: x!.shape[axis]!, words }),
});

export interface ScatterParams {
  readonly axis: number;
  /** How an element and the updates at its position are combined. "none" replaces the element; then all positions must be different. */
  readonly reduction: "none" | "add" | "max" | "min";
  /** The words of the message about an index that is out of range. */
  readonly words?: IndexWords;
}

const meet: Record<ScatterParams["reduction"], (element: number, update: number) => number> = {
  none: (_, update) => update,
  add: (element, update) => element + update,
  max: Math.max,
  min: Math.min,
};

/** Puts updates into a tensor at the positions from which `gather` would take them. Inputs: the tensor, int32 indices, updates. */
export const scatter: Op<ScatterParams> = defineOp<ScatterParams>({
  name: "scatter",
  shape: ([x]) => x!.shape,
  dtype([x, indices, updates], { axis, reduction }) {
    expectType("scatter", x!, reduction === "none" ? anyType : numeric);
    expectElements("scatter", x!, indices!, axis);
    if (x!.dtype !== updates!.dtype || `${indices!.shape}` !== `${updates!.shape}`)
      throw new ShapeError(
        "scatter",
        `updates ${showType(updates!)} at indices ${showShape(indices!.shape)} of ${showType(x!)}`,
        "give one update of the same dtype for each index",
      );
    return x!.dtype;
  },
  gradient([x, indices, updates], y, dy, { axis, reduction }) {
    const picked = (z: Tensor): Tensor => z.apply(gather, [indices!], { axis });
    const laid = (z: Tensor, values: Tensor, how: "none" | "add"): Tensor =>
      z.apply(scatter, [indices!, values], { axis, reduction: how });
    if (reduction === "add") return [dy, undefined, picked(dy)];
    if (reduction === "none") {
      const nothing = dy.scalar(0).expand(indices!.shape);
      return [laid(dy, nothing, "none"), undefined, picked(dy)];
    }
    // Among an element and its updates, those that equal the result share the gradient.
    const isElement = x!.equal(y).cast(dy.dtype);
    const isUpdate = updates!.equal(picked(y)).cast(dy.dtype);
    const share = dy.div(laid(isElement, isUpdate, "add"));
    return [share.mul(isElement), undefined, picked(share).mul(isUpdate)];
  },
  onnx(graph, [x, indices, updates], { params: { axis, reduction }, inputTypes: [type, typeIndices] }) {
    if (sizeOf(typeIndices!.shape) === 0) return graph.node("Identity", [x]);
    const scattered = (to: OnnxGraph, onto: OnnxValue, what: OnnxValue): OnnxValue =>
      to.node("ScatterElements", [onto, indices, what], { axis, reduction });
    const isLong = reduction === "add" && (graph.open !== undefined || typeIndices!.shape[axis]! > longestRow);
    const y = choice(graph, Number(isLong), type!, [
      (to) => scattered(to, x!, updates!),
      (to) => inFloat64(to, type!, (onto, what) => scattered(to, onto, what), x!, updates!),
    ]);
    if (!isFloat(type!.dtype) || (reduction !== "max" && reduction !== "min")) return y;
    // ONNX Runtime's max and min ignore NaN, so flags for NaN are scattered too.
    const [own, laid] = [x, updates].map((each) => graph.cast(graph.node("IsNaN", [each]), "float32"));
    const places = graph.node("ScatterElements", [own, indices, laid], { axis, reduction: "max" });
    return graph.node("Where", [graph.cast(places, "bool"), graph.constant(type!.dtype, [], [Number.NaN]), y]);
  },
  evaluate([x, indices, updates], y, { axis, reduction }) {
    const at = elementPositions(x!.shape, indices!, axis);
    y.values.set(x!.values);
    for (let i = 0; i < updates!.values.length; i++)
      y.values[at(i)] = meet[reduction](y.values[at(i)]!, updates!.values[i]!);
  },
  samples(random) {
    const different = { shape: [2, 2], dtype: "int32", values: Float64Array.of(3, 0, 1, 2) } as const;
    return [
      { inputs: [random.real(4, 2), different, random.real(2, 2)], params: { axis: 0, reduction: "none" } },
      {
        inputs: [random.real(2, 3), random.integers(3, 2, 6), random.real(2, 6)],
        params: { axis: 1, reduction: "add" },
      },
      {
        inputs: [random.real(4, 3), random.integers(4, 5, 3), random.real(5, 3)],
        params: { axis: 0, reduction: "max" },
      },
      {
        inputs: [random.real(4, 3), random.integers(4, 5, 3), random.real(5, 3)],
        params: { axis: 0, reduction: "min" },
      },
      { inputs: [random.real(3), random.integers(3, 0), random.real(0)], params: { axis: 0, reduction: "add" } },
    ];
  },
  indices: ([x], { axis, words }) => ({ input: 1, below: x!.shape[axis]!, words }),
});

/** Compares for ascending order: below 0 if a comes before b, above 0 if a comes after b. NaN comes last. */
const compared = (a: number, b: number): number =>
  Number.isNaN(a) || Number.isNaN(b)
    ? Number(Number.isNaN(a)) - Number(Number.isNaN(b))
    : Number(a > b) - Number(a < b);

export interface TopKParams {
  readonly k: number;
  readonly axis: number;
  /** Whether to give the k smallest elements instead, the smallest first. */
  readonly smallest: boolean;
}

/**
 * Gives the k largest elements along an axis, the largest first, and their positions. Of equal elements the first ones are taken, in their
 * order. NaN counts as larger than every number.
 */
export const topK: Op<TopKParams> = register<TopKParams>({
  name: "topK",
  type([x], { k, axis }) {
    const size = x!.shape[axis]!;
    if (!Number.isInteger(k) || k < 0 || k > size)
      throw new ShapeError(
        "topK",
        `k = ${k} of axis ${axis} of ${showShape(x!.shape)}`,
        `choose a whole number from 0 to ${size}`,
      );
    const shape = x!.shape.map((full, at) => (at === axis ? k : full));
    const dtype = commonType("topK", [x!], numeric);
    return [
      { shape, dtype },
      { shape, dtype: "int32" },
    ];
  },
  gradient({ inputs: [x], outputs: [, places], gradients: [dValues], params: { axis } }) {
    if (!dValues) return [undefined];
    const zero = dValues.scalar(0).expand(x!.shape);
    return [zero.apply(scatter, [places!, dValues], { axis, reduction: "add" })];
  },
  onnx(graph, { inputs: [x], params: { k, axis, smallest }, inputTypes, outputTypes }) {
    if (sizeOf(outputTypes[0]!.shape) === 0) return outputTypes.map((type) => zeros(graph, type));
    const type = inputTypes[0]!;
    const largest = Number(!smallest);
    const sorted = (branch: OnnxGraph, of: OnnxValue, count: number): OnnxValue[] =>
      branch.nodes("TopK", [of, branch.integers([count])], 2, { axis, largest, sorted: 1 });
    return forNumbers(
      graph,
      [x!],
      type.dtype,
      outputTypes,
      (branch) => {
        const [values, places] = sorted(branch, x!, k);
        return [values!, branch.cast(places!, "int32")];
      },
      (branch) => {
        // First sort with 0 in place of NaN. Then sort the result by whether elements are NaN; equal ones keep their order.
        const at = (table: OnnxValue, places: OnnxValue): OnnxValue =>
          branch.node("GatherElements", [table, places], { axis });
        const zero = branch.constant(type.dtype, [], [0]);
        const numbers = branch.node("Where", [branch.node("IsNaN", [x]), zero, x]);
        const [, order] = sorted(branch, numbers, type.shape[axis]!);
        const [, last] = sorted(branch, at(nanFlags(branch, x!), order!), k);
        const places = at(order!, last!);
        return [at(x!, places), branch.cast(places, "int32")];
      },
    );
  },
  evaluate([x], [values, places], { k, axis, smallest }) {
    const [outer, size, inner] = around(x!.shape, axis);
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        const at = (j: number): number => x!.values[(o * size + j) * inner + i]!;
        const order = [...Array(size).keys()].sort((a, b) => (smallest ? 1 : -1) * compared(at(a), at(b)) || a - b);
        for (let j = 0; j < k; j++) {
          const to = (o * k + j) * inner + i;
          values!.values[to] = at(order[j]!);
          places!.values[to] = order[j]!;
        }
      }
  },
  samples: (random) => [
    { inputs: [random.real(2, 6)], params: { k: 3, axis: 1, smallest: false } },
    { inputs: [random.real(5, 2, 2)], params: { k: 5, axis: 0, smallest: true } },
    { inputs: [random.integers(3, 9)], params: { k: 9, axis: 0, smallest: false } },
    { inputs: [random.real(2, 3)], params: { k: 0, axis: 1, smallest: false } },
  ],
  limits: ([x], { axis }, output) => (output === 1 ? [0, x!.shape[axis]! - 1] : undefined),
});
