/** Glissade's functions under the names of the cases in fixtures/generate_nonfinite.py: the left side of nonfinite.test.ts. */
import {
  arange,
  cosineSimilarity,
  crossEntropy,
  functional,
  huber,
  meanAbsoluteError,
  meanSquaredError,
  ones,
  smoothL1,
  softCrossEntropy,
  type Tensor,
  where,
  zeros,
} from "../../src/index.ts";

// biome-ignore lint/suspicious/noExplicitAny: the shapes and dtypes of cases are what the fixture says.
type Any = any;
export type Along = (x: Any, axis: number) => Tensor | readonly Tensor[];
export type OfOne = (x: Any) => Tensor | readonly Tensor[];
export type OfTwo = (a: Any, b: Any) => Tensor;

const half = (x: Any, axis: number): number => Math.ceil(x.shape.at(axis) / 2);

/** Functions that take an axis; they are tried along the last one and along the first. */
export const along: Readonly<Record<string, Along>> = {
  max: (x, axis) => x.max(axis),
  min: (x, axis) => x.min(axis),
  sum: (x, axis) => x.sum(axis),
  mean: (x, axis) => x.mean(axis),
  prod: (x, axis) => x.prod(axis),
  cumsum: (x, axis) => x.cumsum(axis),
  "cumsum, reverse": (x, axis) => x.cumsum(axis, { reverse: true }),
  cummax: (x, axis) => x.cummax(axis),
  cummin: (x, axis) => x.cummin(axis),
  softmax: (x, axis) => x.softmax(axis),
  logSoftmax: (x, axis) => x.logSoftmax(axis),
  softmin: (x, axis) => x.softmin(axis),
  sort: (x, axis) => x.sort(axis),
  "sort, descending": (x, axis) => x.sort(axis, { descending: true }),
  topK: (x, axis) => x.topK(half(x, axis), axis),
  "topK, smallest": (x, axis) => x.topK(half(x, axis), axis, { smallest: true }),
  argmax: (x, axis) => x.argmax(axis),
  argmin: (x, axis) => x.argmin(axis),
  argsort: (x, axis) => x.argsort(axis),
  any: (x, axis) => x.any(axis),
  all: (x, axis) => x.all(axis),
  countNonZero: (x, axis) => x.countNonZero(axis),
  cumprod: (x, axis) => x.cumprod(axis),
  logSumExp: (x, axis) => x.logSumExp(axis),
  logCumSumExp: (x, axis) => x.logCumSumExp(axis),
  variance: (x, axis) => x.variance(axis),
  std: (x, axis) => x.std(axis),
  norm: (x, axis) => x.norm(axis),
  "norm 1": (x, axis) => x.norm(axis, { order: 1 }),
  "norm 3": (x, axis) => x.norm(axis, { order: 3 }),
  "norm 0": (x, axis) => x.norm(axis, { order: 0 }),
  "norm inf": (x, axis) => x.norm(axis, { order: Number.POSITIVE_INFINITY }),
  "norm -inf": (x, axis) => x.norm(axis, { order: Number.NEGATIVE_INFINITY }),
  cosineSimilarity: (x, axis) => cosineSimilarity(x, x.flip(axis).add(1), axis),
};

const labels = (x: Any): Any => arange(x.shape[0]).remainder(x.shape[1]);

/** Functions of rows, or of images. */
export const ofOne: Readonly<Record<string, OfOne>> = {
  layerNorm: (x) => {
    const width = x.shape.at(-1);
    return functional.layerNorm(x, ones([width], x.dtype) as Any, zeros([width], x.dtype) as Any) as Tensor;
  },
  rmsNorm: (x) => functional.rmsNorm(x, ones([x.shape.at(-1)], x.dtype) as Any) as Tensor,
  crossEntropy: (x) => crossEntropy(x, labels(x), { reduction: "none" }) as Tensor,
  softCrossEntropy: (x) => {
    const classes = x.shape[1];
    const targets = labels(x)
      .oneHot(classes)
      .cast(x.dtype)
      .mul(0.75)
      .add(0.25 / classes);
    return softCrossEntropy(x, targets, { reduction: "none" }) as Tensor;
  },
  "maxPool 2": (x) => functional.maxPool(x as Tensor, { kernel: 2 }),
  "maxPool 3, stride 1, padding 1": (x) => functional.maxPool(x as Tensor, { kernel: 3, stride: 1, padding: 1 }),
  "maxPool 2, stride 1, dilation 2": (x) => functional.maxPool(x as Tensor, { kernel: 2, stride: 1, dilation: 2 }),
  "maxPool 3, stride 2": (x) => functional.maxPool(x as Tensor, { kernel: 3, stride: 2 }),
  "maxPool 1 x 3": (x) => functional.maxPool(x as Tensor, { kernel: [1, 3] }),
  "avgPool 2": (x) => functional.avgPool(x as Tensor, { kernel: 2 }),
  "avgPool 3, stride 1, padding 1": (x) => functional.avgPool(x as Tensor, { kernel: 3, stride: 1, padding: 1 }),
  "avgPool 3, stride 1, padding 1, not counted": (x) =>
    functional.avgPool(x as Tensor, { kernel: 3, stride: 1, padding: 1, countPadding: false }),
  globalAvgPool: (x) => functional.globalAvgPool(x),
};

