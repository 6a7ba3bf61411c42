/**
 * Packed matrices: n neighbouring columns, or n neighbouring rows, form the innermost axis. A blocked convolution of ONNX Runtime
 * (packed-convolution.ts) with a kernel of one tap is a product of packed matrices. It is faster than Gemm, because nothing has to be
 * copied before it is multiplied. Elementwise ops and sums work in any order of memory, so large matrices stay packed from one product to
 * the next.
 */
import { ShapeError } from "../../errors.ts";
import { type Data, defineOp, floats, type OnnxGraph, type OnnxValue, type Op } from "../../graph/op.ts";
import { type Shape, showShape, sizeOf } from "../../graph/types.ts";
import { blocks, lanesFirst, lanesLast, reshaped } from "./packed.ts";

export interface LaneParams {
  /** How many rows or columns lie side by side. */
  readonly lanes: number;
}

export interface UnpackColumnsParams {
  /** The leading axes, whose product is the number of rows. */
  readonly lead: Shape;
}

/** Returns the rows and columns of a tensor as a matrix. The leading axes together are the rows. */
export const matrixOf = (shape: Shape): readonly [rows: number, columns: number] => [
  sizeOf(shape.slice(0, -1)),
  shape.at(-1)!,
];

function expectLanes(op: string, shape: Shape, size: number, lanes: number): void {
  if (shape.length < 2 || size % lanes !== 0)
    throw new ShapeError(op, `${showShape(shape)} in lanes of ${lanes}`, "x is a matrix, and the lanes divide it");
}

/**
 * Calls `visit` for each element of a matrix [rows, columns], with its position in the matrix packed by columns and in the plain matrix.
 */
function eachByColumns([groups, rows, lanes]: Shape, visit: (packed: number, plain: number) => void): void {
  for (let at = 0; at < groups! * rows! * lanes!; at++) {
    const group = Math.floor(at / (rows! * lanes!));
    const row = Math.floor(at / lanes!) % rows!;
    visit(at, row * groups! * lanes! + group * lanes! + (at % lanes!));
  }
}

/** Calls `visit` for each element of a matrix, with its position in the matrix packed by rows and in the plain matrix. */
function eachByRows([groups, columns, lanes]: Shape, visit: (packed: number, plain: number) => void): void {
  for (let at = 0; at < groups! * columns! * lanes!; at++) {
    const group = Math.floor(at / (columns! * lanes!));
    const column = Math.floor(at / lanes!) % columns!;
    visit(at, (group * lanes! + (at % lanes!)) * columns! + column);
  }
}

/** Transposes [a, b, lanes] to [b, a, lanes]. */
const groupsSwapped = (
  graph: OnnxGraph,
  x: OnnxValue,
  shape: readonly [a: number, b: number, lanes: number],
): OnnxValue => graph.node("Transpose", [reshaped(graph, x, shape)], { perm: [1, 0, 2] });

/** Packs a matrix by columns: [..., columns] to [columns / n, rows, n]. */
export const packColumns: Op<LaneParams> = defineOp<LaneParams>({
  name: "packColumns",
  dtypes: floats,
  shape([x], { lanes }) {
    const [rows, columns] = matrixOf(x!.shape);
    expectLanes("packColumns", x!.shape, columns, lanes);
    return [columns / lanes, rows, lanes];
  },
  gradient: ([x], _y, dy) => [dy.apply(unpackColumns, [], { lead: x!.shape.slice(0, -1) })],
  onnx(graph, [x], { outputTypes: [y] }) {
    const [groups, rows, lanes] = y!.shape as [number, number, number];
    if (sizeOf(y!.shape) === 0 || y!.dtype !== "float32" || graph.target.block !== lanes)
      return reshaped(graph, groupsSwapped(graph, x!, [rows, groups, lanes]), y!.shape);
    const image = reshaped(graph, x!, [1, rows, 1, groups * lanes]);
    return reshaped(graph, graph.node("ReorderInput", [image], { channels_last: 1 }, blocks), y!.shape);
  },
  evaluate: ([x], y) => eachByColumns(y.shape, (at, from) => (y.values[at] = x!.values[from]!)),
  samples: (random) => [
    { inputs: [random.real(3, 8)], params: { lanes: 4 } },
    { inputs: [random.real(2, 5, 32)], params: { lanes: 16 } },
    { inputs: [random.real(5, 24)], params: { lanes: 8 } },
    { inputs: [random.real(0, 4)], params: { lanes: 2 } },
  ],
});

