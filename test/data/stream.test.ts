/** Batches of examples that come one after the other. */
import fc from "fast-check";
import { beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { ConfigError, DataError } from "../../src/errors.ts";
import { plainEngine, type Stream, stream, type Tensor, useEngine } from "../../src/index.ts";
import { complaint } from "../support/complaint.ts";

beforeEach(() => {
  useEngine(plainEngine());
});

const types = [
  { shape: [2], dtype: "float32" },
  { shape: [], dtype: "int32" },
] as const;

/** `count` examples, example i (i, −i) with the label i, in items of some examples. */
const numbers = (count: number, inItems: readonly number[] = [1]) =>
  async function* () {
    for (let i = 0, item = 0; i < count; item++) {
      const some = Math.min(inItems[item % inItems.length]!, count - i);
      const ids = Array.from({ length: some }, (_, k) => i + k);
      yield [ids.flatMap((id) => [id, -id]), some === 1 ? ids[0]! : Int32Array.from(ids)];
      i += some;
    }
  };

async function labels(batches: AsyncIterable<readonly Tensor[]>): Promise<number[][]> {
  const all: number[][] = [];
  for await (const [x, y] of batches) {
    const [rows, ids] = [await x!.array(), (await y!.array()) as number[]];
    expect(rows).toEqual(ids.map((id) => [id, id === 0 ? -0 : -id]).map(([a, b]) => [a, expect.closeTo(b!)]));
    all.push(ids);
  }
  return all;
}

describe("a stream", () => {
  test("gives batches of typed tensors, the last one smaller, an epoch for each iteration", async () => {
    const batches = stream(types, numbers(5), { batchSize: 2 });
    expectTypeOf(batches).toEqualTypeOf<Stream<[Tensor<[number, 2], "float32">, Tensor<[number], "int32">]>>();
    for (let epoch = 0; epoch < 2; epoch++) expect(await labels(batches)).toEqual([[0, 1], [2, 3], [4]]);
    expect(await labels(stream(types, numbers(5), { batchSize: 2, dropLast: true }))).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  test("shuffled in a buffer gives every example once, by the seed and the epoch, whatever the items", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 3 }),
        fc.nat(),
        async (count, shuffleBuffer, batchSize, items, seed) => {
          const options = { batchSize, shuffleBuffer, seed };
          const whole = await labels(stream(types, numbers(count), options));
          expect(whole.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
          expect(await labels(stream(types, numbers(count, items), options))).toEqual(whole);
        },
      ),
      { numRuns: 50 },
    );
    const shuffled = stream(types, numbers(60), { batchSize: 60, shuffleBuffer: 20 });
    const epochs = [await labels(shuffled), await labels(shuffled)];
    expect(String(epochs[0])).not.toBe(String(epochs[1]));
    // What comes out first was among the first 20.
    for (const [epoch] of epochs) for (const [i, id] of epoch!.entries()) expect(id).toBeLessThan(i + 21);
  });

  test("resumed at any batch goes on with the same batches, changes included, and its position is the next batch", async () => {
    const make = () =>
      stream(types, numbers(23, [3]), {
        batchSize: 4,
        shuffleBuffer: 7,
        seed: 3,
        mapExample: ([x], random) => x.fill(random.next() % 1000),
        map: ([x, y], random) => [x, { ...y, values: y.values.map((id) => id * 1000 + (random.next() % 1000)) }],
      });
    const read = async (batches: ReturnType<typeof make>, most = 99) => {
      const all: string[] = [];
      for await (const [x, y] of batches) {
        all.push(`${await x.array()} ${await y.array()} ${JSON.stringify(batches.state())}`);
        if (all.length === most) break;
      }
      return all;
    };
    const whole = make();
    const epochs = [await read(whole), await read(whole)];
    expect(epochs[0]!.length).toBe(6);
    expect(new Set(epochs.flat()).size).toBe(12);
    for (let at = 0; at < 6; at++) {
      const stopped = make();
      await read(stopped);
      expect(await read(stopped, at + 1)).toEqual(epochs[1]!.slice(0, at + 1));
      const resumed = make();
      resumed.resume(stopped.state());
      if (at < 5) expect(await read(resumed)).toEqual(epochs[1]!.slice(at + 1));
      else expect(stopped.state()).toEqual({ epoch: 2, batch: 0 });
    }
  });

  test("reads ahead so far and no further, and closes the source when it is left", async () => {
    let [given, closed] = [0, false];
    const source = async function* () {
      try {
        for (;;) yield [[given, 0], given++];
      } finally {
        closed = true;
      }
    };
    for await (const [, y] of stream(types, source, { batchSize: 10, prefetch: 3 })) {
      expect(await y.array()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      break;
    }
    expect(given).toBeLessThanOrEqual(60);
    expect(closed).toBe(true);
  });

  test("takes what can be iterated at once too", async () => {
    expect(await labels(stream(types, () => [[[0, 0], 0]], { batchSize: 1 }))).toEqual([[0]]);
  });
});

