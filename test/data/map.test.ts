/** Random changes of examples and batches: the same for a place in an epoch, whoever asks for it. */
import { describe, expect, expectTypeOf, test } from "vitest";
import { createLoader, type LoaderOptions } from "../../src/data/loader.ts";
import { ConfigError, DataError } from "../../src/errors.ts";
import { type Column, dataset, loader, sequences, type Tensor } from "../../src/index.ts";
import { labelsOf, numbered } from "../support/columns.ts";
import { complaint } from "../support/complaint.ts";

type Numbered = ReturnType<typeof numbered>["columns"];
const noise = {
  mapExample: (([x], random) => x.fill(random.next())) as LoaderOptions<Numbered>["mapExample"] & object,
};

const rows = (batches: Iterable<Column[]>): string[] =>
  [...batches].flatMap(([x, y]) => [...y!.values].map((label, i) => `${label}:${x!.values[2 * i]}`));

const make = (options: LoaderOptions<Numbered>) =>
  createLoader(numbered(10), options, (column) => column) as Iterable<Column[]> & ReturnType<typeof createLoader>;

describe("mapExample", () => {
  test("changes the batch's arrays, never the data", () => {
    const data = numbered(4);
    const batches = createLoader(
      data,
      {
        batchSize: 2,
        mapExample: ([x, y]) => {
          x.fill(7);
          y[0] = -y[0]!;
        },
      },
      (column) => column,
    );
    expect([...batches].map(([x, y]) => [...x.values, ...y.values])).toEqual([
      [7, 7, 7, 7, -0, -1].map((value) => value + 0),
      [7, 7, 7, 7, -2, -3],
    ]);
    expect([...data.columns[0].values]).toEqual([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]);
  });

  test("draws by the place in the epoch: the same for any batch size, other each epoch, the same when resumed", () => {
    const options = { shuffle: true, seed: 5, ...noise };
    const [byThree, byFour] = [make({ batchSize: 3, ...options }), make({ batchSize: 4, ...options })];
    const epochs = [0, 1].map(() => rows(byThree));
    expect([0, 1].map(() => rows(byFour))).toEqual(epochs);
    expect(new Set(epochs.flat().map((row) => row.split(":")[1])).size).toBe(20);
    const resumed = make({ batchSize: 3, ...options });
    resumed.resume({ epoch: 1, batch: 2 });
    expect(rows(resumed)).toEqual(epochs[1]!.slice(6));
    expect(rows(make({ batchSize: 3, ...options, seed: 6 }))).not.toEqual(epochs[0]);
  });

  test("of sequences gets the steps without the padding", () => {
    const seen: number[][] = [];
    const data = dataset(sequences([[1, 2, 3], [4]]));
    const [[x] = []] = loader(data, {
      batchSize: 2,
      mapExample: ([tokens]) => {
        seen.push([...tokens]);
        tokens.fill(9);
      },
    });
    expect(seen).toEqual([[1, 2, 3], [4]]);
    return expect(x!.array()).resolves.toEqual([
      [9, 9, 9],
      [9, 0, 0],
    ]);
  });
});

describe("map", () => {
  test("may give columns of other shapes and dtypes, which the compiler knows", async () => {
    const batches = loader(numbered(4), {
      batchSize: 2,
      map: ([x, y]) => [
        y,
        { shape: [x.shape[0], 1], dtype: "float32", values: x.values.filter((_, i) => i % 2 === 0) as Float32Array },
      ],
    });
    const [[labels, halves] = []] = batches;
    expectTypeOf(halves!).toEqualTypeOf<Tensor<[number, 1], "float32">>();
    expectTypeOf(labels!).toEqualTypeOf<Tensor<[number], "int32">>();
    expect(await halves!.array()).toEqual([[0], [1]]);
  });

  test("may give sequences, which are padded", async () => {
    const batches = loader(numbered(4), {
      batchSize: 3,
      map: ([, y]) => [sequences([...y.values].map((n) => new Array(n).fill(n)))],
    });
    const [[x] = []] = batches;
    expect(await x!.array()).toEqual([
      [0, 0],
      [1, 0],
      [2, 2],
    ]);
  });

  test("draws by epoch and batch, apart from the examples", () => {
    const drawn: number[] = [];
    const options: LoaderOptions<Numbered> = {
      batchSize: 4,
      seed: 2,
      map: (batch, random) => {
        drawn.push(random.next());
        return batch as never;
      },
      mapExample: (_, random) => drawn.push(random.next()),
    };
    const batches = make(options);
    for (let epoch = 0; epoch < 2; epoch++) [...batches];
    expect(drawn.length).toBe(26);
    expect(new Set(drawn).size).toBe(26);
    const first = drawn.splice(0);
    const resumed = make(options);
    resumed.resume({ epoch: 1, batch: 1 });
    [...resumed];
    expect(drawn).toEqual(first.slice(13 + 5));
  });

  test("that gives no columns, or columns that do not fit, is refused", () => {
    const refusal = (map: () => unknown, kind: typeof DataError | typeof ConfigError): string =>
      complaint(kind, () => [...loader(numbered(4), { batchSize: 2, map: map as never })]);
    expect(refusal(() => undefined, ConfigError)).toContain("return an array of columns");
    expect(refusal(() => [3], DataError)).toContain("column 0: it is 3");
    expect(refusal(() => [], DataError)).toContain("it has no columns");
    expect(refusal(() => [{ shape: [3], dtype: "int32", values: new Int32Array(2) }], DataError)).toContain(
      "needs 3 values",
    );
    expect(complaint(ConfigError, () => loader(numbered(4), { batchSize: 2, map: 3 as never }))).toContain(
      "`map` is 3",
    );
  });
});

test("labels stay with their examples", () => {
  expect(
    make({ batchSize: 5, shuffle: true, ...noise })
      [Symbol.iterator]()
      .next()
      .value!.map(({ shape }: Column) => shape[0]),
  ).toEqual([5, 5]);
  expect([...make({ batchSize: 5 })].map(labelsOf as never)).toEqual([
    [0, 1, 2, 3, 4],
    [5, 6, 7, 8, 9],
  ]);
});
