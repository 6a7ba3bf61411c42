/**
 * Transcendental functions as steps of a kernel, to float32's precision. The polynomials are our own minimax fits, weighted for relative
 * error (Lawson's algorithm on Chebyshev nodes). The error given for a polynomial holds before its coefficients and steps are rounded. The
 * test of a function measures its error in the end.
 */
import type { KernelValue, KernelWriter } from "./kernel.ts";

/** (eʳ − 1 − r) / r² for |r| ≤ ½·ln 2; eʳ within 3.1e-9. */
const expTail = [
  0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.008368716575205326, 0.001381459878757596,
];

/** erf x / x − 1 in x², for |x| ≤ 1; erf within 1.3e-9. */
const erfNear = [
  0.12837916612625122, -0.3761262595653534, 0.1128358542919159, -0.026853812858462334, 0.005188328213989735,
  -0.000801019836217165, 7.853876013541594e-5,
];

/** ln(1 − erf x) for 1 ≤ x ≤ 3.95; erf within 1.1e-9. */
const erfFar = [
  -0.0003415230312384665, -1.1270891427993774, -0.638144850730896, -0.10310675203800201, 0.02183806337416172,
  -0.0029476583003997803, 0.00018637919856701046,
];

/** tanh⁻¹ s / s in s², for |s| ≤ ⅓; within 1e-9. */
const atanhNear = [
  1, 0.33333340287208557, 0.19999346137046814, 0.14310361444950104, 0.10696626454591751, 0.12206529825925781,
];

/**
 * ln 2 in two parts (Cody and Waite, Software Manual for the Elementary Functions, 1980): products of the first part with whole numbers
 * below 2⁹ are exact.
 */
const ln2 = [0.693359375, -2.1219444005469057e-4] as const;

/**
 * Σ cᵢ·xⁱ, by Horner's scheme in x² over pairs cᵢ + cᵢ₊₁·x. The chain of steps that wait for one another is half as long as with Horner's
 * scheme in x.
 */
function polynomial(write: KernelWriter, x: KernelValue, coefficients: readonly number[]): KernelValue {
  const pairs: KernelValue[] = [];
  for (let i = 0; i < coefficients.length; i += 2) {
    const [c, next] = coefficients.slice(i, i + 2).map((value) => write.constant(value)) as [number, number?];
    pairs.push(next === undefined ? c : write.apply("fma", x, next, c));
  }
  const square = write.apply("mul", x, x);
  const [last, ...rest] = pairs.reverse() as [KernelValue, ...KernelValue[]];
  return rest.reduce((sum, pair) => write.apply("fma", square, sum, pair), last);
}

/** Returns n and eʳ − 1, where eˣ = 2ⁿ·eʳ with n whole and |r| ≤ ½·ln 2. */
function exponential(write: KernelWriter, x: KernelValue): { readonly n: KernelValue; readonly rest: KernelValue } {
  const n = write.apply("round", write.apply("mul", x, write.constant(Math.LOG2E)));
  const [high, low] = ln2.map((part) => write.constant(-part)) as [KernelValue, KernelValue];
  const r = write.apply("fma", n, low, write.apply("fma", n, high, x));
  return { n, rest: write.apply("fma", polynomial(write, r, expTail), write.apply("mul", r, r), r) };
}

/** Clips x to the range from `low` to `high`. The bounds come first in `min` and `max`, so that NaN stays NaN. */
function bounded(write: KernelWriter, x: KernelValue, low: number, high: number): KernelValue {
  return write.apply("min", write.constant(high), write.apply("max", write.constant(low), x));
}

/** eˣ within 1.2 units in the last place; 0 where eˣ is a denormal number. */
export function kernelExp(write: KernelWriter, x: KernelValue): KernelValue {
  const { n, rest } = exponential(write, bounded(write, x, -104, 89)); //  beyond, eˣ is 0 or infinite
  return write.apply("scale", write.apply("add", rest, write.constant(1)), n);
}

/** eˣ for |x| ≤ 87. */
function nearExp(write: KernelWriter, x: KernelValue): KernelValue {
  const { n, rest } = exponential(write, x);
  return write.apply("mul", write.apply("add", rest, write.constant(1)), write.apply("power", n));
}

/** erf x within 1.4 units in the last place. */
export function kernelErf(write: KernelWriter, x: KernelValue): KernelValue {
  const one = write.constant(1);
  const size = write.apply("abs", x);
  const near = write.apply("fma", x, polynomial(write, write.apply("mul", x, x), erfNear), x);
  // 1 − e^q with the sign of x; from |x| = 3.95 on, this is ±1.
  const q = polynomial(write, write.apply("min", write.constant(4), size), erfFar);
  const far = write.apply("sub", one, nearExp(write, q));
  const signed = write.apply("select", write.apply("less", x, write.constant(0)), write.apply("neg", far), far);
  return write.apply("select", write.apply("less", size, one), near, signed);
}

/** ½·(1 + erf x) */
export function kernelNormal(write: KernelWriter, x: KernelValue): KernelValue {
  const half = write.constant(0.5);
  return write.apply("fma", kernelErf(write, x), half, half);
}

/** 1 / (1 + e⁻ˣ) within 2.7 units in the last place, where the result is not a denormal number. */
export function kernelSigmoid(write: KernelWriter, x: KernelValue): KernelValue {
  const one = write.constant(1);
  return write.apply("div", one, write.apply("add", kernelExp(write, write.apply("neg", x)), one));
}

/** (e²ˣ − 1) / (e²ˣ + 1) within 2.7 units in the last place, from e²ˣ − 1 = 2ⁿ·(eʳ − 1) + (2ⁿ − 1), which loses no digits near 0. */
export function kernelTanh(write: KernelWriter, x: KernelValue): KernelValue {
  const near = bounded(write, x, -10, 10); //  beyond, tanh is ±1
  const { n, rest } = exponential(write, write.apply("add", near, near));
  const power = write.apply("power", n);
  const grown = write.apply("fma", power, rest, write.apply("sub", power, write.constant(1)));
  return write.apply("div", grown, write.apply("add", grown, write.constant(2)));
}

/** eˣ − 1 for x ≤ 0 within 2 units in the last place, computed as in tanh. */
export function kernelExpm1(write: KernelWriter, x: KernelValue): KernelValue {
  const { n, rest } = exponential(write, bounded(write, x, -30, 0)); //  below, it is −1
  const power = write.apply("power", n);
  return write.apply("fma", power, rest, write.apply("sub", power, write.constant(1)));
}

/** ln(1 + e⁻ˣ) for x ≥ 0: with t = e⁻ˣ it is 2·tanh⁻¹(t / (t + 2)), which loses no digits where t is small. */
export function kernelSmallSoftplus(write: KernelWriter, x: KernelValue): KernelValue {
  const t = kernelExp(write, write.apply("neg", x));
  const twice = write.apply("div", write.apply("add", t, t), write.apply("add", t, write.constant(2)));
  const square = write.apply("mul", write.apply("mul", twice, twice), write.constant(0.25));
  return write.apply("mul", twice, polynomial(write, square, atanhNear)); //  half of `twice` might be a denormal number
}

/** ln(1 + eˣ) within 4 units in the last place. */
export function kernelSoftplus(write: KernelWriter, x: KernelValue): KernelValue {
  const small = kernelSmallSoftplus(write, write.apply("abs", x));
  return write.apply("add", write.apply("max", write.constant(0), x), small);
}
