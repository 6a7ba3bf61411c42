/** What a compiled function sees of the world outside: variables anew at every run, expressions as the values they had. */
import { beforeEach, expect, test } from "vitest";
import { compile, plainEngine, tensor, useEngine } from "../../src/index.ts";
import { Parameter, State } from "../../src/tensor/state.ts";

beforeEach(() => useEngine(plainEngine()));

const scalar = (value: number): State<[], "float32"> =>
  new State({ shape: [], dtype: "float32" }, Float32Array.of(value), { name: "s" });

test("a variable that was read before the trace is still a variable in it", async () => {
  const s = scalar(1);
  expect(await s.item()).toBe(1);
  const next = compile(() => {
    s.assign(s.mul(2));
    return s.add(0.5);
  });
  expect([await next().item(), await next().item(), await next().item()]).toEqual([2.5, 4.5, 8.5]);
  expect(await s.item()).toBe(8);
});

test("an expression over a variable, built outside, keeps the value it had", async () => {
  const s = scalar(3);
  const twice = s.mul(2);
  const step = compile(() => {
    s.assign(s.add(1));
    return s.add(twice);
  });
  expect([await step().item(), await step().item()]).toEqual([10, 11]);
});

test("an expression that the variable has left behind is refused", async () => {
  const s = scalar(3);
  const twice = s.mul(2);
  s.write(Float32Array.of(5));
  expect(() => compile(() => s.add(twice))()).toThrow(
    "an expression was built on a value of s that has been updated since",
  );
});

test("a constant tensor may be captured", async () => {
  const offset = tensor([1, 2]).add(1);
  const shift = compile((x: typeof offset) => x.add(offset));
  expect(await shift(tensor([10, 20])).array()).toEqual([12, 23]);
});

test("parameters found through gradients are those of the trace", async () => {
  const w = new Parameter({ shape: [], dtype: "float32" }, Float32Array.of(2), { name: "w" });
  await w.data();
  const { gradients } = await import("../../src/index.ts");
  const slope = compile(() => {
    const [g] = gradients(w.mul(w), [w]);
    w.assign(w.add(1));
    return g;
  });
  expect([await slope().item(), await slope().item()]).toEqual([4, 6]);
});
