import { expect, test } from "vitest";
import { smoother } from "../../src/index.ts";

test("a smoother begins at the first value, stays at a constant one, and forgets", () => {
  const follow = smoother(0.9);
  expect([2, 2, 2].map(follow)).toEqual([2, 2, 2].map((value) => expect.closeTo(value, 12)));
  const jump = follow(12);
  // (2·(β + β² + β³) + 12) / (1 + β + β² + β³)
  expect(jump).toBeCloseTo((2 * (0.9 + 0.81 + 0.729) + 12) / (1 + 0.9 + 0.81 + 0.729), 12);
  let last = jump;
  for (let i = 0; i < 200; i++) last = follow(5);
  expect(last).toBeCloseTo(5, 6);
  expect([3, 1].map(smoother(0))).toEqual([3, 1]);
  expect(() => smoother(1)).toThrow("smoother: beta is 1");
});

test("two smoothers know nothing of each other", () => {
  const [a, b] = [smoother(), smoother()];
  a(100);
  expect(b(1)).toBeCloseTo(1, 12);
});
