/** The machine code of random bits against the cipher's definition, called without ONNX Runtime in between. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { CodeMemory } from "../../../src/engine/node/jit/code-memory.ts";
import { Assembler } from "../../../src/engine/node/jit/x64/assembler.ts";
import { hasAvx2 } from "../../../src/engine/node/jit/x64/processor.ts";
import { writeRandom } from "../../../src/engine/node/jit/x64/random.ts";
import { loadOrt } from "../../../src/engine/node/ort-api.ts";
import { randomSizes, randomUnit } from "../../../src/kernel/kernel.ts";
import { philox4x32 } from "../../../src/random/philox.ts";

const ort = loadOrt();
const { koffi } = ort;
const canRun = process.platform === "linux" && process.arch === "x64" && mayRun();

/** Whether this processor has what the code needs, and the system lets us make code. */
function mayRun(): boolean {
  try {
    return hasAvx2(ort, new CodeMemory(ort));
  } catch {
    return false;
  }
}

const signature = koffi.proto("void", ["void*", "int64_t", "int64_t", "void*"]);

/** What lies around the output, and must stay. */
const canary = 12345;
const margin = 16;

/** Draws some of the units, the rest of them in a second call. */
function draw(state: Int32Array, size: number, bits: number, dtype: "int32" | "float32", cut: number): number[] {
  const code = new Assembler();
  writeRandom(code, { bits, dtype });
  const sizes = BigInt64Array.from(randomSizes({ size, shape: [size] }, 1), BigInt);
  const placed = new CodeMemory(ort).place(code.finish());
  try {
    const kind = dtype === "int32" ? Int32Array : Float32Array;
    const all = new kind(size + 2 * margin).fill(canary);
    const inner = all.subarray(margin, size + margin);
    const addresses = BigUint64Array.from([state, inner], (array) => koffi.address(array));
    for (const [begin, end] of [
      [0, cut],
      [cut, Math.ceil(size / randomUnit)],
    ] as const)
      if (begin < end)
        koffi.call(placed.address, signature, koffi.address(addresses), begin, end, koffi.address(sizes));
    expect([...all.slice(0, margin), ...all.slice(-margin)]).toEqual(Array(2 * margin).fill(canary));
    return [...inner];
  } finally {
    placed.free();
  }
}

function expected([low, high, stream, number]: readonly number[], size: number, bits: number): number[] {
  const words = new Uint32Array(4 * Math.ceil(size / 4));
  for (let block = 0; block < words.length / 4; block++)
    philox4x32([block, number! >>> 0, stream! >>> 0, 0], [low! >>> 0, high! >>> 0], words, 4 * block);
  return [...words.slice(0, size)].map((word) => (bits === 32 ? word | 0 : word >>> (32 - bits)));
}

test.skipIf(!canRun)("any state, length and number of bits, in any two parts", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer(), { minLength: 4, maxLength: 4 }),
      fc.integer({ min: 1, max: 300 }),
      fc.constantFrom(
        [32, "int32"] as const,
        [24, "int32"] as const,
        [24, "float32"] as const,
        [23, "float32"] as const,
      ),
      fc.nat(),
      (state, size, [bits, dtype], part) => {
        const cut = part % (Math.ceil(size / randomUnit) + 1);
        expect(draw(Int32Array.from(state), size, bits, dtype, cut)).toEqual(expected(state, size, bits));
      },
    ),
    { numRuns: 200 },
  );
});

test.skipIf(!canRun)("Random123's known answer for a key and a counter of zeros", () => {
  const zeros = draw(new Int32Array(4), 4, 32, "int32", 0);
  expect(zeros.map((word) => word >>> 0)).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
});
