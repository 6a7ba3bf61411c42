import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import { type Column, dataset } from "../../src/data/dataset.ts";
import { ConfigError, DataError } from "../../src/errors.ts";
import { labelsOf, numbered } from "../support/columns.ts";
import { complaint } from "../support/complaint.ts";

describe("dataset", () => {
  test("keeps its columns and counts the examples", () => {
    const data = numbered(3);
    expect(data.length).toBe(3);
    expect(data.columns[0]).toEqual({
      shape: [3, 2],
      dtype: "float32",
      values: Float32Array.of(0, 0.5, 1, 1.5, 2, 2.5),
    });
  });

  test("its type knows dtypes and the shape of an example, whatever the count", () => {
    const data = dataset({ shape: [2, 4], dtype: "float64", values: new Float64Array(8) });
    expectTypeOf(data.columns[0]).toEqualTypeOf<Column<readonly [number, 4], "float64">>();
    expectTypeOf(data.take([0]).columns[0].shape).toEqualTypeOf<readonly [number, 4]>();
  });

  test("refuses what is no dataset", () => {
    const x: Column = { shape: [2, 2], dtype: "float32", values: new Float32Array(4) };
    expect(complaint(DataError, () => dataset())).toMatchInlineSnapshot(`
      "dataset: it has no columns
        fix: give one column at least: dataset(images, labels)"
    `);
    expect(complaint(DataError, () => dataset({ ...x, shape: [0, 2] }))).toMatchInlineSnapshot(`
      "dataset: column 0: it has no examples
        fix: check where the data come from: a filter may have dropped all"
    `);
    expect(complaint(DataError, () => dataset({ ...x, shape: [] }))).toMatchInlineSnapshot(`
      "dataset: column 0: it is a scalar, without an axis of examples
        fix: give a shape that starts with the number of examples"
    `);
    expect(complaint(DataError, () => dataset({ ...x, shape: [2, -2] }))).toMatchInlineSnapshot(`
      "dataset: column 0: its shape is [2, -2]
        fix: give whole numbers"
    `);
    expect(complaint(DataError, () => dataset({ ...x, shape: [2, 3] }))).toMatchInlineSnapshot(`
      "dataset: column 0: float32[2, 3] needs 6 values, and got 4
        fix: make shape and values agree"
    `);
    expect(complaint(DataError, () => dataset({ ...x, dtype: "int32" }))).toMatchInlineSnapshot(`
      "dataset: column 0: values of int32 should be in Int32Array, and came in Float32Array
        fix: pass the array of the dtype, or name the dtype of the array"
    `);
    expect(
      complaint(DataError, () => dataset(x, { shape: [3], dtype: "int32", values: new Int32Array(3) })),
    ).toMatchInlineSnapshot(`
      "dataset: column 1: it has 3 examples, and column 0 has 2
        fix: give columns with one row per example"
    `);
  });
});

describe("take", () => {
  test("gives the examples in the order asked for, as often as asked for", () => {
    const taken = numbered(4).take([3, 0, 3]);
    expect(taken.columns).toEqual([
      { shape: [3, 2], dtype: "float32", values: Float32Array.of(3, 3.5, 0, 0.5, 3, 3.5) },
      { shape: [3], dtype: "int32", values: Int32Array.of(3, 0, 3) },
    ]);
  });

  test("copies", () => {
    const data = numbered(2);
    data.take([0, 1]).columns[1].values[0] = 9;
    expect(labelsOf(data.columns)).toEqual([0, 1]);
  });

  test("refuses indices that are none", () => {
    expect(complaint(DataError, () => numbered(4).take([0, 4]))).toMatchInlineSnapshot(`
      "take: index 4, at position 1, of a dataset with 4 examples
        fix: give integers from 0 to 3"
    `);
    expect(complaint(DataError, () => numbered(4).take([-1]))).toMatch("index -1, at position 0");
    expect(complaint(DataError, () => numbered(4).take([0.5]))).toMatch("index 0.5");
    expect(complaint(DataError, () => numbered(4).take([]))).toMatchInlineSnapshot(`
      "take: no index was given, and a dataset is never empty
        fix: take one example at least"
    `);
  });
});

describe("split", () => {
  test("parts the examples, rows and labels together, and the same seed does it the same way", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 60 }), fc.nat(), fc.nat(), (count, cut, seed) => {
        const part = 1 + (cut % (count - 1));
        const [first, second] = numbered(count).split(part, seed);
        expect([first.length, second.length]).toEqual([part, count - part]);
        expect([...labelsOf(first.columns), ...labelsOf(second.columns)].sort((a, b) => a - b)).toEqual([
          ...Array(count).keys(),
        ]);
        for (const data of [first, second])
          labelsOf(data.columns).forEach((label, i) => {
            expect([...data.columns[0].values.subarray(2 * i, 2 * i + 2)]).toEqual([label, label + 0.5]);
          });
        expect(labelsOf(numbered(count).split(part, seed)[0].columns)).toEqual(labelsOf(first.columns));
      }),
    );
  });

  test("draws at random, and otherwise with another seed", () => {
    const drawn = (seed?: number): number[] => labelsOf(numbered(50).split(25, seed)[0].columns);
    expect(drawn()).toEqual(drawn(0));
    expect(drawn(0)).not.toEqual(drawn(1));
    expect(drawn(0)).not.toEqual([...Array(25).keys()]);
  });

  test("takes a fraction, rounded", () => {
    expect(
      numbered(10)
        .split(0.75)
        .map((part) => part.length),
    ).toEqual([8, 2]);
    expect(
      numbered(10)
        .split(0.8)
        .map((part) => part.length),
    ).toEqual([8, 2]);
  });

  test("refuses parts that are none, or leave a side empty", () => {
    expect(complaint(ConfigError, () => numbered(10).split(2.5))).toMatchInlineSnapshot(`
      "split: the first part is 2.5
        fix: give a number of examples, or a fraction between 0 and 1"
    `);
    expect(complaint(ConfigError, () => numbered(10).split(0))).toMatch("the first part is 0");
    expect(complaint(ConfigError, () => numbered(10).split(Number.NaN))).toMatch("the first part is NaN");
    expect(complaint(ConfigError, () => numbered(10).split(5, -1))).toMatch("the seed is -1");
    expect(complaint(DataError, () => numbered(10).split(10))).toMatchInlineSnapshot(`
      "split: 10 of 10 examples in the first part leave the second empty
        fix: give a count from 1 to 9"
    `);
    expect(complaint(DataError, () => numbered(10).split(0.01))).toMatchInlineSnapshot(`
      "split: 0 of 10 examples in the first part leave it empty
        fix: give a count from 1 to 9"
    `);
    expect(complaint(DataError, () => numbered(1).split(0.5))).toMatchInlineSnapshot(`
      "split: 1 of 1 examples in the first part leave the second empty
        fix: a split needs two examples at least"
    `);
  });
});