/** Unpacks a matrix that is packed by columns: the inverse of `packColumns`. */
export const unpackColumns: Op<UnpackColumnsParams> = defineOp<UnpackColumnsParams>({
  name: "unpackColumns",
  dtypes: floats,
  shape([z], { lead }) {
    const [groups = 0, rows, lanes = 0] = z!.shape;
    if (z!.shape.length !== 3 || sizeOf(lead) !== rows)
      throw new ShapeError(
        "unpackColumns",
        `${showShape(z!.shape)} to rows ${showShape(lead)}`,
        "z is [columns / n, rows, n]",
      );
    return [...lead, groups * lanes];
  },
  gradient: ([z], _y, dy) => [dy.apply(packColumns, [], { lanes: z!.shape[2]! })],
  onnx(graph, [z], { inputTypes: [type], outputTypes: [y] }) {
    const [groups, rows, lanes] = type!.shape as [number, number, number];
    const { block, threads } = graph.target;
    if (sizeOf(y!.shape) > 0 && y!.dtype === "float32" && block === lanes && threads === 1) {
      // ReorderOutput is twice as fast as Transpose, but always runs on one thread.
      const image = reshaped(graph, z!, [1, groups * lanes, rows, 1]);
      const attributes = { channels: groups * lanes, channels_last: 1 };
      return reshaped(graph, graph.node("ReorderOutput", [image], attributes, blocks), y!.shape);
    }
    return reshaped(graph, groupsSwapped(graph, z!, [groups, rows, lanes]), y!.shape);
  },
  evaluate: ([z], y) => eachByColumns(z!.shape, (at, to) => (y.values[to] = z!.values[at]!)),
  samples: (random) => [
    { inputs: [random.real(2, 3, 4)], params: { lead: [3] } },
    { inputs: [random.real(2, 10, 16)], params: { lead: [2, 5] } },
    { inputs: [random.real(3, 5, 8)], params: { lead: [5] } },
    { inputs: [random.real(2, 0, 2)], params: { lead: [0] } },
  ],
});

/** Packs a matrix by rows: [..., columns] to [rows / n, columns, n]. */
export const packRows: Op<LaneParams> = defineOp<LaneParams>({
  name: "packRows",
  dtypes: floats,
  shape([x], { lanes }) {
    const [rows, columns] = matrixOf(x!.shape);
    expectLanes("packRows", x!.shape, rows, lanes);
    return [rows / lanes, columns, lanes];
  },
  gradient: ([x], _y, dy) => [dy.apply(unpackRows, [], undefined).reshape(x!.shape)],
  onnx(graph, [x], { outputTypes: [y] }) {
    const [groups, columns, lanes] = y!.shape as [number, number, number];
    if (sizeOf(y!.shape) === 0) return reshaped(graph, x!, y!.shape);
    return reshaped(graph, lanesLast(graph, x!, y!.dtype, [groups, lanes, columns]), y!.shape);
  },
  evaluate: ([x], y) => eachByRows(y.shape, (at, from) => (y.values[at] = x!.values[from]!)),
  samples: (random) => [
    { inputs: [random.real(8, 3)], params: { lanes: 4 } },
    { inputs: [random.real(2, 16, 5)], params: { lanes: 16 } },
    { inputs: [random.real(24, 2)], params: { lanes: 8 } },
    { inputs: [random.real(4, 0)], params: { lanes: 2 } },
  ],
});

