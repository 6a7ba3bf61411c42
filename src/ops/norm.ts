/** The length of vectors. It overflows or becomes 0 only where the result itself does. */
import { defineOp, floats, type OnnxGraph, type OnnxValue, type Op } from "../graph/op.ts";
import { sameShape, sizeOf, type TensorType } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { chosen } from "./arithmetic.ts";
import { zeros } from "./convolution.ts";
import { reducedPosition } from "./reduce.ts";
import { type ReduceParams, reducedShape, reduceNode, sumNodes, sumOfSquaresNodes } from "./sums.ts";

export interface NormParams extends ReduceParams {
  /** p of (Σ|x|ᵖ)^(1/p): finite, not 0. */
  readonly order: number;
}

/** (Σ|x|ᵖ)^(1/p) over axes. Its gradient is 0 for a vector of zeros, and for elements of 0. */
export const norm: Op<NormParams> = defineOp<NormParams>({
  name: "norm",
  dtypes: floats,
  shape: ([x], params) => reducedShape(x!, params),
  gradient([x], y, dy, params) {
    // y = (Σ|x|ᵖ)^(1/p)  ⇒  dx = dy·sign x·(|x| / y)^(p − 1). For p = 2 this is dy·x / y. In this form no power leaves the range of y.
    const kept = reducedShape(x!, { ...params, keepDims: true });
    const isNothing = y.equal(0);
    // For a vector of zeros the length counts as infinite, which makes its gradient 0.
    if (params.order === 2) {
      const length = chosen(isNothing, everywhere(y, Number.POSITIVE_INFINITY), y);
      return [x!.div(length.reshape(kept)).mul(dy.reshape(kept))];
    }
    const length = chosen(isNothing, everywhere(y, 1), y).reshape(kept);
    const slope = chosen(isNothing, dy.mul(0), dy).reshape(kept);
    const ratio = chosen(x!.equal(0), everywhere(x!, 1), x!.abs().div(length));
    return [
      ratio
        .pow(params.order - 1)
        .mul(x!.sign())
        .mul(slope),
    ];
  },
  onnx(graph, [x], { params, inputTypes: [type], outputTypes: [output] }) {
    if (params.axes.length === 0) return graph.node("Abs", [x]);
    if (sizeOf(output!.shape) === 0) return zeros(graph, output!);
    const width = widthOf(type!, params);
    const isKernel = graph.target.kernels && type!.dtype === "float32" && width > 0;
    if (isKernel && params.order === 2) return graph.lengths(x!, width, output!.shape);
    const length = (params.order === 2 ? euclidean : scaled)(graph, x!, type!, params);
    const computed = isTotal(type!, params) ? [] : reducedShape(type!, { ...params, keepDims: true });
    return sameShape(computed, output!.shape) ? length : graph.node("Reshape", [length, graph.integers(output!.shape)]);
  },
  evaluate([x], y, { axes, order }) {
    const at = reducedPosition(x!.shape, axes);
    const vectors = Array.from(y.values, (): number[] => []);
    x!.values.forEach((value, i) => vectors[at(i)]!.push(Math.abs(value)));
    vectors.forEach((sizes, i) => (y.values[i] = normOf(sizes, order)));
  },
  samples: (random) => [
    { inputs: [random.real(2, 3)], params: { axes: [1], keepDims: false, order: 2 } },
    { inputs: [random.real(4, 2, 3)], params: { axes: [0, 2], keepDims: true, order: 2 } },
    { inputs: [random.real(2, 3)], params: { axes: [0, 1], keepDims: false, order: 3 } },
    { inputs: [random.real(3, 4)], params: { axes: [1], keepDims: false, order: -1 } },
    { inputs: [random.real(3, 4)], params: { axes: [0], keepDims: false, order: 0.5 } },
    { inputs: [random.real()], params: { axes: [], keepDims: false, order: 2 } },
    { inputs: [random.real(2, 0)], params: onLast },
    { inputs: [random.real(0, 3)], params: onLast },
    { inputs: [random.real(3, 0)], params: { axes: [0], keepDims: false, order: 2 } },
    { inputs: [random.real(2, 0, 3)], params: { axes: [0, 2], keepDims: true, order: 3 } },
  ],
});

const onLast: NormParams = { axes: [1], keepDims: false, order: 2 };

const everywhere = (x: Tensor, value: number): Tensor => x.scalar(value).expand(x.shape);

/** Returns the norm, computed with all sizes divided by the one that counts most: the largest, or for a negative order the smallest. */
function normOf(sizes: readonly number[], order: number): number {
  const most = order > 0 ? Math.max : Math.min;
  const largest = sizes.reduce((a, b) => most(a, b), order > 0 ? 0 : Number.POSITIVE_INFINITY);
  const unit = largest > 0 && largest < Number.POSITIVE_INFINITY ? largest : 1;
  const total = sizes.reduce((sum, size) => sum + (size / unit) ** order, 0);
  return unit * (order === 2 ? Math.sqrt(total) : total ** (1 / order));
}

