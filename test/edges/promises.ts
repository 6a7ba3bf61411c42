/** What is promised at the edges of the numbers: the sentences of docs/edges.md, each with inputs that show it. */
import { functional, gradients, type Tensor, tensor } from "../../src/index.ts";
import { toFloats } from "./sweep.ts";
import type { Any } from "./table.ts";

/** Something to compute, and what comes: NaN is equal to itself, and 0 to −0. */
interface Example {
  readonly of: () => Tensor;
  readonly is: readonly number[];
}

export interface Promised {
  readonly about: string;
  readonly sentence: string;
  /** Empty where other tests hold the sentence, which it names. */
  readonly examples: readonly Example[];
}

const nan = Number.NaN;
const inf = Number.POSITIVE_INFINITY;
const most = 3.4028234663852886e38;
const [least, greatest] = [-(2 ** 31), 2 ** 31 - 1];

const floats = (...values: number[]): Any => toFloats(values, [values.length], "float32");
const doubles = (...values: number[]): Any => toFloats(values, [values.length], "float64");
const whole = (...values: number[]): Any => tensor(values, "int32");
const example = (of: () => Any, ...is: number[]): Example => ({ of, is });
/** The slopes of a function's sum. */
const slope = (f: (x: Any) => Any, ...at: number[]): Tensor => {
  const x = floats(...at);
  return gradients(f(x).sum(), [x])[0]!;
};
/** The slope by one side of a function of two. */
const slopeBy = (side: 0 | 1, f: (a: Any, b: Any) => Any, a: number, b: number): Tensor => {
  const sides: [Any, Any] = [floats(a), floats(b)];
  return gradients(f(...sides).sum(), sides)[side]!;
};

