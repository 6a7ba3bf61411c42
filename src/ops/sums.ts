/**
 * Long sums without loss of digits.
 *
 * ONNX Runtime adds elements one after the other, in one lane or in 4 to 16 lanes. After n additions a float32 sum of equal elements is off
 * by some n/2 roundings, 1 % after 10⁷. So a long axis is cut into blocks (pairwise summation, Higham 1993): float32 adds up each block,
 * and float64 adds up the sums of the blocks, which are few. Short sums stay one node.
 */
import type { OnnxGraph, OnnxValue } from "../graph/op.ts";
import { type Shape, sizeOf, type TensorType } from "../graph/types.ts";

export interface ReduceParams {
  /** Axes to reduce, counted from the front. */
  readonly axes: readonly number[];
  /** Whether reduced axes stay, with size 1. */
  readonly keepDims: boolean;
}

export function reducedShape(x: TensorType, { axes, keepDims }: ReduceParams): Shape {
  if (keepDims) return x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  return x.shape.filter((_, axis) => !axes.includes(axis));
}

export const reduceNode = (
  graph: OnnxGraph,
  type: string,
  x: OnnxValue,
  { axes, keepDims }: ReduceParams,
): OnnxValue =>
  axes.length === 0
    ? graph.node("Identity", [x])
    : graph.node(type, [x, graph.integers(axes)], { keepdims: Number(keepDims) });

/** The most float32 additions to make one after the other. A sum of equal elements then has a relative error of 1e-6 at most. */
export const longestRow = 64;

/** How many float32 additions one after the other a block takes. */
export const blockRow: number = longestRow / 2;

/** The most additions of blocks' sums that float32 may make. With so few, float64 is not needed. */
const fewRows = 8;

/** How many lanes ONNX Runtime adds at once: along the last axis, where it sums by a matrix product, and elsewhere. */
export const lanes: Readonly<Record<"last" | "product" | "single", number>> = { last: 8, product: 4, single: 1 };

/** The most int32 elements whose sum ONNX Runtime computes exactly: it fits in 53 bits, whatever their values. */
const exactIntegers = 2 ** 22;

/** From this number of elements on, their sum in float64 takes noticeable time. */
const manyElements = 2 ** 14;

/** Neighbouring axes of a tensor, joined into one. */
interface Run {
  readonly size: number;
  readonly isSummed: boolean;
}

/** A tensor that is being summed, with its axes joined into as few runs as possible. */
interface Sum {
  readonly value: OnnxValue;
  readonly runs: readonly Run[];
}

const shapeOf = ({ runs }: Pick<Sum, "runs">): Shape => runs.map(({ size }) => size);

const reshaped = (graph: OnnxGraph, x: OnnxValue, shape: Shape): OnnxValue =>
  graph.node("Reshape", [x, graph.integers(shape)]);

/** Leaves out axes of size 1 that are not summed, and joins neighbouring axes that are both summed or both not summed. */
function joined(axes: readonly Run[]): Run[] {
  const runs: Run[] = [];
  for (const axis of axes) {
    const last = runs.at(-1);
    if (axis.size === 1 && !axis.isSummed) continue;
    if (last?.isSummed === axis.isSummed) runs[runs.length - 1] = { ...last, size: last.size * axis.size };
    else runs.push(axis);
  }
  return runs;
}

/** Computes on float32 values in float64, and rounds the result once, at the end. Values of other dtypes stay as they are. */
export function inFloat64(
  graph: OnnxGraph,
  { dtype }: Pick<TensorType, "dtype">,
  compute: (...values: OnnxValue[]) => OnnxValue,
  ...values: readonly OnnxValue[]
): OnnxValue {
  if (dtype !== "float32") return compute(...values);
  return graph.cast(compute(...values.map((value) => graph.cast(value, "float64"))), "float32");
}

/** Writes one of several ways. Where a file's axes are open, `chosen` is right for all sizes already. */
export const choice = (graph: OnnxGraph, ...[chosen, type, ways]: Parameters<OnnxGraph["choose"]>): OnnxValue =>
  graph.open ? ways[chosen]!(graph) : graph.choose(chosen, type, ways);

