/** What every op has to hold, by rules that never mention an op by name. */
import { expect } from "vitest";
import { GraphProgram } from "../../src/compile/program.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { GlissadeError } from "../../src/errors.ts";
import { applyAll } from "../../src/graph/apply.ts";
import { collect, type Node, type Value } from "../../src/graph/node.ts";
import type { AnyOp, Data, Sample, Sampler } from "../../src/graph/op.ts";
import { arrayTypes, type DType, isFloat, sizeOf, type Values } from "../../src/graph/types.ts";
import { gradients, type Tensor, useEngine } from "../../src/index.ts";
import { PhiloxStream } from "../../src/random/stream.ts";
import { adopt } from "../../src/tensor/create.ts";
import { stateOf } from "../../src/tensor/state.ts";

const stream = new PhiloxStream(7);
const draw = (shape: readonly number[], dtype: DType, next: () => number): Data => ({
  shape,
  dtype,
  values: Float64Array.from({ length: sizeOf(shape) }, next),
});

export const sampler = (float: Sampler["float"]): Sampler => ({
  float,
  real: (...shape) => draw(shape, float, () => (0.05 + 1.95 * stream.uniform()) * (stream.next() % 2 === 0 ? 1 : -1)),
  positive: (...shape) => draw(shape, float, () => 0.2 + 1.8 * stream.uniform()),
  integers: (below, ...shape) => draw(shape, "int32", () => stream.next() % below),
  booleans: (...shape) => draw(shape, "bool", () => stream.next() % 2),
});

export const toTensor = ({ shape, dtype, values }: Data): Tensor =>
  adopt({ shape, dtype }, arrayTypes[dtype].from(values) as Values);

/** Plain values of some tensors, in float64, as functions of the values of some leaves. */
export function plain(
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
  if (node.source?.kind === "state") return stateOf(node).version.storage.values!;
  if (node.source?.kind !== "host") throw new Error("a sample's leaves are host values and variables");
  return node.source.storage.values!;
}

/** Σ output · weights over all float outputs: a scalar to differentiate. */
export function project(outputs: readonly Tensor[]): Tensor | undefined {
  const parts = outputs
    .filter((output) => isFloat(output.dtype) && output.size > 0)
    .map((output) => output.mul(toTensor(sampler(output.dtype as Sampler["float"]).real(...output.shape))).sum());
  return parts.length ? parts.reduce((sum, part) => sum.add(part)) : undefined;
}

