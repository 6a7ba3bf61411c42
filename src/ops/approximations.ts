/**
 * Transcendental functions as steps of a kernel, to float32's precision. The polynomials are minimax fits of our own, weighted for
 * relative error (Lawson's algorithm on Chebyshev nodes); what is said of each holds before its coefficients and steps are rounded.
 */
import type { KernelValue, KernelWriter } from "../graph/kernel.ts";

/** (eʳ − 1 − r) / r² for |r| ≤ ½·ln 2; eʳ within 3.1e-9. */
const expTail = [
  0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.008368716575205326, 0.001381459878757596,
];

/** erf x / x − 1 in x², for |x| ≤ 1; erf within 1.3e-9. */
const erfNear = [
  0.128379225730896, -0.3761262595653534, 0.1128358542919159, -0.026853812858462334, 0.005188328213989735,
  -0.000801019836217165, 7.853876013541594e-5,
];

/** −ln(1 − erf x) for 1 ≤ x ≤ 3.95; erf within 1.1e-9. */
const erfFar = [
  0.0003415230312384665, 1.1270891427993774, 0.638144850730896, 0.10310675203800201, -0.02183806337416172,
  0.0029476583003997803, -0.00018637919856701046,
];

/** tanh x / x in x², for |x| ≤ 0.625; within 4e-9. */
const tanhNear = [
  1, -0.3333325982093811, 0.13331127166748047, -0.053721070289611816, 0.020590998232364655, -0.005659998394548893,
];

/** ln 2 in two parts: products of the first with whole numbers below 2⁹ have no rounding. */
const ln2 = [0.693359375, -2.1219444005469057e-4] as const;

/**
 * Σ cᵢ·xⁱ, by Horner's scheme in x² over pairs cᵢ + cᵢ₊₁·x: half as long a chain of steps that wait for one another as the scheme in x.
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

/** eˣ = 2ⁿ·eʳ, with n whole and |r| ≤ ½·ln 2. */
export function kernelExp(write: KernelWriter, x: KernelValue): KernelValue {
  // Beyond these eˣ is 0 or infinite. The constant comes first, so that NaN stays.
  const bounded = write.apply("min", write.constant(89), write.apply("max", write.constant(-104), x));
  const n = write.apply("round", write.apply("mul", bounded, write.constant(Math.LOG2E)));
  const [high, low] = ln2.map((part) => write.constant(-part)) as [KernelValue, KernelValue];
  const r = write.apply("fma", n, low, write.apply("fma", n, high, bounded));
  const square = write.apply("mul", r, r);
  const low2 = write.apply("fma", polynomial(write, r, expTail), square, r);
  return write.apply("scale", write.apply("add", low2, write.constant(1)), n);
}

/** x's sign, y's magnitude; y is not negative. */
function signed(write: KernelWriter, y: KernelValue, x: KernelValue): KernelValue {
  return write.apply("select", write.apply("less", x, write.constant(0)), write.apply("neg", y), y);
}

export function kernelErf(write: KernelWriter, x: KernelValue): KernelValue {
  const size = write.apply("abs", x);
  const near = write.apply("fma", x, polynomial(write, write.apply("mul", x, x), erfNear), x);
  // 1 − e^(−q); from 3.95 on that is 1.
  const q = polynomial(write, write.apply("min", write.constant(4), size), erfFar);
  const far = write.apply("sub", write.constant(1), kernelExp(write, write.apply("neg", q)));
  return write.apply("select", write.apply("less", size, write.constant(1)), near, signed(write, far, x));
}

/** ½·(1 + erf x) */
export function kernelNormal(write: KernelWriter, x: KernelValue): KernelValue {
  const half = write.constant(0.5);
  return write.apply("fma", kernelErf(write, x), half, half);
}

export function kernelSigmoid(write: KernelWriter, x: KernelValue): KernelValue {
  const one = write.constant(1);
  return write.apply("div", one, write.apply("add", kernelExp(write, write.apply("neg", x)), one));
}

/** Near 0 a polynomial; beyond, 1 − 2 / (e²ˣ + 1). */
export function kernelTanh(write: KernelWriter, x: KernelValue): KernelValue {
  const one = write.constant(1);
  const size = write.apply("abs", x);
  const near = write.apply("mul", x, polynomial(write, write.apply("mul", x, x), tanhNear));
  const grown = write.apply("add", kernelExp(write, write.apply("add", size, size)), one);
  const far = write.apply("sub", one, write.apply("div", write.constant(2), grown));
  return write.apply("select", write.apply("less", size, write.constant(0.625)), near, signed(write, far, x));
}