/** Unpacks a matrix that is packed by rows: the inverse of `packRows`, except that the result always has two axes. */
export const unpackRows: Op<undefined> = defineOp<undefined>({
  name: "unpackRows",
  dtypes: floats,
  shape([z]) {
    const [groups = 0, columns = 0, lanes = 0] = z!.shape;
    if (z!.shape.length !== 3) throw new ShapeError("unpackRows", showShape(z!.shape), "z is [rows / n, columns, n]");
    return [groups * lanes, columns];
  },
  gradient: ([z], _y, dy) => [dy.apply(packRows, [], { lanes: z!.shape[2]! })],
  onnx(graph, [z], { inputTypes: [type], outputTypes: [y] }) {
    if (sizeOf(y!.shape) === 0) return reshaped(graph, z!, y!.shape);
    return reshaped(graph, lanesFirst(graph, z!, y!.dtype, type!.shape as [number, number, number]), y!.shape);
  },
  evaluate: ([z], y) => eachByRows(z!.shape, (at, to) => (y.values[to] = z!.values[at]!)),
  samples: (random) =>
    [random.real(2, 3, 4), random.real(1, 5, 16), random.real(3, 2, 8), random.real(2, 0, 2)].map((z) => ({
      inputs: [z],
      params: undefined,
    })),
});

/**
 * C = XᵀW, with an optional bias for each column. X is a matrix [k, p] packed by rows, W is [k, f] packed by columns, and C is [p, f]
 * packed by columns. A matrix [p, k] packed by columns lies in memory as its transpose packed by rows. So the result of one product is the
 * X of the next.
 */
export const packedProduct: Op<undefined> = defineOp<undefined>({
  name: "packedProduct",
  dtypes: floats,
  shape([x, w, bias]) {
    const [groups, p, lanes] = x!.shape;
    const [groupsW, k, lanesW] = w!.shape;
    const isBias = !bias || (bias.shape.length === 1 && bias.shape[0] === groupsW! * lanesW!);
    if (x!.shape.length !== 3 || w!.shape.length !== 3 || groups! * lanes! !== k || lanes !== lanesW || !isBias)
      throw new ShapeError(
        "packedProduct",
        [x!, w!, ...(bias ? [bias] : [])].map(({ shape }) => showShape(shape)).join(", "),
        "X is [k / n, p, n], W [f / n, k, n] and the bias [f]",
      );
    return [groupsW!, p!, lanesW!];
  },
  onnx(graph, [x, w, bias], { inputTypes: [typeX, typeW], outputTypes: [c] }) {
    const [groups, p, lanes] = typeX!.shape as [number, number, number];
    const [groupsW, k] = typeW!.shape as [number, number];
    const f = groupsW * lanes;
    if (sizeOf(c!.shape) > 0 && graph.target.block === lanes && c!.dtype === "float32") {
      const inputs = [reshaped(graph, x!, [1, k, p, 1]), reshaped(graph, w!, [f, k, 1, 1]), bias];
      return reshaped(graph, graph.node("Conv", inputs, { kernel_shape: [1, 1] }, blocks), c!.shape);
    }
    const left = reshaped(graph, groupsSwapped(graph, x!, [groups, p, lanes]), [p, k]);
    const right = reshaped(graph, groupsSwapped(graph, w!, [groupsW, k, lanes]), [k, f]);
    const product = graph.node("MatMul", [left, right]);
    const sum = bias ? graph.node("Add", [product, bias]) : product;
    return groupsSwapped(graph, sum, [p, groupsW, lanes]);
  },
  evaluate([x, w, bias], c) {
    const at = ({ shape: [, length, lanes], values }: Data, lane: number, i: number): number =>
      values[(Math.floor(lane / lanes!) * length! + i) * lanes! + (lane % lanes!)]!;
    const [k, f] = [w!.shape[1]!, c.shape[0]! * c.shape[2]!];
    eachByColumns(c.shape, (to, plain) => {
      const [row, column] = [Math.floor(plain / f), plain % f];
      let sum = bias ? bias.values[column]! : 0;
      for (let i = 0; i < k; i++) sum += at(x!, i, row) * at(w!, column, i);
      c.values[to] = sum;
    });
  },
  samples: (random) => [
    { inputs: [random.real(2, 3, 4), random.real(1, 8, 4)], params: undefined },
    { inputs: [random.real(2, 5, 16), random.real(3, 32, 16), random.real(48)], params: undefined },
    { inputs: [random.real(2, 3, 8), random.real(1, 16, 8), random.real(8)], params: undefined },
  ],
});
