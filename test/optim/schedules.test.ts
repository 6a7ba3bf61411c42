/** Schedules against PyTorch's, and what they refuse. */
import { describe, expect, test } from "vitest";
import { schedule } from "../../src/index.ts";
import { fixture } from "../support/optimizer-fixture.ts";

const written = {
  constant: schedule.constant(1),
  steps: schedule.steps(1, { every: 7, factor: 0.5 }),
  exponential: schedule.exponential(1, { factor: 0.9 }),
  cosine: schedule.cosine(1, { steps: 39, end: 0.1 }),
  linear: schedule.linear(1, { steps: 30, end: 0.25 }),
  warmUpCosine: schedule.warmUp(schedule.cosine(1, { steps: 34 }), { steps: 5 }),
  warmUpLinear: schedule.warmUp(schedule.linear(1, { steps: 20 }), { steps: 9 }),
  inverseSquareRoot: schedule.inverseSquareRoot(0.3, { warmUpSteps: 12 }),
  transformer: schedule.transformer({ width: 512, warmUpSteps: 10 }),
  oneCycle: schedule.oneCycle(0.5, { steps: 41 }),
  oneCycleWithOptions: schedule.oneCycle(0.5, { steps: 31, growth: 0.5, startDivisor: 10, endDivisor: 100 }),
};

test("every schedule of the fixture is written, and every one that is written is in the fixture", () => {
  expect(Object.keys(written)).toEqual(Object.keys(fixture.schedules));
});

test.each(Object.entries(written))("%s is PyTorch's", (name, rate) => {
  const wanted = fixture.schedules[name]!;
  expect(wanted.length).toBeGreaterThanOrEqual(30);
  wanted.forEach((value, step) => expect(rate(step), `step ${step}`).toBeCloseTo(value, 12));
});

test("after their end they stay at the end", () => {
  for (const rate of [
    schedule.cosine(1, { steps: 10, end: 0.2 }),
    schedule.linear(1, { steps: 10, end: 0.2 }),
    schedule.warmUp(schedule.cosine(1, { steps: 7, end: 0.2 }), { steps: 3 }),
  ])
    expect([rate(10), rate(11), rate(1000)]).toEqual([0.2, 0.2, 0.2]);
  const cycle = schedule.oneCycle(1, { steps: 10 });
  expect([cycle(9), cycle(10)]).toEqual([1 / 25 / 1e4, 1 / 25 / 1e4]);
});

test("exponential falls by its factor in as many steps as it is told", () => {
  const rate = schedule.exponential(2, { factor: 0.5, per: 10 });
  expect([0, 10, 20].map(rate)).toEqual([2, 1, 0.5]);
  expect(rate(5)).toBeCloseTo(Math.SQRT2, 12);
});

test("the Transformer's rate grows for its warm-up and then falls with the root", () => {
  const rate = schedule.transformer({ width: 512 });
  expect(rate(0)).toBeCloseTo(512 ** -0.5 * 4000 ** -1.5, 12);
  expect(rate(3999)).toBeCloseTo((512 * 4000) ** -0.5, 12);
  expect(rate(15999)).toBeCloseTo(rate(3999) / 2, 12);
  expect(schedule.transformer({ width: 512, factor: 2 })(7)).toBeCloseTo(2 * rate(7), 12);
});

test("cycles of few steps, and those that only grow or only fall, have rates everywhere", () => {
  for (const growth of [0, 0.1, 0.5, 1])
    for (const steps of [1, 2, 3, 10]) {
      const rates = Array.from({ length: steps }, (_, step) => schedule.oneCycle(1, { steps, growth })(step));
      for (const rate of rates) expect(rate).toSatisfy((value: number) => value > 0 && value <= 1);
    }
  // PyTorch divides by zero here: the peak is the first step.
  expect(schedule.oneCycle(1, { steps: 10, growth: 0.1 })(0)).toBe(1);
});

