/** PyTorch's functions written with Glissade's: the left side of the comparison in opinfo.test.ts. */
import { applyAll } from "../../src/graph/apply.ts";
import { sizeOf } from "../../src/graph/types.ts";
import {
  arange,
  binaryCrossEntropy,
  binaryCrossEntropyOfProbabilities,
  concat,
  cosineSimilarity,
  crossEntropy,
  diagonalMatrix,
  einsum,
  eye,
  fromValues,
  full,
  functional,
  huber,
  klDivergence,
  linspace,
  meanAbsoluteError,
  meanSquaredError,
  negativeLogLikelihood,
  ones,
  outer,
  smoothL1,
  softCrossEntropy,
  stack,
  type Tensor,
  where,
  zeros,
} from "../../src/index.ts";
import { scatterAdd } from "../../src/ops/indexing.ts";
import { layerNorm } from "../../src/ops/normalize.ts";
import { maxPoolPositions } from "../../src/ops/pooling.ts";
import { classesLast, widened } from "../support/oracle.ts";

// biome-ignore lint/suspicious/noExplicitAny: PyTorch's functions take what they take; the fixture says what.
type Any = any;
export type Options = Readonly<Record<string, Any>>;
export type Written = (args: readonly Any[], options: Options) => Tensor | readonly Tensor[];

const isTensor = (value: Any): value is Tensor => typeof value === "object" && value !== null && "node" in value;
/** Both sides widened, numbers made tensors. */
function both(a: Any, b: Any): [Any, Any] {
  const like = isTensor(a) ? a : b;
  return widened(...[a, b].map((each) => (isTensor(each) ? each : like.scalar(each)))) as [Any, Any];
}
/** A method of two tensors. */
const pair =
  (name: string): Written =>
  ([a, b]) => {
    const [x, y] = both(a, b);
    return x[name](y);
  };
const method =
  (name: string, ...fixed: readonly Any[]): Written =>
  ([x]) =>
    x[name](...fixed);
/** An axis argument: nothing and [] mean all. */
const axesOf = (dim: Any): Any => (dim === null || (Array.isArray(dim) && dim.length === 0) ? undefined : dim);
/** Scalars have an axis in PyTorch. */
const atLeast1 = (x: Any): Any => (x.shape.length === 0 ? x.reshape([1]) : x);
const reduction =
  (name: string, more: (options: Options) => object = () => ({})): Written =>
  ([x, dim, keep], options) => {
    const axis = axesOf(dim ?? options.dim);
    const keepDims = keep ?? options.keepdim ?? false;
    if (x.shape.length === 0)
      return x
        .reshape([1])
        [name](axis === undefined ? undefined : 0, more(options))
        .reshape([]);
    return x[name](axis, { keepDims, ...more(options) });
  };
/** A function along an axis that leaves the shape, also for scalars. */
const along =
  (f: (x: Any, axis: number) => Any): Written =>
  ([x, dim], options) =>
    f(atLeast1(x), dim ?? options.dim ?? -1).reshape(x.shape);
const correction = (options: Options): object => ({
  correction: options.correction ?? ((options.unbiased ?? true) ? 1 : 0),
});
/** var(x, True): the flag in place of the axes. */
const flagged =
  (f: Written): Written =>
  (args, options) =>
    typeof args[1] === "boolean" ? f([args[0]], { unbiased: args[1], ...options }) : f(args, options);
const lossOptions = ({ reduction: how = "mean" }: Options): Any => ({ reduction: how === "batchmean" ? "sum" : how });
const reduce = (losses: Any, { reduction: how = "mean" }: Options): Tensor =>
  how === "none" ? losses : how === "sum" ? losses.sum() : losses.mean();
const sections = (x: Any, parts: Any, axis: number): Tensor[] => {
  const size = x.shape.at(axis);
  if (typeof parts === "number") {
    const sizes = Array.from({ length: parts }, (_, i) => Math.floor(size / parts) + (i < size % parts ? 1 : 0));
    return x.split(sizes, axis);
  }
  const edges = [0, ...parts.map((edge: number) => Math.min(edge, size)), size];
  return x.split(
    edges.slice(1).map((edge, i) => Math.max(0, edge - edges[i]!)),
    axis,
  );
};
const padded =
  (mode: string): Written =>
  ([x, widths, , value]) => {
    const pairs = [];
    for (let i = widths.length - 2; i >= 0; i -= 2) pairs.push([widths[i], widths[i + 1]]);
    return x.pad(pairs, { mode, value: value ?? 0 });
  };
const space = (x: Any, axes: number): [Any, boolean] =>
  x.shape.length === axes + 1 ? [x.unsqueeze(0), true] : [x, false];
const back = (y: Any, isSingle: boolean): Tensor => (isSingle ? y.reshape(y.shape.slice(1)) : y);
/** One number for each axis of space; [] and null mean that nothing is given. */
const perAxis =
  (axes: number) =>
  (value: Any): number[] =>
    Array.isArray(value) ? (value.length === 1 ? Array(axes).fill(value[0]) : value) : Array(axes).fill(value);
const orElse = (value: Any, other: Any): Any =>
  value === undefined || value === null || (Array.isArray(value) && value.length === 0) ? other : value;
const convolution =
  (axes: number): Written =>
  ([x, w, bias], { stride = 1, padding = 0, dilation = 1, groups = 1 }) => {
    const one = perAxis(axes);
    const [input, isSingle] = space(x, axes);
    const widths =
      padding === "valid"
        ? 0
        : padding === "same"
          ? one(dilation).map((step, i) => {
              const total = step * (w.shape[i + 2] - 1);
              return [Math.floor(total / 2), Math.ceil(total / 2)] as const;
            })
          : one(padding);
    return back(
      functional.conv(
        input,
        w as never,
        { ...(bias && { bias }), stride: one(stride), padding: widths, dilation: one(dilation), groups } as never,
      ),
      isSingle,
    );
  };
const transposed =
  (axes: number): Written =>
  ([x, w, bias], { stride = 1, padding = 0, output_padding = 0, dilation = 1, groups = 1 }) => {
    const one = perAxis(axes);
    const [input, isSingle] = space(x, axes);
    return back(
      functional.convTranspose(input, w, {
        ...(bias && { bias }),
        stride: one(stride),
        padding: one(padding),
        outputPadding: one(output_padding),
        dilation: one(dilation),
        groups,
      }),
      isSingle,
    );
  };
/**
 * [before, after] for each axis, and how much further the last window hangs over the end where ceil_mode allows it to: only so
 * far that it still begins inside.
 */
