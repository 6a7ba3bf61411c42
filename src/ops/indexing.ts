/** Ops whose positions are data: embedding, picking, one-hot, and the scatters that are their gradients. */
import { DTypeError, ShapeError } from "../errors.ts";
import { type Data, defineOp, type OnnxGraph, type OnnxValue, type Op } from "../graph/op.ts";
import { type DType, type Shape, showShape, showType, sizeOf, type TensorType } from "../graph/types.ts";

function expectIndices(op: string, indices: TensorType): void {
  if (indices.dtype !== "int32")
    throw new DTypeError(
      op,
      `indices must be int32, and got ${showType(indices)}`,
      'make them with tensor(values, "int32"), or .cast("int32")',
    );
}

/** [outer, axis, inner]: a shape seen from one of its axes. */
function around(shape: Shape, axis: number): readonly [number, number, number] {
  return [sizeOf(shape.slice(0, axis)), shape[axis]!, sizeOf(shape.slice(axis + 1))];
}

/** Calls `visit` with the position in the table and in the gathered tensor of every gathered element. */
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

/** Entries of a table along an axis, by number; the axis is replaced by the axes of the indices. */
export const gather: Op<{ readonly axis: number }> = defineOp<{ readonly axis: number }>({
  name: "gather",
  shape: ([x, indices], { axis }) => [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)],
  dtype([x, indices]) {
    expectIndices("gather", indices!);
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
  indices: ([x], { axis }) => ({ input: 1, below: x!.shape[axis]! }),
});

/** Below this many rows a one-hot matrix product beats scattering row by row. */
const smallTable = 256;

/** Adds each entry to the place that `gather` would have taken it from: the transpose of `gather`. */
export const scatterAdd: Op<{ readonly axis: number; readonly size: number }> = defineOp<{
  readonly axis: number;
  readonly size: number;
}>({
  name: "scatterAdd",
  shape([dy, indices], { axis, size }) {
    return [...dy!.shape.slice(0, axis), size, ...dy!.shape.slice(axis + indices!.shape.length)];
  },
  dtype([dy, indices]) {
    expectIndices("scatterAdd", indices!);
    return dy!.dtype;
  },
  gradient: ([, indices], _y, dy, { axis }) => [dy.gather(indices!, axis), undefined],
  onnx(graph, [dy, indices], { params: { axis, size }, inputTypes, outputTypes }) {
    const [typeDy, typeIndices] = inputTypes as [TensorType, TensorType];
    const output = outputTypes[0]!;
    const count = sizeOf(typeIndices.shape);
    const [outer, , inner] = around(output.shape, axis);
    if (count === 0 || sizeOf(output.shape) === 0) return zeros(graph, output);
    if (outer === 1 && size <= smallTable && typeDy.dtype === "float32") {
      const flat = graph.node("Reshape", [dy, graph.integers([count, inner])]);
      const oneHots = oneHotNode(graph, graph.node("Reshape", [indices, graph.integers([count])]), 1, size, "float32");
      const table = graph.node("Gemm", [oneHots, flat], { transA: 1 });
      return graph.node("Reshape", [table, graph.integers(output.shape)]);
    }
    // ScatterND with "add" races between threads when indices repeat; ScatterElements does not.
    const at = graph.node("Reshape", [indices, graph.integers([1, count, 1])]);
    const everywhere = graph.node("Expand", [at, graph.integers([outer, count, inner])]);
    const updates = graph.node("Reshape", [dy, graph.integers([outer, count, inner])]);
    const base = zeros(graph, { shape: [outer, size, inner], dtype: output.dtype });
    const sums = graph.node("ScatterElements", [base, everywhere, updates], { axis: 1, reduction: "add" });
    return graph.node("Reshape", [sums, graph.integers(output.shape)]);
  },
  evaluate([dy, indices], y, { axis }) {
    eachGathered(y.shape, indices!, axis, (to, from) => (y.values[to]! += dy!.values[from]!));
  },
  samples: (random) => [
    { inputs: [random.real(2, 4, 3), random.integers(5, 2, 4)], params: { axis: 0, size: 5 } },
    { inputs: [random.real(6, 3), random.integers(300, 6)], params: { axis: 0, size: 300 } },
    { inputs: [random.real(2, 6, 3), random.integers(4, 6)], params: { axis: 1, size: 4 } },
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

/** One entry of the last axis for each position of the others: y[i…] = x[i…, indices[i…]]. */
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

/** Zeros with each value at its index of a new last axis: the transpose of `pick`. */
export const unpick: Op<{ readonly depth: number }> = defineOp<{ readonly depth: number }>({
  name: "unpick",
  shape: ([x], { depth }) => [...x!.shape, depth],
  dtype([x, indices]) {
    expectIndices("unpick", indices!);
    return x!.dtype;
  },
  gradient: ([, indices], _y, dy) => [dy.pick(indices!), undefined],
  onnx(graph, [x, indices], { params: { depth }, inputTypes }) {
    const oneHots = oneHotNode(graph, indices!, inputTypes[1]!.shape.length, depth, inputTypes[0]!.dtype);
    return graph.node("Mul", [oneHots, graph.node("Unsqueeze", [x, graph.integers([-1])])]);
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

/** y with x[i…] added at the index of its last axis: `y + unpick(x, indices)` without the zeros; the compiler's own. */
export const addAt: Op<undefined> = defineOp<undefined>({
  name: "addAt",
  shape([y, x, indices]) {
    pickShape(y!, indices!);
    pickShape(y!, x!);
    return y!.shape;
  },
  dtype([y, , indices]) {
    expectIndices("addAt", indices!);
    return y!.dtype;
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

/** Vectors of length `depth` with a one at each index. */
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
  // ONNX wants an axis to begin with.
  const listed = rank > 0 ? indices : graph.node("Reshape", [indices, graph.integers([1])]);
  // ONNX Runtime has a kernel for int32 indices with an int32 depth and float32 values, and none for our other dtypes.
  const ones = graph.node(
    "OneHot",
    [listed, graph.constant("int32", [1], [depth]), graph.constant("float32", [2], [0, 1])],
    { axis: -1 },
  );
  const shaped = rank > 0 ? ones : graph.node("Reshape", [ones, graph.integers([depth])]);
  return dtype === "float32" ? shaped : graph.cast(shaped, dtype);
}
