/** Kernels as ONNX Runtime runs them: as ops of a model, on one thread and in parts on several. */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Program } from "../../../src/engine/engine.ts";
import { nodeEngine } from "../../../src/engine/node/index.ts";
import { limits } from "../../../src/engine/node/jit/x64/limits.ts";
import type { OnnxValue } from "../../../src/graph/op.ts";
import type { Port } from "../../../src/graph/target.ts";
import type { Shape } from "../../../src/graph/types.ts";
import type { Kernel } from "../../../src/kernel/kernel.ts";
import { encodeModel, OnnxBuilder } from "../../../src/onnx/model.ts";
import { elementsUnder, inSingles, kernels, outputSizes } from "../../support/kernels.ts";

const hasKernels = nodeEngine().target.kernels !== undefined;

/** A model of one kernel, its tensors flat or of the shapes that are given. */
function programOf(kernel: Kernel, shapes: readonly Shape[] = outputSizes(kernel).map((size) => [size])): Program {
  const port = (name: string, shape: Shape): Port => ({ name, type: { dtype: "float32", shape } });
  const inputs = kernel.inputs.map((layout, i) => port(`x${i}`, [elementsUnder(layout, kernel)]));
  const outputs = shapes.map((shape, i) => port(`y${i}`, shape));
  const builder = new OnnxBuilder({ contrib: true, kernels: limits });
  const names = inputs.map(({ name }) => name as OnnxValue);
  const bytes = encodeModel(builder.model(inputs, outputs, builder.kernel(kernel, shapes, names)));
  return { inputs, outputs, onnx: () => bytes, kernels: builder.kernels, evaluate: () => [] };
}

async function run(threads: number, program: Program, inputs: readonly Float32Array[]): Promise<Float32Array[]> {
  const engine = nodeEngine({ threads });
  const session = await engine.load(program);
  const given = program.inputs.map(({ type }, i) => engine.buffer(type, inputs[i]!.slice()));
  const wanted = program.outputs.map(({ type }) => engine.buffer(type));
  await session.run(given, wanted);
  await session.run(given, wanted);
  const results = await Promise.all(wanted.map((buffer) => buffer.read()));
  for (const it of [session, ...given, ...wanted]) it.release();
  return results as Float32Array[];
}

const random = (kernel: Kernel): Float32Array[] =>
  kernel.inputs.map((layout, n) =>
    Float32Array.from({ length: elementsUnder(layout, kernel) }, (_, i) => Math.sin(1 + n + i * 0.7) * 3),
  );

/** Denormal floats are zeros for ONNX Runtime's threads; so no product here comes near them. */
const withoutTiny = (kernel: Kernel): boolean =>
  !kernel.steps.some((step) => typeof step === "number" && Math.abs(step) < 0.1 && step !== 0);

/** Some ten steps with every layout, on as many rows as one likes. */
const long = (rows: number, width: number): Kernel => ({
  inputs: ["full", "row", "column", "scalar", "full"],
  steps: [
    ["sub", 0, 2],
    ["mul", 5, 1],
    ["add", 6, 3],
    ["abs", 7],
    ["sqrt", 8],
    ["less", 0, 4],
    ["select", 10, 9, 7],
  ],
  outputs: [11, 6],
  size: rows * width,
  width,
});

describe.runIf(hasKernels)("kernels as ops", () => {
  test("random kernels: the bits of float32", async () => {
    await fc.assert(
      fc.asyncProperty(kernels.filter(withoutTiny), async (kernel) => {
        const inputs = random(kernel);
        expect(await run(1, programOf(kernel), inputs)).toEqual(inSingles(kernel, inputs));
      }),
      { numRuns: 60, seed: 3 },
    );
  });

  test.each([
    [1, 70_001],
    [1, 2 ** 17],
    [257, 513],
    [30_003, 3],
    [2, 65_537],
  ])("%i rows of %i, in parts on several threads: the same bits", async (rows, width) => {
    const kernel = long(rows, width);
    const inputs = random(kernel);
    const wanted = inSingles(kernel, inputs);
    for (const threads of [1, 2, 3]) expect(await run(threads, programOf(kernel), inputs)).toEqual(wanted);
  });

  test("outputs have the shapes that were asked for, a scalar's too", async () => {
    const one: Kernel = { inputs: ["full"], steps: [["neg", 0]], outputs: [1], size: 1, width: 1 };
    expect(await run(1, programOf(one, [[]]), [Float32Array.of(3)])).toEqual([Float32Array.of(-3)]);
    const six = { ...one, size: 6, width: 6 };
    const inputs = [Float32Array.of(1, 2, 3, 4, 5, 6)];
    expect(await run(1, programOf(six, [[1, 2, 3]]), inputs)).toEqual([Float32Array.of(-1, -2, -3, -4, -5, -6)]);
  });

  test("a model that gives a kernel what it does not take is refused when it is loaded", async () => {
    const { inputs, onnx, ...rest } = programOf({
      inputs: ["full"],
      steps: [["neg", 0]],
      outputs: [1],
      size: 4,
      width: 4,
    });
    const builder = new OnnxBuilder({ contrib: true });
    const x: Port = { name: "x0", type: { dtype: "float64", shape: [4] } };
    const node = builder.node("kernel0", [x.name as OnnxValue], {}, "glissade");
    const bytes = encodeModel(builder.model([x], rest.outputs, [node]));
    const engine = nodeEngine({ threads: 1 });
    await expect(engine.load({ ...rest, inputs: [x], onnx: () => bytes })).rejects.toThrow(/kernel0/);
    await expect(engine.load({ ...rest, inputs, onnx, kernels: [] })).rejects.toThrow(/glissade/);
    const without = nodeEngine({ threads: 1, kernels: false });
    await expect(without.load({ ...rest, inputs, onnx })).rejects.toThrow("to an engine without");
  });

  test("hundreds of sessions are released: another keeps its kernels", async () => {
    const kept = long(3, 50);
    const inputs = random(kept);
    const engine = nodeEngine({ threads: 1 });
    const program = programOf(kept);
    const session = await engine.load(program);
    for (let i = 1; i <= 300; i++) (await engine.load(programOf(long(2, i)))).release();
    const given = program.inputs.map(({ type }, i) => engine.buffer(type, inputs[i]!.slice()));
    const wanted = program.outputs.map(({ type }) => engine.buffer(type));
    await session.run(given, wanted);
    expect(await Promise.all(wanted.map((buffer) => buffer.read()))).toEqual(inSingles(kept, inputs));
    session.release();
  });
});

test("kernels can be switched off, and the binding has none", () => {
  expect(nodeEngine({ kernels: false }).target.kernels).toBeUndefined();
  expect(nodeEngine({ implementation: "binding" }).target.kernels).toBeUndefined();
});

test.runIf(hasKernels)("where the system lets no process make code, networks run without kernels", async () => {
  // V8 would fail at the same hurdle: so it interprets.
  const child = path.join(import.meta.dirname, "no-code-child.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, ["--jitless", child]);
  const { isDenied, kernels, values } = JSON.parse(stdout) as Record<string, unknown>;
  expect(kernels).toBe(!isDenied);
  expect(values).toEqual([2, 4, 6]);
});
