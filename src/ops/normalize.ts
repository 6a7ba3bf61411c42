/** Softmax and normalisation over an axis. Each is one op, because ONNX Runtime computes each in one pass. */
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
  type Sample,
  type Sampler,
} from "../graph/op.ts";
import { showShape, sizeOf, type TensorType } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { AxisParams } from "./reduce.ts";
import { sumNodes } from "./sums.ts";

/** Calls `visit` for every line along an axis, with the positions of its elements. */
function eachLine(x: Data, axis: number, visit: (positions: readonly number[]) => void): void {
  const size = x.shape[axis]!;
  const inner = sizeOf(x.shape.slice(axis + 1));
  const outer = sizeOf(x.shape.slice(0, axis));
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) visit(Array.from({ length: size }, (_, j) => (o * size + j) * inner + i));
}

/** The longest line that ONNX Runtime adds up without losing digits. */
const longestLine = 1024;

const isLong = ({ shape, dtype }: TensorType, axis: number): boolean =>
  dtype === "float32" && shape[axis]! > longestLine;

const samples = (random: Sampler): Sample<AxisParams>[] => [
  { inputs: [random.real(2, 3)], params: { axis: 1 } },
  { inputs: [random.real(2, 3, 4)], params: { axis: 1 } },
  { inputs: [random.real(1)], params: { axis: 0 } },
  { inputs: [random.real(0, 3)], params: { axis: 1 } },
];

export const softmax: Op<AxisParams> = defineOp<AxisParams>({
  name: "softmax",
  dtypes: floats,
  shape: ([x]) => x!.shape,
  // y = softmax x  ⇒  dx = y·(dy − Σ dy·y)
  gradient: (_, y, dy, { axis }) => [y.mul(dy.sub(dy.mul(y).sum(axis, { keepDims: true })))],
  onnx(graph, [x], { params: { axis }, inputTypes: [type] }) {
    const y = graph.node("Softmax", [x], { axis });
    // The sum inside Softmax may be off. The sum of the results, which should be 1, says by how much.
    return graph.choose(Number(isLong(type!, axis)), type!, [
      () => y,
      (inner) => inner.node("Div", [y, sumNodes(inner, y, type!, { axes: [axis], keepDims: true })]),
    ]);
  },
  evaluate([x], y, { axis }) {
    eachLine(x!, axis, (line) => {
      const most = Math.max(...line.map((at) => x!.values[at]!));
      const total = line.reduce((sum, at) => sum + Math.exp(x!.values[at]! - most), 0);
      for (const at of line) y.values[at] = Math.exp(x!.values[at]! - most) / total;
    });
  },
  samples,
});

export const logSoftmax: Op<AxisParams> = defineOp<AxisParams>({
  name: "logSoftmax",
  dtypes: floats,
  shape: ([x]) => x!.shape,
  // y = x − log Σ eˣ  ⇒  dx = dy − eʸ·Σ dy
  gradient: (_, y, dy, { axis }) => [dy.sub(y.exp().mul(dy.sum(axis, { keepDims: true })))],
  onnx(graph, [x], { params: { axis }, inputTypes: [type] }) {
    const y = type!.dtype === "float64" ? shiftedBack(graph, x!, axis) : graph.node("LogSoftmax", [x], { axis });
    if (!isLong(type!, axis) || graph.open) return y;
    const total = sumNodes(graph, graph.node("Exp", [y]), type!, { axes: [axis], keepDims: true });
    return graph.node("Sub", [y, graph.node("Log", [total])]);
  },
  evaluate([x], y, { axis }) {
    eachLine(x!, axis, (line) => {
      // Not x − (max + log Σ): added to a large maximum, the logarithm would lose its digits.
      const most = Math.max(...line.map((at) => x!.values[at]!));
      const total = line.reduce((sum, at) => sum + Math.exp(x!.values[at]! - most), 0);
      for (const at of line) y.values[at] = x!.values[at]! - most - Math.log(total);
    });
  },
  samples,
});

/** log softmax by its definition. ONNX Runtime's LogSoftmax for float64 does not return NaN for ∞ − ∞. */
function shiftedBack(graph: OnnxGraph, x: OnnxValue, axis: number): OnnxValue {
  const axes = graph.integers([axis]);
  const low = graph.node("Sub", [x, graph.node("ReduceMax", [x, axes])]);
  return graph.node("Sub", [low, graph.node("Log", [graph.node("ReduceSum", [graph.node("Exp", [low]), axes])])]);
}

export interface LayerNormParams {
  /** Added to the variance. */
  readonly epsilon: number;
}

/**
 * Layer normalisation over the last axis (Ba, Kiros and Hinton 2016): y = (x − μ)·r·scale + shift with r = 1/√(σ² + ε).
 * Outputs: y, μ and r. The gradient uses μ and r, which keep the last axis with size 1.
 */