function sides(
  x: Any,
  windows: { kernel: number[]; stride: number[]; dilation: number[]; padding: number[] },
  ceil: boolean,
) {
  return windows.kernel.map((kernel, i) => {
    const [size, pad, stride] = [x.shape[i + 2], windows.padding[i]!, windows.stride[i]!];
    const span = windows.dilation[i]! * (kernel - 1) + 1;
    let places = Math.ceil((size + 2 * pad - span) / stride) + 1;
    if ((places - 1) * stride >= size + pad) places--;
    return { pad, over: ceil ? Math.max(0, (places - 1) * stride + span - size - 2 * pad) : 0 };
  });
}
const averagePooling =
  (axes: number): Written =>
  ([x, kernel, ...rest], options) => {
    const one = perAxis(axes);
    const given = (at: number, name: string): Any => orElse(rest[at], options[name]);
    const [stride, padding] = [one(orElse(given(0, "stride"), kernel)), one(given(1, "padding") ?? 0)];
    const [input, isSingle] = space(x, axes);
    const windows = { kernel: one(kernel), stride, padding, dilation: one(1) };
    const around = sides(input, windows, given(2, "ceil_mode") ?? false);
    const all = { ...windows, padding: around.map(({ pad, over }) => [pad, pad + over] as const) };
    const divisor = given(4, "divisor_override");
    if (typeof divisor === "number")
      return back((functional.avgPool(input, all) as Any).mul(sizeOf(all.kernel) / divisor), isSingle);
    if (given(3, "count_include_pad") === false)
      return back(functional.avgPool(input, { ...all, countPadding: false }), isSingle);
    // Padding counts, what a window has beyond it does not.
    const padded = input.pad(around.map(({ pad }) => [pad, pad]));
    const beyond = { ...windows, padding: around.map(({ over }) => [0, over] as const) };
    return back(functional.avgPool(padded, { ...beyond, countPadding: false }), isSingle);
  };
const maxPooling =
  (axes: number): Written =>
  ([x], { kernel_size, stride, padding = 0, dilation = 1, ceil_mode = false, return_indices = false }) => {
    const one = perAxis(axes);
    const [input, isSingle] = space(x, axes);
    const [kernel, windows] = [one(kernel_size), { padding: one(padding), dilation: one(dilation) }];
    const params = { ...windows, kernel, stride: one(orElse(stride, kernel_size)) };
    const all = {
      ...params,
      padding: sides(input, params, ceil_mode).map(({ pad, over }) => [pad, pad + over] as const),
    };
    const y = back(functional.maxPool(input, all), isSingle);
    if (!return_indices) return y;
    const places = input.apply(maxPoolPositions, [], all) as Any;
    return [y, back(places.remainder(sizeOf(input.shape.slice(2))), isSingle)];
  };
/** The mean over parts of an axis that are as equal as can be. */
const adaptiveAverage: Written = ([x, size]) => {
  const [length, count] = [x.shape.at(-1), Array.isArray(size) ? size[0] : size];
  const parts = Array.from({ length: count }, (_, i) =>
    x
      .slice(...x.shape.slice(1).map(() => null), [
        Math.floor((i * length) / count),
        Math.ceil(((i + 1) * length) / count),
      ])
      .mean(-1, { keepDims: true }),
  );
  return concat(parts, -1);
};
/** The last two axes cut into windows, each a column. */
const columns: Written = ([x, kernel, dilation, padding, stride]) => {
  const one = perAxis(2);
  const [input, isSingle] = space(x, 2);
  const taps = input.shape[1] * sizeOf(one(kernel));
  const weight = (eye(taps).cast(input.dtype) as Any).reshape([taps, input.shape[1], ...one(kernel)]);
  const windows = { stride: one(stride), dilation: one(dilation), padding: one(padding) };
  const y = functional.conv(input, weight, windows) as Any;
  return back(y.reshape([...y.shape.slice(0, 2), sizeOf(y.shape.slice(2))]), isSingle);
};
const nearest: Written = ([x], { size, scale_factor: scale }) =>
  x.shape.slice(2).reduce((y: Any, length: number, i: number) => {
    const count = size ? size[i] : Math.floor(length * scale);
    const from = Int32Array.from({ length: count }, (_, at) => Math.floor(size ? (at * length) / count : at / scale));
    return y.take(fromValues(from, [count]), i + 2);
  }, x);
const vectorNorm = (x: Any, order: Any, dim: Any, keep: Any): Tensor => {
  const axis = axesOf(dim);
  if (x.shape.length === 0) return x.reshape([1]).norm(undefined, { order: order ?? 2 });
  return x.norm(axis, { order: order ?? 2, keepDims: keep ?? false });
};
/** The norm of matrices: that of all elements, or the largest or smallest sum of a row or column. */
const matrixNorm = (x: Any, order: Any, [rows, columns_]: readonly [number, number], keep = false): Tensor => {
  if (order === "fro" || order === null) return x.norm([rows, columns_], { keepDims: keep });
  const [along, over] = Math.abs(order) === 1 ? [rows, columns_] : [columns_, rows];
  const sums = x.abs().sum(along, { keepDims: true });
  const y = order > 0 ? sums.max(over, { keepDims: true }) : sums.min(over, { keepDims: true });
  return keep ? y : y.squeeze([rows, columns_]);
};
const anyNorm: Written = ([x, order], { ord = order ?? null, dim, keepdim }) => {
  const isMatrix = ord !== null && (Array.isArray(dim) ? dim.length === 2 : x.shape.length === 2);
  return isMatrix ? matrixNorm(x, ord, dim ?? [-2, -1], keepdim) : vectorNorm(x, ord, dim, keepdim);
};
const product = (a: Any, b: Any): Any => {
  const left = a.shape.length === 1 ? a.reshape([1, -1]) : a;
  const right = b.shape.length === 1 ? b.reshape([-1, 1]) : b;
  const rank = Math.max(left.shape.length, right.shape.length);
  const lead = Array.from({ length: rank - 2 }, (_, i) =>
    Math.max(left.shape[i - rank + left.shape.length] ?? 1, right.shape[i - rank + right.shape.length] ?? 1),
  );
  const y = left.expand([...lead, ...left.shape.slice(-2)]).matmul(right.expand([...lead, ...right.shape.slice(-2)]));
  const shape = [
    ...lead,
    ...(a.shape.length === 1 ? [] : [y.shape.at(-2)]),
    ...(b.shape.length === 1 ? [] : [y.shape.at(-1)]),
  ];
  return y.reshape(shape);
};
const scaledSum = (base: Any, y: Any, { alpha = 1, beta = 1 }: Options): Tensor => y.mul(alpha).add(base.mul(beta));
const grown = (x: Any, axes: number): Any => {
  if (axes === 3 && x.shape.length === 2) return x.reshape([...x.shape, 1]);
  if (axes === 3 && x.shape.length === 1) return x.reshape([1, x.shape[0], 1]);
  return x.shape.length >= axes ? x : x.reshape([...Array(axes - x.shape.length).fill(1), ...x.shape]);
};
const move = (x: Any, from: Any, to: Any): Tensor => {
  const [sources, targets] = [from, to].map((list) =>
    (Array.isArray(list) ? list : [list]).map((axis: number) => (axis + x.shape.length) % x.shape.length),
  ) as [number[], number[]];
  const order: number[] = Array(x.shape.length).fill(-1);
  targets.forEach((target, i) => (order[target] = sources[i]!));
  const rest = [...x.shape.keys()].filter((axis: number) => !sources.includes(axis));
  return x.transpose(...order.map((axis) => (axis < 0 ? rest.shift()! : axis)));
};
interface Meeting {
  /** What an element is before the first update meets it, where it does not count itself. */
  readonly none: number;
  readonly how: "none" | "add" | "max" | "min";
  readonly isMean?: boolean;
}
const scattered =
  ({ none, how, isMean = false }: Meeting): Written =>
  ([x, dim, indices, source], { include_self: isSelf = true }) => {
    const updates = isTensor(source) ? source : (full(indices.shape, source) as Any).cast(x.dtype);
    const [whole, at, values] = [x, indices, updates].map(atLeast1);
    const all = (value: number): Any => values.scalar(value).expand(at.shape);
    const base = isSelf ? whole : whole.scatter(at, all(none), dim);
    // PyTorch's source may be larger than its indices.
    const used = values.slice(...at.shape.map((size: number) => [0, size]));
    const y = base.scatter(at, used, dim, { reduction: how });
    if (!isMean) return y.reshape(x.shape);
    const counts = whole.mul(0).add(Number(isSelf)).scatter(at, all(1), dim, { reduction: "add" });
    return y.div(counts.maximum(1)).reshape(x.shape);
  };