const method =
  (name: string, ...args: readonly unknown[]): OfOne =>
  (x) =>
    x[name](...args);

/** Functions of single elements. */
export const ofElements: Readonly<Record<string, OfOne>> = {
  relu: method("relu"),
  relu6: method("relu6"),
  leakyRelu: method("leakyRelu"),
  elu: method("elu"),
  celu: method("celu", 2),
  selu: method("selu"),
  hardTanh: method("hardTanh"),
  hardSigmoid: method("hardSigmoid"),
  hardSwish: method("hardSwish"),
  hardShrink: method("hardShrink"),
  softShrink: method("softShrink"),
  threshold: method("threshold", 0.5, 20),
  clip: method("clip", -0.5, 1),
  "clip below": method("clip", 0.5),
  "clip above": method("clip", undefined, -0.5),
  "clip to infinities": method("clip", Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY),
  abs: method("abs"),
  neg: method("neg"),
  sign: method("sign"),
  round: method("round"),
  floor: method("floor"),
  ceil: method("ceil"),
  trunc: method("trunc"),
  maskedFill: (x) => x.maskedFill(x.isFinite().not(), 3),
  "where not a number": (x) => where(x.isNaN().not(), x, 0) as Tensor,
  nanToNum: method("nanToNum", 0, 100, -100),
  fraction: method("fraction"),
  isNaN: method("isNaN"),
  isFinite: method("isFinite"),
  isInf: method("isInf"),
  signBit: method("signBit"),
  bool: method("cast", "bool"),
  exp: method("exp"),
  exp2: method("exp2"),
  expm1: method("expm1"),
  log: method("log"),
  log2: method("log2"),
  log10: method("log10"),
  log1p: method("log1p"),
  logit: method("logit"),
  sqrt: method("sqrt"),
  rsqrt: method("rsqrt"),
  reciprocal: method("reciprocal"),
  square: method("square"),
  tanh: method("tanh"),
  sigmoid: method("sigmoid"),
  logSigmoid: method("logSigmoid"),
  erf: method("erf"),
  erfc: method("erfc"),
  gelu: method("gelu"),
  geluTanh: method("geluTanh"),
  silu: method("silu"),
  mish: method("mish"),
  softplus: method("softplus"),
  softsign: method("softsign"),
  tanhShrink: method("tanhShrink"),
  sin: method("sin"),
  cos: method("cos"),
  atan: method("atan"),
  sinh: method("sinh"),
  cosh: method("cosh"),
  asinh: method("asinh"),
  acosh: method("acosh"),
  atanh: method("atanh"),
  asin: method("asin"),
  acos: method("acos"),
  sinc: method("sinc"),
};

const methodOfTwo =
  (name: string): OfTwo =>
  (a, b) =>
    a[name](b);

const loss =
  (f: Any): OfTwo =>
  (a, b) =>
    f(a, b, { reduction: "none" });

