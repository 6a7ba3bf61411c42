/** Sequences of different length: columns, padding, buckets. */
import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import { createLoader } from "../../src/data/loader.ts";
import { fitStandardizer } from "../../src/data/standardize.ts";
import { data as checkData } from "../../src/doctor/data.ts";
import { ConfigError, DataError } from "../../src/errors.ts";
import { dataset, loader, sequenceLengths, sequenceMask, sequences, type Tensor, toTensor } from "../../src/index.ts";
import { complaint } from "../support/complaint.ts";

const some = () => {
  const tokens = sequences([[1, 2, 3], [4], [5, 6], [7, 8, 9, 10], []], { padding: -1 });
  const labels = { shape: [5], dtype: "int32", values: Int32Array.of(0, 1, 0, 1, 0) } as const;
  return dataset(tokens, sequenceLengths(tokens), sequenceMask(tokens), labels);
};

describe("batches of sequences", () => {
  test("are padded to their longest, with lengths and a mask beside them", async () => {
    const batches = [...loader(some(), { batchSize: 2 })];
    expectTypeOf(batches[0]![0]).toEqualTypeOf<Tensor<[number, number], "int32">>();
    expect(await Promise.all(batches.map(([tokens]) => tokens.array()))).toEqual([
      [
        [1, 2, 3],
        [4, -1, -1],
      ],
      [
        [5, 6, -1, -1],
        [7, 8, 9, 10],
      ],
      [[-1]],
    ]);
    expect(await Promise.all(batches.map(([, lengths]) => lengths.array()))).toEqual([[3, 1], [2, 4], [0]]);
    expect(await batches[0]![2].array()).toEqual([
      [true, true, true],
      [true, false, false],
    ]);
  });

  test("steps may have features", async () => {
    const column = sequences(
      [
        [1, 2, 3, 4],
        [5, 6],
      ],
      { dtype: "float32", step: [2] },
    );
    expect([column.shape, [...column.offsets]]).toEqual([
      [2, 2, 2],
      [0, 2, 3],
    ]);
    const [[x] = []] = loader(dataset(column), { batchSize: 2 });
    expectTypeOf(x!).toEqualTypeOf<Tensor<[number, number, 2], "float32">>();
    expect(await x!.array()).toEqual([
      [
        [1, 2],
        [3, 4],
      ],
      [
        [5, 6],
        [0, 0],
      ],
    ]);
  });

  test("in buckets have one length for each bucket, every example once, and the same in every run", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 60 }),
        fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constant([4, 9, 30])),
        fc.integer({ min: 1, max: 8 }),
        fc.boolean(),
        fc.nat(),
        (lengths, buckets, size, shuffle, seed) => {
          const batchSize = Math.min(size, lengths.length);
          const column = sequences(lengths.map((length, i) => new Int32Array(length).fill(i + 1)));
          const ids = {
            shape: [lengths.length],
            dtype: "int32",
            values: Int32Array.from(lengths, (_, i) => i),
          } as const;
          const make = () => createLoader(dataset(column, ids), { batchSize, buckets, shuffle, seed }, (each) => each);
          const batches = make();
          const all = [...batches];
          expect(all.length).toBe(batches.batches);
          const shapes = new Set(all.map(([x]) => x.shape[1]));
          expect(shapes.size).toBeLessThanOrEqual(typeof buckets === "number" ? buckets : buckets.length);
          const seen = all.flatMap(([x, y]) => {
            const values = [...y.values];
            values.forEach((id, row) => {
              const steps = [...x.values].slice(row * x.shape[1]!, (row + 1) * x.shape[1]!);
              expect(steps.filter((step) => step !== 0)).toEqual(new Array(lengths[id]!).fill(id + 1));
            });
            return values;
          });
          expect(seen.sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
          expect([...make()].map(([, y]) => [...y.values])).toEqual(all.map(([, y]) => [...y.values]));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("in buckets drop what fills no batch, and resume in the middle", async () => {
    const options = { batchSize: 2, buckets: [2, 4], dropLast: true, shuffle: true, seed: 3 };
    const batches = loader(some(), options);
    expect([batches.batches, batches.examples]).toEqual([2, 4]);
    const [, second] = [...batches];
    const again = loader(some(), options);
    again.resume({ epoch: 0, batch: 1 });
    const [resumed] = [...again];
    expect(await resumed![0].array()).toEqual(await second![0].array());
  });
});

