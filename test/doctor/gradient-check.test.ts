import { expect, test } from "vitest";
import { defineOp } from "../../src/graph/op.ts";
import {
  check,
  crossEntropy,
  gelu,
  gradientCheck,
  layerNorm,
  linear,
  module,
  seed,
  sequential,
  tensor,
} from "../../src/node.ts";
import recipe from "../../src/recipes/digits.ts";
import { Parameter } from "../../src/tensor/state.ts";
import { digits, type Images, type Labels, plainSetup } from "./setups.ts";

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
  const theta = new Parameter({ shape: [2], dtype: "float32" }, Float32Array.of(0.1, 2), { name: "theta" });
  const report = await gradientCheck(() => theta.apply(wrong, [], undefined).sum(), [theta]);
  expect(report.passes).toBe(false);
  expect(report.worst).toMatchObject({ parameter: "theta", position: 1 });
});

test("as a check of a setup: the recipe's gradients, digits and all", async () => {
  const steps: number[] = [];
  const report = await check.gradients((await recipe.prepare()).setup, {
    elements: 3,
    onStep: (done) => steps.push(done),
  });
  expect(report.verdict).toBe("pass");
  expect(report.worst.error).toBeLessThan(1e-8);
  expect(report.elements).toHaveLength(18);
  expect(steps).toEqual(Array.from({ length: 18 }, (_, i) => i + 1));
  expect(check.explain(report)).toContain("18 elements of 6 parameters agree with finite differences");
});

test("as a check of a setup: a part that is detached is found, and named", async () => {
  seed(1);
  const parts = { hidden: linear(784, 32), last: linear(32, 10) };
  const model = module("Forked", parts, (x: Images) => {
    const h = parts.hidden(x);
    return parts.last(h.relu()).add(parts.last(h.tanh().detach()));
  });
  const setup = { model, train: digits, loss: (x: Images, y: Labels) => crossEntropy(model(x), y) };
  const report = await check.gradients(setup, { elements: 5 });
  expect(report.verdict).toBe("fail");
  expect(check.explain(report)).toMatch(/differ from finite differences: hidden\.weight/);
});

test("frozen parameters are left out; no elements are no check", async () => {
  const setup = plainSetup();
  setup.model.parameters()[0]!.trainable = false;
  const report = await check.gradients(setup, { elements: 1 });
  expect(report.elements).toHaveLength(3);
  await expect(check.gradients(setup, { elements: 0 })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: gradientCheck: elements is 0
      fix: give a whole number from 1 on]
  `);
});
