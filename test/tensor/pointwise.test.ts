/** Functions that neither PyTorch nor ONNX has, and others that ONNX Runtime would rather make of its own, against their closed forms. */
import { expect, test } from "vitest";
import { gradients, nodeEngine, plainEngine, type Tensor, tensor, useEngine } from "../../src/node.ts";

const engines = [plainEngine(), nodeEngine({ threads: 1 })];

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

test.each<[string, (x: Tensor) => Tensor, (x: number) => number, (x: number) => number]>([
  ["silu", (x) => x.silu(), (x) => x * sigmoid(x), (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x)))],
  ["cbrt", (x) => x.cbrt(), Math.cbrt, (x) => 1 / (3 * Math.cbrt(x) ** 2)],
  [
    "quickGelu",
    (x) => x.quickGelu(),
    (x) => x * sigmoid(1.702 * x),
    (x) => sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - sigmoid(1.702 * x))),
  ],
])("%s and its slope", async (_, f, value, slope) => {
  const points = [-27, -1, -0.5, 0.25, 2, 8];
  for (const engine of engines) {
    useEngine(engine);
    const x = tensor(points, "float64");
    const y = f(x);
    const [dx] = gradients(y.sum(), [x]);
    for (const [have, want] of [
      [await y.data(), value],
      [await dx.data(), slope],
    ] as const)
      points.forEach((point, i) => expect(have[i]).toBeCloseTo(want(point), 12));
  }
});

test("whole numbers are finite, and never NaN", async () => {
  const x = tensor([-3, 0, 2 ** 31 - 1], "int32");
  expect(await x.isFinite().array()).toEqual([true, true, true]);
  expect(await x.isInf().array()).toEqual([false, false, false]);
  expect(await x.isNaN().array()).toEqual([false, false, false]);
  expect(await x.signBit().array()).toEqual([true, false, false]);
  expect(await x.nanToNum().array()).toEqual([-3, 0, 2 ** 31 - 1]);
});
