/** Philox4x32-10, a counter-based generator (Salmon, Moraes, Dror and Shaw 2011): random bits as a pure function of (key, counter). */

/** High 32 bits of the product of two uint32. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const carry = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/** Writes the four uint32 that the counter is encrypted to into `out`, from `offset` on. */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
  out: Uint32Array,
  offset: number = 0,
): void {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[offset] = c0;
  out[offset + 1] = c1;
  out[offset + 2] = c2;
  out[offset + 3] = c3;
}

/** The two words of key that a seed stands for. */
export function keyOf(seed: number): [number, number] {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/** Random numbers on the JavaScript side, one after the other: for initial weights, shuffles and splits. */
export class PhiloxStream {
  readonly #key: readonly [number, number];
  readonly #stream: number;
  readonly #block: Uint32Array = new Uint32Array(4);
  #position = 0;

  /** Two streams of one seed never overlap. `seed` is a safe integer, `stream` a uint32. */
  constructor(seed: number, stream: number = 0) {
    this.#key = keyOf(seed);
    this.#stream = stream >>> 0;
  }

  /** The next uint32. */
  next(): number {
    const at = this.#position % 4;
    if (at === 0) {
      const block = this.#position / 4;
      philox4x32([block >>> 0, Math.floor(block / 2 ** 32) >>> 0, this.#stream, 0], this.#key, this.#block);
    }
    this.#position++;
    return this.#block[at]!;
  }

  /** Uniform in [0, 1), with 24 bits: every value is a float32. */
  uniform(): number {
    return (this.next() >>> 8) * 2 ** -24;
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }
}
