/** Draws with weights. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dataset } from "../../src/data/dataset.ts";
import { createLoader, type LoaderOptions } from "../../src/data/loader.ts";
import { balancedWeights } from "../../src/data/sampling.ts";
import { ConfigError, DataError } from "../../src/errors.ts";
import { labelsOf, numbered } from "../support/columns.ts";
import { complaint } from "../support/complaint.ts";

const drawn = (count: number, options: LoaderOptions): number[] =>
  [...createLoader(numbered(count), options, (column) => column)].flatMap(labelsOf as never) as number[];

describe("with replacement", () => {
  test("examples come in proportion to their weights, and never with weight 0", () => {
    const counts = new Float64Array(4);
    const sample = { weights: [1, 0, 2, 5], examples: 80_000 };
    for (const index of drawn(4, { batchSize: 1000, sample })) counts[index]!++;
    const expected = [10_000, 0, 20_000, 50_000];
    // χ² with two degrees of freedom: 13.8 has a probability of 0.001.
    const chi = expected.reduce((sum, each, i) => sum + (each ? (counts[i]! - each) ** 2 / each : counts[i]! * 1e9), 0);
    expect(chi).toBeLessThan(13.8);
  });

  test("balanced makes classes equally likely", () => {
    const labels = { shape: [10], dtype: "int32", values: Int32Array.of(0, 0, 0, 0, 0, 0, 0, 0, 7, 7) } as const;
    expect([...balancedWeights(labels)].map((weight) => weight.toFixed(3))).toEqual([
      ...new Array(8).fill("0.125"),
      "0.500",
      "0.500",
    ]);
    const batches = createLoader(
      dataset(labels),
      { batchSize: 100, sample: { weights: "balanced", examples: 20_000 } },
      ({ values }) => values,
    );
    const rare = [...batches].flatMap(([values]) => [...values!]).filter((label) => label === 7).length;
    expect(Math.abs(rare - 10_000)).toBeLessThan(330); //  4.7 standard deviations
  });
});

describe("without replacement", () => {
  test("each example comes at most once, all with weight where as many are asked for", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 1e-9, 0.5, 3, 1e12), { minLength: 1, maxLength: 40 }),
        fc.nat(),
        (weights, seed) => {
          const positive = weights.flatMap((weight, i) => (weight > 0 ? [i] : []));
          fc.pre(positive.length > 0);
          const sample = { weights, replacement: false, examples: positive.length };
          const order = drawn(weights.length, { batchSize: 1, sample, seed });
          expect(order.slice().sort((a, b) => a - b)).toEqual(positive);
          expect(drawn(weights.length, { batchSize: 1, sample, seed })).toEqual(order);
        },
      ),
    );
  });

  test("heavy ones come first more often: P(first) is the share of the weight", () => {
    const firsts = new Float64Array(3);
    for (let seed = 0; seed < 3000; seed++)
      firsts[drawn(3, { batchSize: 1, seed, sample: { weights: [1, 2, 7], replacement: false } })[0]!]!++;
    for (const [i, share] of [0.1, 0.2, 0.7].entries())
      expect(Math.abs(firsts[i]! / 3000 - share)).toBeLessThan(4 * Math.sqrt((share * (1 - share)) / 3000));
  });
});

test("every epoch draws anew, and a resumed one the same", () => {
  const options = { batchSize: 3, sample: { weights: [1, 2, 3, 4, 5] }, seed: 9 };
  const whole = createLoader(numbered(5), options, (column) => column);
  const epochs = [0, 1, 2].map(() => [...whole].map(labelsOf as never));
  expect(new Set(epochs.map(String)).size).toBe(3);
  const resumed = createLoader(numbered(5), options, (column) => column);
  resumed.resume({ epoch: 2, batch: 1 });
  expect([...resumed].map(labelsOf as never)).toEqual(epochs[2]!.slice(1));
});

test("weights that cannot be are refused", () => {
  const refusal = (sample: unknown, kind: typeof DataError | typeof ConfigError = DataError): string =>
    complaint(kind, () => createLoader(numbered(3), { batchSize: 1, sample: sample as never }, (column) => column));
  expect(refusal({ weights: [1, 2] })).toMatchInlineSnapshot(`
    "loader: there are 2 weights for 3 examples
      fix: give one for each example"
  `);
  expect(refusal({ weights: [1, -2, 3] })).toContain("weight 1 is -2");
  expect(refusal({ weights: [1, Number.NaN, 3] })).toContain("weight 1 is NaN");
  expect(refusal({ weights: ["1", 1, 1] })).toContain('weight 0 is "1"');
  expect(refusal({ weights: [0, 0, 0] })).toContain("add up to 0");
  expect(refusal({ weights: [1e308, 1e308, 1e308] })).toContain("add up to Infinity");
  expect(refusal({ weights: [1, 1, 0], replacement: false })).toContain("3 draws without replacement from 2");
  expect(refusal({ weights: [1, 1, 1], examples: 0.5 }, ConfigError)).toContain("sample.examples is 0.5");
  expect(refusal({ weights: "even" }, ConfigError)).toContain('or "balanced"');
  expect(refusal({ weigths: [1, 1, 1] }, ConfigError)).toContain("did you mean weights?");
  expect(
    complaint(ConfigError, () =>
      createLoader(numbered(3), { batchSize: 1, shuffle: true, sample: { weights: [1, 1, 1] } }, (column) => column),
    ),
  ).toContain("leave shuffle out");
});