describe("a plateau", () => {
  test.each(fixture.plateaus.map((each) => [each.maximize ? "an accuracy" : "a loss", each] as const))(
    "of %s is PyTorch's",
    (_, { measured, maximize, rates }) => {
      const options = maximize
        ? { maximize, threshold: 0.01, patience: 1, factor: 0.2 }
        : { patience: 2, cooldown: 1, factor: 0.5, least: 0.1 };
      const plateau = new schedule.Plateau(1, options);
      expect(measured.map((value) => plateau.update(value))).toEqual(rates);
    },
  );

  test("goes on from its state, which JSON holds, at any place", () => {
    const { measured, rates } = fixture.plateaus[0]!;
    const options = { patience: 2, cooldown: 1, factor: 0.5, least: 0.1 };
    for (let at = 0; at < measured.length; at++) {
      const first = new schedule.Plateau(1, options);
      for (const value of measured.slice(0, at)) first.update(value);
      const second = new schedule.Plateau(123, options);
      second.state = JSON.parse(JSON.stringify(first.state));
      expect(measured.slice(at).map((value) => second.update(value))).toEqual(rates.slice(at));
    }
  });

  test("takes what is no number for no improvement, also at first", () => {
    const plateau = new schedule.Plateau(1, { patience: 1 });
    expect([Number.NaN, 3, Number.NaN, 2].map((value) => plateau.update(value))).toEqual([1, 1, 1, 1]);
    expect(plateau.state.best).toBe(2);
    expect([Number.NaN, Number.NaN].map((value) => plateau.update(value))).toEqual([1, 0.1]);
  });
});

test("what they refuse", () => {
  const refusals: (() => unknown)[] = [
    () => schedule.steps(1, { every: 0 }),
    () => schedule.exponential(1, { factor: 0.5, per: -1 }),
    () => schedule.cosine(1, { steps: 0 }),
    () => schedule.linear(1, { steps: Number.NaN }),
    () => schedule.warmUp(schedule.constant(1), { steps: -1 }),
    () => schedule.inverseSquareRoot(1, { warmUpSteps: 0 }),
    () => schedule.transformer({ width: 0 }),
    () => schedule.oneCycle(1, { steps: 10, growth: 2 }),
    () => new schedule.Plateau(1, { factor: 1 }),
  ];
  const sentences = refusals.map((call) => {
    try {
      call();
      return "nothing was thrown";
    } catch (error) {
      return (error as Error).message.split("\n")[0];
    }
  });
  expect(sentences).toMatchInlineSnapshot(`
    [
      "steps: 0 steps",
      "exponential: -1 steps",
      "cosine: 0 steps",
      "linear: NaN steps",
      "warmUp: -1 steps",
      "inverseSquareRoot: 0 steps",
      "transformer: the width is 0",
      "oneCycle: the share of growth is 2",
      "Plateau: the factor is 1",
    ]
  `);
});

describe("a plateau of measurements that may be negative", () => {
  const falls = (values: readonly number[], maximize: boolean): number => {
    const plateau = new schedule.Plateau(1, { patience: 2, maximize, threshold: 0.01 });
    for (const value of values) plateau.update(value);
    return Math.round(Math.log10(1 / plateau.rate));
  };
  const worse = (from: number): number[] => Array.from({ length: 9 }, (_, i) => from - i); //  a reward that gets worse
  const better = (from: number): number[] => Array.from({ length: 9 }, (_, i) => from + i);
  const still = (at: number): number[] => Array<number>(9).fill(at);

  test.each([-100, -3, 0, 3, 100])("from %d on: falls while nothing improves, and only then", (start) => {
    for (const sign of [1, -1]) {
      const maximize = sign > 0;
      const told = (values: readonly number[]): number =>
        falls(
          values.map((value) => sign * value),
          maximize,
        );
      expect(told(better(start).map((value) => value * 3))).toBe(0);
      expect(told(worse(start))).toBe(2);
      expect(told(still(start))).toBe(2);
      expect(told(still(start).map((value, i) => value + Math.abs(value) * 0.0001 * i))).toBe(2); //  less than the threshold
    }
  });

  test("the first measurement counts when it is finite", () => {
    expect(falls([Number.NaN, Number.POSITIVE_INFINITY, -5, -6, -7, -8], false)).toBe(0);
    expect(falls([Number.NEGATIVE_INFINITY, -5, -4, -3], true)).toBe(0);
  });
});