/** A part of x, found by a view, replaced: the same view of positions says where. */
const written =
  (view: Written): Written =>
  ([x, part, ...rest], options) => {
    const places = view([arange(x.size).reshape(x.shape), ...rest], options) as Any;
    const flat = x.reshape([-1]).scatter(places.reshape([-1]), part.reshape([-1]), 0);
    return flat.reshape(x.shape);
  };
const diagonal: Written = ([x, ...rest], { offset = rest[0] ?? 0, dim1 = rest[1] ?? 0, dim2 = rest[2] ?? 1 }) =>
  move(x, [dim1, dim2], [-2, -1]).diagonal(offset);
/** NaN counts as nothing. */
const ignoringNaN =
  (f: Written): Written =>
  ([x, ...rest], options) =>
    f([where(x.isNaN().not(), x, 0), ...rest], options);
const meshgrid: Written = (args, { indexing }) => {
  const list = (Array.isArray(args[0]) ? args[0] : args).map((x: Any) => x.reshape([-1]));
  const isSwapped = indexing === "xy" && list.length > 1;
  const order = isSwapped ? [1, 0, ...[...list.keys()].slice(2)] : [...list.keys()];
  const shape = order.map((at) => list[at].size);
  return list.map((x: Any, i: number) => x.reshape(order.map((at) => (at === i ? x.size : 1))).expand(shape));
};
const select = (x: Any, axis: number, at: number): Tensor => {
  const place = (axis + x.shape.length) % x.shape.length;
  const start = at < 0 ? at + x.shape[place] : at;
  return x.slice(...x.shape.map((_: number, i: number) => (i === place ? [start, start + 1] : null))).squeeze(place);
};
const flatIndex = (x: Any, indices: Any): Any =>
  x
    .reshape([-1])
    .take(indices.reshape([-1]))
    .reshape(indices.shape);
const log1p = (x: Any): Any => x.log1p();
const ndtr = (x: Any): Any => x.mul(Math.SQRT1_2).erf().add(1).mul(0.5);
const timesLog = (x: Any, y: Any, log: (y: Any) => Any): Tensor => {
  const [a, b] = both(x, y);
  const isZero = a.equal(0).and(b.isNaN().not());
  return where(
    isZero,
    a.scalar(0).expand(a.shape) as Any,
    a.mul(log(where(isZero, b.scalar(1).expand(b.shape) as Any, b))),
  );
};

