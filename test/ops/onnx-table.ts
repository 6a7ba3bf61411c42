/** ONNX's ops written with Glissade's: the left side of the comparison in onnx-node-tests.test.ts. */
import { GraphProgram } from "../../src/compile/program.ts";
import { applyAll } from "../../src/graph/apply.ts";
import { collect, type StoredValues } from "../../src/graph/node.ts";
import { type DType, resolveAxis, sizeOf, stridesOf } from "../../src/graph/types.ts";
import {
  arange,
  concat,
  crossEntropy,
  dropout,
  einsum,
  fromValues,
  full,
  functional,
  negativeLogLikelihood,
  plainEngine,
  scan,
  type Tensor,
  where,
} from "../../src/index.ts";
import { hardSigmoid } from "../../src/ops/activations.ts";
import { layerNorm } from "../../src/ops/normalize.ts";
import { maxPoolPositions, type PoolParams } from "../../src/ops/pooling.ts";
import { averaged } from "../../src/tensor/average.ts";
import { classesLast, widened } from "../support/oracle.ts";

// biome-ignore lint/suspicious/noExplicitAny: ONNX's ops take what they take; the fixture says what.
type Any = any;
/** Inputs of a node, undefined where one is absent; its attributes, tensors among them; how many outputs it has. */
export type Written = (
  inputs: readonly Any[],
  attributes: Readonly<Record<string, Any>>,
  outputs: number,
) => Tensor | readonly Tensor[];

/** Values by which a graph is built, such as an axis or a shape, also where ONNX's graph computes them. */
function numbersOf(x: Tensor): number[] {
  const leaves = collect([x]).filter(({ source }) => source !== undefined);
  const values = leaves.map(({ source }) => Float64Array.from((source as { storage: StoredValues }).storage.values!));
  return [...new GraphProgram(leaves, [x], plainEngine().target).evaluate(values)[0]!];
}
const numberOf = (x: Tensor | undefined): number | undefined => x && numbersOf(x)[0];
const integers = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor =>
  fromValues(Int32Array.from(values), shape);

/** ONNX's numbers for element types; int64 is int32 here. */
const dtypes: Readonly<Record<number, DType>> = { 1: "float32", 6: "int32", 7: "int32", 9: "bool", 11: "float64" };
function dtypeOf(number: number): DType {
  const dtype = dtypes[number];
  if (!dtype) throw new Error(`no dtype for ONNX's number ${number}`);
  return dtype;
}

const method =
  (name: string): Written =>
  ([x]) =>
    x[name]();
/** A method of two tensors or more, both sides widened. */
const fold =
  (name: string): Written =>
  (inputs) =>
    widened(...inputs).reduce((a: Any, b) => a[name](b));
const reduction =
  (f: (x: Any, axes: readonly number[] | undefined, options: { keepDims: boolean }) => Tensor): Written =>
  ([x, given], { axes = given && numbersOf(given), keepdims = 1, noop_with_empty_axes = 0 }) => {
    const isNone = axes === undefined || axes.length === 0;
    return f(x, isNone && !noop_with_empty_axes ? undefined : (axes ?? []), { keepDims: keepdims === 1 });
  };
const position =
  (name: "argmax" | "argmin"): Written =>
  ([x], { axis = 0, keepdims = 1, select_last_index = 0 }) => {
    const y = select_last_index
      ? x
          .flip(axis)
          [name](axis)
          .neg()
          .add(x.shape.at(axis) - 1)
      : x[name](axis);
    return keepdims ? y.unsqueeze(resolveAxis(name, axis, x.shape.length)) : y;
  };
/** The last axis moved to a place. */
const placed = (x: Any, axis: number): Tensor => {
  const order = [...x.shape.keys()].slice(0, -1);
  order.splice(resolveAxis("axis", axis, x.shape.length), 0, x.shape.length - 1);
  return x.transpose(...order);
};
/** Positions that may count from the end. */
const counted = (indices: Any, size: number): Any => indices.remainder(size);
/** Rows of numbers, one for each of the first axes of a shape, as positions among all the places that these axes have. */
const places = (indices: Any, shape: readonly number[]): Any =>
  indices
    .remainder(integers(shape))
    .mul(integers(stridesOf(shape)))
    .sum(-1);

