import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import { type Column, dataset } from "../../src/data/dataset.ts";
import { createLoader, type Loader, type LoaderOptions } from "../../src/data/loader.ts";
import { ConfigError, DataError } from "../../src/errors.ts";
import { labelsOf, numbered } from "../support/columns.ts";
import { complaint } from "../support/complaint.ts";

function loader(count: number, options: LoaderOptions): Loader<Column[]> {
  return createLoader(numbered(count), options, (column) => column);
}

/** The labels of an epoch, batch by batch. */
const epoch = (batches: Iterable<Column[]>): number[][] => Array.from(batches, labelsOf);

const someLoader = fc
  .record({
    count: fc.integer({ min: 1, max: 40 }),
    size: fc.nat(),
    seed: fc.nat(),
    shuffle: fc.boolean(),
    dropLast: fc.boolean(),
  })
  .map(({ count, size, ...options }) => ({ count, options: { ...options, batchSize: 1 + (size % count) } }));

describe("batches", () => {
  test("come in the order of the data unless shuffled, the last one smaller", () => {
    const inOrder = loader(5, { batchSize: 2 });
    expect([inOrder.batches, inOrder.examples]).toEqual([3, 5]);
    expect(epoch(inOrder)).toEqual([[0, 1], [2, 3], [4]]);
    expect(epoch(inOrder)).toEqual([[0, 1], [2, 3], [4]]);
  });

  test("dropLast leaves the rest out", () => {
    const whole = loader(5, { batchSize: 2, dropLast: true });
    expect([whole.batches, whole.examples]).toEqual([2, 4]);
    expect(epoch(whole)).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  test("have the shape of their columns", () => {
    const [first] = [...loader(5, { batchSize: 2 })];
    expect(first).toEqual([
      { shape: [2, 2], dtype: "float32", values: Float32Array.of(0, 0.5, 1, 1.5) },
      { shape: [2], dtype: "int32", values: Int32Array.of(0, 1) },
    ]);
  });

  test("are tuples of what `wrap` returns", () => {
    const data = dataset(
      { shape: [2, 1], dtype: "float32", values: new Float32Array(2) },
      { shape: [2], dtype: "int32", values: new Int32Array(2) },
    );
    const shapes = createLoader(data, { batchSize: 1 }, ({ shape }) => shape.join("×"));
    expectTypeOf(shapes).toEqualTypeOf<Loader<[string, string]>>();
    expect([...shapes]).toEqual([
      ["1×1", "1"],
      ["1×1", "1"],
    ]);
  });

  test("hold each example once an epoch, rows and labels together, in arrays of their own", () => {
    fc.assert(
      fc.property(someLoader, ({ count, options }) => {
        const batches = loader(count, options);
        const all = [...batches];
        expect(all.length).toBe(batches.batches);
        const labels = all.flatMap(([, y]) => [...y!.values]);
        expect(labels.length).toBe(batches.examples);
        expect(new Set(labels).size).toBe(batches.examples);
        for (const [x, y] of all)
          y!.values.forEach((label, i) => {
            expect([x!.values[2 * i], x!.values[2 * i + 1]]).toEqual([label, label + 0.5]);
          });
        const buffers = all.flatMap((batch) => batch.map(({ values }) => values.buffer));
        expect(new Set(buffers).size).toBe(2 * batches.batches);
      }),
    );
  });

  test("may be written to without harm to the data", () => {
    const batches = loader(4, { batchSize: 2 });
    for (const [x] of batches) x!.values.fill(9);
    expect(epoch(batches)).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });
});

describe("shuffling", () => {
  const options = { batchSize: 10, shuffle: true, seed: 4 };

  test("gives every epoch an order of its own, and every run the same orders", () => {
    const batches = loader(100, options);
    const again = loader(100, options);
    const epochs = [1, 2, 3].map(() => epoch(batches));
    expect(epochs).toEqual([1, 2, 3].map(() => epoch(again)));
    expect(new Set(epochs.map(String)).size).toBe(3);
    expect(epoch(loader(100, { ...options, seed: 5 }))).not.toEqual(epochs[0]);
  });

  test("the order does not depend on the batch size", () => {
    expect(epoch(loader(100, { ...options, batchSize: 7 })).flat()).toEqual(epoch(loader(100, options)).flat());
  });

  test("dropLast leaves out other examples each epoch", () => {
    const batches = loader(11, { ...options, dropLast: true });
    const seen = new Set([...Array(40)].flatMap(() => epoch(batches).flat()));
    expect(seen.size).toBe(11);
  });

  test("takes its bits from `random`, asked for the seed and the epoch", () => {
    const asked: [number, number][] = [];
    const random = (seed: number, epoch: number): { next(): number } => {
      asked.push([seed, epoch]);
      return { next: () => 0 };
    };
    const batches = loader(3, { batchSize: 3, shuffle: true, seed: 8, random });
    expect([...epoch(batches), ...epoch(batches)]).toEqual([
      [1, 2, 0],
      [1, 2, 0],
    ]);
    expect(asked).toEqual([
      [8, 0],
      [8, 1],
    ]);
  });
});

describe("position", () => {
  test("names the next batch", () => {
    const batches = loader(5, { batchSize: 2 });
    expect(batches.state()).toEqual({ epoch: 0, batch: 0 });
    const states = Array.from(batches, () => batches.state());
    expect(states).toEqual([
      { epoch: 0, batch: 1 },
      { epoch: 0, batch: 2 },
      { epoch: 1, batch: 0 },
    ]);
    expect(batches.state()).toEqual({ epoch: 1, batch: 0 });
  });

  test("a run that is resumed anywhere sees the batches that the other would have seen", () => {
    fc.assert(
      fc.property(someLoader, fc.nat(), ({ count, options }, stop) => {
        const epochs = 3;
        const uninterrupted = loader(count, options);
        const expected = Array.from({ length: epochs }, () => epoch(uninterrupted)).flat();

        const before: number[][] = [];
        const killed = loader(count, options);
        const steps = stop % (epochs * killed.batches);
        while (before.length < steps)
          for (const [, labels] of killed) {
            before.push([...labels!.values]);
            if (before.length === steps) break;
          }
        const saved = JSON.stringify(killed.state());

        const after = loader(count, options);
        after.resume(JSON.parse(saved));
        expect(after.state()).toEqual(JSON.parse(saved));
        while (after.state().epoch < epochs) before.push(...epoch(after));
        expect(before).toEqual(expected);
      }),
    );
  });

  test("a loop that was left early is followed by the next epoch, whole", () => {
    const options = { batchSize: 2, shuffle: true };
    const batches = loader(6, options);
    for (const _ of batches) break;
    expect(batches.state()).toEqual({ epoch: 0, batch: 1 });
    const other = loader(6, options);
    other.resume({ epoch: 1, batch: 0 });
    expect(epoch(batches)).toEqual(epoch(other));
    expect(batches.state()).toEqual({ epoch: 2, batch: 0 });
  });

  test("resuming goes back as well, and serves one iteration", () => {
    const batches = loader(6, { batchSize: 2, shuffle: true });
    const first = epoch(batches);
    batches.resume({ epoch: 0, batch: 1 });
    expect(epoch(batches)).toEqual(first.slice(1));
    expect(batches.state()).toEqual({ epoch: 1, batch: 0 });
  });

  test("refuses a position that does not exist", () => {
    const batches = loader(6, { batchSize: 2 });
    expect(complaint(ConfigError, () => batches.resume({ epoch: 0, batch: 3 }))).toMatchInlineSnapshot(`
      "resume: epoch 0, batch 3 of a loader with 3 batches an epoch
        fix: resume with the dataset and the batch size that the state was saved with"
    `);
    for (const state of [
      { epoch: -1, batch: 0 },
      { epoch: 0.5, batch: 0 },
      { epoch: 2 ** 30, batch: 0 },
      {},
      { epoch: "0", batch: 0 },
    ])
      complaint(ConfigError, () => batches.resume(state as { epoch: number; batch: number }));
    expect(batches.state()).toEqual({ epoch: 0, batch: 0 });
  });
});

describe("options out of range", () => {
  test.each([0, -1, 2.5, Number.NaN, Number.POSITIVE_INFINITY])("a batch size of %d", (batchSize) => {
    expect(complaint(ConfigError, () => loader(4, { batchSize }))).toMatch(
      `loader: batchSize is ${batchSize}\n  fix: give a whole number`,
    );
  });

  test("a batch larger than the data", () => {
    expect(complaint(DataError, () => loader(4, { batchSize: 5 }))).toMatchInlineSnapshot(`
      "loader: a batch of 5 examples is larger than the data, which have 4
        fix: set batchSize to 4 or less"
    `);
    expect(complaint(DataError, () => loader(4, { batchSize: 5, dropLast: true }))).toMatchInlineSnapshot(`
      "loader: a batch of 5 examples is larger than the data, which have 4: dropLast would drop them all
        fix: set batchSize to 4 or less"
    `);
    expect(loader(4, { batchSize: 4 }).batches).toBe(1);
  });

  test("a seed that is none", () => {
    expect(complaint(ConfigError, () => loader(4, { batchSize: 2, seed: 0.5 }))).toMatchInlineSnapshot(`
      "loader: the seed is 0.5
        fix: give a whole number from 0 to 2^53 − 1"
    `);
  });
});