export const table: Readonly<Record<string, Written>> = {
  ...Object.fromEntries(
    "abs acos acosh asin asinh atan atanh ceil cos cosh erf erfc exp exp2 expm1 floor log log10 log1p log2 neg reciprocal round rsqrt sigmoid sign sin sinc sinh sqrt square tan tanh trunc"
      .split(" ")
      .map((name) => [name, method(name)]),
  ),
  ...Object.fromEntries(
    "add sub mul div remainder fmod maximum minimum hypot atan2 heaviside".split(" ").map((name) => [name, pair(name)]),
  ),
  "round/decimals_0": method("round"),
  "round/decimals_3": ([x]) => x.mul(1000).round().div(1000),
  "round/decimals_neg_3": ([x]) => x.div(1000).round().mul(1000),
  add: ([a, b], { alpha = 1 }) => {
    const [x, y] = both(a, b);
    return x.add(alpha === 1 ? y : y.mul(alpha));
  },
  sub: ([a, b], { alpha = 1 }) => {
    const [x, y] = both(a, b);
    return x.sub(alpha === 1 ? y : y.mul(alpha));
  },
  rsub: ([a, b], { alpha = 1 }) => {
    const [x, y] = both(a, b);
    return y.sub(alpha === 1 ? x : x.mul(alpha));
  },
  sgn: method("sign"),
  positive: ([x]) => x.mul(1),
  clone: ([x]) => x.mul(1),
  contiguous: ([x]) => x.mul(1),
  frac: method("fraction"),
  deg2rad: method("radians"),
  rad2deg: method("degrees"),
  signbit: method("signBit"),
  isneginf: ([x]) => x.equal(Number.NEGATIVE_INFINITY),
  isposinf: ([x]) => x.equal(Number.POSITIVE_INFINITY),
  nan_to_num: ([x], { nan = 0, posinf, neginf }) => x.nanToNum(nan, posinf, neginf),
  isnan: method("isNaN"),
  isinf: method("isInf"),
  isfinite: method("isFinite"),
  logit: ([x, epsilon], options) => {
    const edge = epsilon ?? options.eps;
    return (edge === undefined || edge === null ? x : x.clip(edge, 1 - edge)).logit();
  },
  "div/no_rounding_mode": pair("div"),
  true_divide: pair("div"),
  "div/trunc_rounding": ([a, b]) => {
    const [x, y] = both(a, b);
    return x.div(y).trunc();
  },
  "div/floor_rounding": pair("floorDivide"),
  floor_divide: ([a, b]) => {
    const [x, y] = both(a, b);
    return x.floorDivide(y);
  },
  fmax: pair("fmax"),
  fmin: pair("fmin"),
  ldexp: pair("ldexp"),
  "max/binary": pair("maximum"),
  "min/binary": pair("minimum"),
  eq: pair("equal"),
  ne: pair("notEqual"),
  lt: pair("less"),
  le: pair("lessEqual"),
  gt: pair("greater"),
  ge: pair("greaterEqual"),
  pow: pair("pow"),
  float_power: pair("pow"),
  copysign: pair("copySign"),
  logaddexp: pair("logAddExp"),
  logaddexp2: pair("logAddExp2"),
  xlogy: ([a, b]) => timesLog(a, b, (y) => y.log()),
  "special.xlog1py": ([a, b]) => timesLog(a, b, log1p),
  "special.entr": ([x]) => timesLog(x, x, (y) => y.log()).neg(),
  "special.ndtr": ([x]) => ndtr(x),
  bitwise_and: pair("bitAnd"),
  bitwise_or: pair("bitOr"),
  bitwise_xor: pair("bitXor"),
  bitwise_not: method("bitNot"),
  bitwise_left_shift: pair("shiftLeft"),
  bitwise_right_shift: pair("shiftRight"),
  ...Object.fromEntries(
    ["and", "or", "xor"].map((name): [string, Written] => [
      `logical_${name}`,
      ([a, b]) => {
        const [x, y] = both(a, b);
        return x.cast("bool")[name](y.cast("bool"));
      },
    ]),
  ),
  logical_not: ([x]) => x.cast("bool").not(),
  isclose: ([a, b], { rtol = 1e-5, atol = 1e-8 }) => {
    const [x, y] = both(a, b);
    return x.sub(y).abs().lessEqual(y.abs().mul(rtol).add(atol)).or(x.equal(y));
  },
  // Of equals x has the gradient.
  clamp_max: pair("fmin"),
  clamp_min: pair("fmax"),
  clamp: ([x, low, high], options) => {
    const [least, most] = [low ?? options.min, high ?? options.max];
    const above = least ? both(x, least)[0].maximum(least) : x;
    return most ? both(above, most)[0].minimum(most) : above;
  },
  lerp: ([x, end, weight]) => {
    const [a] = both(x, end);
    const [start] = isTensor(weight) ? both(a, weight) : [a];
    return start.lerp(end, weight);
  },
  addcmul: ([x, a, b], { value = 1 }) => {
    const [base, y, z] = widened(x, a, b) as [Any, Any, Any];
    return base.add(y.mul(z).mul(value));
  },
  addcdiv: ([x, a, b], { value = 1 }) => {
    const [base, y, z] = widened(x, a, b) as [Any, Any, Any];
    return base.add(y.div(z).mul(value));
  },
  where: ([a, condition, b]) => {
    const [x] = both(a, b);
    const [wide] = both(x, condition.cast(x.dtype));
    const [left, right] = [a, b].map((each) => each.expand(wide.shape));
    return where(condition, left, right);
  },

  // Activations
  "nn.functional.relu": method("relu"),
  "nn.functional.relu6": method("relu6"),
  "nn.functional.elu": ([x], { alpha = 1 }) => x.elu(alpha),
  "nn.functional.celu": ([x], { alpha = 1 }) => x.celu(alpha),
  "nn.functional.selu": method("selu"),
  "nn.functional.silu": method("silu"),
  "nn.functional.mish": method("mish"),
  "nn.functional.gelu": ([x], { approximate }) => (approximate === "tanh" ? x.geluTanh() : x.gelu()),
  "nn.functional.softplus": ([x], { beta = 1, threshold = 20 }) =>
    where(x.mul(beta).greater(threshold), x, x.mul(beta).softplus().div(beta)),
  "nn.functional.softsign": method("softsign"),
  "nn.functional.logsigmoid": method("logSigmoid"),
  "nn.functional.hardsigmoid": method("hardSigmoid"),
  "nn.functional.hardswish": method("hardSwish"),
  "nn.functional.hardtanh": ([x], { min_val = -1, max_val = 1 }) => x.hardTanh(min_val, max_val),
  "nn.functional.hardshrink": ([x], { lambd = 0.5 }) => x.hardShrink(lambd),
  "nn.functional.softshrink": ([x], { lambd = 0.5 }) => x.softShrink(lambd),
  "nn.functional.tanhshrink": method("tanhShrink"),
  "nn.functional.threshold": ([x, at, value]) => x.threshold(at, value),
  "nn.functional.leaky_relu": ([x, slope], options) => x.leakyRelu(slope ?? options.negative_slope ?? 0.01),
  "nn.functional.prelu": ([x, second], { weight = second }) =>
    x.prelu(weight.size === 1 ? weight.reshape([]) : weight.reshape([weight.size, ...x.shape.slice(2).map(() => 1)])),
  "nn.functional.glu": ([x, dim], options) => x.glu(dim ?? options.dim ?? -1),
  softmax: along((x, axis) => x.softmax(axis)),
  "softmax/with_dtype": along((x, axis) => x.softmax(axis)),
  log_softmax: along((x, axis) => x.logSoftmax(axis)),
  "log_softmax/dtype": along((x, axis) => x.logSoftmax(axis)),
  "nn.functional.softmin": along((x, axis) => x.softmin(axis)),
  "nn.functional.softmin/with_dtype": along((x, axis) => x.softmin(axis)),

  // Reductions
  sum: reduction("sum"),
  nansum: ignoringNaN(reduction("sum")),
  nanmean: (args, options) => {
    const counts = reduction("sum")([args[0].isNaN().not().cast(args[0].dtype), ...args.slice(1)], options) as Any;
    return (ignoringNaN(reduction("sum"))(args, options) as Any).div(counts);
  },
  aminmax: (args, options) =>
    ["min", "max"].map((name) => {
      const y = reduction(name)(args, options) as Any;
      return args[0].shape.length === 0 && options.keepdim ? y.reshape([1]) : y;
    }),
  mean: reduction("mean"),
  amax: reduction("max"),
  amin: reduction("min"),
  prod: reduction("prod"),
  all: reduction("all"),
  any: reduction("any"),
  count_nonzero: reduction("countNonZero"),
  logsumexp: reduction("logSumExp"),
  var: flagged(reduction("variance", correction)),
  std: flagged(reduction("std", correction)),
  ...Object.fromEntries(
    (["variance", "std"] as const).map((name): [string, Written] => [
      name === "variance" ? "var_mean" : "std_mean",
      flagged((args, options) => [
        reduction(name, correction)(args, options) as Tensor,
        reduction("mean")([args[0], ...args.slice(1).filter((arg) => typeof arg !== "boolean")], options) as Tensor,
      ]),
    ]),
  ),
  cummax: along((x, axis) => x.cummax(axis)),
  cummin: along((x, axis) => x.cummin(axis)),
  "max/reduction_no_dim": reduction("max"),
  "min/reduction_no_dim": reduction("min"),
  ...Object.fromEntries(
    (["max", "min"] as const).map((name): [string, Written] => [
      `${name}/reduction_with_dim`,
      ([x, dim, keep = false]) => {
        const y = atLeast1(x);
        const values = y[name](dim, { keepDims: keep });
        const places = y[`arg${name}`](dim);
        const shape = x.shape.length === 0 ? [] : values.shape;
        return [values.reshape(shape), places.reshape(shape)];
      },
    ]),
  ),
  ...Object.fromEntries(
    ["argmax", "argmin"].map((name): [string, Written] => [
      name,
      ([x], { dim, keepdim = false }) => {
        if (dim === undefined || dim === null) {
          const place = x.reshape([-1])[name](0);
          return keepdim ? place.reshape(x.shape.map(() => 1)) : place;
        }
        const place = atLeast1(x)[name](dim);
        if (x.shape.length === 0) return place.reshape([]);
        return keepdim ? place.unsqueeze(dim < 0 ? dim + x.shape.length : dim) : place;
      },
    ]),
  ),
  cumsum: along((x, axis) => x.cumsum(axis)),
  cumprod: along((x, axis) => x.cumprod(axis)),
  logcumsumexp: along((x, axis) => x.logCumSumExp(axis)),
  norm: ([x, order, dim, keep]) => vectorNorm(x, order, dim, keep),
  "norm/fro": ([x, , dim]) => vectorNorm(x, 2, dim, false),
  "norm/inf": ([x, order, dim]) => vectorNorm(x, order, dim, false),
  "linalg.vector_norm": ([x, order], { ord = order, dim, keepdim }) => vectorNorm(x, ord, dim, keepdim),
  "linalg.norm": anyNorm,
  "linalg.norm/subgradients_at_zero": anyNorm,
  "linalg.matrix_norm": ([x, order, dim = [-2, -1], keep]) => matrixNorm(x, order, dim, keep),
  dist: ([a, b, order]) => {
    const [x, y] = both(a, b);
    return vectorNorm(x.sub(y), order, undefined, false);
  },
  trapezoid: ([y, x], { dim = -1, dx = 1 }) => {
    const at = (dim + y.shape.length) % y.shape.length;
    const ends = (z: Any, from: number, to: number): Any =>
      z.slice(
        ...z.shape.map((_: number, i: number) => (i === z.shape.length - y.shape.length + at ? [from, to] : null)),
      );
    const size = y.shape[at];
    const means = ends(y, 1, size)
      .add(ends(y, 0, size - 1))
      .mul(0.5);
    if (!isTensor(x)) return means.mul(dx).sum(at);
    const line: Any =
      (x as Any).shape.length === 1 ? (x as Any).reshape(y.shape.map((n: number, i: number) => (i === at ? n : 1))) : x;
    return means.mul(ends(line, 1, size).sub(ends(line, 0, size - 1))).sum(at);
  },

  // Products
  matmul: ([a, b]) => (a.shape.length === 1 && b.shape.length === 1 ? a.dot(b) : product(a, b)),
  mm: ([a, b]) => a.matmul(b),
  bmm: ([a, b]) => a.matmul(b),
  vdot: ([a, b]) => a.dot(b),
  kron: ([a, b]) => {
    const interleaved = (x: Any, at: 0 | 1): Any => x.reshape(x.shape.flatMap((n: number) => (at ? [1, n] : [n, 1])));
    const [x, y] = both(interleaved(a, 0), interleaved(b, 1));
    return x.mul(y).reshape(a.shape.map((n: number, i: number) => n * b.shape[i]));
  },
  mv: ([a, b]) => product(a, b),
  dot: ([a, b]) => a.dot(b),
  inner: ([a, b]) =>
    a.shape.length === 0 || b.shape.length === 0
      ? both(a, b)[0].mul(both(a, b)[1])
      : product(a, b.shape.length === 1 ? b : b.mT()),
  outer: ([a, b]) => outer(a, b),
  addmm: ([c, a, b], options) => {
    const y = a.matmul(b);
    return scaledSum(c, y, options);
  },
  "addmm/decomposed": ([c, a, b], options) => scaledSum(c, a.matmul(b), options),
  addmv: ([c, a, b], options) => scaledSum(c, product(a, b), options),
  addbmm: ([c, a, b], options) => scaledSum(c, a.matmul(b).sum(0), options),
  baddbmm: ([c, a, b], options) => scaledSum(c, a.matmul(b), options),
  addr: ([c, a, b], options) => scaledSum(c, outer(a, b), options),
  "linalg.multi_dot": ([list]) => list.reduce((a: Any, b: Any) => product(a, b)),
  "linalg.vecdot": ([a, b], { dim = -1 }) => {
    const [x, y] = both(a, b);
    return x.mul(y).sum(dim);
  },
  tensordot: ([a, b], { dims }) => (dims === 2 ? einsum("ijk,jkl->il", a, b) : einsum("ijk,jli->kl", a, b)),
  einsum: ([operands, equation]) => einsum(equation, ...operands),
  "nn.functional.linear": ([x, w, bias]) => {
    if (x.shape.length > 1 && w.shape.length > 1) return functional.linear(x, w, bias ?? undefined) as Tensor;
    const y = product(x, w.shape.length === 1 ? w : w.mT());
    return bias ? y.add(bias) : y;
  },
  "nn.functional.bilinear": ([a, b, w, bias]) => {
    const y = einsum("...i,oij,...j->...o", a, w, b) as Any;
    return bias ? y.add(bias) : y;
  },
  trace: method("trace"),
  diagonal,
  diagonal_scatter: written(diagonal),
  diag: ([x, offset = 0]) => (x.shape.length === 1 ? diagonalMatrix(x, offset) : x.diagonal(offset)),
  diag_embed: ([x], { offset = 0, dim1 = -2, dim2 = -1 }) => move(diagonalMatrix(x, offset), [-2, -1], [dim1, dim2]),
  tril: ([x, offset = 0]) => x.tril(offset),
  triu: ([x, offset = 0]) => x.triu(offset),
  eye: ([rows, columns]) => eye(rows, columns),

  // Movement
  reshape: ([x, shape]) => x.reshape(shape),
  view: ([x, shape]) => x.reshape(shape),
  reshape_as: ([x, like]) => x.reshape(like.shape),
  ravel: ([x]) => x.reshape([-1]),
  flatten: ([x], { start_dim = 0, end_dim = -1 }) => x.flatten(start_dim, end_dim),
  unflatten: ([x, dim, sizes]) => {
    const at = (dim + x.shape.length) % x.shape.length;
    return x.reshape([...x.shape.slice(0, at), ...sizes, ...x.shape.slice(at + 1)]);
  },
  permute: ([x, order]) => x.transpose(...order),
  transpose: ([x, a, b]) => (x.shape.length === 0 ? x.reshape([]) : x.swapAxes(a, b)),
  t: ([x]) => (x.shape.length < 2 ? x.reshape(x.shape) : x.mT()),
  ...Object.fromEntries(
    ["mT", "mH", "T", "H"].map((name): [string, Written] => [
      name,
      ([x]) => (x.shape.length === 0 ? x.reshape([]) : x.mT()),
    ]),
  ),
  movedim: ([x, from, to]) => move(x, from, to),
  squeeze: ([x, dim]) => {
    if (dim === undefined) return x.squeeze();
    const at = x.shape.length === 0 ? 0 : (dim + x.shape.length) % x.shape.length;
    return x.shape[at] === 1 ? x.squeeze(at) : x.reshape(x.shape);
  },
  unsqueeze: ([x, dim]) => x.unsqueeze(dim),
  expand: ([x, shape]) => {
    const lead = shape.length - x.shape.length;
    return x.expand(shape.map((size: number, i: number) => (size === -1 ? x.shape[i - lead] : size)));
  },
  expand_as: ([x, like]) => x.expand(like.shape),
  broadcast_to: ([x, shape]) => x.expand(shape),
  broadcast_tensors: (list) => widened(...list),
  sum_to_size: ([x, ...sizes]) => x.sumTo(sizes.flat()),
  flip: ([x], { dims }) => x.flip(dims),
  fliplr: ([x]) => x.flip(1),
  flipud: ([x]) => x.flip(0),
  roll: ([x, shifts, axes]) => {
    if (axes === undefined) return x.reshape([-1]).roll(shifts, 0).reshape(x.shape);
    const [by, at] = [shifts, axes].map((list) => (Array.isArray(list) ? list : [list]));
    return by!.reduce((y: Any, shift: number, i: number) => y.roll(shift, at![i]), x);
  },
  rot90: ([x, turns = 1, axes = [0, 1]]) => {
    const [a, b] = axes;
    const by = ((turns % 4) + 4) % 4;
    if (by === 0) return x.mul(1);
    if (by === 2) return x.flip([a, b]);
    return by === 1 ? x.flip(b).swapAxes(a, b) : x.swapAxes(a, b).flip(b);
  },
  tile: ([x, counts]) => x.tile(counts),
  repeat: ([x, counts]) => x.tile(counts),
  repeat_interleave: ([x], { repeats, dim }) =>
    dim === undefined ? x.reshape([-1]).repeat(repeats, 0) : x.repeat(repeats, dim),
  cat: ([list], { dim = 0 }) => concat(list, dim),
  stack: ([list, dim = 0]) => stack(list, dim),
  hstack: ([list]) =>
    concat(
      list.map((x: Any) => grown(x, 1)),
      list[0].shape.length < 2 ? 0 : 1,
    ),
  vstack: ([list]) =>
    concat(
      list.map((x: Any) => grown(x, 2)),
      0,
    ),
  dstack: ([list]) =>
    concat(
      list.map((x: Any) => grown(x, 3)),
      2,
    ),
  column_stack: ([list]) =>
    concat(
      list.map((x: Any) => (x.shape.length < 2 ? x.reshape([-1, 1]) : x)),
      1,
    ),
  atleast_1d: ([x]) => x.reshape(grown(x, 1).shape),
  atleast_2d: ([x]) => x.reshape(grown(x, 2).shape),
  atleast_3d: ([x]) => x.reshape(grown(x, 3).shape),
  split: ([x, size, dim = 0]) => {
    const total = x.shape[dim];
    return x.split(
      Array.from({ length: Math.ceil(total / size) }, (_, i) => Math.min(size, total - i * size)),
      dim,
    );
  },
  "split/list_args": ([x, sizes, dim = 0]) => x.split(sizes, dim),
  split_with_sizes: ([x, sizes, dim = 0]) => x.split(sizes, dim),
  chunk: ([x, parts, dim = 0]) => {
    const total = x.shape.at(dim);
    const size = Math.ceil(total / parts);
    return x.split(
      Array.from({ length: Math.ceil(total / size) }, (_, i) => Math.min(size, total - i * size)),
      dim,
    );
  },
  tensor_split: ([x, parts, dim = 0]) => sections(x, parts, dim),
  hsplit: ([x, parts]) => sections(x, parts, x.shape.length === 1 ? 0 : 1),
  vsplit: ([x, parts]) => sections(x, parts, 0),
  dsplit: ([x, parts]) => sections(x, parts, 2),
  unbind: ([x, dim = 0]) => Array.from({ length: x.shape.at(dim) }, (_, i) => select(x, dim, i)),
  narrow: ([x, dim, start, length]) => {
    if (isTensor(start)) {
      const places = (start as Any).expand([length]).add(arange(length));
      return x.take(places.remainder(x.shape.at(dim)), dim);
    }
    const place = (dim + x.shape.length) % x.shape.length;
    return x.slice(...x.shape.map((_: number, i: number) => (i === place ? [start, start + length] : null)));
  },
  select: ([x, dim, at]) => select(x, dim, at),
  select_scatter: written(([x, dim, at]) => select(x, dim, at)),
  unfold: ([x, dim, size, step]) => {
    const y = atLeast1(x);
    const at = (dim + y.shape.length) % y.shape.length;
    const count = Math.floor((y.shape[at] - size) / step) + 1;
    const places = arange(count).mul(step).reshape([count, 1]).expand([count, size]).add(arange(size));
    const windows = move(y.take(places, at), at + 1, -1);
    return x.shape.length === 0 ? windows.reshape([size]) : windows;
  },
  slice: ([x, dim, start, end, step]) =>
    x.slice(...x.shape.map((_: number, i: number) => (i === dim ? [start ?? 0, end ?? undefined, step ?? 1] : null))),
  "nn.functional.pad/constant": padded("constant"),
  constant_pad_nd: ([x, widths, value], options) => padded("constant")([x, widths, undefined, value], options),
  "nn.functional.pad/reflect": padded("reflect"),
  "nn.functional.pad/replicate": padded("edge"),
  "nn.functional.pad/circular": padded("circular"),
  "nn.functional.pixel_shuffle": ([x], { upscale_factor: r }) => {
    const [n, c, h, w] = x.shape;
    return x
      .reshape([n, c / (r * r), r, r, h, w])
      .transpose(0, 1, 4, 2, 5, 3)
      .reshape([n, c / (r * r), h * r, w * r]);
  },
  "nn.functional.pixel_unshuffle": ([x], { downscale_factor: r }) => {
    const [n, c, h, w] = x.shape;
    return x
      .reshape([n, c, h / r, r, w / r, r])
      .transpose(0, 1, 3, 5, 2, 4)
      .reshape([n, c * r * r, h / r, w / r]);
  },
  "meshgrid/variadic_tensors": meshgrid,
  "meshgrid/list_of_tensors": meshgrid,
  diff: ([x, times = 1, dim = -1, before, after]) => {
    const at = (dim + x.shape.length) % x.shape.length;
    const parts = [before, x, after].filter(isTensor) as Any[];
    let y: Any = parts.length > 1 && times > 0 ? concat(parts, at) : x.mul(1);
    for (let i = 0; i < times; i++) {
      const size = y.shape[at];
      if (size === 0) break;
      const cut = (from: number, to: number): Any =>
        y.slice(...y.shape.map((_: number, k: number) => (k === at ? [from, to] : null)));
      y = cut(1, size).sub(cut(0, size - 1));
    }
    return y;
  },

  // Indexing
  gather: ([x, dim, indices]) => atLeast1(x).gather(atLeast1(indices), dim).reshape(indices.shape),
  take_along_dim: ([x, indices, dim]) => {
    if (dim === undefined) return flatIndex(x, indices.reshape([-1]));
    const shape = (like: Any, along: Any): number[] =>
      like.shape.map((size: number, i: number) => (i === dim ? along.shape[i] : Math.max(size, along.shape[i])));
    return x.expand(shape(indices, x)).gather(indices.expand(shape(x, indices)), dim);
  },
  take: ([x, indices]) => flatIndex(x, indices.remainder(Math.max(1, x.size))),
  index_select: ([x, dim, indices]) => {
    const y = atLeast1(x).take(indices, dim);
    return x.shape.length === 0 ? y.reshape([]) : y;
  },
  index_add: ([x, dim, indices, source], { alpha = 1 }) => {
    const [base, more] = [x, source].map(atLeast1) as [Any, Any];
    const laid = more.apply(scatterAdd, [atLeast1(indices)], { axis: dim, size: base.shape[dim] });
    return base.add(laid.mul(alpha)).reshape(x.shape);
  },
  "nn.functional.one_hot": ([x], { num_classes: classes }) => x.oneHot(classes).cast("int32"),
  "nn.functional.embedding": ([table_, ids]) =>
    isTensor(table_) && (table_ as Any).dtype === "int32"
      ? functional.embedding(ids, table_ as Any)
      : functional.embedding(table_, ids),
  scatter: scattered({ none: 0, how: "none" }),
  scatter_add: scattered({ none: 0, how: "add" }),
  "scatter_reduce/sum": scattered({ none: 0, how: "add" }),
  "scatter_reduce/mean": scattered({ none: 0, how: "add", isMean: true }),
  "scatter_reduce/amax": scattered({ none: Number.NEGATIVE_INFINITY, how: "max" }),
  "scatter_reduce/amin": scattered({ none: Number.POSITIVE_INFINITY, how: "min" }),
  masked_fill: ([x, mask, value]) => {
    const wide = both(x, mask.cast(x.dtype))[0];
    if (!isTensor(value)) return wide.maskedFill(mask, value);
    return where(mask, (value as Any).expand(wide.shape), wide);
  },
  topk: ([x, k, dim = -1, isLargest = true]) => {
    const [values, places] = atLeast1(x).topK(k, dim, { smallest: !isLargest });
    return x.shape.length === 0 ? [values.reshape([]), places.reshape([])] : [values, places];
  },
  sort: ([x, dim, isDown], options) => {
    const [values, places] = atLeast1(x).sort(options.dim ?? dim ?? -1, {
      descending: options.descending ?? isDown ?? false,
    });
    return [values.reshape(x.shape), places.reshape(x.shape)];
  },
  argsort: ([x, dim, isDown], options) =>
    atLeast1(x)
      .argsort(options.dim ?? dim ?? -1, { descending: options.descending ?? isDown ?? false })
      .reshape(x.shape),
  msort: ([x]) => x.sort(0)[0],

  // Creation
  arange: ([a, b, c], { end, float }) => {
    const last = b ?? end;
    const [start, stop, step] = last === undefined ? [0, a, 1] : [a, last, c ?? 1];
    return arange(Number(start), Number(stop), Number(step), float);
  },
  linspace: ([start, stop, count], { float }) => linspace(start, stop, count, float),
  zeros: ([shape], { float }) => zeros(shape, float) as Tensor,
  ones: ([shape], { float }) => ones(shape, float) as Tensor,
  zeros_like: ([x]) => x.mul(0),
  ones_like: ([x]) => x.mul(0).add(1),
  full_like: ([x, value]) => full(x.shape, value, x.dtype) as Tensor,
  fill: ([x], { value }) => x.mul(0).add(Number(value)),

  // Normalisation and losses
  "nn.functional.layer_norm": ([x, shape, weight, bias], { eps = 1e-5 }) => {
    const width = shape.reduce((a: number, b: number) => a * b, 1);
    const flat = x.reshape([...x.shape.slice(0, x.shape.length - shape.length), width]);
    const ones = x.scalar(1).expand([width]);
    const scale = weight ? weight.reshape([width]) : ones;
    const shift = bias ? bias.reshape([width]) : ones.mul(0);
    return (functional.layerNorm(flat, scale, shift, eps) as Tensor).reshape(x.shape);
  },
  native_layer_norm: ([x, shape, weight, bias, eps]) => {
    const [lead, width] = [x.shape.slice(0, x.shape.length - shape.length), sizeOf(shape)];
    const vector = (given: Any, usual: number): Any => given?.reshape([width]) ?? x.scalar(usual).expand([width]);
    const flat = x.reshape([...lead, width]);
    const [y, ...statistics] = applyAll(layerNorm, [flat, vector(weight, 1), vector(bias, 0)], { epsilon: eps });
    // PyTorch ends the gradient of the statistics.
    const kept = [...lead, ...shape.map(() => 1)];
    return [y!.reshape(x.shape), ...statistics.map((each) => each.reshape(kept).detach())];
  },
  native_batch_norm: ([x, weight, bias, mean, variance, isTraining, , eps]) => {
    const [scale, shift] = [weight ?? undefined, bias ?? undefined];
    if (!isTraining) {
      const nothing = x.scalar(0).expand([0]);
      return [functional.batchNorm(x, mean, variance, scale, shift, eps) as Tensor, nothing, nothing];
    }
    const batch = functional.batchNormInTraining(x, scale, shift, eps) as Any;
    return [batch.y, batch.mean.detach(), batch.variance.detach().add(eps).rsqrt()];
  },
  "nn.functional.local_response_norm": ([x, size], { alpha = 1e-4, beta = 0.75, k = 1 }) => {
    const [n, c, ...more] = x.shape;
    // The mean over neighbouring channels is that of windows on [channels, places].
    const squares = functional.avgPool(x.square().reshape([n, 1, c, sizeOf(more)]), {
      kernel: [size, 1],
      stride: 1,
      padding: [[Math.floor(size / 2), Math.floor((size - 1) / 2)], 0],
    }) as Any;
    return x.div(squares.mul(alpha).add(k).pow(beta).reshape(x.shape));
  },
  "nn.functional._scaled_dot_product_attention": ([q, k, v], { is_causal: isCausal }) => {
    const scores = q.mul(1 / Math.sqrt(q.shape.at(-1))).matmul(k.mT());
    const isPast = (full(scores.shape.slice(-2), 1, "int32") as Any).tril().equal(1);
    const weights = (
      isCausal ? where(isPast.expand(scores.shape), scores, Number.NEGATIVE_INFINITY) : scores
    ).softmax();
    return [weights.matmul(v), weights];
  },
  "nn.functional.group_norm": ([x, groups], { weight, bias, eps = 1e-5 }) =>
    functional.groupNorm(x, groups, weight ?? undefined, bias ?? undefined, eps),
  "nn.functional.instance_norm": (
    [x],
    { weight, bias, running_mean, running_var, use_input_stats = true, eps = 1e-5 },
  ) =>
    use_input_stats
      ? functional.groupNorm(x, x.shape[1], weight ?? undefined, bias ?? undefined, eps)
      : functional.batchNorm(x, running_mean, running_var, weight ?? undefined, bias ?? undefined, eps),
  "nn.functional.batch_norm": ([x, mean, variance, weight, bias], { training = false, eps = 1e-5 }) =>
    training
      ? functional.batchNormInTraining(x, weight ?? undefined, bias ?? undefined, eps).y
      : functional.batchNorm(x, mean, variance, weight ?? undefined, bias ?? undefined, eps),
  "nn.functional.normalize": ([x], { p = 2, dim = 1, eps = 1e-12 }) => {
    const y = atLeast1(x);
    return y.div(y.norm(dim, { order: p, keepDims: true }).maximum(eps)).reshape(x.shape);
  },
  "nn.functional.cosine_similarity": ([a, b], { dim = 1, eps = 1e-8 }) => {
    const [x, y] = both(a, b).map(atLeast1) as [Any, Any];
    const z = cosineSimilarity(x, y, dim, eps);
    return a.shape.length === 0 ? z.reshape([]) : z;
  },
  "nn.functional.mse_loss": ([a, b], options) => meanSquaredError(a, b, lossOptions(options)),
  "nn.functional.l1_loss": ([a, b], options) => meanAbsoluteError(a, b, lossOptions(options)),
  "nn.functional.smooth_l1_loss": ([a, b], options) =>
    smoothL1(a, b, { ...lossOptions(options), beta: options.beta ?? 1 }),
  "nn.functional.huber_loss": ([a, b], options) => huber(a, b, { ...lossOptions(options), delta: options.delta ?? 1 }),
  "nn.functional.kl_div": ([a, b], options) => {
    const [x, y] = both(a, b);
    const loss = klDivergence(x, y, { ...lossOptions(options), logTargets: options.log_target ?? false }) as Any;
    return options.reduction === "batchmean" ? loss.div(a.shape[0] ?? 1) : loss;
  },
  "nn.functional.binary_cross_entropy": ([a, b], options) => {
    const { weight } = options;
    const losses = binaryCrossEntropyOfProbabilities(a, b, { reduction: "none" }) as Any;
    return reduce(weight ? losses.mul(weight) : losses, options);
  },
  "nn.functional.binary_cross_entropy_with_logits": ([a, b], options) => {
    const { weight, pos_weight } = options;
    const losses = binaryCrossEntropy(a, b, {
      reduction: "none",
      ...(pos_weight && { positiveWeight: pos_weight }),
    }) as Any;
    return reduce(weight ? losses.mul(weight) : losses, options);
  },
  "nn.functional.cross_entropy": ([x, y], { weight, ignore_index, label_smoothing = 0, reduction: how = "mean" }) => {
    const options = {
      reduction: how,
      labelSmoothing: label_smoothing,
      ...(weight && { weights: weight }),
      ...(ignore_index !== undefined && { ignore: ignore_index }),
    };
    if ((y as Any).dtype === "int32") return crossEntropy(classesLast(x), y, options as never);
    const soft = classesLast(y)
      .mul(1 - label_smoothing)
      .add(label_smoothing / x.shape[1]);
    const losses = softCrossEntropy(classesLast(x), weight ? soft.mul(weight) : soft, { reduction: "none" }) as Any;
    return how === "none" ? losses : how === "sum" ? losses.sum() : losses.sum().div(losses.size);
  },
  "nn.functional.nll_loss": ([x, y], { weight, ignore_index, reduction: how = "mean" }) =>
    negativeLogLikelihood(classesLast(x), y, {
      reduction: how,
      ...(weight && { weights: weight }),
      ...(ignore_index !== undefined && { ignore: ignore_index }),
    } as never) as Tensor,
  "nn.functional.soft_margin_loss": ([x, y], options) => reduce(y.neg().mul(x).exp().log1p(), options),
  "nn.functional.multi_margin_loss": ([x, labels], { p = 1, margin = 1, weight, reduction: how }) => {
    const rows = atLeast1(x).reshape([-1, atLeast1(x).shape.at(-1)]);
    const y = labels.reshape([-1]);
    const over = rows.sub(rows.pick(y).unsqueeze(-1)).add(margin).relu();
    const others = where(y.oneHot(rows.shape[1]).cast("bool").not(), p === 2 ? over.square() : over, 0) as Any;
    const losses = (weight ? others.mul(weight.take(y).unsqueeze(-1)) : others).mean(-1);
    return reduce(x.shape.length < 2 ? losses.reshape([]) : losses, { reduction: how ?? "mean" });
  },
  "nn.functional.margin_ranking_loss": ([a, b, y], options) =>
    reduce(
      a
        .sub(b)
        .mul(y.neg())
        .add(options.margin ?? 0)
        .relu(),
      options,
    ),
  "nn.functional.hinge_embedding_loss": ([x, y], options) => {
    const margin = options.margin ?? 1;
    const near = where(y.equal(-1), x.mul(0), x) as Any;
    const far = where(y.equal(1), x.mul(0), x.neg().add(margin).relu()) as Any;
    return reduce(near.add(far), options);
  },
  "nn.functional.poisson_nll_loss": ([x, y], options) => {
    const { log_input = true, full: isFull = false, eps = 1e-8 } = options;
    const base = log_input ? x.exp().sub(y.mul(x)) : x.sub(y.mul(x.add(eps).log()));
    const stirling = y
      .mul(y.log())
      .sub(y)
      .add(
        y
          .mul(2 * Math.PI)
          .log()
          .mul(0.5),
      );
    return reduce(isFull ? base.add(where(y.greater(1), stirling, 0)) : base, options);
  },
  "nn.functional.gaussian_nll_loss": ([x, y, variance], options) => {
    const { full: isFull = false, eps = 1e-6 } = options;
    const wide = variance.shape.length === x.shape.length ? variance : variance.unsqueeze(-1);
    const safe = wide.add(where(wide.less(eps), wide.neg().add(eps), 0).detach());
    const squares = x.sub(y).square();
    const losses = squares
      .div(safe)
      .add(safe.log().expand(squares.shape))
      .mul(0.5)
      .add(isFull ? 0.5 * Math.log(2 * Math.PI) : 0);
    return reduce(losses, options);
  },
  "nn.functional.cosine_embedding_loss": ([a, b, y], options) => {
    const margin = options.margin ?? 0;
    // PyTorch adds its ε inside the roots here.
    const dot = a.mul(b).sum(-1);
    const lengths = a.square().sum(-1).add(1e-12).mul(b.square().sum(-1).add(1e-12)).sqrt();
    const cosine = dot.div(lengths);
    const zero = cosine.mul(0);
    const near = where(y.equal(1), cosine.neg().add(1), zero) as Any;
    const far = where(y.equal(-1), cosine.sub(margin).relu(), zero) as Any;
    return reduce(near.add(far), options);
  },
  "nn.functional.triplet_margin_loss": ([a, p, n], options) => {
    const { margin = 1, swap = false } = options;
    const distance = (x: Any, y: Any): Any => x.sub(y).add(1e-6).norm(-1);
    const far = swap ? distance(a, n).minimum(distance(p, n)) : distance(a, n);
    return reduce(distance(a, p).sub(far).add(margin).relu(), options);
  },
  "nn.functional.pairwise_distance": ([a, b], { p = 2, eps = 1e-6, keepdim = false }) => {
    const [x, y] = both(a, b);
    return x.sub(y).add(eps).norm(-1, { order: p, keepDims: keepdim });
  },

  // Convolution and pooling
  "nn.functional.conv1d": convolution(1),
  "nn.functional.conv2d": convolution(2),
  "nn.functional.conv_transpose1d": transposed(1),
  "nn.functional.conv_transpose2d": transposed(2),
  "nn.functional.conv_transpose3d": transposed(3),
  "nn.functional.avg_pool1d": averagePooling(1),
  "nn.functional.avg_pool2d": averagePooling(2),
  "nn.functional.avg_pool3d": averagePooling(3),
  "nn.functional.max_pool1d": maxPooling(1),
  "nn.functional.max_pool2d": maxPooling(2),
  "nn.functional.max_pool3d": maxPooling(3),
  "nn.functional.adaptive_avg_pool1d": adaptiveAverage,
  "nn.functional.unfold": columns,
  "nn.functional.upsample_nearest": nearest,
};