/** How many elements are added up to one element of the result. */
const elementsOf = ({ runs }: Pick<Sum, "runs">): number =>
  sizeOf(shapeOf({ runs: runs.filter(({ isSummed }) => isSummed) }));

/** How many additions ReduceSum makes one after the other for one element of the result. */
function rowsOf({ runs }: Pick<Sum, "runs">): number {
  const isMiddle = runs.length === 3 && runs[1]!.isSummed;
  const rows = runs.map(({ size, isSummed }, i) => {
    if (!isSummed) return 0;
    return size / (i === runs.length - 1 ? lanes.last : isMiddle ? lanes.product : lanes.single);
  });
  return rows.reduce((total, each) => total + each, 0);
}

/**
 * Returns the size of blocks for `size` elements: `size` itself if it is at most `most`; else the largest divisor of `size` between a
 * quarter of `most` and `most`; else `most`.
 */
function blockFor(size: number, most: number): number {
  if (size <= most) return size;
  for (let block = most; block >= most / 4; block--) if (size % block === 0) return block;
  return most;
}

/** Cuts an axis into blocks of equal size, and a rest that fills no block. */
export function blocksOf(
  size: number,
  most: number,
): { readonly block: number; readonly count: number; readonly rest: number } {
  const block = blockFor(size, most);
  return { block, count: Math.floor(size / block), rest: size % block };
}

/** The elements of an axis from `start` to just before `end`. */
export const sliced = (graph: OnnxGraph, x: OnnxValue, axis: number, start: number, end: number): OnnxValue =>
  graph.node("Slice", [x, ...[start, end, axis].map((each) => graph.integers([each]))]);

/** The indices of the summed runs. */
const summedRuns = ({ runs }: Pick<Sum, "runs">): number[] => runs.flatMap(({ isSummed }, i) => (isSummed ? [i] : []));

/** The index of the longest summed run, which is the one to cut. */
const longestRun = (sum: Pick<Sum, "runs">): number =>
  summedRuns(sum).reduce((longest, i) => (sum.runs[i]!.size > sum.runs[longest]!.size ? i : longest));

/** How a summed run is cut. */
interface Cut {
  /** Whether the blocks are added up by a product with a row of ones. */
  readonly asProduct: boolean;
  readonly block: number;
  readonly count: number;
  readonly rest: number;
}

function cutOf({ target }: OnnxGraph, { runs }: Pick<Sum, "runs">, dtype: "float32" | "int64", at: number): Cut {
  const isLast = at === runs.length - 1;
  const asProduct = at === 0 && !isLast && dtype === "float32" && target.contrib;
  const sort = isLast ? "last" : at > 0 || asProduct ? "product" : "single";
  return { asProduct, ...blocksOf(runs[at]!.size, blockRow * lanes[sort]) };
}

const cutRuns = (runs: readonly Run[], at: number, { count, rest }: Cut): Run[] =>
  runs.with(at, { size: count + rest, isSummed: true });