interface Windows {
  readonly strides?: readonly number[];
  readonly dilations?: readonly number[];
  readonly pads?: readonly number[];
  readonly auto_pad?: string;
  readonly ceil_mode?: number;
}
const ones = (axes: number): number[] => Array(axes).fill(1);
const halves = (total: number, isUpper: boolean): [number, number] => {
  const [less, more] = [Math.floor(total / 2), Math.ceil(total / 2)];
  return isUpper ? [less, more] : [more, less];
};
/** Stride, dilation and padding; a window that may hang over the end (ceil_mode) is one that sees more padding there. */
function windows(x: Tensor, kernel: readonly number[], given: Windows) {
  const { strides = ones(kernel.length), dilations = ones(kernel.length), auto_pad = "NOTSET" } = given;
  const padding = kernel.map((size, i): [number, number] => {
    const [space, stride] = [x.shape[i + 2]!, strides[i]!];
    const span = (size - 1) * dilations[i]! + 1;
    if (auto_pad.startsWith("SAME"))
      return halves(Math.max(0, (Math.ceil(space / stride) - 1) * stride + span - space), auto_pad === "SAME_UPPER");
    const [before, after] = given.pads ? [given.pads[i]!, given.pads[i + kernel.length]!] : [0, 0];
    const rest = (space + before + after - span) % stride;
    return [before, after + (given.ceil_mode && rest > 0 ? stride - rest : 0)];
  });
  return { stride: strides, dilation: dilations, padding };
}

const lossOptions = (weights: Tensor | undefined, { reduction: how = "mean", ignore_index }: Any): Any => ({
  reduction: how,
  ...(weights && { weights }),
  ...(ignore_index !== undefined && { ignore: ignore_index }),
});

/** A recurrent layer in one direction: `cell` takes W·xₜ + b and the states, of which the first is the output. */
const recurrent =
  (
    gates: number,
    states: number,
    cell: (wx: Any, states: readonly Any[], weights: { r: Any; rb: Any; p: Any }) => readonly Tensor[],
  ): Written =>
  ([x, w, r, b, lengths, h0, c0, p], { hidden_size: size, layout = 0 }) => {
    const xs = layout ? x.swapAxes(0, 1) : x;
    if (lengths && numbersOf(lengths).some((length) => length !== xs.shape[0]))
      throw new Error("sequences that end early");
    const bias = b ?? full([1, 2 * gates * size], 0);
    const [wb, rb] = bias.reshape([2 * gates * size]).split([gates * size, gates * size]);
    const init = [h0, c0].slice(0, states).map((start) => start?.squeeze(0) ?? full([xs.shape[1], size], 0));
    const weights = { r: r.squeeze(0).mT(), rb, p: p?.reshape([-1]) };
    const { state, outputs } = scan(
      (before: Tensor[], xt: Any) => {
        const after = cell(xt.matmul(w.squeeze(0).mT()).add(wb), before, weights);
        return [[...after], after[0]!];
      },
      { init, xs },
    ) as { state: Any[]; outputs: Any };
    const [y, last] = [outputs.unsqueeze(1), state[0].unsqueeze(0)];
    return layout ? [y.transpose(2, 0, 1, 3), last.swapAxes(0, 1)] : [y, last];
  };
const parts = (x: Any, count: number): Any[] => x.split(Array(count).fill(x.shape.at(-1) / count));

/** Nearest neighbours for whole factors; the exclusions see to it that they are whole. */
const enlarged = (x: Any, scales: readonly number[]): Tensor =>
  scales.reduce((y, scale, axis) => (scale === 1 ? y : y.repeat(scale, axis)), x);

