/** Philox4x32-10, a counter-based generator (Salmon, Moraes, Dror and Shaw 2011): random bits as a pure function of (key, counter). */

export const multipliers: readonly [number, number] = [0xd2511f53, 0xcd9e8d57];
/** The numbers that are added to the two words of the key after each round. */
export const weyl: readonly [number, number] = [0x9e3779b9, 0xbb67ae85];
export const rounds = 10;

/** Returns the high 32 bits of the product of two uint32. */
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

/** Encrypts the counter with the key, and writes the resulting four uint32 into `out`, from `offset` on. */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: Key,
  out: Uint32Array,
  offset: number = 0,
): void {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  const [m0, m1] = multipliers;
  const [w0, w1] = weyl;
  for (let round = 0; round < rounds; round++) {
    const high0 = multiplyHigh(m0, c0);
    const low0 = Math.imul(m0, c0) >>> 0;
    const high1 = multiplyHigh(m1, c2);
    const low1 = Math.imul(m1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + w0) >>> 0;
    k1 = (k1 + w1) >>> 0;
  }
  out[offset] = c0;
  out[offset + 1] = c1;
  out[offset + 2] = c2;
  out[offset + 3] = c3;
}

/** Two uint32. */
export type Key = readonly [number, number];

/** Returns the key for a seed. */
export function keyOf(seed: number): Key {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/**
 * Returns a separate key for a name: the name's UTF-8 bytes and their number are the blocks of a Matyas–Meyer–Oseas chain (Matyas,
 * Meyer and Oseas 1985) whose cipher is Philox.
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
