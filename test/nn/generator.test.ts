import { beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  compile,
  dropout,
  evaluate,
  type Generator,
  gradients,
  linear,
  ones,
  plainEngine,
  randomGenerator,
  sequential,
  type Tensor,
  tensor,
  useEngine,
  zeros,
} from "../../src/index.ts";

const n = 40_000;

/** Kolmogorov and Smirnov's distance between a sample and a distribution function. */
function distance(sample: ArrayLike<number>, cdf: (x: number) => number): number {
  const sorted = Float64Array.from(sample).sort();
  return sorted.reduce((worst, x, i) => Math.max(worst, Math.abs(cdf(x) - i / n), Math.abs(cdf(x) - (i + 1) / n)), 0);
}

/** A distance that one sample in a hundred thousand exceeds; the seeds are fixed, so it is exceeded always or never. */
const critical = 2.47 / Math.sqrt(n);

/** Simpson's rule over the density: exact to 1e-9 here. */
function normalCdf(z: number): number {
  const density = (x: number): number => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  const steps = 200;
  const h = z / steps;
  let sum = density(0) + density(z);
  for (let i = 1; i < steps; i++) sum += density(i * h) * (i % 2 === 0 ? 2 : 4);
  return 1 / 2 + (sum * h) / 3;
}
const within = (limit: number) => (z: number) =>
  (normalCdf(z) - normalCdf(-limit)) / (normalCdf(limit) - normalCdf(-limit));

const distributions: readonly [string, (random: Generator) => Tensor, (x: number) => number, [number, number]][] = [
  ["uniform", (random) => random.uniform([n]), (x) => x, [0, 1 - 2 ** -24]],
  ["uniform between bounds", (random) => random.uniform([n], { low: -3, high: 5 }), (x) => (x + 3) / 8, [-3, 5]],
  ["normal", (random) => random.normal([n]), normalCdf, [-5.8, 5.8]],
  [
    "normal with mean and deviation",
    (random) => random.normal([n], { mean: 10, deviation: 0.5 }),
    (x) => normalCdf((x - 10) / 0.5),
    [7, 13],
  ],
  ["truncated normal", (random) => random.truncatedNormal([n]), within(2), [-2, 2]],
  ["truncated normal, far", (random) => random.truncatedNormal([n], { limit: 4.5 }), within(4.5), [-4.5, 4.5]],
  [
    "truncated normal with mean and deviation",
    (random) => random.truncatedNormal([n], { mean: -1, deviation: 3, limit: 0.5 }),
    (x) => within(0.5)((x + 1) / 3),
    [-2.5, 0.5],
  ],
  ["exponential", (random) => random.exponential([n]), (x) => 1 - Math.exp(-x), [0, 17]],
  ["gumbel", (random) => random.gumbel([n]), (x) => Math.exp(-Math.exp(-x)), [-3, 17]],
];

let native: Engine;
beforeAll(() => {
  native = nodeEngine({ threads: 2 });
});

describe.each([["plain", () => plainEngine()] as const, ["node", () => native] as const])(
  "on the %s engine",
  (_, on) => {
    test.each(distributions)("%s", async (_name, draw, cdf, [low, high]) => {
      useEngine(on());
      const values = Float64Array.from(await draw(randomGenerator(3)).data());
      expect(distance(values, cdf)).toBeLessThan(critical);
      expect(values.reduce((a, b) => Math.min(a, b))).toBeGreaterThanOrEqual(low);
      expect(values.reduce((a, b) => Math.max(a, b))).toBeLessThanOrEqual(high);
    });

    test("integers: each as often as the others, the ends included and excluded", async () => {
      useEngine(on());
      const counts = Array(6).fill(0);
      for (const value of await randomGenerator(4).integers([n], -2, 4).data()) counts[value + 2]++;
      expect(chiSquared(counts, Array(6).fill(1 / 6))).toBeLessThan(critical5);
    });

    test("bernoulli: one probability for all, or one for each element", async () => {
      useEngine(on());
      const random = randomGenerator(5);
      const share = async (x: Tensor<[number], "bool">): Promise<number> => x.cast("float32").mean().item();
      expect(Math.abs((await share(random.bernoulli(0.3, [n]))) - 0.3)).toBeLessThan(4 * Math.sqrt((0.3 * 0.7) / n));
      const each = random.bernoulli(
        tensor([
          [0, 1],
          [1, 0],
        ]),
      );
      expect(await each.array()).toEqual([
        [false, true],
        [true, false],
      ]);
    });

    test("categorical: classes as often as the softmax of their logits says", async () => {
      useEngine(on());
      const probabilities = [0.5, 0.25, 0.125, 0.0625, 0.0625, 0];
      const logits = tensor(probabilities.map((p) => Math.log(p) + 3)).expand([n, 6]);
      const counts = Array(6).fill(0);
      for (const value of await randomGenerator(6).categorical(logits).data()) counts[value]++;
      expect(counts[5]).toBe(0);
      expect(chiSquared(counts.slice(0, 5), probabilities)).toBeLessThan(critical5);
    });

    test("permutation: every number once, every order as often as the others", async () => {
      useEngine(on());
      const random = randomGenerator(7);
      const large = await random.permutation(10_000).data();
      expect([...large].sort((a, b) => a - b)).toEqual(Array.from({ length: 10_000 }, (_, i) => i));
      expect([...large]).not.toEqual([...large].sort((a, b) => a - b));
      const draw = compile(() => random.permutation(3));
      const counts = new Map<string, number>();
      for (let i = 0; i < 1200; i++) {
        const order = `${await draw().data()}`;
        counts.set(order, (counts.get(order) ?? 0) + 1);
      }
      expect(counts.size).toBe(6);
      expect(chiSquared([...counts.values()], Array(6).fill(1 / 6))).toBeLessThan(critical5);
    });

    test("empty shapes and scalars", async () => {
      useEngine(on());
      const random = randomGenerator(8);
      expect(await random.normal([0, 3]).array()).toEqual([]);
      expect(await random.permutation(0).array()).toEqual([]);
      expect(Number.isFinite(await random.normal([]).item())).toBe(true);
      expect(await random.permutation(1).array()).toEqual([0]);
    });
  },
);

