/** Lengths of rows in machine code: against float64, called directly and as ops of a model. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeEngine } from "../../../src/engine/node/index.ts";
import { CodeMemory } from "../../../src/engine/node/jit/code-memory.ts";
import { Assembler } from "../../../src/engine/node/jit/x64/assembler.ts";
import { writeLengths } from "../../../src/engine/node/jit/x64/lengths.ts";
import { loadOrt } from "../../../src/engine/node/ort-api.ts";
import { lengthsSizes } from "../../../src/kernel/kernel.ts";
import { fromValues, useEngine } from "../../../src/node.ts";

const hasKernels = nodeEngine().target.kernels !== undefined;

const lengthOf = (row: Float32Array): number => Math.fround(Math.sqrt(row.reduce((sum, x) => sum + x * x, 0)));

/** Whether two float32 are the same, or neighbours: the sums in float64 are in another order. */
function expectNear(found: number, wanted: number): void {
  if (Number.isFinite(wanted)) expect(Math.abs(found - wanted)).toBeLessThanOrEqual(Math.abs(wanted) * 2 ** -23);
  else expect(found).toBe(wanted);
}

describe.runIf(hasKernels)("lengths of rows", () => {
  const ort = loadOrt();
  const { koffi } = ort;
  const memory = new CodeMemory(ort);
  const signature = koffi.proto("void", ["void*", "int64_t", "int64_t", "void*"]);

  test("some rows of any width: right, and nothing else is written", () => {
    const element = fc.oneof(
      fc.float({ noNaN: true, min: -1000, max: 1000 }),
      fc.constantFrom(3e38, -1e-38, 1e30, 0, Number.POSITIVE_INFINITY, Number.NaN),
    );
    const cases = fc
      .record({ rows: fc.integer({ min: 1, max: 6 }), width: fc.integer({ min: 1, max: 100 }) })
      .chain(({ rows, width }) =>
        fc.record({
          rows: fc.constant(rows),
          width: fc.constant(width),
          begin: fc.integer({ min: 0, max: rows - 1 }),
          values: fc.array(element, { minLength: rows * width, maxLength: rows * width }),
        }),
      );
    fc.assert(
      fc.property(cases, ({ rows, width, begin, values }) => {
        const code = new Assembler();
        writeLengths(code, {});
        const placed = memory.place(code.finish());
        const input = Float32Array.from(values);
        const output = new Float32Array(rows + 9).fill(-1);
        const sizes = BigInt64Array.from(lengthsSizes({ width, shape: [rows] }, 1), BigInt);
        const addresses = BigUint64Array.from([input, output], (array) => koffi.address(array));
        koffi.call(placed.address, signature, koffi.address(addresses), begin, rows, koffi.address(sizes));
        placed.free();
        for (const [i, found] of output.entries()) {
          const isWritten = begin <= i && i < rows;
          expectNear(found, isWritten ? lengthOf(input.subarray(i * width, (i + 1) * width)) : -1);
        }
      }),
      { numRuns: 500, seed: 5 },
    );
  });

  test.each([
    [[], [7]],
    [[70_001], [70_001]],
    [[3000, 100], [100]],
    [
      [5, 7, 11],
      [7, 11],
    ],
    [[4096, 33], [33]],
  ])("of a tensor %j, in parts on several threads", async (shape, kept) => {
    const width = kept.reduce((a, b) => a * b);
    const whole = shape.length === 0 ? kept : shape;
    const values = Float32Array.from({ length: whole.reduce((a, b) => a * b) }, (_, i) => Math.sin(i) * 10 ** (i % 30));
    const axes = kept.map((_, i) => whole.length - kept.length + i);
    for (const threads of [1, 2, 3]) {
      useEngine(nodeEngine({ threads }));
      const found = await fromValues(values.slice(), whole).norm(axes).data();
      for (const [i, length] of [...found].entries())
        expectNear(Number(length), lengthOf(values.subarray(i * width, (i + 1) * width)));
    }
  });
});
