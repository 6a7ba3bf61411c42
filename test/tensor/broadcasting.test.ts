/** Operands of different shapes: every function of two elements widens both sides, as NumPy does. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  evaluate,
  fromValues,
  gradients,
  nodeEngine,
  plainEngine,
  type Tensor,
  tensor,
  useEngine,
  where,
} from "../../src/node.ts";
import * as arithmetic from "../../src/ops/arithmetic.ts";
import * as pairs from "../../src/tensor/pairs.ts";

/** Two shapes that broadcast, and their common shape. */
const shapes = fc
  .array(fc.record({ size: fc.integer({ min: 1, max: 3 }), narrow: fc.constantFrom("a", "b", "none") }), {
    maxLength: 4,
  })
  .chain((axes) =>
    fc.record({
      axes: fc.constant(axes),
      cutA: fc.nat(axes.length),
      cutB: fc.nat(axes.length),
    }),
  )
  .map(({ axes, cutA, cutB }) => {
    const a = axes.map(({ size, narrow }) => (narrow === "a" ? 1 : size)).slice(cutA);
    const b = axes.map(({ size, narrow }) => (narrow === "b" ? 1 : size)).slice(cutB);
    const rank = Math.max(a.length, b.length);
    const at = (shape: readonly number[], axis: number): number => shape[axis - rank + shape.length] ?? 1;
    return { a, b, common: Array.from({ length: rank }, (_, axis) => Math.max(at(a, axis), at(b, axis))) };
  });

type Method = (this: Tensor, other: Tensor) => Tensor;

const names = [
  ...Object.entries(arithmetic).flatMap(([name, op]) => (typeof op === "object" && "pair" in op ? [name] : [])),
  ...Object.keys(pairs),
  "notEqual",
];
const logical = ["and", "or", "xor"];
const whole = ["bitAnd", "bitOr", "bitXor", "shiftLeft", "shiftRight"];
const flat = ["less", "lessEqual", "greater", "greaterEqual", "equal", "notEqual"];

function dtypeOf(name: string): "bool" | "int32" | "float64" {
  return logical.includes(name) ? "bool" : whole.includes(name) ? "int32" : "float64";
}

function positive(shape: readonly number[], dtype: "bool" | "int32" | "float64", offset: number): Tensor {
  const size = shape.reduce((product, axis) => product * axis, 1);
  const values = Float64Array.from({ length: size }, (_, i) => 0.3 + ((i * 0.37 + offset) % 1.6));
  const x = fromValues(values, shape) as Tensor;
  return (dtype === "int32" ? x.mul(3) : dtype === "bool" ? x.sub(1).greater(0) : x).cast(dtype) as Tensor;
}

for (const engine of [plainEngine(), nodeEngine()])
  test(`${engine.name}: both sides are widened, by every function of two elements, gradients too`, async () => {
    useEngine(engine);
    await fc.assert(
      fc.asyncProperty(shapes, async ({ a, b, common }) => {
        const compared: [string, Tensor, Tensor][] = [];
        for (const name of names) {
          // ONNX Runtime has atan2's parts in float32 alone.
          const dtype = dtypeOf(name);
          const [x, y] = [positive(a, dtype, 0.1), positive(b, dtype, 0.7)].map((t) =>
            name === "atan2" ? (t.cast("float32") as Tensor) : t,
          ) as [Tensor, Tensor];
          const method = (x as unknown as Record<string, Method>)[name]!;
          const [wideX, wideY] = [x.expand(common) as Tensor, y.expand(common) as Tensor];
          const [z, wideZ] = [method.call(x, y), method.call(wideX, wideY)];
          expect(z.shape, name).toEqual(common);
          compared.push([name, z, wideZ]);
          if (dtype !== "float64" || flat.includes(name)) continue;
          const ofBoth = gradients(z.sum(), [x, y]);
          const ofWide = gradients(wideZ.sum(), [x, y]);
          compared.push([`${name}, left`, ofBoth[0]!, ofWide[0]!], [`${name}, right`, ofBoth[1]!, ofWide[1]!]);
        }
        await evaluate(...compared.flatMap(([, found, wanted]) => [found, wanted]));
        const all = await Promise.all(compared.map(([, found, wanted]) => Promise.all([found.data(), wanted.data()])));
        all.forEach(([found, wanted], i) => {
          expect(found.length, compared[i]![0]).toBe(wanted.length);
          found.forEach((value, k) => void expect(value, compared[i]![0]).toBeCloseTo(wanted[k]!, 5));
        });
      }),
      { numRuns: 15, seed: 1 },
    );
  });

test("what users of NumPy write", async () => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  expect(await tensor(1).sub(x).array()).toEqual([
    [0, -1, -2],
    [-3, -4, -5],
  ]);
  const points = tensor([[0], [1], [4]]);
  expect(await points.sub(tensor([[0, 2]])).array()).toEqual([
    [0, -2],
    [1, -1],
    [4, 2],
  ]);
  const padding = tensor([true, false, true]);
  expect(await where(padding, tensor(1), tensor([[2], [3]])).array()).toEqual([
    [1, 2, 1],
    [1, 3, 1],
  ]);
  expect(
    await tensor([1, 2, 3])
      .maskedFill(tensor([[true], [false]]), 0)
      .array(),
  ).toEqual([
    [0, 0, 0],
    [1, 2, 3],
  ]);
  expect(
    await tensor([0, 2])
      .lerp(tensor([[4], [6]]), 0.5)
      .array(),
  ).toEqual([
    [2, 3],
    [3, 4],
  ]);
  expect(
    await tensor([0, 2])
      .lerp(tensor([4, 6]), tensor([[0], [1]]))
      .array(),
  ).toEqual([
    [0, 2],
    [4, 6],
  ]);
});
