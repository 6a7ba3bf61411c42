import { expect, test } from "vitest";
import { PhiloxStream, philox4x32 } from "../../src/random/philox.ts";

type Words4 = readonly [number, number, number, number];

/** Known answers of Philox4x32-10, published with Random123 (kat_vectors). */
const known: readonly { counter: Words4; key: readonly [number, number]; answer: Words4 }[] = [
  {
    counter: [0, 0, 0, 0],
    key: [0, 0],
    answer: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    answer: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    answer: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
];

test.each(known)("the block of counter $counter under key $key is the published one", ({ counter, key, answer }) => {
  const out = new Uint32Array(6);
  philox4x32(counter, key, out, 1);
  expect([...out]).toEqual([0, ...answer, 0]);
});

test("agrees with the definition in big integers on many counters and keys", () => {
  const stream = new PhiloxStream(20240607);
  const draw = (): number => stream.next();
  for (let round = 0; round < 300; round++) {
    const counter = [draw(), draw(), draw(), draw()] as const;
    const key = [draw(), draw()] as const;
    const out = new Uint32Array(4);
    philox4x32(counter, key, out);
    expect([...out]).toEqual(bigIntegerPhilox(counter, key));
  }
});

/** Salmon et al. 2011, section 3.3, with the 64-bit products taken as they stand. */
function bigIntegerPhilox(counter: Words4, key: readonly [number, number]): number[] {
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  const word = (x: bigint): bigint => BigInt.asUintN(32, x);
  for (let round = 0; round < 10; round++) {
    const product0 = 0xd2511f53n * c0;
    const product1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(product1 >> 32n) ^ c1 ^ k0, word(product1), (product0 >> 32n) ^ c3 ^ k1, word(product0)];
    k0 = word(k0 + 0x9e3779b9n);
    k1 = word(k1 + 0xbb67ae85n);
  }
  return [c0, c1, c2, c3].map(Number);
}

test("a stream walks the blocks in order: key from the seed, counter (block, block's high word, stream, 0)", () => {
  const seed = 2 ** 40 + 17;
  const block = new Uint32Array(8);
  philox4x32([0, 0, 5, 0], [17, 256], block);
  philox4x32([1, 0, 5, 0], [17, 256], block, 4);
  const stream = new PhiloxStream(seed, 5);
  expect(Array.from({ length: 8 }, () => stream.next())).toEqual([...block]);
});

test("the same seed and stream give the same numbers, another seed or stream others", () => {
  const first = (seed: number, stream?: number): number[] => {
    const numbers = new PhiloxStream(seed, stream);
    return Array.from({ length: 16 }, () => numbers.next());
  };
  expect(first(1)).toEqual(first(1, 0));
  expect(first(1)).not.toEqual(first(2));
  expect(first(1)).not.toEqual(first(1, 1));
  expect(first(1)).not.toEqual(first(1 + 2 ** 32));
});

test("uniform stays in [0, 1), fits a float32 and has mean 1/2 and variance 1/12", () => {
  const stream = new PhiloxStream(7);
  const n = 100_000;
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < n; i++) {
    const u = stream.uniform();
    if (u < 0 || u >= 1 || Math.fround(u) !== u) expect.fail(`${u} is not a float32 in [0, 1)`);
    sum += u;
    squares += (u - 0.5) ** 2;
  }
  // Four standard errors: √(1/12 / n) for the mean, √(1/180 / n) for the variance.
  expect(Math.abs(sum / n - 1 / 2)).toBeLessThan(4 * Math.sqrt(1 / 12 / n));
  expect(Math.abs(squares / n - 1 / 12)).toBeLessThan(4 * Math.sqrt(1 / 180 / n));
});

test("normal has the first four moments of the standard normal and is always finite", () => {
  const stream = new PhiloxStream(11);
  const n = 100_000;
  const moments = [0, 0, 0, 0];
  for (let i = 0; i < n; i++) {
    const z = stream.normal();
    if (!Number.isFinite(z)) expect.fail(`${z} is not finite`);
    for (let k = 0; k < 4; k++) moments[k]! += z ** (k + 1) / n;
  }
  // Variances of z, z², z³, z⁴: 1, 2, 15, 96.
  const variances = [1, 2, 15, 96];
  [0, 1, 0, 3].forEach((expected, k) => {
    expect(Math.abs(moments[k]! - expected)).toBeLessThan(4 * Math.sqrt(variances[k]! / n));
  });
});
