/** Constants of an update come from float64: for decay rates near 1 too, float32 takes the steps of exact arithmetic. */
import { describe, expect, test } from "vitest";
import {
  adadelta,
  adagrad,
  adam,
  adamW,
  amsgrad,
  compile,
  evaluate,
  lion,
  nadam,
  nodeEngine,
  type Optimizer,
  plainEngine,
  radam,
  read,
  rmsprop,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";
import { Parameter } from "../../src/tensor/state.ts";

const native = nodeEngine({ threads: 1 });

/** Where a parameter is after each of some steps, for given gradients. */
async function path(make: (parameters: Parameter[]) => Optimizer, gradients: readonly number[]): Promise<number[]> {
  const w = new Parameter({ shape: [2], dtype: "float32" }, Float32Array.of(0, 0));
  const optimizer = make([w]);
  const step = compile((g: Tensor<[2], "float32">) => {
    optimizer.apply([w], [g]);
    return w.current();
  });
  const places: number[] = [];
  for (const g of gradients) places.push((await read(step(tensor([g, -g]))))[0]!);
  return places;
}

/** Largest difference of the steps as a share of the larger one, beyond the two roundings of the place that each is measured from. */
function worst(have: readonly number[], want: readonly number[]): number {
  const steps = (places: readonly number[]): number[] => places.map((place, i) => place - (places[i - 1] ?? 0));
  const [a, b] = [steps(have), steps(want)];
  return Math.max(
    ...a.map((x, i) => {
      const beyond = Math.abs(x - b[i]!) - 2 ** -22 * Math.max(Math.abs(want[i]!), Math.abs(want[i - 1] ?? 0));
      return beyond / Math.max(Math.abs(x), Math.abs(b[i]!), 1e-12);
    }),
  );
}

const gradients = Array.from({ length: 40 }, (_, i) => 1 + 0.5 * Math.sin(i));

const nearOne = [0.99, 0.999, 0.9999, 0.99999, 1 - 1e-6, 1 - 1e-7, 1 - 1e-9];

const families: Readonly<Record<string, (b: number) => (parameters: Parameter[]) => Optimizer>> = {
  adam: (b) => (p) => adam(p, { betas: [0.9, b] }),
  "adam, first beta": (b) => (p) => adam(p, { betas: [b, 0.999] }),
  "adam, both": (b) => (p) => adam(p, { betas: [b, b] }),
  adamW: (b) => (p) => adamW(p, { betas: [0.9, b] }),
  amsgrad: (b) => (p) => amsgrad(p, { betas: [b, b] }),
  nadam: (b) => (p) => nadam(p, { betas: [b, b] }),
  radam: (b) => (p) => radam(p, { betas: [0.9, b] }),
  "radam, both": (b) => (p) => radam(p, { betas: [b, b] }),
  rmsprop: (b) => (p) => rmsprop(p, { decay: b }),
  "rmsprop, centred": (b) => (p) => rmsprop(p, { decay: b, centered: true, momentum: 0.9 }),
  adadelta: (b) => (p) => adadelta(p, { decay: b }),
  adagrad: (b) => (p) => adagrad(p, { rateDecay: 1 - b }),
  lion: (b) => (p) => lion(p, { betas: [0.9, b], weightDecay: 1 - b }),
  sgd: (b) => (p) => sgd(p, { learningRate: 0.1, momentum: b, weightDecay: 1 - b }),
};

describe.each(Object.entries(families))("%s", (_, family) => {
  test.each(nearOne)("with a decay of %d takes the steps of float64", async (beta) => {
    useEngine(plainEngine());
    const exact = await path(family(beta), gradients);
    useEngine(native);
    expect(worst(await path(family(beta), gradients), exact)).toBeLessThan(2e-5);
  });
});

test("radam rectifies from the step on that its paper says, with the paper's factor", async () => {
  useEngine(native);
  const [b1, b2, rate] = [0.9, 0.9999, 0.001];
  const want: number[] = [];
  let [m, v, place] = [0, 0, 0];
  for (const [i, g] of gradients.entries()) {
    const t = i + 1;
    m = b1 * m + (1 - b1) * g;
    v = b2 * v + (1 - b2) * g * g;
    const end = 2 / (1 - b2) - 1;
    const rho = end - (2 * t * b2 ** t) / (1 - b2 ** t);
    const mHat = m / (1 - b1 ** t);
    const r = Math.sqrt(((rho - 4) * (rho - 2) * end) / ((end - 4) * (end - 2) * rho));
    place -= rho > 5 ? (rate * mHat * r * Math.sqrt(1 - b2 ** t)) / (Math.sqrt(v) + 1e-8) : rate * mHat;
    want.push(place);
  }
  expect(worst(await path((p) => radam(p, { betas: [b1, b2] }), gradients), want)).toBeLessThan(1e-5);
});

test("centred rmsprop has no root of less than nothing where all gradients are the same", async () => {
  useEngine(native);
  for (const g of [1, 0.1, 1e-3, 3e4, 1 / 3]) {
    const places = await path((p) => rmsprop(p, { centered: true, decay: 0.9 }), Array(200).fill(g));
    expect(places.every(Number.isFinite)).toBe(true);
  }
});

test("a rate is what was given, in full, also in a file", async () => {
  const w = new Parameter({ shape: [1], dtype: "float32" }, Float32Array.of(0));
  const optimizer = adam([w], { learningRate: 0.1 });
  expect(optimizer.learningRate).toBe(0.1);
  optimizer
    .namedStates()
    .get("learningRate")!
    .write(Float64Array.of(1 / 3));
  expect(optimizer.learningRate).toBe(1 / 3);
  await evaluate();
});