describe("what does not fit is refused", () => {
  const read = async (source: unknown, options = { batchSize: 2 }): Promise<unknown> => {
    try {
      for await (const _ of stream(types, source as never, options));
      return undefined;
    } catch (error) {
      return error;
    }
  };
  test.each([
    ["no array", [3], "item 0 is 3, and there are 2 columns"],
    ["too few columns", [[[1, 2]]], "item 0 is an array of 1"],
    ["half an example", [[[1], 1]], "item 0, column 0: 1 values"],
    ["no values", [[[], []]], "item 0, column 0: 0 values"],
    [
      "other numbers of examples",
      [
        [[1, 2], 1],
        [[1, 2, 3, 4], [1]],
      ],
      "item 1, column 1: 1 values",
    ],
    ["a text", [[[1, 2], "1"]], "item 0, column 1: "],
    ["a fraction for an integer", [[[1, 2], 0.5]], "element 0 is 0.5, which is no int32"],
    ["a text among numbers", [[["1", 2], 1]], 'element 0 is "1", which is no float32'],
    ["nothing", [], "the source gave no examples"],
  ])("%s", async (_, items, sentence) => {
    const error = await read(() => items);
    expect(error).toBeInstanceOf(DataError);
    expect(String(error)).toContain(sentence);
  });

  test("a source that fails, returns nothing or is used up", async () => {
    const failing = function* () {
      yield [[1, 2], 1];
      throw new Error("disk");
    };
    expect(String(await read(failing))).toContain("disk");
    expect(await read(() => 3)).toBeInstanceOf(ConfigError);
    const once = numbers(3)();
    const batches = stream(types, () => once, { batchSize: 2 });
    await labels(batches);
    await expect(labels(batches)).rejects.toThrow("give a function that opens the file");
    const short = stream(types, numbers(3), { batchSize: 2 });
    short.resume({ epoch: 0, batch: 5 });
    await expect(labels(short)).rejects.toThrow("the source gives 2");
  });

  test.each([
    [[{ shape: [0], dtype: "float32" }], { batchSize: 1 }],
    [[{ shape: [1], dtype: "int8" }], { batchSize: 1 }],
    [[], { batchSize: 1 }],
    [3, { batchSize: 1 }],
    [types, { batchSize: 0 }],
    [types, { batchSize: 1, shuffleBuffer: 0.5 }],
    [types, { batchSize: 1, prefetch: -1 }],
    [types, { batchSize: 1, shufle: 2 }],
    [types, { batchSize: 1, map: 3 }],
    [types, undefined],
  ])("%# types %j, options %j", (wrong, options) => {
    complaint(ConfigError, () => stream(wrong as never, () => [], options as never));
  });

  test("positions that are none", () => {
    const batches = stream(types, numbers(3), { batchSize: 2 });
    for (const state of [{ epoch: -1, batch: 0 }, { epoch: 0, batch: 0.5 }, { epoch: "0", batch: 0 }, {}])
      complaint(ConfigError, () => batches.resume(state as never));
  });
});