test("sequences that are taken, split and standardised stay sequences", async () => {
  const [first] = some().take([3, 1]).columns;
  expect([first.shape, [...first.values], [...first.offsets!], first.padding]).toEqual([
    [2, 4],
    [7, 8, 9, 10, 4],
    [0, 4, 5],
    -1,
  ]);
  const column = sequences([[1, 3], [5]], { dtype: "float32" });
  const scaled = fitStandardizer(column).apply(column);
  expect([...scaled.values].map((value) => value.toFixed(3))).toEqual(["-1.225", "0.000", "1.225"]);
  expect(await toTensor(scaled).array()).toEqual([
    [expect.closeTo(-1.2247, 3), 0],
    [expect.closeTo(1.2247, 3), 0],
  ]);
});

test("check looks through them, also where a part has shorter ones", () => {
  const report = checkData({ train: some(), validation: some().take([1, 2]) as never });
  expect(report.columns.length).toBe(4);
  expect(report.leaked).toBe(2);
});

test("what cannot be sequences is refused", () => {
  expect(complaint(DataError, () => sequences([]))).toContain("give one at least");
  expect(complaint(DataError, () => sequences([[1, 2.5]]))).toMatchInlineSnapshot(`
    "sequences: element 1 of sequence 0 is 2.5, which is no int32
      fix: give whole numbers, or { dtype: "float32" }"
  `);
  expect(complaint(DataError, () => sequences([[1, Number.NaN]]))).toContain("is NaN, which is no int32");
  expect(complaint(DataError, () => sequences([[1], null as never]))).toContain("sequence 1 is null");
  expect(complaint(DataError, () => sequences([[1, 2, 3]], { step: [2] }))).toContain("has 3 numbers");
  expect(complaint(ConfigError, () => sequences([[1]], { padding: 0.5 }))).toContain("a number that int32 has");
  expect(complaint(ConfigError, () => sequences([[1]], { dtype: "int8" as never }))).toContain("float32");
  expect(complaint(ConfigError, () => sequenceLengths({} as never))).toContain("give a column of sequences");
  const column = sequences([[1, 2], [3]]);
  for (const offsets of [
    [0, 2],
    [0, 2, 4],
    [1, 2, 3],
    [0, 3, 3],
    [0, 2, 1],
  ])
    expect(complaint(DataError, () => dataset({ ...column, offsets: Int32Array.from(offsets) }))).toContain(
      "its offsets do not cut",
    );
});

test("buckets that cannot be are refused", () => {
  const refusal = (buckets: unknown): string =>
    complaint(ConfigError, () => loader(some(), { batchSize: 2, buckets: buckets as never }));
  for (const buckets of [0, 1.5, [], [4, 2], [0, 4], ["4"], {}, Number.NaN])
    expect(refusal(buckets)).toContain("buckets is");
  expect(complaint(DataError, () => loader(some(), { batchSize: 2, buckets: [2, 3] }))).toMatchInlineSnapshot(`
    "loader: example 3 has 4 steps, and the last bucket ends at 3
      fix: add a bucket for longer sequences, or cut them"
  `);
  expect(complaint(DataError, () => loader(some(), { batchSize: 4, buckets: [2, 4], dropLast: true }))).toContain(
    "use fewer buckets",
  );
  const plain = dataset({ shape: [2], dtype: "int32", values: new Int32Array(2) });
  expect(complaint(ConfigError, () => loader(plain, { batchSize: 1, buckets: 2 }))).toContain("no column of sequences");
});
