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

describe("what they refuse", () => {
  const { Plateau } = schedule;
  /** Every schedule with its options: one that it needs is given as it must be. */
  const makers: Readonly<Record<string, readonly [make: (options: never) => unknown, right: object]>> = {
    steps: [(options) => schedule.steps(1, options), { every: 2, factor: 0.5 }],
    exponential: [(options) => schedule.exponential(1, options), { factor: 0.5, per: 2 }],
    cosine: [(options) => schedule.cosine(1, options), { steps: 9, end: 0.1 }],
    linear: [(options) => schedule.linear(1, options), { steps: 9, end: 0.1 }],
    warmUp: [(options) => schedule.warmUp(schedule.constant(1), options), { steps: 9 }],
    inverseSquareRoot: [(options) => schedule.inverseSquareRoot(1, options), { warmUpSteps: 9 }],
    transformer: [(options) => schedule.transformer(options), { width: 8, warmUpSteps: 9, factor: 1 }],
    oneCycle: [(options) => schedule.oneCycle(1, options), { steps: 9, growth: 0.3, startDivisor: 2, endDivisor: 3 }],
    Plateau: [
      (options) => new Plateau(1, options),
      { factor: 0.5, patience: 3, threshold: 0.1, cooldown: 1, least: 0.1 },
    ],
  };
  const untyped = (value: unknown): never => value as never;
  const wrong = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, "1", null, [1], true, 1n];

  test.each(Object.entries(makers))("options of %s", (name, [make, right]) => {
    for (const option of Object.keys(right)) {
      for (const value of wrong)
        expect(() => make(untyped({ ...right, [option]: value })), `${option}: ${String(value)}`).toThrow(
          new RegExp(`^${name}: .*\\n  fix: give .* for \`${option}\``),
        );
      const misspelt = `${option}s`;
      expect(() => make(untyped({ ...right, [misspelt]: 1 }))).toThrow(`did you mean ${option}?`);
    }
    for (const value of [null, 3, "fast"]) expect(() => make(untyped(value))).toThrow("give options as a record");
  });

  test("every schedule is here", () => {
    expect(Object.keys(makers).sort()).toEqual(
      Object.keys(schedule)
        .filter((name) => name !== "constant")
        .sort(),
    );
  });

  test.each(["steps", "exponential", "cosine", "linear", "warmUp", "transformer", "oneCycle"])(
    "%s without the option that it needs",
    (name) => {
      const [make, right] = makers[name]!;
      const [needed] = Object.keys(right);
      for (const options of [{}, { [needed!]: undefined }])
        expect(() => make(untyped(options))).toThrow(`for \`${needed}\``);
      expect(() => make(untyped(undefined))).toThrow("give options as a record");
    },
  );

  test("an option that is undefined has its default", () => {
    const plain = schedule.oneCycle(1, { steps: 9 });
    const other = schedule.oneCycle(1, untyped({ steps: 9, growth: undefined, startDivisor: undefined }));
    expect([0, 3, 8].map(other)).toEqual([0, 3, 8].map(plain));
    const all = { factor: undefined, patience: undefined, threshold: undefined, cooldown: undefined, least: undefined };
    const [a, b] = [new Plateau(1), new Plateau(1, untyped({ ...all, maximize: undefined }))];
    for (let i = 0; i < 30; i++) expect(b.update(1)).toBe(a.update(1));
    expect(a.rate).toBeLessThan(0.1);
  });

  test("rates and steps that are none", () => {
    const rates: ((rate: never) => unknown)[] = [
      (rate) => schedule.constant(rate),
      (rate) => schedule.steps(rate, { every: 2 }),
      (rate) => schedule.exponential(rate, { factor: 0.5 }),
      (rate) => schedule.cosine(rate, { steps: 9 }),
      (rate) => schedule.linear(rate, { steps: 9 }),
      (rate) => schedule.inverseSquareRoot(rate),
      (rate) => schedule.oneCycle(rate, { steps: 9 }),
      (rate) => new Plateau(rate),
    ];
    for (const make of rates)
      for (const value of [...wrong, undefined])
        expect(() => make(untyped(value))).toThrow("give a finite number of at least 0");
    for (const [name, rate] of Object.entries(written))
      for (const value of [...wrong, undefined])
        expect(() => rate(untyped(value)), name).toThrow("give a finite number of at least 0");
  });

  test("what a plateau is told", () => {
    const plateau = new Plateau(1);
    expect(() => plateau.update(untyped("0.5"))).toThrow('Plateau.update: argument 1 is "0.5"');
    for (const state of [null, {}, { ...plateau.state, rate: Number.NaN }, { ...plateau.state, bad: -1 }])
      expect(() => {
        plateau.state = untyped(state);
      }).toThrow("Plateau.state: ");
    expect(plateau.state).toEqual({ rate: 1, best: null, bad: 0, cooling: 0 });
  });

  test("sentences", () => {
    const refusals: (() => unknown)[] = [
      () => schedule.steps(1, { every: 0 }),
      () => schedule.exponential(1, untyped({ gamma: 0.9 })),
      () => schedule.oneCycle(1, { steps: 10, growth: 2 }),
      () => schedule.cosine(1, untyped({})),
      () => new Plateau(1, { factor: 1 }),
      () => new Plateau(1, { patience: -1 }),
    ];
    const sentences = refusals.map((call) => {
      try {
        call();
        return "nothing was thrown";
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(sentences).toMatchInlineSnapshot(`
      [
        "steps: argument 2 is a record { every }
        fix: give a finite number above 0 for \`every\`, which is 0",
        "exponential: argument 2 is a record { gamma }
        fix: there is no option "gamma"; the options are factor, per",
        "oneCycle: argument 2 is a record { steps, growth }
        fix: give a number from 0 to 1 for \`growth\`, which is 2",
        "cosine: argument 2 is a record {  }
        fix: give a finite number above 0 for \`steps\`",
        "Plateau: argument 2 is a record { factor }
        fix: give a number between 0 and 1 for \`factor\`, which is 1",
        "Plateau: argument 2 is a record { patience }
        fix: give a whole number from 0 on for \`patience\`, which is -1",
      ]
    `);
  });
});

test("a plateau with a lowest rate above its own never raises the rate", () => {
  const plateau = new schedule.Plateau(0.1, { least: 0.5, patience: 0 });
  expect([1, 1, 1].map((value) => plateau.update(value))).toEqual([0.1, 0.1, 0.1]);
});

test("a plateau of infinite measurements has a state that JSON holds", () => {
  for (const maximize of [false, true])
    for (const value of [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.NaN]) {
      const plateau = new schedule.Plateau(1, { maximize, patience: 1 });
      for (const each of [3, value, value]) plateau.update(each);
      expect(JSON.parse(JSON.stringify(plateau.state))).toEqual(plateau.state);
      expect(plateau.state).toEqual({ rate: 0.1, best: 3, bad: 0, cooling: 0 });
    }
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
