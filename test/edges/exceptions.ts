/** Where functions are not what mpmath or PyTorch says at an edge, each with its reason. */
import type { FloatType } from "./fixture.ts";

/** A value of a function, and where it was. */
export interface Place {
  readonly name: string;
  /** 0 for the value itself. */
  readonly order: number;
  readonly dtype: FloatType;
  readonly engine: string;
  readonly inputs: readonly number[];
  readonly got: number;
  readonly want: number;
}

export interface Exception {
  readonly of: string | RegExp;
  readonly reason: string;
  /** Which orders of derivatives; all unless given. */
  readonly orders?: readonly number[];
  /** What its error is compared with, in place of the right value's own size. Nothing is compared where this is absent. */
  readonly scale?: number;
  readonly when?: (place: Place) => boolean;
}

const isTiny = (x: number, dtype: FloatType): boolean =>
  x !== 0 && Math.abs(x) < (dtype === "float32" ? 2 ** -126 : 2 ** -1022);
const isEndless = ({ inputs }: Place): boolean => inputs.some((x) => Math.abs(x) === Number.POSITIVE_INFINITY);

export const exceptions: readonly Exception[] = [
  {
    of: /^(gelu|geluTanh|silu|quickGelu|mish|hardSwish)$/,
    reason: "x·f(x) is −∞·0 at −∞, as in PyTorch; its slopes are so at both ends",
    when: (place) => isEndless(place) && Number.isNaN(place.got),
  },
  {
    of: /^(erf|erfc|halfErf|acosh|softsign|cbrt|silu|quickGelu|mish)$/,
    reason: "a second derivative at an infinity, or beside it, is a product of 0 and ∞",
    orders: [2],
    when: ({ inputs: [x], got }) => Math.abs(x!) > 1e38 && Number.isNaN(got),
  },
  {
    of: /^(asin|acos|atanh|acosh)$/,
    reason: "a second derivative at the end of the domain is a difference of infinities",
    orders: [2],
    when: ({ want, got }) => Number.isNaN(got) && !Number.isFinite(want),
  },
  {
    of: /./,
    reason:
      "ONNX Runtime reads numbers below the smallest normal one as 0, or in part: their slopes are those of 0 or of the number",
    orders: [1, 2],
    when: ({ inputs, dtype, engine }) => engine !== "plain" && inputs.some((x) => isTiny(x, dtype)),
  },
  {
    of: /^(log|log2|log10|logit|pow|rsqrt|any|all|countNonZero|cast|klDivergence)$/,
    reason: "numbers below the smallest normal one are read as 0, or in part",
    orders: [0],
    when: ({ inputs, dtype, engine }) => engine !== "plain" && inputs.some((x) => isTiny(x, dtype)),
  },
  {
    of: "softsign",
    reason: "∞ / ∞, as in PyTorch",
    orders: [0],
    when: isEndless,
  },
  {
    of: /^(tanh|sigmoid|softplus|logSigmoid|gelu|geluTanh|silu|quickGelu|mish|halfErf|erfc|tanhShrink|logAddExp2?|binaryCrossEntropy)$/,
    reason:
      "where a function saturates, what is left of 1 − y and the like has an error that is small beside 1, as in PyTorch",
    scale: 1,
  },
  {
    of: "binaryCrossEntropy",
    reason: "an infinite logit times a label of 0 is NaN, as in PyTorch",
    orders: [0],
    when: isEndless,
  },
  {
    of: "binaryCrossEntropyOfProbabilities",
    reason:
      "at probabilities of 0 and 1 derivatives are those of the clamped loss; PyTorch's slope by the label is infinite, and its 1e-12 a float32 number",
    orders: [1, 2],
    when: ({ inputs: [p], dtype }) => p! < 1e-19 || p! > 1 - 1e-7 || dtype === "float64",
  },
  {
    of: /^klDivergence(OfLogs)?$/,
    reason: "where a target is 0 its term is 0, whatever the other side; NaN in PyTorch",
    when: ({ name, inputs: [, y] }) => (name === "klDivergence" ? y === 0 : y! < -99),
  },
  {
    of: /^(huber|smoothL1)$/,
    reason: "a second derivative at a kink is that of either side",
    orders: [2],
    when: ({ inputs: [x, y] }) => Math.abs(Math.abs(x! - y!) - 1) < 1e-6,
  },
  {
    of: /^(cosineSimilarity|cosineDistance|std)$/,
    reason: "what cancels leaves an error that is small beside 1",
    scale: 1,
  },
  {
    of: "hardSigmoid",
    reason: "the straight line's error is small beside 1, as in PyTorch",
    orders: [0],
    scale: 1,
  },
  {
    of: /^hardS(igmoid|wish)$/,
    reason: "the neighbour of a kink has the kink's slope, because the line is rounded to its end there",
    when: ({ inputs: [x] }) => Math.abs(Math.abs(x!) - 3) < 1e-6,
  },
  {
    of: /^(sin|cos|tan)$/,
    reason: "near a zero of the sine the error is small beside 1",
    scale: 1,
  },
  {
    of: /^(div|atan2|hypot|pow|ldexp)$/,
    reason: "second derivatives may overflow or vanish in between",
    orders: [2],
    when: ({ inputs }) => inputs.some((x) => Math.abs(x) > 1e18 || (x !== 0 && Math.abs(x) < 1e-18)),
  },
  {
    of: /^(hypot|atan2)$/,
    reason: "second derivatives are differences of terms of the size 1/length or its square",
    orders: [2],
    scale: 1,
  },
  {
    of: "pow",
    reason: "a slope below 1e-36 may vanish in between",
    orders: [1, 2],
    when: ({ want }) => Math.abs(want) < 1e-36,
  },
  {
    of: /^(layerNorm|groupNorm|batchNorm|batchNormInTraining|variance|squaredDeviations|sumOfSquares)$/,
    reason: "the square of a number above 1e19 is infinite in float32, as in PyTorch",
    when: ({ inputs, dtype }) => dtype === "float32" && inputs.some((x) => Number.isFinite(x) && Math.abs(x) > 1e18),
  },
  {
    of: /^(layerNorm|groupNorm|batchNormInTraining|rmsNorm)$/,
    reason: "slopes of normalisations are differences of terms of the size 1/deviation",
    orders: [1, 2],
    scale: 10,
  },
  {
    of: /^(prod|cumprod)$/,
    reason: "a product may overflow on its way to a smaller one",
    when: ({ inputs }) => inputs.some((x) => Math.abs(x) > 1e18),
  },
  {
    of: /^(convolution|convolutionInput|convolutionKernel|packedConvolution|packedConvolutionInput|packedConvolutionKernel)$/,
    reason: "ONNX Runtime multiplies the zeros of the padding too: times an infinity or NaN they are NaN",
    orders: [0],
    when: ({ got }) => Number.isNaN(got),
  },
  {
    of: "layerNorm",
    reason: "the mean of an infinite row is infinite, or NaN on ONNX Runtime",
    orders: [0],
    when: isEndless,
  },
  {
    of: "logCumSumExp",
    reason: "PyTorch's slope is a sum of exponentials that overflow",
    orders: [1],
    when: ({ inputs }) => inputs.some((x) => Math.abs(x) > 1e18),
  },
  {
    of: "std",
    reason: "a deviation from the largest number may overflow",
    when: ({ inputs, dtype }) => dtype === "float32" && inputs.some((x) => Math.abs(x) > 1e38),
  },
  {
    of: "sinc",
    reason: "the slope is a difference of terms of the size 1/x",
    orders: [1, 2],
    scale: 1,
  },
  {
    of: "heaviside",
    reason: "NaN stays NaN, as in NumPy; in PyTorch it is taken to be below 0",
    when: ({ inputs: [x] }) => Number.isNaN(x),
  },
  {
    of: "atan2",
    reason: "a zero has no sign in atan2, as documented",
    orders: [0],
    when: ({ inputs }) => inputs.some((x) => x === 0),
  },
];
