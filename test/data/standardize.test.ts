import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Column } from "../../src/data/dataset.ts";
import { fitStandardizer, Standardizer, type StandardStatistics } from "../../src/data/standardize.ts";
import { ConfigError, DataError } from "../../src/errors.ts";
import { f64 } from "../support/columns.ts";
import { complaint } from "../support/complaint.ts";

describe("fitting", () => {
  test("gives each feature its mean and its standard deviation", () => {
    const { statistics } = fitStandardizer(f64([4, 2], 1, 10, 3, 10, 5, 30, 7, 30));
    expect(statistics).toEqual({ exampleShape: [2], mean: [4, 20], scale: [Math.sqrt(5), 10], constant: [] });
  });

  test("or one of each to all", () => {
    const standardizer = fitStandardizer(f64([2, 2], 0, 2, 4, 6), { perFeature: false });
    expect(standardizer.statistics).toEqual({ exampleShape: null, mean: [3], scale: [Math.sqrt(5)], constant: [] });
    expect(standardizer.apply(f64([1, 3], 3, 3, 3))).toEqual(f64([1, 3], 0, 0, 0));
  });

  test("scalar examples are one feature, image examples one a pixel", () => {
    expect(fitStandardizer(f64([2], 1, 3)).statistics).toEqual({
      exampleShape: [],
      mean: [2],
      scale: [1],
      constant: [],
    });
    expect(fitStandardizer(f64([2, 2, 1], 1, 2, 3, 6)).statistics).toMatchObject({
      exampleShape: [2, 1],
      mean: [2, 4],
      scale: [1, 2],
    });
  });

  test("a feature that never changes gets scale 1, is reported and becomes exactly 0", () => {
    // The sum of 0.1 a thousand times is not 100.
    const column = f64([1000, 2], ...Array.from({ length: 2000 }, (_, i) => (i % 2 ? 0.1 : i)));
    const standardizer = fitStandardizer(column);
    expect(standardizer.statistics.constant).toEqual([1]);
    expect([standardizer.statistics.mean[1], standardizer.statistics.scale[1]]).toEqual([0.1, 1]);
    expect(
      standardizer
        .apply(column)
        .values.filter((_, i) => i % 2)
        .every((value) => value === 0),
    ).toBe(true);
  });

  test("differences too small to square count all the same", () => {
    const { statistics } = fitStandardizer(f64([2], 0, 1e-200));
    expect(statistics).toMatchObject({ scale: [5e-201], constant: [] });
  });

  test("a large offset does not drown the deviation", () => {
    const { statistics } = fitStandardizer(f64([4], 1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16));
    expect(statistics).toMatchObject({ mean: [1e9 + 10], scale: [Math.sqrt(22.5)] });
  });

  test("float32 data are summed in float64", () => {
    const values = new Float32Array(1_000_000).map((_, i) => 16_777_216 + 2 * (i % 2));
    expect(fitStandardizer({ shape: [1_000_000], dtype: "float32", values }).statistics).toMatchObject({
      mean: [16_777_217],
      scale: [1],
    });
  });
});