/** Cuts a summed run into blocks and adds up each block. The elements that fill no block follow behind the sums of the blocks. */
function shortened(graph: OnnxGraph, sum: Sum, dtype: "float32" | "int64", at: number): Sum {
  const { value, runs } = sum;
  const { size } = runs[at]!;
  const [before, after] = [sizeOf(shapeOf({ runs: runs.slice(0, at) })), sizeOf(shapeOf({ runs: runs.slice(at + 1) }))];
  const isLast = at === runs.length - 1;
  const how = cutOf(graph, sum, dtype, at);
  const { asProduct, block, count, rest } = how;
  // Where other axes follow, the elements of a block are `count` apart along the axis. Each addition then works on long runs of memory.
  const cut = isLast ? [before * count, block] : asProduct ? [block, count * after] : [before, block, count * after];
  const sums = (inner: OnnxGraph, main: OnnxValue): OnnxValue => {
    const blocks = reshaped(inner, main, cut);
    const added = asProduct
      ? inner.node("MatMul", [inner.constant("float32", [1, block], Array<number>(block).fill(1)), blocks])
      : inner.node("ReduceSum", [blocks, inner.integers([1])], { keepdims: 0 });
    return reshaped(inner, added, [before, count, after]);
  };
  const ways = [
    (inner: OnnxGraph) => sums(inner, value),
    (inner: OnnxGraph) => {
      const whole = reshaped(inner, value, [before, size, after]);
      const main = sums(inner, sliced(inner, whole, 1, 0, block * count));
      return inner.node("Concat", [main, sliced(inner, whole, 1, block * count, size)], { axis: 1 });
    },
  ];
  const type = { dtype, shape: [before, count + rest, after] };
  return {
    value: graph.choose(Number(rest > 0), type, ways),
    runs: cutRuns(runs, at, how),
  };
}

/** Sums over the summed runs that are left, and gives the result its shape. */
function completed(graph: OnnxGraph, { value, runs }: Sum, shape: Shape): OnnxValue {
  const axes = runs.flatMap(({ isSummed }, i) => (isSummed ? [i] : []));
  const sum = reduceNode(graph, "ReduceSum", reshaped(graph, value, shapeOf({ runs })), { axes, keepDims: false });
  return reshaped(graph, sum, shape);
}

/**
 * Writes nodes for a sum over axes. A float32 sum of elements of one sign is off by at most 2e-6 of its value, for 10⁷ elements and more.
 * An int32 sum wraps around modulo 2³², as other int32 arithmetic does.
 */
export function sumNodes(graph: OnnxGraph, x: OnnxValue, type: TensorType, params: ReduceParams): OnnxValue {
  const { shape, dtype } = type;
  const sum: Sum = {
    value: x,
    runs: joined(shape.map((size, axis) => ({ size, isSummed: params.axes.includes(axis) }))),
  };
  if (sizeOf(shape) === 0) return reduceNode(graph, "ReduceSum", x, params);
  const result = reducedShape(type, params);
  if (graph.open) return openSum(graph, x, type, params, rowsOf(sum) > longestRow);
  if (dtype === "int32" && elementsOf(sum) > 1) return wrappedSum(graph, sum, result);
  if (dtype !== "float32" || summedRuns(sum).length === 0) return reduceNode(graph, "ReduceSum", x, params);

  const ways = blockWays(sum);
  const wanted = `${cutsFor(graph, sum)}`;
  return graph.choose(
    ways.findIndex((cuts) => `${cuts}` === wanted),
    { dtype, shape: result },
    ways.map((cuts) => (inner) => {
      if (!cuts) return reduceNode(inner, "ReduceSum", x, params);
      const blocks = cuts.at.reduce((part, at) => shortened(inner, part, "float32", at), sum);
      const complete = (value: OnnxValue): OnnxValue => completed(inner, { ...blocks, value }, result);
      return cuts.inFloat64 ? inFloat64(inner, type, complete, blocks.value) : complete(blocks.value);
    }),
  );
}

/** A sum that is right for all sizes of open axes. Float64 adds up what may be long. */
function openSum(graph: OnnxGraph, x: OnnxValue, type: TensorType, params: ReduceParams, isLong: boolean): OnnxValue {
  const added = (value: OnnxValue): OnnxValue => reduceNode(graph, "ReduceSum", value, params);
  if (type.dtype === "int32") return graph.cast(added(graph.cast(x, "int64")), "int32");
  return isLong || params.axes.some((axis) => graph.open!.has(axis)) ? inFloat64(graph, type, added, x) : added(x);
}

/** How a long sum is computed: which summed runs are cut, one after the other, and whether float64 adds up the blocks' sums. */
class Cuts {
  readonly at: readonly number[];
  readonly inFloat64: boolean;

  constructor(at: readonly number[], inFloat64: boolean) {
    this.at = at;
    this.inFloat64 = inFloat64;
  }