/** The statistic of Pearson's test; with five degrees of freedom one sample in a hundred thousand exceeds 30.9. */
function chiSquared(counts: readonly number[], probabilities: readonly number[]): number {
  const total = counts.reduce((a, b) => a + b);
  return counts.reduce((sum, count, i) => {
    const expected = total * probabilities[i]!;
    return sum + (count - expected) ** 2 / expected;
  }, 0);
}
const critical5 = 30.9;

test("the bits of a draw are the same on every engine, in compiled functions and outside", async () => {
  const draws: number[][] = [];
  for (const engine of [plainEngine(), native]) {
    useEngine(engine);
    const random = randomGenerator(2 ** 50 + 3);
    const step = compile(() => random.uniform([5, 7]));
    draws.push([...(await step().data()), ...(await step().data()), ...(await random.uniform([3]).data())]);
  }
  expect(draws[1]).toEqual(draws[0]);
  expect(new Set(draws[0]).size).toBe(73);
});

test("split: a generator for each name, whatever has been drawn from the others", async () => {
  useEngine(plainEngine());
  const first = async (random: Generator): Promise<number[]> => [
    ...(await random.uniform([4]).data()),
    random.host.next(),
  ];
  const parent = randomGenerator(1);
  const before = await first(parent.split("dropout"));
  await first(parent);
  expect(await first(parent.split("dropout"))).toEqual(before);
  expect(await first(randomGenerator(1).split("dropout"))).toEqual(before);
  const names = ["", "\0", "a", "b", "dropout ", "0123456789abcde", "0123456789abcdef", "0123456789abcdefg", "Ünïcödé"];
  const all = await Promise.all([...names.map((name) => parent.split(name)), randomGenerator(2).split("a")].map(first));
  all.push(await first(parent.split("a").split("b")), await first(randomGenerator(1)), before);
  expect(new Set(all.map(String)).size).toBe(names.length + 4);
});

test("what cannot be drawn is said", () => {
  const random = randomGenerator(0);
  const messages: (() => unknown)[] = [
    () => random.uniform([2], { low: 2, high: 1 }),
    () => random.integers([2], 0, 2 ** 25),
    () => random.integers([2], 3, 3),
    () => random.normal([2], { deviation: -1 }),
    () => random.truncatedNormal([2], { limit: 0 }),
    () => random.bernoulli(1.5, [2]),
    () => random.categorical(zeros([3, 0])),
    () => random.permutation(-1),
  ];
  expect(
    messages.map((make) => {
      try {
        make();
        return "nothing thrown";
      } catch (error) {
        return String(error).split("\n")[0];
      }
    }),
  ).toEqual([
    "ConfigError: uniform: the bounds are 2 and 1",
    "ConfigError: integers: the range goes from 0 to 33554432",
    "ConfigError: integers: the range goes from 3 to 3",
    "ConfigError: normal: the mean is 0 and the deviation -1",
    "ConfigError: truncatedNormal: the limit is 0",
    "ConfigError: bernoulli: the probability is 1.5",
    "ShapeError: categorical: logits of float32[3, 0] have no classes to draw from",
    "ConfigError: permutation: the count is -1",
  ]);
});

describe.each<[string, () => Engine]>([
  ["plain", plainEngine],
  ["node", () => nodeEngine({ threads: 1 })],
])("draws on the %s engine", (_, engine) => {
  beforeAll(() => useEngine(engine()));

  test("are read one after the other, in any order, and again as parts of others", async () => {
    const values = async (read: (a: Tensor, b: Tensor, c: Tensor) => Promise<unknown>): Promise<unknown> => {
      const random = randomGenerator(2);
      const [a, b] = [random.normal([3]), random.uniform([2])];
      return read(a, b, a.mul(b.sum()));
    };
    const together = await values(async (a, b, c) => {
      await evaluate(a, b, c);
      return [await a.array(), await b.array(), await c.array()];
    });
    const inTurn = await values(async (a, b, c) => {
      const second = await b.array();
      return [await a.array(), second, await c.array()];
    });
    const lastFirst = await values(async (a, b, c) => {
      const third = await c.array();
      return [await a.array(), await b.array(), third];
    });
    expect(inTurn).toEqual(together);
    expect(lastFirst).toEqual(together);
  });

  test("outlive compiled steps, seeds and draws that come after them", async () => {
    const random = randomGenerator(3);
    const [early, late] = [random.normal([4]), random.normal([4])];
    const twin = randomGenerator(3);
    const wanted = [await twin.normal([4]).array(), await twin.normal([4]).array()];
    const step = compile(() => random.normal([5]).sum());
    for (let i = 0; i < 3; i++) await step().item();
    random.seed(9);
    await random.uniform([2]).array();
    expect([await early.array(), await late.array()]).toEqual(wanted);
  });

  test("with dropout: the loss, then the output that it was computed from, then the gradients", async () => {
    const model = sequential(linear(4, 3), dropout(0.5));
    const y = model(ones([2, 4]));
    const loss = y.mul(y).sum();
    const value = await loss.item();
    const rows = (await y.array()) as number[][];
    expect(rows.flat().reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(value, 5);
    const [slope] = gradients(loss, [y]);
    expect(await slope!.array()).toEqual(rows.map((row) => row.map((x) => expect.closeTo(2 * x, 5))));
  });
});
