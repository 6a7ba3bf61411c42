/** What the checks say, word for word. */
import { expect, test } from "vitest";
import { check } from "../../src/node.ts";

test("a report that passes is a headline and numbers", () => {
  expect(
    check.explain({
      check: "initial-loss",
      verdict: "pass",
      observed: 2.4042,
      expected: Math.log(10),
      ratio: 2.4042 / Math.log(10),
      classes: 10,
      outputDeviation: 0.43367,
      batchSize: 64,
    }),
  ).toMatchInlineSnapshot(`
    "✓ initial-loss: the loss is 2.404; one who guesses has −log(1/10) = 2.303
      ratio 1.04; the outputs of an example have the deviation 0.434"
  `);
  expect(
    check.explain({
      check: "overfit",
      verdict: "pass",
      examples: 1,
      losses: [2.25, 0.02],
      target: 0.0225,
      final: 0.0151,
      learningRate: 1e-4,
    }),
  ).toMatchInlineSnapshot(`
    "✓ overfit: 1 example learnt by heart in 2 steps
      from 2.25 to 0.02, 0.0151 in evaluation; 0.0225 counts as learnt
      learning rate 1e-4"
  `);
});

test("one that does not says what usually causes it, too", () => {
  expect(
    check.explain({
      check: "mixing",
      verdict: "fail",
      method: "gradient",
      asItIs: {
        influence: [
          [1, 0.5],
          [0, 1],
        ],
        mixed: [{ output: 0, input: 1 }],
      },
      inEvaluation: {
        influence: [
          [1, 0.5],
          [0, 1],
        ],
        mixed: [{ output: 0, input: 1 }],
      },
      batchNorms: [],
    }),
  ).toMatchInlineSnapshot(`
    "✗ mixing: outputs depend on other examples of the batch: 1 pair, such as output 0 on input 1
      2 examples, by derivatives
      output 0: ■ ✗
      output 1: · ■
      → a reshape where a transpose was meant, or a softmax, mean or normalisation over the batch axis: what the model says of an example must not hang on its neighbours"
  `);
  expect(
    check.explain({
      check: "learning-rate",
      verdict: "fail",
      own: 0.3,
      suggestion: 7.3168e-4,
      steepest: 0.0016638,
      lowest: 0.0073168,
      divergedAt: 0.1415,
      points: [],
    }),
  ).toMatchInlineSnapshot(`
    "✗ learning-rate: 7.3e-4 is a rate to begin with; yours is 0.3
      the loss fell fastest at 0.0017 and was lowest at 0.0073; it broke down at 0.14
      → your rate is where the training breaks down, or close to it: lower it"
  `);
  expect(check.explain({ check: "baseline", verdict: "skip", reason: "there is one column" })).toMatchInlineSnapshot(
    `"– baseline: does not apply: there is one column"`,
  );
});

test("every finding in data has its sentence", () => {
  const order = { runs: 10, expected: 7196.5, z: -80 };
  const [common, rare] = [
    { label: 0, train: 900, validation: 100 },
    { label: 7, train: 1, validation: 0 },
  ];
  const text = check.explain({
    check: "data",
    verdict: "fail",
    examples: 8000,
    validationExamples: 0,
    columns: [],
    classes: [common, rare],
    order,
    repeated: 81,
    contradictory: 1,
    leaked: 25,
    findings: [
      { verdict: "fail", kind: "not-finite", part: "validation", column: 0, count: 1, example: 3, position: 1 },
      { verdict: "warn", kind: "constant", column: 1 },
      { verdict: "warn", kind: "scale", column: 0, mean: 2009.5, deviation: 5.766 },
      { verdict: "warn", kind: "uneven", column: 0, small: 0.0001, large: 314.2 },
      { verdict: "warn", kind: "shift", column: 0, mean: -0.81, deviation: 4.02 },
      { verdict: "warn", kind: "imbalance", rarest: rare, commonest: common },
      { verdict: "warn", kind: "gaps", labels: [1, 2, 3, 4, 5, 6] },
      { verdict: "fail", kind: "unseen", labels: [9] },
      { verdict: "warn", kind: "order", order },
      { verdict: "warn", kind: "repeated", count: 81 },
      { verdict: "warn", kind: "contradictory", count: 1 },
      { verdict: "fail", kind: "leak", count: 25, validation: 2000 },
    ],
  });
  expect(text).toMatchInlineSnapshot(`
    "✗ data: 8,000 examples to train on, 0 to validate on; 12 things to look at
      2 labels, each on 1 to 900 examples
      order: 10 runs of equal targets, 7,197 when shuffled
      inputs that occur twice: 81; in both parts: 25
      → column 0 of the validation data holds NaN or infinity, 1 value, the first in example 3 at position 1: a loss that sees one is NaN. Clean them, or leave these examples out
      → column 1 is the same in all examples: there is nothing to learn in it. Look at how it is read
      → column 0 has the mean 2010 and the deviation 5.766: initial weights are made for a mean near 0 and a deviation near 1. Standardise it: fitStandardizer
      → the positions of column 0 have deviations from 1e-4 to 314.2: the large ones drown the small. Standardise each: fitStandardizer
      → column 0 of the validation data: its mean is -0.81 of the training data's deviations away from theirs, its deviation 4 of them. Was it scaled by statistics of its own? Those of the training data serve both
      → class 0 has 900 examples and class 7 1: a network that always says 0 looks good. Measure each class by itself; weigh the classes in the loss, or draw the rare ones more often
      → no training example has the labels 1, 2, 3, 4, 5 and 1 more: labels count from 0, and each below the largest takes an output
      → the label 9: in the validation data alone, so that nothing can be learnt of them. Split anew, at random
      → the targets come in 10 runs of equal ones, where a random order has 7,197: in this order batches are one-sided, and training forgets what it saw before. Shuffle: loader(data, { shuffle: true }); and split at random
      → 81 training examples have the inputs of an earlier one: what they say counts twice
      → 1 training example with the inputs of an earlier one and another target: no model can be right about both
      → 25 of 2,000 validation examples with the inputs of a training example: validation measures what was learnt by heart. Remove duplicates before splitting"
  `);
});
