/** What `gradients` refuses, and in which words; what it gives where there is nothing to propagate. */
import { beforeEach, describe, expect, test } from "vitest";
import { DTypeError, GraphError, ShapeError } from "../../src/errors.ts";
import {
  crossEntropy,
  gradients,
  linear,
  module,
  plainEngine,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { Parameter } from "../../src/tensor/state.ts";
import { complaint } from "../support/complaint.ts";

beforeEach(() => useEngine(plainEngine()));

const weight = (name: string, ...values: number[]): Parameter<[number], "float32"> =>
  new Parameter({ shape: [values.length], dtype: "float32" }, Float32Array.from(values), { name });

describe("refused", () => {
  test("a loss that is no scalar", () => {
    const w = weight("w", 1, 2, 3);
    expect(complaint(ShapeError, () => gradients(w.square(), [w]))).toMatchInlineSnapshot(`
      "gradients: the loss has the shape [3]
        fix: reduce it to a scalar: .mean() or .sum()"
    `);
  });

  test("a loss that is no real number", () => {
    const w = weight("w", 1, 2, 3);
    expect(complaint(DTypeError, () => gradients(w.argmax(), [w]))).toMatchInlineSnapshot(`
      "gradients: the loss is int32[]
        fix: differentiate a float32 or float64 tensor"
    `);
    expect(complaint(DTypeError, () => gradients(w.greater(0).all(), [w]))).toMatchInlineSnapshot(`
      "gradients: the loss is bool[]
        fix: differentiate a float32 or float64 tensor"
    `);
  });

  test("a seed of another shape or dtype than the loss", () => {
    const w = weight("w", 1, 2, 3);
    expect(complaint(ShapeError, () => gradients(w.square(), [w], tensor([1, 2])))).toMatchInlineSnapshot(`
      "gradients: the seed is float32[2], the loss float32[3]
        fix: give a seed of the loss's shape and dtype"
    `);
    expect(complaint(ShapeError, () => gradients(w.sum(), [w], tensor(1, "float64")))).toMatchInlineSnapshot(`
      "gradients: the seed is float64[], the loss float32[]
        fix: give a seed of the loss's shape and dtype"
    `);
  });

  test("a parameter that the loss does not use, by its name and place", () => {
    const [used, unused] = [weight("used", 1, 2), weight("unused", 3)];
    expect(complaint(GraphError, () => gradients(used.sum(), [used, unused]))).toMatchInlineSnapshot(`
      "gradients: the loss does not depend on tensor 1 of 2, unused, float32[1]
        fix: leave it out, or check that the forward pass uses it (and that it was not assigned to in between)"
    `);
    const model = module("Model", { first: linear(2, 3), second: linear(2, 3) }, (x: Tensor<[1, 2], "float32">) =>
      model.first(x),
    );
    const loss = crossEntropy(model(tensor([[1, 2]])), tensor([0], "int32"));
    expect(complaint(GraphError, () => gradients(loss, model.parameters()))).toMatchInlineSnapshot(`
      "gradients: the loss does not depend on tensor 2 of 4, second.weight, float32[3, 2]
        fix: leave it out, or check that the forward pass uses it (and that it was not assigned to in between)"
    `);
  });

  test("a parameter that was assigned to in between", () => {
    const w = weight("w", 1, 2);
    const loss = w.square().sum();
    w.assign(w.mul(2));
    expect(complaint(GraphError, () => gradients(loss, [w]))).toMatchInlineSnapshot(`
      "gradients: the loss does not depend on tensor 0 of 1, w, float32[2]
        fix: leave it out, or check that the forward pass uses it (and that it was not assigned to in between)"
    `);
  });
});

describe("given", () => {
  test("zeros where only steps lead from a parameter to the loss", async () => {
    const w = weight("w", 1, -2, 3);
    const [dw] = gradients(w.sign().add(w.floor()).add(w.greater(0).cast("float32")).sum(), [w]);
    expect(await dw.array()).toEqual([0, 0, 0]);
  });

  test("a product with the Jacobian for a loss of any shape, when it comes with a seed", async () => {
    const w = weight("w", 1, 2, 3);
    const [dw] = gradients(w.square(), [w], tensor([1, 10, 100]));
    expect(await dw.array()).toEqual([2, 40, 600]);
  });

  test("for anything on the way, and again and again", async () => {
    const x = tensor(2);
    const y = x.mul(x).mul(x);
    const [dy] = gradients(y.mul(5), [y]);
    expect(await dy.item()).toBe(5);
    const [first] = gradients(y, [x]);
    const [second] = gradients(first, [x]);
    const [third] = gradients(second, [x]);
    expect([await first.item(), await second.item(), await third.item()]).toEqual([12, 12, 6]);
  });

  test("nothing through detach, but all of what goes around it", async () => {
    const x = tensor(3);
    const [dx] = gradients(x.mul(x.detach()), [x]);
    expect(await dx.item()).toBe(3);
  });
});
