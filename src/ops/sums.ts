/**
 * Long sums that keep their digits.
 *
 * ONNX Runtime adds one element after the other, or 4 to 16 lanes of them: after n additions a float32 sum of equal elements is off by
 * some n/2 roundings, 1 % after 10⁷. So a long axis is cut into blocks (pairwise summation, Higham 1993): float32 adds up each block,
 * float64 the blocks' sums, which are few. Short sums stay one node.
 */
import type { OnnxGraph, OnnxValue } from "../graph/op.ts";
import { type Shape, sizeOf, type TensorType } from "../graph/types.ts";

export interface ReduceParams {
  /** Axes to reduce, counted from the front. */
  readonly axes: readonly number[];
  /** Whether a reduced axis stays, with size 1. */
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

/** The most float32 additions in a row, after which equal elements have lost 1e-6 at most. */
export const longestRow = 64;

/** How many float32 additions in a row a block is for. */
export const blockRow: number = longestRow / 2;

/** How many more hardly matter, so that float64 is not needed. */
const fewRows = 8;

/** What ONNX Runtime adds at once: along the last axis, where it sums as a product, and elsewhere. */
export const lanes: Readonly<Record<"last" | "product" | "single", number>> = { last: 8, product: 4, single: 1 };

/** Elements of int32 whose sum ONNX Runtime has exactly: in 53 bits, whatever their values. */
const exactIntegers = 2 ** 22;

/** From so many elements on their sum in float64 takes noticeable time. */
const manyElements = 2 ** 14;

/** Neighbouring axes of a tensor taken as one. */
interface Run {
  readonly size: number;
  readonly isSummed: boolean;
}

/** A tensor on the way to its sum, as few axes as possible. */
interface Sum {
  readonly value: OnnxValue;
  readonly runs: readonly Run[];
}

const shapeOf = ({ runs }: Pick<Sum, "runs">): Shape => runs.map(({ size }) => size);

const reshaped = (graph: OnnxGraph, x: OnnxValue, shape: Shape): OnnxValue =>
  graph.node("Reshape", [x, graph.integers(shape)]);

/** Axes of size 1 left out where they are not summed, and neighbours of one kind joined. */
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

/** What an op makes of float32 values in float64, rounded once at the end; of other dtypes as they are. */
export function inFloat64(
  graph: OnnxGraph,
  { dtype }: Pick<TensorType, "dtype">,
  compute: (...values: OnnxValue[]) => OnnxValue,
  ...values: readonly OnnxValue[]
): OnnxValue {
  if (dtype !== "float32") return compute(...values);
  return graph.cast(compute(...values.map((value) => graph.cast(value, "float64"))), "float32");
}

/** How many elements make one of the result. */
const elementsOf = ({ runs }: Pick<Sum, "runs">): number =>
  sizeOf(shapeOf({ runs: runs.filter(({ isSummed }) => isSummed) }));

/** How many additions in a row ReduceSum makes for one element of the result. */
function rowsOf({ runs }: Pick<Sum, "runs">): number {
  const isMiddle = runs.length === 3 && runs[1]!.isSummed;
  const rows = runs.map(({ size, isSummed }, i) => {
    if (!isSummed) return 0;
    return size / (i === runs.length - 1 ? lanes.last : isMiddle ? lanes.product : lanes.single);
  });
  return rows.reduce((total, each) => total + each, 0);
}

/** The size of blocks for `size` elements: all of them, or one that leaves no rest, or the most. */
function blockFor(size: number, most: number): number {
  if (size <= most) return size;
  for (let block = most; block >= most / 4; block--) if (size % block === 0) return block;
  return most;
}

/** Cuts an axis into blocks of equal size, and a rest. */
export function blocksOf(
  size: number,
  most: number,
): { readonly block: number; readonly count: number; readonly rest: number } {
  const block = blockFor(size, most);
  return { block, count: Math.floor(size / block), rest: size % block };
}

/** Elements of an axis from `start` up to `end`. */
export const sliced = (graph: OnnxGraph, x: OnnxValue, axis: number, start: number, end: number): OnnxValue =>
  graph.node("Slice", [x, ...[start, end, axis].map((each) => graph.integers([each]))]);

/** The positions of summed runs. */
const summedRuns = ({ runs }: Pick<Sum, "runs">): number[] => runs.flatMap(({ isSummed }, i) => (isSummed ? [i] : []));

/** The longest summed run: the one to be cut. */
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

/** The sum with a summed run cut into blocks, each added up, and what is left over behind their sums. */
function shortened(graph: OnnxGraph, sum: Sum, dtype: "float32" | "int64", at: number): Sum {
  const { value, runs } = sum;
  const { size } = runs[at]!;
  const [before, after] = [sizeOf(shapeOf({ runs: runs.slice(0, at) })), sizeOf(shapeOf({ runs: runs.slice(at + 1) }))];
  const isLast = at === runs.length - 1;
  const how = cutOf(graph, sum, dtype, at);
  const { asProduct, block, count, rest } = how;
  // Where other axes follow, a block is of elements `count` apart: what is added at once are long runs of memory.
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

/** The sum of what is left, in the shape of the result. */
function completed(graph: OnnxGraph, { value, runs }: Sum, shape: Shape): OnnxValue {
  const axes = runs.flatMap(({ isSummed }, i) => (isSummed ? [i] : []));
  const sum = reduceNode(graph, "ReduceSum", reshaped(graph, value, shapeOf({ runs })), { axes, keepDims: false });
  return reshaped(graph, sum, shape);
}

/**
 * Σ over axes. Of elements of one sign, float32 has all but 2e-6 of the sum, for 10⁷ of them and more; int32 wraps around, modulo 2³²,
 * as its other arithmetic does.
 */
export function sumNodes(graph: OnnxGraph, x: OnnxValue, type: TensorType, params: ReduceParams): OnnxValue {
  const { shape, dtype } = type;
  const sum: Sum = {
    value: x,
    runs: joined(shape.map((size, axis) => ({ size, isSummed: params.axes.includes(axis) }))),
  };
  if (sizeOf(shape) === 0) return reduceNode(graph, "ReduceSum", x, params);
  const result = reducedShape(type, params);
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

/** Every way that some sizes may want; the first is that of short sums. */
function blockWays(sum: Sum): readonly (Cuts | undefined)[] {
  const summed = summedRuns(sum);
  return [
    undefined,
    ...summed.flatMap((at) => [new Cuts([at], false), new Cuts([at], true)]),
    ...summed.flatMap((first) => summed.map((second) => new Cuts([first, second], true))),
  ];
}

/** The way for these sizes. */
function cutsFor(graph: OnnxGraph, sum: Sum): Cuts | undefined {
  if (rowsOf(sum) <= longestRow) return undefined;
  const at = longestRun(sum);
  const blocks = { runs: cutRuns(sum.runs, at, cutOf(graph, sum, "float32", at)) };
  if (rowsOf({ runs: joined(blocks.runs) }) <= fewRows) return new Cuts([at], false);
  // Where the longest run was not very long, the next one has its turn.
  const [left, all] = [sizeOf(shapeOf(blocks)), sizeOf(shapeOf(sum))];
  const isMuch = left > manyElements && left * blockRow > all;
  return new Cuts(isMuch ? [at, longestRun(blocks)] : [at], true);
}

/** ReduceSum of int32 stops at the largest number, that of int64 is exact for so many elements of int32. */
function wrappedSum(graph: OnnxGraph, { value, runs }: Sum, result: Shape): OnnxValue {
  let sum: Sum = { value: graph.cast(value, "int64"), runs };
  while (elementsOf(sum) > exactIntegers) {
    const blocks = shortened(graph, sum, "int64", longestRun(sum));
    sum = { ...blocks, value: graph.cast(graph.cast(blocks.value, "int32"), "int64") };
  }
  return graph.cast(completed(graph, sum, result), "int32");
}

/** Σ x² over all elements. */
export function sumOfSquaresNodes(graph: OnnxGraph, x: OnnxValue, type: TensorType): OnnxValue {
  const size = sizeOf(type.shape);
  const squares = (values: OnnxValue): OnnxValue => graph.node("ReduceSumSquare", [values], { keepdims: 0 });
  if (type.dtype !== "float32" || size <= longestRow * lanes.last) return squares(x);
  const { block, count, rest } = blocksOf(size, longestRow * lanes.last); //  float64 adds these up
  const part = (start: number, end: number): OnnxValue => sliced(graph, reshaped(graph, x, [size]), 0, start, end);
  const main = rest ? part(0, block * count) : x;
  // Each block times itself: ReduceSumSquare has several lanes only where it adds up everything.
  const rows = reshaped(graph, main, [count, 1, block]);
  const sums = graph.target.contrib
    ? graph.node("FusedMatMul", [rows, rows], { transB: 1 }, "com.microsoft")
    : graph.node("MatMul", [rows, reshaped(graph, main, [count, block, 1])]);
  const total = graph.node("ReduceSum", [graph.cast(sums, "float64")], { keepdims: 0 });
  if (rest === 0) return graph.cast(total, "float32");
  const left = squares(graph.cast(part(block * count, size), "float64"));
  return graph.cast(graph.node("Add", [total, left]), "float32");
}
