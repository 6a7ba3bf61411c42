import { expect, test } from "vitest";
import { defineOp } from "../../src/graph/op.ts";
import {
  crossEntropy,
  gelu,
  gradientCheck,
  layerNorm,
  linear,
  Parameter,
  seed,
  sequential,
  tensor,
} from "../../src/node.ts";

test("a right gradient passes, with the worst element named", async () => {
  seed(1);
  const model = sequential(linear(4, 8), gelu, layerNorm(8), linear(8, 3));
  const x = tensor([
    [1, -2, 0.5, 3],
    [0.1, 0.2, -0.3, 0.4],
  ]);
  const report = await gradientCheck(() => crossEntropy(model(x), tensor([2, 0], "int32")), model);
  expect(report.passes).toBe(true);
  expect(report.worst.error).toBeLessThan(1e-7);
  expect(new Set(report.elements.map(({ parameter }) => parameter))).toEqual(new Set(model.namedStates().keys()));
});

test("a wrong one does not", async () => {
  const wrong = defineOp<undefined>({
    name: "squareWithAWrongGradient",
    dtypes: ["float32", "float64"],
    shape: ([x]) => x!.shape,
    gradient: ([x], _y, dy) => [dy.mul(x!).mul(3)],
    onnx: (graph, [x]) => graph.node("Mul", [x, x]),
    evaluate: ([x], y) => x!.values.forEach((value, i) => (y.values[i] = value * value)),
    samples: () => [],
  });
  const theta = new Parameter({ shape: [2], dtype: "float32" }, Float32Array.of(1, 2), { name: "theta" });
  const report = await gradientCheck(() => theta.apply(wrong, [], undefined).sum(), [theta]);
  expect(report.passes).toBe(false);
  expect(report.worst).toMatchObject({ parameter: "theta", position: 1 });
});
