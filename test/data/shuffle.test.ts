import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { drawIndex, permutation, type RandomBits } from "../../src/data/shuffle.ts";
import { PhiloxStream } from "../../src/random/stream.ts";

/** Random bits that are what the test says. */
function scripted(...numbers: number[]): RandomBits {
  return { next: () => numbers.shift() ?? expect.fail("more bits were drawn than expected") };
}

describe("drawIndex", () => {
  test("takes the remainder", () => {
    expect(drawIndex(10, scripted(123))).toBe(3);
    expect(drawIndex(1, scripted(0xffffffff))).toBe(0);
    expect(drawIndex(2 ** 32, scripted(0xffffffff))).toBe(0xffffffff);
  });

  test("draws again where the remainders would not be equally likely", () => {
    // 2³² = 3 · 1431655765 + 1: one number at the top is left over.
    expect(drawIndex(3, scripted(0xffffffff, 5))).toBe(2);
    expect(drawIndex(3, scripted(0xfffffffe))).toBe(2);
    // Above 2³¹ nearly half of the numbers are left over.
    expect(drawIndex(2 ** 31 + 1, scripted(2 ** 31 + 1, 2 ** 32 - 1, 2 ** 31))).toBe(2 ** 31);
  });

  test("gives each index equally often", () => {
    const random = new PhiloxStream(3);
    const counts = new Float64Array(7);
    for (let i = 0; i < 70_000; i++) counts[drawIndex(7, random)]!++;
    // χ² with 6 degrees of freedom exceeds 22.5 once in a thousand times.
    expect(counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0)).toBeLessThan(22.5);
  });
});

describe("permutation", () => {
  test("holds every index once", () => {
    fc.assert(
      fc.property(fc.nat({ max: 300 }), fc.nat(), (length, seed) => {
        const order = permutation(length, new PhiloxStream(seed));
        expect([...order].sort((a, b) => a - b)).toEqual([...Array(length).keys()]);
      }),
    );
  });

  test("of four is each of the 24 equally often", () => {
    const random = new PhiloxStream(5);
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = permutation(4, random).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    // χ² with 23 degrees of freedom exceeds 49.7 once in a thousand times.
    expect([...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(49.7);
  });

  test("is the one that Fisher and Yates make of the bits", () => {
    // [0 1 2 3]: 3 ↔ 1, then 2 ↔ 2, then 1 ↔ 0.
    expect([...permutation(4, scripted(1, 2, 0))]).toEqual([3, 0, 2, 1]);
  });
});