describe("applying", () => {
  test("leaves mean 0 and deviation 1", () => {
    const feature = fc.double({ min: -1e6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.tuple(feature, feature, feature), { minLength: 2, maxLength: 20 }), (rows) => {
        const column = f64([rows.length, 3], ...rows.flat());
        const standardizer = fitStandardizer(column);
        const { constant, mean, scale } = standardizer.statistics;
        const { values } = standardizer.apply(column);
        for (let f = 0; f < 3; f++) {
          // Where a feature hardly moves against its size, or among denormals, float64 has no digits left for it.
          if (constant.includes(f) || scale[f]! < 1e-6 * Math.abs(mean[f]!) || scale[f]! < 1e-300) continue;
          const own = [...values].filter((_, i) => i % 3 === f);
          const average = own.reduce((sum, value) => sum + value, 0) / own.length;
          expect(average).toBeCloseTo(0, 6);
          expect(own.reduce((sum, value) => sum + (value - average) ** 2, 0) / own.length).toBeCloseTo(1, 6);
        }
      }),
    );
  });

  test("keeps float64, makes float32 of everything else, and leaves the column as it was", () => {
    const column: Column = { shape: [2], dtype: "int32", values: Int32Array.of(1, 3) };
    expect(fitStandardizer(column).apply(column)).toEqual({
      shape: [2],
      dtype: "float32",
      values: Float32Array.of(-1, 1),
    });
    expect([...column.values]).toEqual([1, 3]);
    expect(fitStandardizer(f64([2], 1, 3)).apply(f64([3], 1, 2, 5))).toEqual(f64([3], -1, 0, 3));
  });

  test("statistics survive JSON to the last bit", () => {
    const column = f64([3, 2], 0.1, 1 / 3, 0.7, Math.PI, 1e-17, 2);
    const standardizer = fitStandardizer(column);
    const read = new Standardizer(JSON.parse(JSON.stringify(standardizer)));
    expect(read.statistics).toEqual(standardizer.statistics);
    expect(read.apply(column)).toEqual(standardizer.apply(column));
  });
});

describe("refusing", () => {
  test("values that are no numbers, with their place", () => {
    expect(complaint(DataError, () => fitStandardizer(f64([2, 3], 1, 2, 3, 4, 5, Number.NaN)))).toMatchInlineSnapshot(`
      "standardize: feature 2 of example 1 is NaN
        fix: drop the example, or fill the value in, before standardising"
    `);
    expect(complaint(DataError, () => fitStandardizer(f64([2], 1, Number.NEGATIVE_INFINITY)))).toMatchInlineSnapshot(`
      "standardize: feature 0 of example 1 is -Infinity
        fix: drop the example, or fill the value in, before standardising"
    `);
    const standardizer = fitStandardizer(f64([2, 1], 1, 2));
    expect(complaint(DataError, () => standardizer.apply(f64([1, 1], Number.NaN)))).toMatch(
      "feature 0 of example 0 is NaN",
    );
  });

  test("a column without values, and one beyond float64", () => {
    expect(complaint(DataError, () => fitStandardizer(f64([0, 3])))).toMatchInlineSnapshot(`
      "standardize: the column holds no values
        fix: fit it to one example at least"
    `);
    expect(fitStandardizer(f64([2], 1e200, -1e200)).statistics.scale).toEqual([1e200]);
    expect(complaint(DataError, () => fitStandardizer(f64([2], 1.7e308, 1.6e308)))).toMatchInlineSnapshot(`
      "standardize: the mean of feature 0 is beyond float64
        fix: divide the data by a power of ten first"
    `);
  });

  test("examples of another shape", () => {
    const standardizer = fitStandardizer(f64([2, 2], 1, 2, 3, 4));
    expect(complaint(DataError, () => standardizer.apply(f64([2, 3], 1, 2, 3, 4, 5, 6)))).toMatchInlineSnapshot(`
      "standardize: the statistics are of examples of shape [2], and got [3]
        fix: apply it to data with the features it was fitted to"
    `);
  });

  const good: StandardStatistics = { exampleShape: [2], mean: [0, 0], scale: [1, 1], constant: [1] };

  test("statistics that do not go together", () => {
    expect(new Standardizer(good).statistics).toEqual(good);
    expect(complaint(ConfigError, () => new Standardizer({ ...good, scale: [1, 0] }))).toMatchInlineSnapshot(`
      "Standardizer: the statistics are no finite mean and positive scale for each feature of the example's shape
        fix: pass the statistics that a fitted standardizer had"
    `);
  });

  test.each([
    { scale: [1] },
    { scale: [1, -1] },
    { scale: [1, null] },
    { mean: [0, "0"] },
    { mean: undefined },
    { constant: [2] },
    { constant: undefined },
    { exampleShape: [3] },
    { exampleShape: null },
    { exampleShape: undefined },
    { exampleShape: "2" },
  ])("statistics with %o", (fields) => {
    complaint(ConfigError, () => new Standardizer({ ...good, ...fields } as StandardStatistics));
  });
});
