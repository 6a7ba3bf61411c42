import { describe, expect, test } from "vitest";
import { plainBlocks } from "../../src/random/blocks.ts";
import { normalPair, oneByOne } from "../../src/random/box-muller.ts";
import { philox4x32 } from "../../src/random/philox.ts";
import { PhiloxStream } from "../../src/random/stream.ts";
import { compiledBlocks, groupWords } from "../../src/random/wasm.ts";

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

describe("many numbers at once", () => {
  const stream = (position: number): PhiloxStream => {
    const numbers = new PhiloxStream(2 ** 45 + 3, 6);
    numbers.position = position;
    return numbers;
  };

  test("uniforms are (2·uniform − 1)·bound, from any position on, few or many, also where the counter's low word is full", () => {
    for (const position of [0, 3, 17, 4 * 2 ** 32 - 21])
      for (const count of [0, 1, 5, 16, 1100, 9000]) {
        const [one, all] = [stream(position), stream(position)];
        const wanted = Float32Array.from({ length: count }, () => (2 * one.uniform() - 1) * 0.3);
        expect(all.uniforms(count, 0.3)).toEqual(wanted);
        expect(all.position).toBe(one.position);
        expect(all.next()).toBe(one.next());
      }
  });

  test("normals are Box and Muller's of each pair of words from the next whole block on, to float32", () => {
    for (const position of [0, 8, 9, 4 * 2 ** 32 - 24])
      for (const count of [1, 6, 1100, 20_000]) {
        const [one, all] = [stream(4 * Math.ceil(position / 4)), stream(position)];
        const values = all.normals(count, 0.5);
        expect(values.length).toBe(count);
        for (let i = 0; i < count; i += 2) {
          const radius = Math.sqrt(-2 * Math.log(1 - one.uniform()));
          const angle = 2 * Math.PI * one.uniform();
          const wanted = [0.5 * radius * Math.cos(angle), 0.5 * radius * Math.sin(angle)].slice(0, count - i);
          for (const [j, value] of wanted.entries())
            if (!(Math.abs(values[i + j]! - value) <= 3e-7 * Math.max(1, radius)))
              expect.fail(`number ${i + j} from ${position} on is ${values[i + j]}, not ${value}`);
        }
        expect(all.position).toBe(4 * (Math.ceil(position / 4) + Math.ceil(count / 4)));
      }
  });

  test("WebAssembly and JavaScript give the same bits, for all kinds of words", () => {
    const compiled = compiledBlocks()!;
    const groups = compiled.memory.byteLength / 4 / groupWords;
    const plain = plainBlocks(groups);
    for (const kind of ["words", "normals"] as const)
      for (let low = 0; low < 40; low += 4) {
        const counter = [low * 2 ** 24, low, 0xfffffff0 + low, 0x9abcdef0, 2 ** 31 + low] as const;
        for (const blocks of [compiled, plain]) blocks[kind](...counter, groups, 0.02);
        expect(Buffer.compare(Buffer.from(compiled.memory), Buffer.from(plain.memory))).toBe(0);
      }
  });

  test("the radius is right to float32 for every word, the smallest and the largest included", () => {
    let worst = 0;
    for (let k = 0; k < 2 ** 24; k += k < 5000 || k > 2 ** 24 - 5000 ? 1 : 997) {
      const [z] = normalPair(oneByOne, k << 8, 0);
      const wanted = Math.sqrt(-2 * Math.log1p(-k * 2 ** -24));
      worst = Math.max(worst, Math.abs(z - wanted) / Math.max(wanted, 1e-30));
    }
    expect(worst).toBeLessThan(3e-7);
  });

  test("a reserved part gives what the stream would have given, and the stream goes on behind it", () => {
    const [one, other] = [stream(5), stream(5)];
    const [part, rest] = [one.reserveBlocks(9), one.normals(3, 1)];
    expect(part.normals(9, 1)).toEqual(other.normals(9, 1));
    expect(rest).toEqual(other.normals(3, 1));
  });

  test("many have the first four moments of the standard normal, and the two of a pair do not depend on each other", () => {
    const n = 1_000_000;
    const values = new PhiloxStream(12).normals(n, 1);
    const moments = [0, 0, 0, 0];
    let product = 0;
    for (const [i, z] of values.entries()) {
      for (let k = 0; k < 4; k++) moments[k]! += z ** (k + 1) / n;
      if (i % 2 === 1) product += (z * values[i - 1]!) / (n / 2);
    }
    const variances = [1, 2, 15, 96];
    [0, 1, 0, 3].forEach((expected, k) => {
      expect(Math.abs(moments[k]! - expected)).toBeLessThan(4 * Math.sqrt(variances[k]! / n));
    });
    expect(Math.abs(product)).toBeLessThan(4 / Math.sqrt(n / 2));
  });
});