/**
 * The range of sums of squares, `low` to `high`, in which no square that matters overflowed or became 0; and a power of two that scales
 * other vectors so that their sums are in this range.
 */
const ranges = {
  float32: { low: 1e-24, high: 1e38, power: 2 ** 80 },
  float64: { low: 1e-280, high: 1e300, power: 2 ** 600 },
} as const;

/** Whether all elements together are one vector. */
const isTotal = ({ shape }: TensorType, { axes }: Pick<NormParams, "axes">): boolean => axes.length === shape.length;

/** Returns the number of elements in a row if the axes are the last ones, so that each row is a vector; 0 otherwise. */
const widthOf = ({ shape }: TensorType, { axes }: NormParams): number =>
  axes.every((axis) => axis >= shape.length - axes.length) ? sizeOf(shape.slice(shape.length - axes.length)) : 0;

/**
 * Writes nodes for √Σx². Where a sum of squares is out of range, it is computed again, with x scaled. Reduced axes stay, unless all are
 * reduced.
 */
function euclidean(graph: OnnxGraph, x: OnnxValue, type: TensorType, { axes }: NormParams): OnnxValue {
  const isScalar = isTotal(type, { axes });
  const params = { axes, keepDims: !isScalar };
  const kept = { ...type, shape: reducedShape(type, params) };
  const { low, high, power } = ranges[kept.dtype as keyof typeof ranges];
  const sumOfSquares = (branch: OnnxGraph, of: OnnxValue): OnnxValue =>
    isScalar ? sumOfSquaresNodes(branch, of, type) : sumNodes(branch, branch.node("Mul", [of, of]), type, params);
  const squares = sumOfSquares(graph, x);
  if (sizeOf(kept.shape) === 0) return squares;
  const scalar = (on: OnnxGraph, value: number): OnnxValue => on.constant(kept.dtype, [], [value]);
  const limited = (): OnnxValue => graph.node("Clip", [squares, scalar(graph, low), scalar(graph, high)]);
  const haveRoom = (): OnnxValue => {
    const [smallest, largest] = ["ReduceMin", "ReduceMax"].map((type) => graph.node(type, [squares], { keepdims: 0 }));
    return graph.node("And", [
      graph.node("GreaterOrEqual", [smallest, scalar(graph, low)]),
      graph.node("LessOrEqual", [largest, scalar(graph, high)]),
    ]);
  };
  const hasRoom = isScalar ? graph.node("Equal", [squares, limited()]) : haveRoom();
  const careful = (branch: OnnxGraph): OnnxValue[] => {
    const isSmall = branch.node("Less", [squares, scalar(branch, low)]);
    const isLarge = branch.node("Greater", [squares, scalar(branch, high)]);
    const down = branch.node("Where", [isLarge, scalar(branch, 1 / power), scalar(branch, 1)]);
    const unit = branch.node("Where", [isSmall, scalar(branch, power), down]);
    const again = sumOfSquares(branch, branch.node("Mul", [x, unit]));
    return [branch.node("Div", [branch.node("Sqrt", [again]), unit])];
  };
  return graph.nodes("If", [hasRoom], 1, {
    then_branch: graph.subgraph([], [kept], (branch) => [branch.node("Sqrt", [squares])]),
    else_branch: graph.subgraph([], [kept], careful),
  })[0]!;
}

/** Writes nodes for (Σ|x|ᵖ)^(1/p), with all sizes divided by the one that counts most. The result has the shape that `euclidean` gives. */
function scaled(graph: OnnxGraph, x: OnnxValue, type: TensorType, { axes, order }: NormParams): OnnxValue {
  const params = { axes, keepDims: !isTotal(type, { axes }) };
  const kept = { ...type, shape: reducedShape(type, params) };
  const scalar = (value: number): OnnxValue => graph.constant(kept.dtype, [], [value]);
  const size = graph.node("Abs", [x]);
  const most =
    sizeOf(kept.shape) === 0 ? scalar(1) : reduceNode(graph, order > 0 ? "ReduceMax" : "ReduceMin", size, params);
  const isBounded = graph.node("Less", [most, scalar(Number.POSITIVE_INFINITY)]);
  const isUnit = graph.node("And", [graph.node("Greater", [most, scalar(0)]), isBounded]);
  const unit = graph.node("Where", [isUnit, most, scalar(1)]);
  const powers = graph.node("Pow", [graph.node("Div", [size, unit]), scalar(order)]);
  const total = sumNodes(graph, powers, type, params);
  return graph.node("Mul", [graph.node("Pow", [total, scalar(1 / order)]), unit]);
}
