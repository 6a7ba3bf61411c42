/** Initial weights: their moments and bounds against the formulas, orthogonality, reproducibility. */
import { describe, expect, test } from "vitest";
import { sizeOf } from "../../src/graph/types.ts";
import {
  conv2d,
  decodeWeights,
  encodeWeights,
  init,
  linear,
  ones,
  parameter,
  randomGenerator,
  seed,
  sequential,
} from "../../src/index.ts";
import { PhiloxStream } from "../../src/random/stream.ts";

const draw = (initializer: init.Initializer, ...shape: number[]): Float32Array =>
  initializer(shape, new PhiloxStream(2));

function moments(values: Float32Array): { mean: number; deviation: number; kurtosis: number; largest: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const central = (power: number): number =>
    values.reduce((sum, value) => sum + (value - mean) ** power, 0) / values.length;
  const variance = central(2);
  return {
    mean,
    deviation: Math.sqrt(variance),
    kurtosis: central(4) / variance ** 2,
    largest: values.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
  };
}

/** σ for n_in and n_out, by formula: the notes' for relu (√(2/n)) and tanh (√(1/n)), the papers' for the others. */
const formulas: readonly (readonly [string, init.Initializer, (into: number, out: number) => number])[] = [
  ["xavierUniform", init.xavierUniform, (into, out) => Math.sqrt(2 / (into + out))],
  ["xavierNormal", init.xavierNormal, (into, out) => Math.sqrt(2 / (into + out))],
  ["heNormal before relu", init.heNormal(), (into) => Math.sqrt(2 / into)],
  ["heUniform before relu", init.heUniform("relu"), (into) => Math.sqrt(2 / into)],
  ["heNormal before tanh", init.heNormal("tanh"), (into) => Math.sqrt(1 / into)],
  ["heUniform before tanh", init.heUniform("tanh"), (into) => Math.sqrt(1 / into)],
  ["heNormal before nothing", init.heNormal("linear"), (into) => Math.sqrt(1 / into)],
  ["lecunNormal", init.lecunNormal, (into) => Math.sqrt(1 / into)],
  ["lecunUniform", init.lecunUniform, (into) => Math.sqrt(1 / into)],
  ["normal", init.normal(0.02), () => 0.02],
  ["uniform", init.uniform(0.3), () => 0.3 / Math.sqrt(3)],
  // A standard normal cut at two deviations has the deviation 0.8796.
  ["truncatedNormal", init.truncatedNormal(0.5), () => 0.5 * 0.8796],
];

describe.each([
  { what: "a matrix", shape: [300, 400], into: 400, out: 300 },
  { what: "a convolution's weight", shape: [64, 24, 5, 5], into: 24 * 25, out: 64 * 25 },
  { what: "a convolution's weight along one axis", shape: [128, 64, 7], into: 64 * 7, out: 128 * 7 },
])("of $what", ({ shape, into, out }) => {
  test.each(formulas)("%s has mean 0, the deviation of its formula, and its form", (name, initializer, formula) => {
    const { mean, deviation, kurtosis, largest } = moments(draw(initializer, ...shape));
    const [count, wanted] = [shape.reduce((a, b) => a * b), formula(into, out)];
    // Four standard errors of a mean, and of a deviation: σ/√n, and at most σ/√2n.
    expect(Math.abs(mean)).toBeLessThan((4 * wanted) / Math.sqrt(count));
    expect(Math.abs(deviation / wanted - 1)).toBeLessThan(4 / Math.sqrt(2 * count));
    // E z⁴ / σ⁴ is 9/5 for uniform numbers, 3 for normal ones, and 2.36 for normal ones cut at two deviations.
    const form = name.includes("niform") ? 9 / 5 : name === "truncatedNormal" ? 2.36 : 3;
    expect(Math.abs(kurtosis - form)).toBeLessThan(0.06);
    if (form === 9 / 5) {
      expect(largest).toBeLessThanOrEqual(Math.fround(Math.sqrt(3) * wanted));
      expect(largest).toBeGreaterThan(0.999 * Math.sqrt(3) * wanted);
    }
  });
});

test("truncated normal stays within its limit, and comes close to it", () => {
  const { largest } = moments(draw(init.truncatedNormal(3, 1.5), 100, 100));
  expect(largest).toBeLessThanOrEqual(4.5);
  expect(largest).toBeGreaterThan(4.4);
});