/** Functions of two elements. */
export const ofTwo: Readonly<Record<string, OfTwo>> = {
  add: methodOfTwo("add"),
  sub: methodOfTwo("sub"),
  mul: methodOfTwo("mul"),
  div: methodOfTwo("div"),
  pow: methodOfTwo("pow"),
  maximum: methodOfTwo("maximum"),
  minimum: methodOfTwo("minimum"),
  fmax: methodOfTwo("fmax"),
  fmin: methodOfTwo("fmin"),
  remainder: methodOfTwo("remainder"),
  fmod: methodOfTwo("fmod"),
  floorDivide: methodOfTwo("floorDivide"),
  logAddExp: methodOfTwo("logAddExp"),
  logAddExp2: methodOfTwo("logAddExp2"),
  copySign: methodOfTwo("copySign"),
  heaviside: methodOfTwo("heaviside"),
  equal: methodOfTwo("equal"),
  notEqual: methodOfTwo("notEqual"),
  less: methodOfTwo("less"),
  lessEqual: methodOfTwo("lessEqual"),
  greater: methodOfTwo("greater"),
  greaterEqual: methodOfTwo("greaterEqual"),
  ldexp: methodOfTwo("ldexp"),
  lerp: (a, b) => a.lerp(b, 0.25),
  prelu: methodOfTwo("prelu"),
  "where less": (a, b) => where(a.less(b), a, b) as Tensor,
  "where both are numbers": (a, b) => where(a.isNaN().or(b.isNaN()).not(), a.mul(b), 0) as Tensor,
  meanSquaredError: loss(meanSquaredError),
  meanAbsoluteError: loss(meanAbsoluteError),
  huber: loss(huber),
  smoothL1: loss(smoothL1),
};

/** Functions whose results have the sign of a zero as PyTorch has it; in others, such as those that choose, it is open. */
export const signedZeros: ReadonlySet<string> = new Set([
  ...["relu", "relu6", "leakyRelu", "hardTanh", "clip", "clip below", "clip above", "clip to infinities"],
  ...["abs", "neg", "sign", "round", "floor", "ceil", "sqrt", "square", "reciprocal", "signBit"],
  ...["add", "sub", "mul", "div", "fmod", "copySign"],
]);

/** Places where PyTorch has something else, and why that is not ours: `when` is given the inputs at the place. */
export const exceptions: readonly {
  readonly functions: readonly string[];
  readonly of: "output" | "gradient";
  readonly when: (...inputs: number[]) => boolean;
  readonly reason: string;
}[] = [
  {
    functions: ["sign", "heaviside"],
    of: "output",
    when: Number.isNaN,
    reason: "PyTorch's sign and step of NaN are 0; NumPy's are NaN",
  },
  {
    functions: ["softShrink"],
    of: "output",
    when: Number.isNaN,
    reason: "PyTorch 1.13 takes NaN for 0, which has been mended since",
  },
  {
    functions: ["abs", "softShrink", "hardShrink", "leakyRelu"],
    of: "gradient",
    when: Number.isNaN,
    reason:
      "at NaN there is no derivative: NaN, or that of the identity, where PyTorch has 0 or the slope for negative x",
  },
];

/** Ops that no function of the table is made of, and why, or where they are tried. */
export const elsewhere: Readonly<Record<string, string>> = {
  ...because("conformance.test.ts has every pair of special values for functions of one and two elements", [
    ...["atan2", "cbrt", "halfErf", "probabilityLoss", "tan"],
  ]),
  ...because("nonfinite-places.test.ts tries it", [
    ...["convolution", "convolutionKernel", "gemm", "matmul", "product", "scatterAdd", "unpick", "packedConvolution"],
    ...["packedConvolutionInput", "packedConvolutionKernel", "maxPoolPositions", "addAt"],
  ]),
  ...because("every element goes to one place or to none, and none is looked at", [
    ...["take", "gather", "split", "unslice", "pack", "packColumns", "packRows", "putRows"],
    ...["unpack", "unpackColumns", "unpackRows"],
  ]),
  ...because("it has tests of NaN of its own", ["guard", "fused", "singularValues"]),
  ...because("sums of products, which no element is left out of", ["packedProduct", "sumOfSquares"]),
  ...because("it is made of the ops inside of it", ["scan"]),
};

/** Functions that are not in the table, and why, or where they are tried. */
export const notTried: Readonly<Record<string, string>> = {
  ...because("every element goes to one place", ["flip", "roll"]),
  ...because("it is a product with a number", ["degrees", "radians"]),
  ...because("it takes whole numbers", ["bitNot"]),
  ...because("PyTorch has no function of that name; it is x·σ(1.702·x), and both are tried", ["quickGelu"]),
  ...because("nonfinite-places.test.ts tries it", ["tril", "triu"]),
};

function because(reason: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, reason]));
}
