import { expect, test } from "vitest";
import { count, counted, list, show } from "../../src/doctor/words.ts";

test.each([
  [0, 4, "0"],
  [Math.LN10, 4, "2.303"],
  [1, 4, "1"],
  [5e-7, 4, "5e-7"],
  [-7.3168e-4, 2, "-7.3e-4"],
  [0.001, 2, "0.001"],
  [1234567, 4, "1.235e6"],
  [2e10, 4, "2e10"],
  [100, 2, "100"],
  [Number.NaN, 4, "NaN"],
  [Number.NEGATIVE_INFINITY, 4, "-Infinity"],
])("%d with %d digits: %s", (value, digits, text) => expect(show(value, digits)).toBe(text));

test("numbers of things", () => {
  expect(count(1234567)).toBe("1,234,567");
  expect([counted(1, "step"), counted(2000, "step")]).toEqual(["1 step", "2,000 steps"]);
  expect(list([1, 2])).toBe("1, 2");
  expect(list([1, 2, 3, 4, 5, 6, 7])).toBe("1, 2, 3, 4, 5 and 2 more");
});
