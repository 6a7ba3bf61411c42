/** Ops of a user's own, with one output and with several: the checks that built-in ops go through, and what is refused. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Data } from "../../src/graph/op.ts";
import {
  compile,
  defineOp,
  gradients,
  nodeEngine,
  plainEngine,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";
import { evaluated, expectDerivatives, expectSameOnEngines, sampler } from "../support/conformance.ts";

const native = nodeEngine({ threads: 1 });
const engines = [native, { ...native, name: "portable", target: { contrib: false } }, plainEngine()];

/** The larger of two numbers, how far they are apart, and which one it is: two real outputs, and one of whole numbers. */
const larger = defineOp<{ readonly factor: number }>({
  name: "test.larger",
  types: ([a]) => [a!, a!, { shape: a!.shape, dtype: "int32" }],
  gradient([a, b], [_, apart], [dLarger, dApart, dWhich], { factor }) {
    expect(dWhich).toBeUndefined();
    expect([dLarger!.shape, dApart!.shape]).toEqual([a!.shape, apart!.shape]);
    const [first, second] = [a!.greater(b!).cast(a!.dtype), b!.greater(a!).cast(a!.dtype)];
    const slope = a!
      .sub(b!)
      .mul(2 * factor)
      .mul(dApart!); //  d factor·(a − b)² / da
    return [first.mul(dLarger!).add(slope), second.mul(dLarger!).sub(slope)];
  },
  onnx(graph, [a, b], { inputTypes, params: { factor } }) {
    const apart = graph.node("Sub", [a, b]);
    const scale = graph.constant(inputTypes[0]!.dtype, [], [factor]);
    return [
      graph.node("Max", [a, b]),
      graph.node("Mul", [graph.node("Mul", [apart, apart]), scale]),
      graph.cast(graph.node("Greater", [b, a]), "int32"),
    ];
  },
  evaluate([a, b], [most, apart, which], { factor }) {
    for (const [i, x] of a!.values.entries()) {
      const y = b!.values[i]!;
      most!.values[i] = Math.max(x, y);
      apart!.values[i] = factor * (x - y) ** 2;
      which!.values[i] = Number(y > x);
    }
  },
  samples: (random) => [
    { inputs: [random.real(2, 3), random.real(2, 3)], params: { factor: 0.5 } },
    { inputs: [random.real(), random.real()], params: { factor: 2 } },
    { inputs: [random.real(0, 4), random.real(0, 4)], params: { factor: 1 } },
  ],
});

const parameters = { factor: 0.5 };
const [a, b] = [tensor([1, 5, 2]), tensor([4, 3, 2.5])];

describe("an op with several outputs", () => {
  beforeEach(() => useEngine(native));

  test("holds what its samples say: types, derivatives of both orders, all engines", async () => {
    for (const [i, sample] of larger.samples(sampler("float64")).entries())
      if (sample.inputs[0]!.values.length > 0) expect(expectDerivatives(larger, sample), `sample ${i}`).toBe(2);
    for (const float of ["float32", "float64"] as const)
      for (const sample of larger.samples(sampler(float))) {
        expect(await expectSameOnEngines(larger, sample, engines)).toBe(true);
        expect(evaluated(larger, sample)).toHaveLength(3);
      }
  });

  test("gives all outputs by applyAll and the first by apply, evaluated and compiled", async () => {
    const [most, apart, which] = a.applyAll(larger, [b], parameters);
    expect([await most!.array(), await apart!.array(), await which!.array()]).toEqual([
      [4, 5, 2.5],
      [4.5, 2, 0.125],
      [1, 0, 1],
    ]);
    expect(which!.dtype).toBe("int32");
    expect(await a.apply(larger, [b], parameters).array()).toEqual([4, 5, 2.5]);
    const step = compile((x: Tensor, y: Tensor) => x.applyAll(larger, [y], parameters));
    expect(await step(a, b)[1]!.array()).toEqual([4.5, 2, 0.125]);
  });

  test("has gradients through each of its outputs alone, and none through whole numbers", async () => {
    const [most, apart, which] = a.applyAll(larger, [b], parameters);
    expect(await gradients(most!.sum(), [a])[0]!.array()).toEqual([0, 1, 0]);
    expect(await gradients(apart!.sum(), [b])[0]!.array()).toEqual([3, -2, 0.5]);
    expect(await gradients(which!.cast("float32").sum(), [a])[0]!.array()).toEqual([0, 0, 0]);
  });

  test("is refused where its parts do not fit", async () => {
    const part = (name: string, rest: object): never =>
      ({
        name,
        types: (inputs: unknown) => inputs,
        onnx: () => [],
        evaluate: () => {},
        samples: () => [],
        ...rest,
      }) as never;
    expect(() => defineOp({ name: "test.none", onnx: () => [], evaluate: () => {} } as never)).toThrow(
      "or types in place of shape",
    );
    expect(() => a.applyAll(defineOp(part("test.empty", { types: () => [] })), [], undefined)).toThrow(
      "test.empty: its `types` gives an empty array\n  fix: give { shape, dtype } for each output",
    );
    const few = defineOp(part("test.few", { evaluate: (_: unknown, outputs: Data[]) => void outputs }));
    await expect(a.applyAll(few, [b], undefined)[1]!.data()).rejects.toThrow(
      "test.few: its `onnx` gives 0 for 2 outputs\n  fix: give one for each output",
    );
  });
});
