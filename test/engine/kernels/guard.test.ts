/** Guards in machine code: which elements they stop on, called directly and as ops of a model. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Program } from "../../../src/engine/engine.ts";
import { nodeEngine } from "../../../src/engine/node/index.ts";
import { CodeMemory } from "../../../src/engine/node/jit/code-memory.ts";
import { flawAt } from "../../../src/engine/node/jit/custom-op.ts";
import { Assembler } from "../../../src/engine/node/jit/x64/assembler.ts";
import { writeGuard } from "../../../src/engine/node/jit/x64/guard.ts";
import { limits } from "../../../src/engine/node/jit/x64/limits.ts";
import { loadOrt } from "../../../src/engine/node/ort-api.ts";
import type { OnnxValue } from "../../../src/graph/op.ts";
import type { Port } from "../../../src/graph/target.ts";
import { guardSizes } from "../../../src/kernel/kernel.ts";
import { encodeModel, OnnxBuilder } from "../../../src/onnx/model.ts";
import { guard } from "../../../src/ops/lowered/guard.ts";

const hasKernels = nodeEngine().target.kernels !== undefined;

const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
/** Numbers that are fine, however large or small. */
const fine = [0, -0, 3.4028234663852886e38, -3.4028234663852886e38, 1e-45, -1e-40, 1, -2.5];

const filled = (size: number): Float32Array => Float32Array.from({ length: size }, (_, i) => fine[i % fine.length]!);

describe.runIf(hasKernels)("the function", () => {
  const ort = loadOrt();
  const { koffi } = ort;
  const memory = new CodeMemory(ort);
  const signature = koffi.proto("void", ["void*", "int64_t", "int64_t", "void*"]);

  /** Whether a guard finds a flaw in some of its elements; the output must become 1, and nothing else be written. */
  function finds(inputs: readonly Float32Array[], begin: number, end: number): boolean {
    const code = new Assembler();
    const counts = inputs.map(({ length }) => length);
    const sizes = BigInt64Array.from(guardSizes(counts, 1), BigInt);
    writeGuard(code, { sizes: counts });
    const placed = memory.place(code.finish());
    const output = new Float32Array(9);
    const words = BigUint64Array.from([0n, ...[...inputs, output].map((array) => koffi.address(array))]);
    const addresses = koffi.address(words) - BigInt(flawAt);
    koffi.call(placed.address, signature, addresses, begin, end, koffi.address(sizes));
    placed.free();
    expect([...output]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0]);
    return words[0] !== 0n;
  }

  const cases = fc
    .array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 300 })), {
      minLength: 1,
      maxLength: limits.inputs,
    })
    .chain((sizes) => {
      const all = sizes.reduce((a, b) => a + b);
      const place = fc.integer({ min: 0, max: all - 1 });
      return fc.record({
        sizes: fc.constant(sizes),
        at: place,
        one: place,
        other: place,
        value: fc.constantFrom(...bad),
      });
    });

  test("any elements of any inputs: a flaw is found where there is one, and no other", () => {
    fc.assert(
      fc.property(cases, ({ sizes, at, one, other, value }) => {
        const inputs = sizes.map(filled);
        const [begin, end] = [Math.min(one, other), Math.max(one, other) + 1];
        expect(finds(inputs, begin, end)).toBe(false);
        let place = at;
        const input = inputs.find(({ length }) => {
          if (place < length) return true;
          place -= length;
          return false;
        });
        input![place] = value;
        expect(finds(inputs, begin, end)).toBe(begin <= at && at < end);
      }),
      { numRuns: 600, seed: 4 },
    );
  });

  test("each place of one input", () => {
    for (const size of [1, 7, 8, 9, 63, 64, 65, 200])
      for (let at = 0; at < size; at++) {
        const input = filled(size);
        input[at] = bad[at % bad.length]!;
        expect(finds([input], 0, size)).toBe(true);
      }
  });
});

/** A model of one guard over inputs of these sizes, as the op makes it. */
function programOf(sizes: readonly number[]): Program {
  const inputs = sizes.map((size, i): Port => ({ name: `x${i}`, type: { dtype: "float32", shape: [size] } }));
  const outputs: Port[] = [{ name: "passed", type: { dtype: "float32", shape: [] } }];
  const builder = new OnnxBuilder({ contrib: true, kernels: limits });
  const passed = guard.onnx(builder, {
    inputs: inputs.map(({ name }) => name as OnnxValue),
    inputTypes: inputs.map(({ type }) => type),
    outputTypes: outputs.map(({ type }) => type),
    params: { conditions: sizes.map(() => ({ kind: "finite" })) },
  });
  const results = Array.isArray(passed) ? passed : [passed];
  const bytes = encodeModel(builder.model(inputs, outputs, results));
  return { inputs, outputs, onnx: () => bytes, kernels: builder.kernels, evaluate: () => [] };
}

describe.runIf(hasKernels)("as an op", () => {
  test.each([
    ["one number", [1]],
    ["as many inputs as a guard takes", Array<number>(limits.inputs).fill(5)],
    ["more than that, in several guards", Array.from({ length: 3 * limits.inputs }, (_, i) => i + 1)],
    ["in parts, for several threads", [3, 70_001, 1, 150_000]],
  ])("%s", async (_name, sizes) => {
    for (const threads of [1, 2, 3]) {
      const engine = nodeEngine({ threads });
      const program = programOf(sizes);
      const session = await engine.load(program);
      const [passed] = program.outputs.map(({ type }) => engine.buffer(type));
      const values = sizes.map(filled);
      const run = async (): Promise<number> => {
        const given = program.inputs.map(({ type }, i) => engine.buffer(type, values[i]!.slice()));
        passed!.write(Float32Array.of(0));
        try {
          await session.run(given, [passed!]);
        } finally {
          for (const buffer of given) buffer.release();
        }
        return (await passed!.read())[0]!;
      };
      expect(await run()).toBe(1);
      for (const [i, all] of values.entries())
        for (const at of new Set([0, all.length >> 1, all.length - 1])) {
          const good = all[at]!;
          all[at] = bad[(i + at) % bad.length]!;
          await expect(run()).rejects.toThrow("a value that the run looks at is not what it must be");
          expect((await passed!.read())[0]).toBe(0);
          all[at] = good;
        }
      expect(await run()).toBe(1);
      session.release();
      passed!.release();
    }
  });
});
