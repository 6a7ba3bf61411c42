/**
 * Turns two random words into two normal numbers (Box and Muller 1958), in float32. Only operations whose result IEEE 754 defines to the
 * last bit are used, and not `Math.log` or `Math.cos`, which differ between JavaScript engines: the same words give the same bits
 * everywhere.
 */

/** Arithmetic of float32 (f) and of 32-bit integers (i): on one number in JavaScript, or on four at a time in WebAssembly. */
export interface Arithmetic<T> {
  /** A float32 constant. */
  f(value: number): T;
  i(value: number): T;
  add(a: T, b: T): T;
  sub(a: T, b: T): T;
  mul(a: T, b: T): T;
  sqrt(a: T): T;
  /** The sum of two integers. `isub` is their difference. */
  iadd(a: T, b: T): T;
  isub(a: T, b: T): T;
  and(a: T, b: T): T;
  xor(a: T, b: T): T;
  shiftLeft(a: T, bits: number): T;
  shiftRight(a: T, bits: number): T;
  /** Shifts right and fills with zeros. */
  shiftRightUnsigned(a: T, bits: number): T;
  /** Converts an integer to the nearest float32. */
  toFloat(a: T): T;
  /** The bits of a float32 as an integer, and back. */
  bits(a: T): T;
  ofBits(a: T): T;
  /** `a` where the mask is −1, `b` where it is 0. */
  select(mask: T, a: T, b: T): T;
  /** Marks a value that is used several times. */
  keep(a: T): T;
}

/** c₀xⁿ + c₁xⁿ⁻¹ + … + cₙ (Horner). */
function polynomial<T>(a: Arithmetic<T>, x: T, [first, ...rest]: readonly number[]): T {
  return rest.reduce((sum, c) => a.add(a.mul(sum, x), a.f(c)), a.f(first!));
}

/** ln(k · 2⁻²⁴) for whole numbers k from 1 to 2²⁴, with the coefficients of Cephes' logf (Moshier 1992). */
function logOf<T>(a: Arithmetic<T>, k: T): T {
  const bits = a.keep(a.bits(a.toFloat(k)));
  // k = m·2ᵉ with m in [√½, √2): 0x3f3504f3 are the bits of √½.
  const e = a.keep(a.shiftRight(a.isub(bits, a.i(0x3f3504f3)), 23));
  const x = a.keep(a.sub(a.ofBits(a.isub(bits, a.shiftLeft(e, 23))), a.f(1)));
  const exponent = a.keep(a.toFloat(a.isub(e, a.i(24))));
  const z = a.keep(a.mul(x, x));
  const p = polynomial(
    a,
    x,
    [
      7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
      2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ],
  );
  // ln 2 is split into two parts. The product of the larger part with a small integer is exact.
  const low = a.add(a.mul(a.mul(p, x), z), a.mul(exponent, a.f(-2.1219444e-4)));
  const y = a.sub(low, a.mul(z, a.f(0.5)));
  return a.add(a.add(x, y), a.mul(exponent, a.f(0.693359375)));
}

/** Returns two independent normal numbers from two words of 32 random bits, of which 24 are used. Their size is at most 5.8. */
export function normalPair<T>(a: Arithmetic<T>, first: T, second: T): readonly [T, T] {
  // 1 − u is in (0, 1], where the logarithm is finite.
  const radius = a.keep(a.sqrt(a.mul(logOf(a, a.isub(a.i(2 ** 24), a.shiftRightUnsigned(first, 8))), a.f(-2))));
  // The angle is quadrant · π/2 + x with x in [−π/4, π/4).
  const turned = a.keep(a.iadd(a.shiftRightUnsigned(second, 8), a.i(2 ** 21)));
  const quadrant = a.keep(a.shiftRightUnsigned(turned, 22));
  const part = a.isub(a.and(turned, a.i(2 ** 22 - 1)), a.i(2 ** 21));
  const x = a.keep(a.mul(a.toFloat(part), a.f((Math.PI / 2) * 2 ** -22)));
  const z = a.keep(a.mul(x, x));
  // Cephes' sinf and cosf.
  const s = a.add(a.mul(a.mul(polynomial(a, z, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]), z), x), x);
  const c = a.add(
    a.sub(
      a.mul(a.mul(polynomial(a, z, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]), z), z),
      a.mul(z, a.f(0.5)),
    ),
    a.f(1),
  );
  const [sine, cosine] = [a.keep(s), a.keep(c)];
  const isOdd = a.keep(a.isub(a.i(0), a.and(quadrant, a.i(1))));
  const signed = (value: T, sign: T): T => a.ofBits(a.xor(a.bits(value), sign));
  const signOf = (count: T): T => a.shiftLeft(a.and(count, a.i(2)), 30);
  return [
    a.mul(signed(a.select(isOdd, sine, cosine), signOf(a.iadd(quadrant, a.i(1)))), radius),
    a.mul(signed(a.select(isOdd, cosine, sine), signOf(quadrant)), radius),
  ];
}

const floats = new Float32Array(1);
const integers = new Int32Array(floats.buffer);

/** Arithmetic on one JavaScript number at a time: float32 as number, integers as int32. */
export const oneByOne: Arithmetic<number> = {
  f: Math.fround,
  i: (value) => value | 0,
  add: (a, b) => Math.fround(a + b),
  sub: (a, b) => Math.fround(a - b),
  mul: (a, b) => Math.fround(a * b),
  sqrt: (a) => Math.fround(Math.sqrt(a)),
  iadd: (a, b) => (a + b) | 0,
  isub: (a, b) => (a - b) | 0,
  and: (a, b) => a & b,
  xor: (a, b) => a ^ b,
  shiftLeft: (a, bits) => a << bits,
  shiftRight: (a, bits) => a >> bits,
  shiftRightUnsigned: (a, bits) => (a >>> bits) | 0,
  toFloat: Math.fround,
  bits(a) {
    floats[0] = a;
    return integers[0]!;
  },
  ofBits(a) {
    integers[0] = a;
    return floats[0]!;
  },
  select: (mask, a, b) => (mask === 0 ? b : a),
  keep: (a) => a,
};
