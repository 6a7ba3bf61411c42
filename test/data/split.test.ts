/** Splits in which classes keep their shares, and folds. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dataset } from "../../src/data/dataset.ts";
import { ConfigError, DataError } from "../../src/errors.ts";
import { complaint } from "../support/complaint.ts";

const labelled = (labels: readonly number[]) =>
  dataset(
    { shape: [labels.length], dtype: "float32", values: Float32Array.from(labels, (_, i) => i) },
    { shape: [labels.length], dtype: "int32", values: Int32Array.from(labels) },
  );
const count = (values: Iterable<number>, label: number): number =>
  [...values].filter((value) => value === label).length;

describe("a stratified split", () => {
  test("gives each class its share in both parts, every example once", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 3, max: 30 }), { minLength: 1, maxLength: 5 }),
        fc.double({ min: 0.2, max: 0.8, noNaN: true }),
        fc.nat(),
        (counts, part, seed) => {
          const data = labelled(counts.flatMap((size, label) => new Array<number>(size).fill(label)));
          const [first, second] = data.split(part, seed, { stratify: true });
          expect(first.length).toBe(Math.round(part * data.length));
          expect([...first.columns[0].values, ...second.columns[0].values].sort((a, b) => a - b)).toEqual([
            ...data.columns[0].values,
          ]);
          for (const [label, size] of counts.entries())
            expect(Math.abs(count(first.columns[1].values, label) - (size * first.length) / data.length)).toBeLessThan(
              1,
            );
        },
      ),
    );
  });

  test("is mixed, follows from the seed, and may go by another column", () => {
    const data = labelled([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    const order = (seed: number): string => String(data.split(8, seed, { stratify: 1 })[0].columns[0].values);
    expect(order(1)).toBe(order(1));
    expect(order(1)).not.toBe(order(2));
    expect(new Set(data.split(8, 0, { stratify: true })[0].columns[1].values.subarray(0, 4)).size).toBe(2);
  });

  test("without it the split is what it was", () => {
    const data = labelled([0, 1, 0, 1, 0, 1]);
    expect(String(data.split(0.5, 3)[0].columns[0].values)).toBe(String(data.split(0.5, 3, {})[0].columns[0].values));
  });

  test("refuses a class of one, a column of no labels and one that is not there", () => {
    expect(complaint(DataError, () => labelled([0, 0, 1]).split(2, 0, { stratify: true }))).toMatchInlineSnapshot(`
      "split: class 1 has 1 example, and 2 parts are to have one each
        fix: drop the class, put it into another, or leave stratify out"
    `);
    expect(complaint(DataError, () => labelled([0, 0]).split(1, 0, { stratify: 0 }))).toContain("labels are int32");
    expect(complaint(ConfigError, () => labelled([0, 0]).split(1, 0, { stratify: 2 }))).toContain("no column 2");
    expect(complaint(ConfigError, () => labelled([0, 0]).split(1, 0, { stratify: "y" as never }))).toContain(
      "the place of a column",
    );
  });
});

describe("folds", () => {
  test("hold every example back once, in parts of equal size", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 30 }), fc.nat(), fc.nat(), (size, parts, seed) => {
        const k = 2 + (parts % (size - 1));
        const data = labelled(new Array<number>(size).fill(0));
        const pairs = [...data.folds(k, seed)];
        expect(pairs.length).toBe(k);
        const held = pairs.flatMap(({ validation }) => [...validation.columns[0].values]);
        expect(held.sort((a, b) => a - b)).toEqual([...data.columns[0].values]);
        for (const { train, validation } of pairs) {
          expect(train.length + validation.length).toBe(size);
          expect(Math.abs(validation.length - size / k)).toBeLessThan(1);
          const both = new Set([...train.columns[0].values, ...validation.columns[0].values]);
          expect(both.size).toBe(size);
        }
      }),
    );
  });

  test("stratified, each part has each class in equal shares", () => {
    const data = labelled([...new Array<number>(20).fill(3), ...new Array<number>(7).fill(5)]);
    for (const { validation } of data.folds(5, 1, { stratify: true })) {
      expect(count(validation.columns[1].values, 3)).toBe(4);
      expect([1, 2]).toContain(count(validation.columns[1].values, 5));
    }
  });

  test("refuses what cannot be", () => {
    const data = labelled([0, 0, 0, 1, 1]);
    expect(complaint(ConfigError, () => data.folds(1))).toContain("from 2 on");
    expect(complaint(DataError, () => data.folds(6))).toContain("6 parts of 5 examples");
    expect(complaint(DataError, () => data.folds(3, 0, { stratify: true }))).toContain("class 1 has 2 examples");
  });
});