export const layerNorm: Op<LayerNormParams> = register<LayerNormParams>({
  name: "layerNorm",
  type([x, scale, shift], _) {
    const dtype = commonType("layerNorm", [x!, scale!, shift!], floats);
    const width = x!.shape.at(-1);
    for (const vector of [scale!, shift!])
      if (width === undefined || vector.shape.length !== 1 || vector.shape[0] !== width)
        throw new ShapeError(
          "layerNorm",
          `x ${showShape(x!.shape)} with scale ${showShape(scale!.shape)} and shift ${showShape(shift!.shape)}`,
          "scale and shift have one element for each of x's last axis",
        );
    const kept = { shape: [...x!.shape.slice(0, -1), 1], dtype };
    return [{ shape: x!.shape, dtype }, kept, kept];
  },
  gradient({ inputs, outputs, gradients }) {
    const [x, scale] = inputs as [Tensor, Tensor];
    const [, mean, rate] = outputs as [Tensor, Tensor, Tensor];
    const [dy, dMean, dRate] = gradients;
    const width = x.shape.at(-1)!;
    const rows = sizeOf(x.shape.slice(0, -1));
    let dx: Tensor | undefined;
    let dScale: Tensor | undefined;
    let dShift: Tensor | undefined;
    if (dy) {
      // With s = Σ dy·scale·x and d = Σ dy·scale along a row, x̂ = (x − μ)·r and n the width:
      //   dx = r·(dy·scale − d/n − x̂·Σ(dy·scale·x̂)/n) = r·dy·scale + b·x + c,
      //   b = (d·μ − s)·r³/n,  c = −b·μ − d·r/n.
      // The sums are computed as products with vectors, which read dy and dy·x once and write very little.
      const flat = dy.reshape([rows, width]);
      const product = flat.mul(x.reshape([rows, width]));
      const column = scale.reshape([width, 1]);
      const s = product.matmul(column).reshape(mean.shape);
      const d = flat.matmul(column).reshape(mean.shape);
      const b = d
        .mul(mean)
        .sub(s)
        .mul(rate.mul(rate).mul(rate))
        .mul(1 / width);
      const c = b
        .mul(mean)
        .add(d.mul(rate).mul(1 / width))
        .neg();
      dx = dy.mul(scale).mul(rate).add(x.mul(b)).add(c);
      const row = (weights: Tensor): Tensor => weights.reshape([1, rows]);
      dScale = row(rate)
        .matmul(product)
        .sub(row(rate.mul(mean)).matmul(flat))
        .reshape([width]);
      dShift = flat.sum(0);
    }
    const centered = x.sub(mean); //                                        x − μ
    const plus = (part: Tensor): Tensor => (dx ? dx.add(part) : part.expand(x.shape));
    if (dMean) dx = plus(dMean.mul(1 / width)); //                          μ  = Σx / n
    if (dRate) dx = plus(centered.mul(dRate.mul(rate.pow(3)).mul(-1 / width))); //  dr = −r³·(x − μ) / n
    return [dx, dScale, dShift];
  },
  onnx(graph, { inputs, inputTypes, params: { epsilon } }) {
    const [type] = inputTypes as [TensorType];
    const axis = type.shape.length - 1;
    // A line without elements has no mean.
    if (type.shape[axis] === 0) {
      const lines = graph.integers([...type.shape.slice(0, -1), 1]);
      const none = graph.node("Expand", [graph.constant(type.dtype, [], [Number.NaN]), lines]);
      return [inputs[0]!, none, none];
    }
    if (type.dtype === "float32" && !isLong(type, axis))
      return graph.nodes("LayerNormalization", inputs, 3, { axis, epsilon: { float: epsilon } });
    // ONNX Runtime's LayerNormalization gives μ and r in float32 even for float64, and loses digits in long float32 lines. In these two
    // cases the definition is written out.
    const [x, scale, shift] = inputs as [OnnxValue, OnnxValue, OnnxValue];
    const scalar = (value: number): OnnxValue => graph.constant(type.dtype, [], [value]);
    const meanOf = (values: OnnxValue): OnnxValue =>
      graph.node("Mul", [
        sumNodes(graph, values, type, { axes: [axis], keepDims: true }),
        scalar(1 / type.shape[axis]!),
      ]);
    const mean = meanOf(x);
    const centered = graph.node("Sub", [x, mean]);
    const variance = meanOf(graph.node("Mul", [centered, centered]));
    const rate = graph.node("Reciprocal", [graph.node("Sqrt", [graph.node("Add", [variance, scalar(epsilon)])])]);
    const normal = graph.node("Mul", [centered, rate]);
    return [graph.node("Add", [graph.node("Mul", [normal, scale]), shift]), mean, rate];
  },
  evaluate([x, scale, shift], [y, mean, rate], { epsilon }) {
    const width = x!.shape.at(-1)!;
    for (let row = 0; row < mean!.values.length; row++) {
      const line = x!.values.subarray(row * width, (row + 1) * width);
      const mu = line.reduce((sum, value) => sum + value, 0) / width;
      const variance = line.reduce((sum, value) => sum + (value - mu) ** 2, 0) / width;
      mean!.values[row] = mu;
      rate!.values[row] = 1 / Math.sqrt(variance + epsilon);
      for (let i = 0; i < width; i++)
        y!.values[row * width + i] = (line[i]! - mu) * rate!.values[row]! * scale!.values[i]! + shift!.values[i]!;
    }
  },
  samples: (random) => [
    { inputs: [random.real(2, 4), random.real(4), random.real(4)], params: { epsilon: 1e-5 } },
    { inputs: [random.real(2, 3, 5), random.positive(5), random.real(5)], params: { epsilon: 1e-3 } },
    { inputs: [random.real(2, 0), random.real(0), random.real(0)], params: { epsilon: 1e-5 } },
  ],
});