describe("orthogonal", () => {
  test.each([
    ["square", 25, [25, 25]],
    ["wide", 20, [20, 30]],
    ["tall", 20, [30, 20]],
    ["a convolution's, wide", 8, [8, 3, 3, 3]],
    ["a convolution's, tall", 4, [16, 4, 1, 1]],
  ] as const)("%s: %i orthonormal rows or columns, times the gain", (_, count, shape) => {
    const values = draw(init.orthogonal(2), ...shape);
    const [rows, columns] = [shape[0], values.length / shape[0]];
    const at = (vector: number, i: number): number =>
      rows <= columns ? values[vector * columns + i]! : values[i * columns + vector]!;
    for (let a = 0; a < count; a++)
      for (let b = 0; b < count; b++) {
        let product = 0;
        for (let i = 0; i < Math.max(rows, columns); i++) product += at(a, i) * at(b, i);
        expect(product, `QᵀQ at ${a}, ${b}`).toBeCloseTo(a === b ? 4 : 0, 5);
      }
  });

  test("points in every direction: entries of many have the mean 0", () => {
    const stream = new PhiloxStream(4);
    const firsts = Float32Array.from({ length: 2000 }, () => init.orthogonal()([3, 3], stream)[0]!);
    const { mean, deviation } = moments(firsts);
    expect(Math.abs(mean)).toBeLessThan(0.06);
    expect(deviation).toBeCloseTo(Math.sqrt(1 / 3), 1);
  });
});

test("zeros, ones, constant and identity", () => {
  expect([...draw(init.identity, 2, 3)]).toEqual([1, 0, 0, 0, 1, 0]);
  expect([...draw(init.identity, 3, 2)]).toEqual([1, 0, 0, 1, 0, 0]);
  expect([...draw(init.zeros, 2), ...draw(init.ones, 2), ...draw(init.constant(3), 1)]).toEqual([0, 0, 1, 1, 3]);
});

test("layers take them; the same seed gives the same weights, another seed others", async () => {
  const weights = async (value: number): Promise<unknown> => {
    seed(value);
    const layers = [
      linear(5, 5, { weight: init.heNormal(), bias: init.zeros }),
      conv2d(1, 2, 3, { weight: init.orthogonal() }),
    ];
    return Promise.all(layers.flatMap((layer) => layer.parameters()).map((parameter) => parameter.data()));
  };
  expect(await weights(7)).toEqual(await weights(7));
  expect(await weights(7)).not.toEqual(await weights(8));
  expect(await linear(2, 3, { bias: init.zeros }).bias.array()).toEqual([0, 0, 0]);
});

describe("initial values are drawn when they are needed", () => {
  const waiting = [init.heNormal(), init.xavierUniform, init.lecunUniform, init.normal(2), init.uniform(3), init.ones];

  test("and are those that are drawn at once", async () => {
    for (const each of [...waiting, init.orthogonal(), init.truncatedNormal(1)]) {
      const [first, second] = [randomGenerator(5), randomGenerator(5)];
      const eager = [0, 1, 2].map(() => each([3, 5], first.host));
      const lazy = [0, 1, 2].map(() => parameter([3, 5], each, second));
      // The last one first, and others drawn in between.
      second.host.next();
      for (const i of [2, 0, 1]) expect(await lazy[i]!.data()).toEqual(eager[i]);
      expect(second.host.position).toBe(first.host.position + 1);
    }
  });

  test("never, where a file brings the weights", async () => {
    let drawn = 0;
    const counting: init.Initializer = Object.assign((shape: readonly number[]) => new Float32Array(sizeOf(shape)), {
      later: (shape: readonly number[]) => () => {
        drawn++;
        return new Float32Array(sizeOf(shape)).fill(2);
      },
    });
    const [model, other] = [linear(2, 3, { weight: counting, bias: counting }), linear(2, 3)];
    decodeWeights(model, await encodeWeights(other));
    expect(await model.weight.data()).toEqual(await other.weight.data());
    expect(drawn).toBe(0);
    const used = linear(2, 3, { weight: counting, bias: counting });
    expect(await used(ones([1, 2])).array()).toEqual([[6, 6, 6]]);
    await used.weight.data();
    expect(drawn).toBe(2);
  });

  test("so that a model of 124 million parameters takes no memory until then", () => {
    const { arrayBuffers } = process.memoryUsage();
    const model = sequential(...Array.from({ length: 124 }, () => linear(1000, 1000)));
    expect(model.parameters()).toHaveLength(248);
    expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(1e6);
  });

  test("errors come at once", () => {
    expect(() => parameter([3], init.lecunNormal)).toThrow("[3] has no inputs and outputs");
  });
});

test("what they refuse", () => {
  expect(() => draw(init.identity, 3)).toThrow("identity: [3] is no matrix");
  expect(() => draw(init.lecunNormal, 3)).toThrow("[3] has no inputs and outputs");
  expect(() => draw(init.orthogonal(), 3)).toThrow("[3] has no inputs and outputs");
  expect(() => init.normal(-1)).toThrow("normal: the deviation is -1");
  expect(() => init.uniform(Number.NaN)).toThrow("uniform: the bound is NaN");
  expect(() => init.truncatedNormal(1, 0)).toThrow("truncatedNormal: the deviation is 1 and the limit 0");
});
