/** Every op on the register, on each of its own samples, by rules that never mention an op by name. */
import { beforeAll, describe, expect, test } from "vitest";
import { GraphProgram } from "../src/compile/program.ts";
import type { Engine } from "../src/engine/engine.ts";
import { nodeEngine } from "../src/engine/node/index.ts";
import { applyAll } from "../src/graph/apply.ts";
import { collect, type Node, type Value } from "../src/graph/node.ts";
import type { AnyOp, Data, Sampler } from "../src/graph/op.ts";
import { arrayTypes, type DType, isFloat, sizeOf, type Values } from "../src/graph/types.ts";
import { gradients, type Tensor, useEngine } from "../src/index.ts";
import { registry } from "../src/ops/index.ts";
import { PhiloxStream } from "../src/random/philox.ts";
import { adopt } from "../src/tensor/create.ts";

const stream = new PhiloxStream(7);
const draw = (shape: readonly number[], dtype: DType, next: () => number): Data => ({
  shape,
  dtype,
  values: Float64Array.from({ length: sizeOf(shape) }, next),
});
const sampler = (float: Sampler["float"]): Sampler => ({
  float,
  real: (...shape) => draw(shape, float, () => (0.05 + 1.95 * stream.uniform()) * (stream.next() % 2 === 0 ? 1 : -1)),
  positive: (...shape) => draw(shape, float, () => 0.2 + 1.8 * stream.uniform()),
  integers: (below, ...shape) => draw(shape, "int32", () => stream.next() % below),
  booleans: (...shape) => draw(shape, "bool", () => stream.next() % 2),
});

const toTensor = ({ shape, dtype, values }: Data): Tensor =>
  adopt({ shape, dtype }, arrayTypes[dtype].from(values) as Values);

/** Plain values of some tensors, as functions of the values of some leaves. */
function plain(
  roots: readonly Value[],
  leaves: readonly Tensor[],
): (values: readonly Float64Array[]) => Float64Array[] {
  const nodes = collect(roots).filter((node) => node.source);
  const hosts = nodes.map((node) => Float64Array.from(hostValues(node)));
  const program = new GraphProgram(nodes, roots, { contrib: false });
  return (values) => {
    const at = new Map(leaves.map((leaf, i) => [leaf.node, values[i]!]));
    return program.evaluate(nodes.map((node, i) => at.get(node) ?? hosts[i]!));
  };
}

function hostValues(node: Node): Values {
  if (node.source?.kind !== "host") throw new Error("a sample's leaves are host values");
  return node.source.storage.values!;
}

/** Σ output · weights over all float outputs: a scalar to differentiate. */
function project(outputs: readonly Tensor[]): Tensor | undefined {
  const parts = outputs
    .filter((output) => isFloat(output.dtype) && output.size > 0)
    .map((output) => output.mul(toTensor(sampler(output.dtype as Sampler["float"]).real(...output.shape))).sum());
  return parts.length ? parts.reduce((sum, part) => sum.add(part)) : undefined;
}

/** Compares d scalar / d inputs with central differences, elementwise, in float64. */
function expectDerivative(scalar: Tensor, inputs: readonly Tensor[], given: readonly Tensor[]): void {
  const leaves = inputs.filter((input) => collect([scalar]).includes(input.node));
  const values = inputs.map((input) => Float64Array.from(hostValues(input.node)));
  const f = plain([scalar], inputs);
  const exact = plain(given, inputs)(values);
  inputs.forEach((input, which) => {
    if (!leaves.includes(input) || !isFloat(input.dtype)) return;
    const step = 1e-6;
    values[which]!.forEach((value, i) => {
      const at = (delta: number): number => {
        values[which]![i] = value + delta;
        const [[result]] = f(values) as [Float64Array];
        values[which]![i] = value;
        return result!;
      };
      const numeric = (at(step) - at(-step)) / (2 * step);
      const analytic = exact[which]![i]!;
      const scale = Math.max(1, Math.abs(numeric), Math.abs(analytic));
      expect(
        Math.abs(numeric - analytic) / scale,
        `input ${which}, element ${i}: ${numeric} against ${analytic}`,
      ).toBeLessThan(1e-6);
    });
  });
}

const engines: Engine[] = [];
beforeAll(() => {
  const native = nodeEngine({ threads: 1 });
  // Also without ONNX Runtime's own ops, as every other runtime will see the graph.
  engines.push(native, { ...native, name: "portable", target: { contrib: false } });
});

const real = (outputs: readonly Tensor[]): boolean => outputs.some(({ dtype }) => isFloat(dtype));

describe.each([...registry.values()].map((op): [string, AnyOp] => [op.name, op]))("%s", (_, op) => {
  const samples = op.samples(sampler("float32"));
  const wide = op.samples(sampler("float64"));

  test("has samples", () => expect(samples.length).toBeGreaterThan(0));

  test.each(samples.map((sample, i) => [i, sample] as const))(
    "sample %i: types, derivatives, engines",
    async (i, sample) => {
      for (const dtype of ["float32", "float64"] as const) {
        const typed = dtype === "float32" ? sample : wide[i]!;
        const inputs = typed.inputs.map(toTensor);
        const outputs = applyAll(op, inputs, typed.params);
        const values = typed.inputs.map(({ values }) => values);
        const expected = outputs.length ? plain(outputs, inputs)(values) : [];
        expected.forEach((result, i) => {
          expect(result).toHaveLength(outputs[i]!.size);
          expect(result.every((value) => !Number.isNaN(value))).toBe(true);
        });

        if (dtype === "float64" && op.gradient && !op.endsGradient && real(outputs)) {
          const scalar = project(outputs);
          const reals = inputs.filter((input) => isFloat(input.dtype));
          if (scalar && reals.length > 0) {
            const first = gradients(scalar, reals);
            expectDerivative(scalar, reals, first);
            const again = project(first);
            const reached = new Set(again && collect([again]));
            const second = reals.filter((input) => reached.has(input.node));
            if (again && second.length > 0) expectDerivative(again, second, gradients(again, second));
          }
        }

        if (dtype === "float64" && op.onnxTypes && !op.onnxTypes.includes("float64")) continue;
        const tolerance = dtype === "float32" ? 2e-5 : 1e-10;
        for (const engine of engines) {
          useEngine(engine);
          // Copies, so that the values of another engine's run are not taken for this one's.
          const results = await Promise.all(
            applyAll(op, typed.inputs.map(toTensor), typed.params).map((output) => output.data()),
          );
          results.forEach((result, i) =>
            result.forEach((value, at) => {
              const want = expected[i]![at]!;
              expect(
                Math.abs(value - want) / Math.max(1, Math.abs(want)),
                `${engine.name}, output ${i}, element ${at}`,
              ).toBeLessThan(tolerance);
            }),
          );
        }
      }
    },
  );
});
