/** No two purposes, epochs, generators or seeds draw the same random numbers. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compile, dataset, loader, plainEngine, randomGenerator, useEngine } from "../../src/node.ts";
import { hostStream } from "../../src/random/generator.ts";
import { type Purpose, streamOf, streams } from "../../src/random/streams.ts";

const purposes = Object.keys(streams) as Purpose[];

test("each purpose has a range of its own", () => {
  const ranges = Object.values(streams).sort((a, b) => a.first - b.first);
  for (const [i, { first, count }] of ranges.entries()) {
    expect(count).toBeGreaterThan(0);
    expect(first + count).toBeLessThanOrEqual(ranges[i + 1]?.first ?? 2 ** 31);
  }
});

test.each(purposes)("%s has no streams beyond its own", (purpose) => {
  const { first, count } = streams[purpose];
  expect(streamOf(purpose, count - 1)).toBe(first + count - 1);
  for (const number of [-1, count, 0.5, Number.NaN])
    expect(() => streamOf(purpose, number)).toThrow("the number of the stream");
});

test("what is drawn differs between purposes, numbers and seeds", async () => {
  useEngine(plainEngine());
  const seen = new Set<string>();
  let drawn = 0;
  const note = (words: readonly number[]): void => {
    seen.add(words.map((word) => word >>> 0).join());
    drawn++;
  };
  for (const seed of [0, 1, 2, 2 ** 32]) {
    for (const purpose of purposes)
      for (const number of [0, 1, 2, 3].filter((at) => at < streams[purpose].count)) {
        const stream = hostStream(seed, purpose, number);
        note([stream.next(), stream.next(), stream.next(), stream.next()]);
      }
    for (const number of [0, 1, 2]) {
      const generator = randomGenerator(seed, number);
      const draw = compile(() =>
        generator
          .uniform([4])
          .mul(2 ** 24)
          .cast("int32"),
      );
      note([...(await draw().data())].map((word) => word * 256));
    }
  }
  expect(seen.size).toBe(drawn);
});

test("parts of a stream draw other numbers than each other and than the stream, the same each time", () => {
  const first = (number: number, part?: number): number => {
    const stream = hostStream(3, "augmentation", number, part);
    return stream.next() * 2 ** 21 + (stream.next() >>> 11);
  };
  const parts = [undefined, 0, 1, 2, 2 ** 31, 2 ** 32 - 1];
  const drawn = [0, 1, 2].flatMap((number) => parts.map((part) => first(number, part)));
  expect(new Set(drawn).size).toBe(drawn.length);
  expect([0, 1, 2].flatMap((number) => parts.map((part) => first(number, part)))).toEqual(drawn);
  const [bulk, single] = [hostStream(3, "augmentation", 1, 7), hostStream(3, "augmentation", 1, 7)];
  expect([...bulk.uniforms(9, 1)]).toEqual(Array.from({ length: 9 }, () => Math.fround(2 * single.uniform() - 1)));
});

test("every epoch of every seed has an order of its own", () => {
  const data = dataset({ shape: [50], dtype: "float32", values: Float32Array.from({ length: 50 }, (_, i) => i) });
  const orders = new Set<string>();
  for (let seed = 0; seed < 5; seed++) {
    const batches = loader(data, { batchSize: 50, shuffle: true, seed });
    for (let epoch = 0; epoch < 5; epoch++) for (const [x] of batches) orders.add(String(x));
  }
  expect(orders.size).toBe(25);
});

test("nobody draws from a stream that is not on the register", () => {
  const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  const users = files.filter((file) => readFileSync(join("src", file), "utf8").includes("new PhiloxStream("));
  // stream.ts reserves a part of the stream that it is asked of.
  expect(users.map((file) => file.replaceAll("\\", "/")).sort()).toEqual(["random/generator.ts", "random/stream.ts"]);
});