/** Compares d scalar / d inputs with central differences, elementwise, in float64. */
export function expectDerivative(scalar: Tensor, inputs: readonly Tensor[], given: readonly Tensor[]): void {
  const reached = new Set(collect([scalar]));
  const values = inputs.map((input) => Float64Array.from(hostValues(input.node)));
  const f = plain([scalar], inputs);
  const exact = plain(given, inputs)(values);
  inputs.forEach((input, which) => {
    if (!reached.has(input.node) || !isFloat(input.dtype)) return;
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

/** Whether gradients flow through an op from these outputs. */
export const isSmooth = (op: AnyOp, outputs: readonly Tensor[]): boolean =>
  op.gradient !== undefined && !op.endsGradient && outputs.some(({ dtype }) => isFloat(dtype));

/** First and second derivative of an op on a float64 sample against finite differences; how many orders there were. */
export function expectDerivatives(op: AnyOp, sample: Sample<unknown>): 0 | 1 | 2 {
  const inputs = sample.inputs.map(toTensor);
  const outputs = applyAll(op, inputs, sample.params);
  const reals = inputs.filter((input) => isFloat(input.dtype));
  const scalar = isSmooth(op, outputs) && reals.length > 0 ? project(outputs) : undefined;
  if (!scalar) return 0;
  const first = gradients(scalar, reals);
  expectDerivative(scalar, reals, first);
  const again = project(first);
  const reached = new Set(again && collect([again]));
  const second = reals.filter((input) => reached.has(input.node));
  if (!again || second.length === 0) return 1;
  expectDerivative(again, second, gradients(again, second));
  return 2;
}

/** How far engines may be from the plain evaluation; whole numbers and truth values are the same ones. */
const tolerances: Record<DType, number> = { float32: 2e-5, float64: 1e-10, int32: 0, bool: 0 };

/** The op's values on each engine against its own plain evaluation in float64; whether ONNX Runtime has kernels for the dtype. */
export async function expectSameOnEngines(
  op: AnyOp,
  sample: Sample<unknown>,
  engines: readonly Engine[],
): Promise<boolean> {
  const inputs = sample.inputs.map(toTensor);
  const outputs = applyAll(op, inputs, sample.params);
  const expected = evaluated(op, sample);
  expected.forEach((result, i) => expect(result).toHaveLength(outputs[i]!.size));
  if (op.onnxTypes && inputs.length > 0 && !op.onnxTypes.includes(inputs[0]!.dtype)) return false;
  for (const engine of engines) {
    useEngine(engine);
    // Copies, so that the values of another engine's run are not taken for this one's.
    const results = await Promise.all(
      applyAll(op, sample.inputs.map(toTensor), sample.params).map((output) => output.data()),
    );
    results.forEach((result, i) => {
      const { dtype } = outputs[i]!;
      const isNarrow = isFloat(dtype) && inputs.some((input) => input.dtype === "float32");
      const tolerance = tolerances[isNarrow ? "float32" : dtype];
      result.forEach((value, at) => {
        const want = dtype === "float32" ? Math.fround(expected[i]![at]!) : expected[i]![at]!;
        if (value === want || (Number.isNaN(value) && Number.isNaN(want))) return;
        const distance = Math.abs(value - want) / Math.max(1, Math.abs(want));
        const place = `${engine.name}, output ${i}, element ${at}: ${value} in place of ${want}`;
        expect(distance <= tolerance, place).toBe(true);
      });
    });
  }
  return true;
}

/** The outputs of an op's plain evaluation on a sample. */
export function evaluated(op: AnyOp, sample: Sample<unknown>): Float64Array[] {
  const inputs = sample.inputs.map(toTensor);
  const outputs = applyAll(op, inputs, sample.params);
  return outputs.length ? plain(outputs, inputs)(sample.inputs.map(({ values }) => values)) : [];
}

/** The sample with its real inputs in another dtype, or nothing where the op does not take that. */
export function retyped(
  op: AnyOp,
  sample: Sample<unknown>,
  dtype: "int32" | "bool",
): { readonly inputs: readonly Data[]; readonly params: unknown } | undefined {
  // No zeros: whole numbers cannot be divided by them.
  const convert = (value: number): number => (dtype === "bool" ? Number(value > 0) : Math.trunc(4 * value) || 1);
  const inputs = sample.inputs.map((x) => (isFloat(x.dtype) ? { ...x, dtype, values: x.values.map(convert) } : x));
  try {
    applyAll(op, inputs.map(toTensor), sample.params);
  } catch (error) {
    if (error instanceof GlissadeError) return undefined;
    throw error;
  }
  return { ...sample, inputs };
}

const specialValues = [
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1, -1, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5],
  ...[20, -20, 100, -100, 1e30, -1e30, 1e-30, -1e-30],
];

/**
 * The sample with numbers at the edge of what there is, every pair of them where the op takes two; nothing where the op is no
 * function of single elements to numbers or truth values. It is one when it does not mind in which order they lie.
 */
export function atTheEdges(op: AnyOp, sample: Sample<unknown>): Sample<unknown> | undefined {
  const [first, second, ...more] = sample.inputs;
  const isPlain = first && more.length === 0 && sample.inputs.every((x) => isFloat(x.dtype) && `${x.shape}` === "2,3");
  if (!isPlain) return undefined;
  const shuffled = (values: Float64Array): Float64Array => values.map((_, i) => values[(5 * i + 1) % 6]!);
  const moved = { ...sample, inputs: sample.inputs.map((x) => ({ ...x, values: shuffled(x.values) })) };
  const [result] = evaluated(op, sample);
  const outputs = applyAll(op, sample.inputs.map(toTensor), sample.params);
  if (outputs.length > 1 || outputs[0]!.dtype === "int32" || `${outputs[0]!.shape}` !== "2,3") return undefined;
  if (`${shuffled(result!)}` !== `${evaluated(op, moved)[0]}`) return undefined;
  const count = specialValues.length;
  const size = second ? count * count : count;
  const input = (at: (i: number) => number): Data => {
    const values = Float64Array.from({ length: size }, (_, i) => specialValues[at(i)]!);
    return { shape: [size], dtype: first.dtype, values: first.dtype === "float32" ? values.map(Math.fround) : values };
  };
  return { ...sample, inputs: [input((i) => i % count), ...(second ? [input((i) => Math.floor(i / count))] : [])] };
}
