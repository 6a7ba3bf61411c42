/** Numbers and their names: exact, divided without overlap, the same for a seed. */
import { expect, test } from "vitest";
import { loadNumberWords } from "../../../src/node.ts";

test("numbers have their English names, and no held-out number is trained on", async () => {
  const { train, test, words } = await loadNumberWords({ trainNumbers: 3000, testNumbers: 400 });
  expect([train.length, test.length, words.length]).toEqual([3000, 400, 30]);
  const all = [...train, ...test];
  expect(new Set(all.map(({ number }) => number)).size).toBe(3400);
  const named = new Map(all.map(({ number, words }) => [number, words.join(" ")]));
  expect([0, 7].map((number) => named.get(number))).toEqual(["zero", "seven"]);
  for (const { number, digits, words: name } of all) {
    expect(digits.join("")).toBe(String(number));
    expect(name.every((word) => words.includes(word))).toBe(true);
  }
  const long = all.find(({ number }) => number > 100_000)!;
  expect(long.words).toContain("thousand");
});

test("a seed gives the same numbers, another others", async () => {
  const numbers = async (seed: number) =>
    (await loadNumberWords({ trainNumbers: 50, testNumbers: 5, seed })).train.map(({ number }) => number);
  expect(await numbers(1)).toEqual(await numbers(1));
  expect(await numbers(1)).not.toEqual(await numbers(2));
  await expect(loadNumberWords({ trainNumbers: 600_000 })).rejects.toThrow("600000 numbers to train on");
});