  toString(): string {
    return `${this.at} ${this.inFloat64}`;
  }
}

/** All ways that any sizes may need. The first one is for short sums. */
function blockWays(sum: Sum): readonly (Cuts | undefined)[] {
  const summed = summedRuns(sum);
  return [
    undefined,
    ...summed.flatMap((at) => [new Cuts([at], false), new Cuts([at], true)]),
    ...summed.flatMap((first) => summed.map((second) => new Cuts([first, second], true))),
  ];
}

/** Returns the way for the sizes of this sum; undefined if it is short. */
function cutsFor(graph: OnnxGraph, sum: Sum): Cuts | undefined {
  if (rowsOf(sum) <= longestRow) return undefined;
  const at = longestRun(sum);
  const blocks = { runs: cutRuns(sum.runs, at, cutOf(graph, sum, "float32", at)) };
  if (rowsOf({ runs: joined(blocks.runs) }) <= fewRows) return new Cuts([at], false);
  // If the longest run was not very long, many elements are left: then the longest run among them is cut too.
  const [left, all] = [sizeOf(shapeOf(blocks)), sizeOf(shapeOf(sum))];
  const isMuch = left > manyElements && left * blockRow > all;
  return new Cuts(isMuch ? [at, longestRun(blocks)] : [at], true);
}

/**
 * An int32 sum that wraps around. ReduceSum of int32 saturates. ReduceSum of int64 is exact for up to `exactIntegers` elements of int32.
 */
function wrappedSum(graph: OnnxGraph, { value, runs }: Sum, result: Shape): OnnxValue {
  let sum: Sum = { value: graph.cast(value, "int64"), runs };
  while (elementsOf(sum) > exactIntegers) {
    const blocks = shortened(graph, sum, "int64", longestRun(sum));
    sum = { ...blocks, value: graph.cast(graph.cast(blocks.value, "int32"), "int64") };
  }
  return graph.cast(completed(graph, sum, result), "int32");
}

/** Writes nodes for Σ x² over all elements. */
export function sumOfSquaresNodes(graph: OnnxGraph, x: OnnxValue, type: TensorType): OnnxValue {
  const size = sizeOf(type.shape);
  const squares = (values: OnnxValue): OnnxValue => graph.node("ReduceSumSquare", [values], { keepdims: 0 });
  if (graph.open) return inFloat64(graph, type, squares, x);
  if (type.dtype !== "float32") return squares(x);
  const most = longestRow * lanes.last;
  const { block, count, rest } = blocksOf(size, most); //  float64 adds up the blocks' sums
  /** The sum over the blocks, in float64. */
  const ofBlocks = (inner: OnnxGraph, main: OnnxValue): OnnxValue => {
    // Each block is multiplied with itself as a matrix product: ReduceSumSquare uses several lanes only where it reduces all axes.
    const rows = reshaped(inner, main, [count, 1, block]);
    const sums = inner.target.contrib
      ? inner.node("FusedMatMul", [rows, rows], { transB: 1 }, "com.microsoft")
      : inner.node("MatMul", [rows, reshaped(inner, main, [count, block, 1])]);
    return inner.node("ReduceSum", [inner.cast(sums, "float64")], { keepdims: 0 });
  };
  return graph.choose(size <= most ? 0 : rest === 0 ? 1 : 2, { dtype: "float32", shape: [] }, [
    (inner) => inner.node("ReduceSumSquare", [x], { keepdims: 0 }),
    (inner) => inner.cast(ofBlocks(inner, x), "float32"),
    (inner) => {
      const part = (start: number, end: number): OnnxValue => sliced(inner, reshaped(inner, x, [size]), 0, start, end);
      const left = inner.cast(part(block * count, size), "float64");
      const squared = inner.node("ReduceSumSquare", [left], { keepdims: 0 });
      return inner.cast(inner.node("Add", [ofBlocks(inner, part(0, block * count)), squared]), "float32");
    },
  ]);
}
