import { describe, expect, test } from "vitest";
import { runsTest } from "../../src/doctor/runs.ts";
import { PhiloxStream } from "../../src/random/stream.ts";

describe("the runs test", () => {
  test("counts two kinds as Wald and Wolfowitz do", () => {
    // n₁ = 5, n₂ = 5: μ = 2·n₁·n₂/n + 1 = 6, σ² = (μ − 1)(μ − 2)/(n − 1) = 20/9
    const found = runsTest([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])!;
    expect(found).toMatchObject({ runs: 2, expected: 6 });
    expect(found.z).toBeCloseTo((2 - 6) / Math.sqrt(20 / 9), 12);
  });

  test("has, over random orders of three kinds, the mean and the deviation that it says", () => {
    const random = new PhiloxStream(4);
    const kinds = [...Array(12).fill(0), ...Array(7).fill(1), ...Array(4).fill(2)] as number[];
    let [sum, squares] = [0, 0];
    const times = 4000;
    for (let i = 0; i < times; i++) {
      for (let last = kinds.length - 1; last > 0; last--) {
        const chosen = Math.floor(random.uniform() * (last + 1));
        [kinds[last], kinds[chosen]] = [kinds[chosen]!, kinds[last]!];
      }
      const { z } = runsTest(kinds)!;
      sum += z;
      squares += z * z;
    }
    expect(Math.abs(sum / times)).toBeLessThan(4 / Math.sqrt(times));
    expect(squares / times).toBeGreaterThan(0.9);
    expect(squares / times).toBeLessThan(1.1);
  });

  test("says nothing where all are alike or all differ", () => {
    expect(runsTest([1, 1, 1])).toBeUndefined();
    expect(runsTest([1, 2, 3])).toBeUndefined();
    expect(runsTest([1])).toBeUndefined();
  });
});
