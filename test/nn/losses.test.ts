/** The options of losses: those out of range are refused, and those at the end of their range have the limit's value and slope. */
import { describe, expect, test } from "vitest";
import {
  binaryCrossEntropy,
  binaryCrossEntropyOfProbabilities,
  cosineDistance,
  cosineSimilarity,
  crossEntropy,
  type Engine,
  gradients,
  huber,
  klDivergence,
  meanAbsoluteError,
  meanSquaredError,
  negativeLogLikelihood,
  nodeEngine,
  plainEngine,
  smoothL1,
  softCrossEntropy,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";

const untyped = (value: unknown): never => value as never;
const x = tensor([
  [0.2, 0.8],
  [0.5, 0.5],
]);
const labels = tensor([0, 1], "int32");

const numbers = [Number.NaN, -1, "1", true, null, [1], {}];
const infinite = [Number.POSITIVE_INFINITY];

/** Every loss with a call, and for each of its options the values that it refuses. */
const losses: Readonly<Record<string, readonly [(options: never) => unknown, Readonly<Record<string, unknown[]>>]>> = {
  crossEntropy: [
    (options) => crossEntropy(x, labels, options),
    { labelSmoothing: [...numbers, ...infinite, 1.5], ignore: ["1", 0.5, null], weights: [1, [1, 1], null] },
  ],
  negativeLogLikelihood: [
    (options) => negativeLogLikelihood(x, labels, options),
    { ignore: ["1", 0.5, null], weights: [1, [1, 1], null] },
  ],
  softCrossEntropy: [(options) => softCrossEntropy(x, x, options), {}],
  meanSquaredError: [(options) => meanSquaredError(x, x, options), {}],
  meanAbsoluteError: [(options) => meanAbsoluteError(x, x, options), {}],
  huber: [(options) => huber(x, x, options), { delta: [...numbers, 0] }],
  smoothL1: [(options) => smoothL1(x, x, options), { beta: [...numbers, ...infinite] }],
  binaryCrossEntropy: [(options) => binaryCrossEntropy(x, x, options), { positiveWeight: [...numbers, ...infinite] }],
  binaryCrossEntropyOfProbabilities: [(options) => binaryCrossEntropyOfProbabilities(x, x, options), {}],
  klDivergence: [(options) => klDivergence(x, x, options), { logTargets: [1, "true", null] }],
  cosineDistance: [(options) => cosineDistance(x, x, options), {}],
};

test.each(Object.entries(losses))("%s refuses options out of range", (name, [loss, options]) => {
  for (const [option, values] of Object.entries({ ...options, reduction: ["avg", "batchmean", 1, null] }))
    for (const value of values)
      expect(() => loss(untyped({ [option]: value })), `${option}: ${String(value)}`).toThrow(
        new RegExp(`^${name}: argument 3 is a record { ${option} }\n  fix: give .* for \`${option}\``),
      );
  expect(() => loss(untyped({ reductoin: "sum" }))).toThrow("did you mean reduction?");
  for (const value of [null, 3, "sum"]) expect(() => loss(untyped(value))).toThrow("give options as a record");
  loss(untyped(Object.fromEntries(Object.keys(options).map((option) => [option, undefined]))));
});

test("cosineSimilarity refuses an epsilon out of range", () => {
  for (const epsilon of [Number.NaN, -1, Number.POSITIVE_INFINITY, "1"])
    expect(() => cosineSimilarity(x, x, -1, untyped(epsilon))).toThrow("give a finite number of at least 0");
});

const engines: [string, () => Engine][] = [
  ["plain", plainEngine],
  ["node", () => nodeEngine({ threads: 1 })],
  ["node without kernels", () => nodeEngine({ threads: 1, kernels: false })],
];

describe.each(engines)("bends that no element reaches, on the %s engine", (_, makeEngine) => {
  const values = [-3, -0.5, 0, 0.25, 4];
  const measured = async (
    loss: (d: Tensor, zero: Tensor) => Tensor,
    dtype: "float32" | "float64",
  ): Promise<unknown> => {
    useEngine(makeEngine());
    const d = tensor(values, dtype) as Tensor;
    const each = loss(d, d.mul(0));
    const [slope] = gradients(each.sum() as Tensor<[]>, [d]);
    return [[...(await each.data())], [...(await slope!.data())]];
  };

  test.each(["float32", "float64"] as const)("%s", async (dtype) => {
    for (const delta of [100, 1e30, 3e38, 1e39, Number.MAX_VALUE, Number.POSITIVE_INFINITY])
      expect(
        await measured((a, b) => huber(a, b as never, { reduction: "none", delta }) as Tensor, dtype),
        `huber ${delta}`,
      ).toEqual([values.map((v) => 0.5 * v * v), values]);
    for (const beta of [0, Number.MIN_VALUE, 1e-310, 1e-45, 2e-39, 1e-38])
      expect(
        await measured((a, b) => smoothL1(a, b as never, { reduction: "none", beta }) as Tensor, dtype),
        `smoothL1 ${beta}`,
      ).toEqual([values.map(Math.abs), values.map(Math.sign)]);
  });
});