/** A window of a signal: Σ aₖ·cos(2πkn/N). */
const cosines =
  (...amplitudes: readonly number[]): Written =>
  ([length], { periodic = 1 }) => {
    const size = numberOf(length)!;
    const turn = (arange(size).cast("float32") as Any).mul((2 * Math.PI) / (periodic ? size : size - 1));
    return amplitudes.map((a, k) => turn.mul(k).cos().mul(a)).reduce((sum, part) => sum.add(part));
  };

const scattered: Written = ([x, indices, updates], { axis = 0, reduction: how = "none" }) =>
  x.scatter(counted(indices, x.shape.at(axis)), updates, axis, { reduction: how });

export const table: Readonly<Record<string, Written>> = {
  ...Object.fromEntries(
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Erf Exp Floor Log Neg Not Reciprocal Relu Round Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh"
      .split(" ")
      .map((name) => [name, method(name.toLowerCase())]),
  ),
  ...Object.fromEntries(
    "Add Sub Mul Div Equal Greater Less And Or Xor".split(" ").map((name) => [name, fold(name.toLowerCase())]),
  ),
  HardSwish: method("hardSwish"),
  IsNaN: method("isNaN"),
  Identity: method("detach"),
  GreaterOrEqual: fold("greaterEqual"),
  LessOrEqual: fold("lessEqual"),
  Max: fold("maximum"),
  Min: fold("minimum"),
  Sum: fold("add"),
  Mean: (inputs, ...rest) => (fold("add")(inputs, ...rest) as Tensor).mul(1 / inputs.length),
  Mod: (inputs, { fmod = 0 }, outputs) => fold(fmod ? "fmod" : "remainder")(inputs, {}, outputs),
  BitShift: (inputs, { direction }, outputs) =>
    fold(direction === "LEFT" ? "shiftLeft" : "shiftRight")(inputs, {}, outputs),
  Pow([x, y]) {
    // Ours takes floats of one dtype, ONNX's a base and an exponent of any.
    const float = x.dtype === "int32" ? "float32" : x.dtype;
    return (fold("pow")([x.cast(float), y.cast(float)], {}, 1) as Tensor).cast(x.dtype);
  },
  IsInf: ([x], { detect_positive = 1, detect_negative = 1 }) => {
    const isSide = detect_positive ? (detect_negative ? undefined : x.greater(0)) : x.less(0);
    return isSide ? x.isInf().and(isSide) : x.isInf();
  },
  Where: ([condition, a, b]) => where(...(widened(condition, a, b) as [Any, Any, Any])),
  Clip: ([x, min, max]) => x.clip(numberOf(min), numberOf(max)),
  Cast: ([x], { to }) => x.cast(dtypeOf(to)),
  CastLike: ([x, like]) => x.cast(like.dtype),

  // Activations
  Elu: ([x], { alpha = 1 }) => x.elu(alpha),
  Celu: ([x], { alpha = 1 }) => x.celu(alpha),
  Selu: ([x], { alpha, gamma }) => (alpha === undefined ? x.selu() : x.elu(alpha).mul(gamma)),
  LeakyRelu: ([x], { alpha = 0.01 }) => x.leakyRelu(alpha),
  PRelu: ([x, slope]) => x.prelu(slope),
  ThresholdedRelu: ([x], { alpha = 1 }) => x.threshold(alpha, 0),
  HardSigmoid: ([x], { alpha = 0.2, beta = 0.5 }) => x.apply(hardSigmoid, [], { slope: alpha, offset: beta }),
  Shrink([x], { lambd = 0.5, bias = 0 }) {
    // What is left is moved by the bias; ours by 0 or by λ.
    if (bias !== 0 && bias !== lambd) throw new Error("a bias that is neither 0 nor λ");
    return bias === 0 ? x.hardShrink(lambd) : x.softShrink(lambd);
  },
  Softmax: ([x], { axis = -1 }) => x.softmax(axis),
  LogSoftmax: ([x], { axis = -1 }) => x.logSoftmax(axis),
  Hardmax: ([x], { axis = -1 }) => placed(x.argmax(axis).oneHot(x.shape.at(axis)), axis),
  Dropout([x, ratio, training], { ratio: old = 0.5 }, outputs) {
    const layer = dropout(numberOf(ratio) ?? old);
    if (!numberOf(training)) layer.eval();
    const isKept = (): Tensor => layer(full(x.shape, 1)).cast("bool") as Tensor;
    return outputs === 1 ? layer(x) : [layer(x), isKept()];
  },

  // Reductions
  ReduceSum: reduction((x, ...rest) => x.sum(...rest)),
  ReduceMean: reduction((x, ...rest) => x.mean(...rest)),
  ReduceMax: reduction((x, ...rest) => x.max(...rest)),
  ReduceMin: reduction((x, ...rest) => x.min(...rest)),
  ReduceProd: reduction((x, ...rest) => x.prod(...rest)),
  ReduceL1: reduction((x, axes, options) => x.norm(axes, { ...options, order: 1 })),
  ReduceL2: reduction((x, ...rest) => x.norm(...rest)),
  ReduceLogSum: reduction((x, ...rest) => x.sum(...rest).log()),
  ReduceLogSumExp: reduction((x, ...rest) => x.logSumExp(...rest)),
  ReduceSumSquare: reduction((x, ...rest) => x.square().sum(...rest)),
  ArgMax: position("argmax"),
  ArgMin: position("argmin"),
  CumSum: ([x, axis], { exclusive = 0, reverse = 0 }) =>
    x.cumsum(numberOf(axis), { exclusive: exclusive === 1, reverse: reverse === 1 }),

  // Products
  MatMul: ([a, b]) => a.matmul(b),
  Gemm([a, b, c], { alpha = 1, beta = 1, transA = 0, transB = 0 }) {
    const y = (transA ? a.mT() : a).matmul(transB ? b.mT() : b).mul(alpha);
    return c ? y.add(c.mul(beta)) : y;
  },
  Einsum: (inputs, { equation }) => einsum(equation, ...inputs) as Tensor,

  // Movement
  Concat: (inputs, { axis }) => concat(inputs, axis),
  Split: ([x, sizes], { axis = 0 }, outputs) =>
    x.split(sizes ? numbersOf(sizes) : Array(outputs).fill(x.shape.at(axis) / outputs), axis),
  Flatten: ([x], { axis = 1 }) => x.reshape([sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]),
  Reshape: ([x, shape], { allowzero = 0 }) =>
    x.reshape(numbersOf(shape).map((size, axis) => (size === 0 && !allowzero ? x.shape[axis] : size))),
  Squeeze: ([x, given], { axes = given && numbersOf(given) }) => x.squeeze(axes),
  Unsqueeze: ([x, given], { axes = numbersOf(given) }) =>
    axes
      .map((axis: number) => resolveAxis("Unsqueeze", axis, x.shape.length + axes.length))
      .sort((a: number, b: number) => a - b)
      .reduce((y: Any, axis: number) => y.unsqueeze(axis), x),
  Transpose: ([x], { perm = [] }) => x.transpose(...perm),
  Expand: ([x, shape]) => widened(x, full(numbersOf(shape), 0))[0]!,
  Tile: ([x, counts]) => x.tile(numbersOf(counts)),
  Slice([x, starts, ends, axes, steps]) {
    const [from, to] = [numbersOf(starts), numbersOf(ends)];
    const by = steps ? numbersOf(steps) : from.map(() => 1);
    const cut: Any[] = x.shape.map(() => null);
    (axes ? numbersOf(axes) : [...from.keys()]).forEach((axis, i) => {
      cut[resolveAxis("Slice", axis, x.shape.length)] = [from[i], to[i], by[i]];
    });
    return x.slice(...cut);
  },
  Pad([x, pads, value], { mode = "constant" }) {
    const all = numbersOf(pads);
    const widths = x.shape.map((_: number, axis: number) => [all[axis], all[axis + x.shape.length]]);
    return x.pad(widths, { mode, value: numberOf(value) ?? 0 });
  },
  DepthToSpace([x], { blocksize: b, mode = "DCR" }) {
    const [n, c, h, w] = x.shape;
    const depth = c / (b * b);
    const blocks =
      mode === "DCR"
        ? x.reshape([n, b, b, depth, h, w]).transpose(0, 3, 4, 1, 5, 2)
        : x.reshape([n, depth, b, b, h, w]).transpose(0, 1, 4, 2, 5, 3);
    return blocks.reshape([n, depth, h * b, w * b]);
  },
  SpaceToDepth([x], { blocksize: b }) {
    const [n, c, h, w] = x.shape;
    return x
      .reshape([n, c, h / b, b, w / b, b])
      .transpose(0, 3, 5, 1, 2, 4)
      .reshape([n, c * b * b, h / b, w / b]);
  },
  Trilu: ([x, k], { upper = 1 }) => (upper ? x.triu(numberOf(k)) : x.tril(numberOf(k))),
  Resize: ([x, _region, scales]) => enlarged(x, numbersOf(scales)),
  Upsample: ([x, scales]) => enlarged(x, numbersOf(scales)),

  // Indexing
  Gather: ([x, indices], { axis = 0 }) => x.take(counted(indices, x.shape.at(axis)), axis),
  GatherElements: ([x, indices], { axis = 0 }) => x.gather(counted(indices, x.shape.at(axis)), axis),
  GatherND([x, indices], { batch_dims: b = 0 }) {
    const end = b + indices.shape.at(-1);
    const [lead, inner] = [x.shape.slice(0, b), x.shape.slice(b, end)];
    const at = places(indices, inner);
    const [batches, size] = [sizeOf(lead), sizeOf(inner)];
    const first = arange(batches)
      .mul(size)
      .reshape([...lead, ...ones(at.shape.length - b)]);
    return x.reshape([batches * size, ...x.shape.slice(end)]).take(at.add(first));
  },
  Scatter: scattered,
  ScatterElements: scattered,
  ScatterND([x, indices, updates], { reduction: how = "none" }) {
    const depth = indices.shape.at(-1);
    const [outer, inner] = [x.shape.slice(0, depth), sizeOf(x.shape.slice(depth))];
    const at = places(indices, outer).reshape([-1, 1]);
    return x
      .reshape([sizeOf(outer), inner])
      .scatter(at.expand([at.size, inner]), updates.reshape([at.size, inner]), 0, { reduction: how })
      .reshape(x.shape);
  },
  OneHot([indices, depth, values], { axis = -1 }) {
    const [size, [off, on]] = [numberOf(depth)!, numbersOf(values) as [number, number]];
    const hot = counted(indices.cast("int32"), size).oneHot(size).cast(values.dtype);
    return placed(hot.mul(on - off).add(off), axis);
  },
  TopK: ([x, k], { axis = -1, largest = 1 }) => x.topK(numberOf(k), axis, { smallest: largest === 0 }),
  ReverseSequence([x, lengths], { batch_axis = 1, time_axis = 0 }) {
    const along = (y: Any, axis: number): Any => y.reshape(x.shape.map((n: number, i: number) => (i === axis ? n : 1)));
    const [t, length] = widened(along(arange(x.shape[time_axis]), time_axis), along(lengths, batch_axis)) as [Any, Any];
    const from = where(t.less(length), length.sub(1).sub(t), t);
    return x.gather((from as Any).expand(x.shape), time_axis);
  },

  // Creation
  Constant: (_, { value, value_int }) => value ?? integers([value_int], []),
  ConstantOfShape: ([shape], { value }) =>
    full(numbersOf(shape), numberOf(value) ?? 0, value?.dtype ?? "float32") as Tensor,
  EyeLike: ([x], { dtype, k = 0 }) =>
    (full(x.shape, 1, dtype === undefined ? x.dtype : dtypeOf(dtype)) as Tensor).triu(k).tril(k),
  Range: ([start, limit, delta]) =>
    arange(numberOf(start)!, numberOf(limit)!, numberOf(delta), start.dtype) as unknown as Tensor,
  Shape: ([x], { start, end }) => integers(x.shape.slice(start, end)),
  Size: ([x]) => integers([x.size], []),

  HannWindow: cosines(0.5, -0.5),
  HammingWindow: cosines(25 / 46, -21 / 46),
  BlackmanWindow: cosines(0.42, -0.5, 0.08),

  // Normalisation and losses
  BatchNormalization([x, scale, shift, mean, variance], { epsilon = 1e-5, momentum = 0.9, training_mode = 0 }) {
    if (!training_mode) return functional.batchNorm(x, mean, variance, scale, shift, epsilon) as Tensor;
    const batch = functional.batchNormInTraining(x, scale, shift, epsilon) as Any;
    return [batch.y, averaged(mean, batch.mean, momentum), averaged(variance, batch.variance, momentum)];
  },
  InstanceNormalization: ([x, scale, shift], { epsilon = 1e-5 }) =>
    functional.groupNorm(x, x.shape[1], scale, shift, epsilon) as Tensor,
  LayerNormalization([x, scale, shift], { axis = -1, epsilon = 1e-5 }) {
    const at = resolveAxis("LayerNormalization", axis, x.shape.length);
    const [lead, width] = [x.shape.slice(0, at), sizeOf(x.shape.slice(at))];
    const vectors = [scale, shift].map((each) => each.reshape([width]));
    const [y, ...statistics] = applyAll(layerNorm, [x.reshape([...lead, width]), ...vectors], { epsilon });
    const kept = [...lead, ...ones(x.shape.length - at)];
    return [y!.reshape(x.shape), ...statistics.map((each) => each.reshape(kept))];
  },
  MeanVarianceNormalization([x], { axes = [0, 2, 3] }) {
    const spread = x.std(axes, { keepDims: true });
    return x.sub(x.mean(axes, { keepDims: true })).div(spread.add(1e-9));
  },
  LRN([x], { size, alpha = 1e-4, beta = 0.75, bias = 1 }) {
    const [n, c, ...space] = x.shape;
    // The mean over neighbouring channels is that of windows on [channels, places].
    const squares = functional.avgPool(x.square().reshape([n, 1, c, sizeOf(space)]), {
      kernel: [size, 1],
      stride: 1,
      padding: [halves(size - 1, true), [0, 0]],
    }) as Any;
    return x.div(squares.mul(alpha).add(bias).pow(beta).reshape(x.shape));
  },
  NegativeLogLikelihoodLoss: ([x, labels, weights], attributes) =>
    negativeLogLikelihood(classesLast(x) as Any, labels, lossOptions(weights, attributes)) as Tensor,
  SoftmaxCrossEntropyLoss: ([x, labels, weights], attributes) => [
    crossEntropy(classesLast(x) as Any, labels, lossOptions(weights, attributes)) as Tensor,
    x.logSoftmax(1),
  ],

  // Convolution and pooling
  Conv: ([x, w, bias], { group = 1, ...given }) =>
    functional.conv(x, w as never, {
      ...windows(x, w.shape.slice(2), given),
      groups: group,
      ...(bias && { bias }),
    }) as Tensor,
  ConvTranspose([x, w, bias], { group = 1, output_shape, output_padding, ...given }) {
    const kernel = w.shape.slice(2);
    const { stride, dilation, padding } = windows(x, kernel, { ...given, auto_pad: "NOTSET" });
    const more: number[] = [...(output_padding ?? kernel.map(() => 0))];
    const pads = padding.map((pair, i): [number, number] => {
      const [space, step] = [x.shape[i + 2], stride[i]!];
      const isSame = given.auto_pad?.startsWith("SAME");
      if (!output_shape && !isSame) return pair;
      const size = output_shape ? output_shape[i] : space * step;
      const total = step * (space - 1) + more[i]! + (kernel[i] - 1) * dilation[i]! + 1 - size;
      if (total < 0) more[i]! -= total;
      return halves(Math.max(0, total), given.auto_pad === "SAME_UPPER");
    });
    return functional.convTranspose(x, w, {
      stride,
      dilation,
      padding: pads,
      outputPadding: more,
      groups: group,
      ...(bias && { bias }),
    });
  },
  AveragePool: ([x], { kernel_shape: kernel, count_include_pad = 0, ...given }) =>
    functional.avgPool(x, { kernel, ...windows(x, kernel, given), countPadding: count_include_pad === 1 }) as Tensor,
  MaxPool([x], { kernel_shape: kernel, storage_order = 0, ...given }, outputs) {
    const params = { kernel, ...windows(x, kernel, given) } satisfies PoolParams;
    const y = functional.maxPool(x, params) as Tensor;
    if (outputs === 1) return y;
    const at = x.apply(maxPoolPositions, [], params) as Any;
    if (storage_order === 0) return [y, at];
    const [rows, columns] = x.shape.slice(-2);
    const [inside, column] = [at.remainder(rows * columns), at.remainder(columns)];
    return [y, at.sub(inside).add(column.mul(rows)).add(inside.floorDivide(columns))];
  },
  MaxUnpool([x, indices, shape], { kernel_shape: kernel, strides = ones(kernel.length), pads }) {
    const { padding } = windows(x, kernel, { pads });
    const space = kernel.map((size: number, i: number) => {
      const [before, after] = padding[i]!;
      return (x.shape[i + 2] - 1) * strides[i] + size - before - after;
    });
    const whole = [...x.shape.slice(0, 2), ...space];
    const y = full([sizeOf(whole)], 0)
      .scatter(indices.reshape([-1]), x.reshape([-1]), 0)
      .reshape(whole);
    // The indices are those of the usual size; what is more lies at the end.
    return shape ? y.pad(numbersOf(shape).map((size, axis) => [0, size - whole[axis]!])) : y;
  },
  GlobalAveragePool: ([x]) =>
    functional.globalAvgPool(x).reshape([...x.shape.slice(0, 2), ...ones(x.shape.length - 2)]),
  GlobalMaxPool: ([x]) => x.max([...x.shape.keys()].slice(2), { keepDims: true }),

  // Recurrence
  Scan(inputs, { body, num_scan_inputs: sequences }) {
    // The first versions had an axis for the batch, and the lengths of its sequences before the states.
    const isOld = inputs[0] === undefined;
    const given = isOld ? inputs.slice(1).map((x) => x.squeeze(0)) : inputs;
    const states = given.length - sequences;
    const { state, outputs } = scan(
      (before: Tensor[], slices: Any) => {
        const results = body(...before, ...slices);
        return [results.slice(0, states), results.slice(states)];
      },
      { init: given.slice(0, states), xs: given.slice(states) },
    ) as { state: Tensor[]; outputs: Any };
    return [...state, ...outputs].map((y) => (isOld ? y.unsqueeze(0) : y));
  },
  RNN: recurrent(1, 1, (wx, [h], { r, rb }) => [wx.add(h.matmul(r)).add(rb).tanh()]),
  GRU: recurrent(3, 1, (wx, [h], { r, rb }) => {
    const [wz, wr, wh] = parts(wx, 3);
    const [rz, rr, rh] = parts(r, 3);
    const [bz, br, bh] = parts(rb, 3);
    const z = wz.add(h.matmul(rz)).add(bz).sigmoid();
    const reset = wr.add(h.matmul(rr)).add(br).sigmoid();
    const next = wh.add(reset.mul(h).matmul(rh)).add(bh).tanh();
    return [next.lerp(h, z)]; //  (1 − z)·h̃ + z·h
  }),
  LSTM: recurrent(4, 2, (wx, [h, c], { r, rb, p }) => {
    const [i, o, f, g] = parts(wx.add(h.matmul(r)).add(rb), 4);
    const [pi, po, pf] = p ? parts(p, 3) : [];
    const peep = (gate: Any, weight: Any, state: Any): Any => (weight ? gate.add(state.mul(weight)) : gate).sigmoid();
    const next = peep(f, pf, c)
      .mul(c)
      .add(peep(i, pi, c).mul(g.tanh()));
    return [peep(o, po, next).mul(next.tanh()), next];
  }),
};