export const promises: readonly Promised[] = [
  {
    about: "NaN",
    sentence: "NaN compares as false with everything, itself included, and differs from everything.",
    examples: [
      example(() => floats(nan, 1).less(2), 0, 1),
      example(() => floats(nan, 1).equal(floats(nan, 1)), 0, 1),
      example(() => floats(nan, 1).notEqual(floats(nan, 1)), 1, 0),
    ],
  },
  {
    about: "NaN",
    sentence:
      "`max`, `min`, `maximum`, `minimum`, `clip`, `cummax`, `cummin` and `maxPool` are NaN where there is one among their numbers; `fmax` and `fmin` take the other number.",
    examples: [
      example(() => floats(1, nan, 2).max(), nan),
      example(() => floats(1, nan, 2).min(), nan),
      example(() => floats(1, nan, 2).maximum(1.5), 1.5, nan, 2),
      example(() => floats(1, nan, 2).clip(0, 1.5), 1, nan, 1.5),
      example(() => floats(1, nan, 2).cummax(), 1, nan, nan),
      example(() => floats(1, nan, 2).fmax(floats(0, 3, nan)), 1, 3, 2),
      example(
        () => functional.maxPool(floats(1, nan, 2, 3).reshape([1, 1, 4]), { kernel: 2, stride: 2 } as Any),
        nan,
        3,
      ),
    ],
  },
  {
    about: "NaN",
    sentence: "`argmax` and `argmin` find the first NaN where there is one.",
    examples: [example(() => floats(3, nan, 5, nan).argmax(), 1), example(() => floats(3, nan, 5, nan).argmin(), 1)],
  },
  {
    about: "NaN",
    sentence:
      "In order, NaN is larger than every number: `sort` puts it last, and with `descending`, like `topK`, first.",
    examples: [
      example(() => floats(3, nan, 1, 2, nan, 0).sort()[0], 0, 1, 2, 3, nan, nan),
      example(() => floats(3, nan, 1, 2, nan, 0).argsort(), 5, 2, 3, 0, 1, 4),
      example(() => floats(3, nan, 1).topK(2)[0], nan, 3),
    ],
  },
  {
    about: "Infinities and zeros",
    sentence: "A maximum of nothing but −∞ is −∞, in windows too, and ln Σ eˣ of nothing but −∞ is −∞.",
    examples: [
      example(() => floats(-inf, -inf).max(), -inf),
      example(() => functional.maxPool(floats(-inf, -inf).reshape([1, 1, 2]), { kernel: 2 } as Any), -inf),
      example(() => floats(-inf, -inf).logSumExp(), -inf),
    ],
  },
  {
    about: "Infinities and zeros",
    sentence: "Division by 0 is IEEE 754's: 1/0 is ∞, 1/−0 is −∞, 0/0 is NaN. `floorDivide` gives these too.",
    examples: [
      example(() => floats(1, 1, 0).div(floats(0, -0, 0)), inf, -inf, nan),
      example(() => floats(1, -1).floorDivide(floats(0, 0)), inf, -inf),
    ],
  },
  {
    about: "Infinities and zeros",
    sentence: "`signBit` and `copySign` know −0 from 0; `atan2` does not, and neither do comparisons.",
    examples: [
      example(() => floats(-0, 0).signBit(), 1, 0),
      example(() => floats(2, 2).copySign(floats(-0, 0)), -2, 2),
      example(() => floats(0).atan2(floats(-0)), 0),
      example(() => floats(-0).equal(floats(0)), 1),
    ],
  },
  {
    about: "Infinities and zeros",
    sentence: "x·f(x) at −∞ is NaN, as in PyTorch: `gelu`, `silu` and their like.",
    examples: [example(() => floats(-inf).silu(), nan), example(() => floats(-inf).gelu(), nan)],
  },
  {
    about: "The largest and the smallest numbers",
    sentence:
      "`hypot`, `norm`, `logSumExp`, `softplus` and their slopes are finite where the result is, whatever its parts.",
    examples: [
      example(() => floats(3e38, 3e-38).hypot(floats(1, 4e-38)), 3e38, 5e-38),
      example(() => floats(3e20, 4e20).norm(), 5e20),
      example(() => slope((x) => x.norm(), 3e20, 4e20), 0.6, 0.8),
      example(() => floats(most, 1).logSumExp(), most),
      example(() => floats(most, -most).softplus(), most, 0),
    ],
  },
  {
    about: "The largest and the smallest numbers",
    sentence:
      "float32 numbers below 1.18e-38, the smallest normal one, and float64 numbers below 2.2e-308 may be taken for 0 on ONNX Runtime, and results as small may be 0; the plain engine keeps them.",
    examples: [],
  },
  {
    about: "Whole numbers",
    sentence:
      "int32 wraps around in all of arithmetic: sums, differences, products, `neg`, `abs`, `square`, `sum`, `cumsum`, `prod`, `matmul`.",
    examples: [
      example(() => whole(greatest, least).add(whole(1, -1)), least, greatest),
      example(() => whole(65536, least).mul(whole(65536, -1)), 0, least),
      example(() => whole(least).neg(), least),
      example(() => whole(least).abs(), least),
      example(() => whole(greatest, 1, 1).sum(), least + 1),
      example(() => whole(greatest, 1, 1).cumsum(), greatest, least, least + 1),
      example(
        () =>
          whole(greatest, greatest)
            .reshape([1, 2])
            .matmul(whole(2, 3).reshape([2, 1])),
        greatest - 4,
      ),
    ],
  },
  {
    about: "Whole numbers",
    sentence:
      "−2³¹ / −1 wraps around to −2³¹; what is left is 0. An int32 divisor of 0 stops the run with an error, on every engine.",
    examples: [
      example(() => whole(least).div(whole(-1)), least),
      example(() => whole(least).floorDivide(whole(-1)), least),
      example(() => whole(least).remainder(whole(-1)), 0),
      example(() => whole(-7, 7).div(whole(2, -2)), -3, -3),
      example(() => whole(-7, 7).floorDivide(whole(2, -2)), -4, -4),
    ],
  },
  {
    about: "Casts",
    sentence:
      "Towards int32 the fraction is cut off; NaN, infinities and what is too large become −2³¹. Towards bool everything but 0 is true, NaN too.",
    examples: [
      example(
        () => floats(-2.7, 2.7, nan, inf, -inf, 3e9, -3e9).cast("int32"),
        -2,
        2,
        least,
        least,
        least,
        least,
        least,
      ),
      example(
        () => doubles(-2.7, 2.7, nan, inf, -inf, 3e9, -3e9).cast("int32"),
        -2,
        2,
        least,
        least,
        least,
        least,
        least,
      ),
      example(() => floats(nan, 0, -0, 1e-20).cast("bool"), 1, 0, 0, 1),
      example(() => doubles(1e300, 0.1).cast("float32").cast("float64"), inf, Math.fround(0.1)),
    ],
  },
  {
    about: "Rounding",
    sentence: "`round` takes halves to the even number.",
    examples: [example(() => floats(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5).round(), -2, -2, 0, 0, 2, 2)],
  },
  {
    about: "Ties",
    sentence:
      "Of two equal numbers `maximum` and `minimum` give each half the slope, `fmax` and `fmin` give all to the first; `max` and `min` share it among all that are equal. `argmax`, `argmin`, `sort` and `topK` take equals in their order.",
    examples: [
      example(() => slopeBy(0, (a, b) => a.maximum(b), 2, 2), 0.5),
      example(() => slopeBy(1, (a, b) => a.maximum(b), 2, 2), 0.5),
      example(() => slopeBy(0, (a, b) => a.fmax(b), 2, 2), 1),
      example(() => slopeBy(1, (a, b) => a.fmax(b), 2, 2), 0),
      example(() => slope((x) => x.max(), 3, 1, 3), 0.5, 0, 0.5),
      example(() => floats(1, 3, 3).argmax(), 1),
      example(() => floats(2, 1, 2, 1).argsort(), 1, 3, 0, 2),
    ],
  },
  {
    about: "Kinks",
    sentence:
      "At a kink the slope is 0 for `abs`, `relu`, `relu6`, `hardTanh`, `hardSigmoid`, `hardShrink`, `softShrink` and `threshold`, the lower side's for `leakyRelu`, `prelu`, `elu`, `celu` and `selu`, and 1 at the bounds of `clip`.",
    examples: [
      example(() => slope((x) => x.abs(), 0), 0),
      example(() => slope((x) => x.relu(), 0), 0),
      example(() => slope((x) => x.relu6(), 0, 6), 0, 0),
      example(() => slope((x) => x.hardTanh(), -1, 1), 0, 0),
      example(() => slope((x) => x.hardShrink(), -0.5, 0.5), 0, 0),
      example(() => slope((x) => x.leakyRelu(0.25), 0), 0.25),
      example(() => slope((x) => x.elu(2), 0), 2),
      example(() => slope((x) => x.clip(-1, 1), -1, 1, 2), 1, 1, 0),
    ],
  },
  {
    about: "Sums",
    sentence:
      "Sums of float32 numbers of one sign are right to 2e-6 of their size, up to ten million of them and along any axes (`test/tensor/sums.test.ts`).",
    examples: [],
  },
];
