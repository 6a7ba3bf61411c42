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
  key: Key,
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

/** Two uint32. */
export type Key = readonly [number, number];

/** The key that a seed stands for. */
export function keyOf(seed: number): Key {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/**
 * A key of its own for a name: the name's UTF-8 bytes and their number are the blocks of a Matyas–Meyer–Oseas chain
 * (Matyas, Meyer and Oseas 1985) whose cipher is Philox.
 */
export function splitKey(key: Key, name: string): Key {
  const bytes = new TextEncoder().encode(name);
  const words = new Uint32Array(4 * Math.ceil(bytes.length / 16) + 4);
  bytes.forEach((byte, i) => (words[i >> 2]! |= byte << (8 * (i % 4))));
  words[words.length - 1] = bytes.length;
  const block = new Uint32Array(4);
  let [low, high] = key;
  for (let at = 0; at < words.length; at += 4) {
    philox4x32([words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!], [low, high], block);
    [low, high] = [(block[0]! ^ words[at]!) >>> 0, (block[1]! ^ words[at + 1]!) >>> 0];
  }
  return [low, high];
}

/** Random numbers on the JavaScript side, one after the other: for initial weights, shuffles and splits. */
export class PhiloxStream {
  readonly #key: Key;
  readonly #stream: number;
  readonly #block: Uint32Array = new Uint32Array(4);
  #position = 0;

  /** Two streams of one seed never overlap. A seed is a safe integer, `stream` a uint32. */
  constructor(seed: number | Key, stream: number = 0) {
    this.#key = typeof seed === "number" ? keyOf(seed) : seed;
    this.#stream = stream >>> 0;
  }

  /** How many numbers have been drawn. Assigning goes on from there. */
  get position(): number {
    return this.#position;
  }

  set position(position: number) {
    this.#position = position;
    if (position % 4 !== 0) this.#fill(Math.floor(position / 4));
  }

  /** A stream of its own over the next `count` numbers, which this one passes over: for numbers that may never be wanted. */
  reserve(count: number): PhiloxStream {
    const part = new PhiloxStream(this.#key, this.#stream);
    part.position = this.#position;
    this.position += count;
    return part;
  }

  /** The next uint32. */
  next(): number {
    const at = this.#position % 4;
    if (at === 0) this.#fill(this.#position / 4);
    this.#position++;
    return this.#block[at]!;
  }

  #fill(block: number): void {
    philox4x32([block >>> 0, Math.floor(block / 2 ** 32) >>> 0, this.#stream, 0], this.#key, this.#block);
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
