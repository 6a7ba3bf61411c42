/** The machine code of kernels against their meaning, bit by bit, called without ONNX Runtime in between. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeEngine } from "../../../src/engine/node/index.ts";
import { CodeMemory } from "../../../src/engine/node/jit/code-memory.ts";
import { Assembler, Label, rax, rcx } from "../../../src/engine/node/jit/x64/assembler.ts";
import { writeKernel } from "../../../src/engine/node/jit/x64/function.ts";
import { limits } from "../../../src/engine/node/jit/x64/limits.ts";
import { hasAvx2 } from "../../../src/engine/node/jit/x64/processor.ts";
import { loadOrt } from "../../../src/engine/node/ort-api.ts";
import { EngineError } from "../../../src/errors.ts";
import { type Kernel, runKernel, type Step, unitsOf } from "../../../src/kernel/kernel.ts";
import { elementsUnder, inSingles, kernels, outputSizes } from "../../support/kernels.ts";

const ort = loadOrt();
const { koffi } = ort;
const canRun = process.platform === "linux" && process.arch === "x64" && mayRun();

/** Whether this processor has what kernels need, and the system lets us make code. */
function mayRun(): boolean {
  try {
    return hasAvx2(ort, new CodeMemory(ort));
  } catch {
    return false;
  }
}

const signature = koffi.proto("void", ["void*", "int64_t", "int64_t"]);

/** What lies around the outputs, and must stay. */
const canary = 12345;
const margin = 16;

/** Runs some of a kernel's units, the rest of them in a second call; each output has a margin on both sides. */
function run(kernel: Kernel, inputs: readonly Float32Array[], cut: number): Float32Array[] {
  const code = new Assembler();
  writeKernel(code, { kernel });
  const placed = new CodeMemory(ort).place(code.finish());
  try {
    const outputs = outputSizes(kernel).map((size) => new Float32Array(size + 2 * margin).fill(canary));
    const inner = outputs.map((all) => all.subarray(margin, all.length - margin));
    const addresses = BigUint64Array.from([...inputs, ...inner], (array) => koffi.address(array));
    const units = unitsOf(kernel);
    for (const [begin, end] of [
      [0, cut],
      [cut, units],
    ] as const)
      if (begin < end) koffi.call(placed.address, signature, koffi.address(addresses), begin, end);
    for (const all of outputs)
      expect([...all.slice(0, margin), ...all.slice(-margin)]).toEqual(Array(2 * margin).fill(canary));
    return inner.map((array) => array.slice());
  } finally {
    placed.free();
  }
}

/** Bits, all NaNs alike: which one comes out is the processor's business. */
const bits = (values: Float32Array): number[] =>
  [...values].map((value) => (Number.isNaN(value) ? -1 : new Uint32Array(Float32Array.of(value).buffer)[0]!));

const special = [0, -0, 1, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38, -2.5, 0.5];

/** A kernel of one row with one input. */
function kernelOf(size: number, steps: readonly Step[], outputs: readonly number[]): Kernel {
  return { inputs: ["full"], steps, outputs, size, width: size };
}

describe.runIf(canRun)("machine code", () => {
  test("random kernels, cut anywhere: the bits of float32, and nothing written beside the outputs", () => {
    const cases = fc.record({ kernel: kernels, seed: fc.nat(), cut: fc.double({ min: 0, max: 1, noNaN: true }) });
    fc.assert(
      fc.property(cases, ({ kernel, seed, cut }) => {
        const inputs = kernel.inputs.map((layout, n) =>
          Float32Array.from({ length: elementsUnder(layout, kernel) }, (_, i) => {
            const k = (seed + 7 * n + 13 * i) % 23;
            return k < special.length ? special[k]! : Math.sin(seed + n + i) * 3;
          }),
        );
        const found = run(kernel, inputs, Math.floor(cut * unitsOf(kernel)));
        expect(found.map(bits)).toEqual(inSingles(kernel, inputs).map(bits));
      }),
      { numRuns: 400, seed: 1 },
    );
  });

  test("an engine on such a machine has kernels", () => {
    expect(nodeEngine({ implementation: "direct", kernels: true }).target.kernels).toEqual(limits);
  });

  test("an output may be written where an input is read", () => {
    const kernel: Kernel = {
      inputs: ["full", "full"],
      steps: [
        ["mul", 0, 1],
        ["sub", 2, 0],
      ],
      outputs: [2, 3],
      size: 100,
      width: 100,
    };
    const inputs = [0, 1].map((n) => Float32Array.from({ length: 100 }, (_, i) => Math.cos(n + i)));
    const wanted = inSingles(kernel, inputs);
    const code = new Assembler();
    writeKernel(code, { kernel });
    const placed = new CodeMemory(ort).place(code.finish());
    const addresses = BigUint64Array.from([...inputs, ...inputs], (array) => koffi.address(array));
    koffi.call(placed.address, signature, koffi.address(addresses), 0, 100);
    placed.free();
    expect(inputs).toEqual(wanted);
  });

  test("more values at a time than there are registers", () => {
    const steps: Step[] = [];
    const many = 40;
    for (let i = 0; i < many; i++) steps.push(i / 3, ["mul", 0, 2 * i + 1]);
    const products = Array.from({ length: many }, (_, i) => 2 * i + 2);
    let last = products[0]!;
    // Twice, so that each is needed again long after it was made.
    for (const value of [...products, ...products]) last = steps.push(["add", last, value]);
    const kernel = kernelOf(21, steps, [last, products[3]!]);
    const inputs = [Float32Array.from({ length: 21 }, (_, i) => i - 7.5)];
    expect(run(kernel, inputs, 5)).toEqual(inSingles(kernel, inputs));
  });

  test("fused multiply-add rounds once; powers of two reach as far as float32 does", () => {
    const x = Float32Array.of(1 + 2 ** -12, 3, -1, 2 ** -23, 0.1, 7);
    const kernel = kernelOf(
      x.length,
      [
        -(1 + 2 ** -11),
        ["fma", 0, 0, 1], //     x² − (1 + 2⁻¹¹): what mul and add would lose
      ],
      [2],
    );
    const [found] = run(kernel, [x], 0);
    for (const [i, value] of x.entries()) expect(found![i]).toBe(Math.fround(value * value - (1 + 2 ** -11)));
    expect(found![0]).toBe(2 ** -24);

    const powers = Float32Array.from([-140, -126, -3, 0, 1, 127, 128, 200]);
    const scaled = kernelOf(powers.length, [0.75, ["scale", 1, 0]], [2]);
    const [values] = run(scaled, [powers], 0);
    expect([...values!]).toEqual([...powers].map((n) => Math.fround(0.75 * 2 ** n)));

    const normal = Float32Array.from([-126, -1, 0, 1, 10, 127]);
    const [exponentials] = run(kernelOf(normal.length, [["power", 0]], [1]), [normal], 0);
    expect([...exponentials!]).toEqual([...normal].map((n) => 2 ** n));
  });

  test("memory for code is executable and not writable, and is given back", () => {
    const accessAt = (address: bigint): string | undefined =>
      readFileSync("/proc/self/maps", "utf8")
        .split("\n")
        .map((line) => /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line))
        .find((range) => range && BigInt(`0x${range[1]}`) <= address && address < BigInt(`0x${range[2]}`))?.[3];
    const placed = new CodeMemory(ort).place(Uint8Array.of(0xc3));
    expect(accessAt(placed.address)).toBe("r-xp");
    placed.free();
    expect(accessAt(placed.address)).toBeUndefined();
  });
});

test("the meaning of a kernel in float64 is that of its steps", () => {
  const kernel = kernelOf(3, [2, ["mul", 0, 1], ["sqrt", 2]], [3]);
  const output = new Float64Array(3);
  runKernel(kernel, [Float64Array.of(2, 8, 4.5)], [output]);
  expect([...output]).toEqual([2, 4, 3]);
});

test("a kernel with too many streams, and one that computes nothing, are not written", () => {
  const inputs = Array.from({ length: limits.streams }, () => "full" as const);
  const steps: Step[] = [["add", 0, 1]];
  const tooMany: Kernel = { inputs, steps, outputs: [inputs.length], size: 8, width: 8 };
  expect(() => writeKernel(new Assembler(), { kernel: tooMany })).toThrow(`more than ${limits.streams} streams`);
  expect(() => writeKernel(new Assembler(), { kernel: kernelOf(8, steps, [0]) })).toThrow("gives out an input");
});

test("a number that does not fit into an instruction is noticed", () => {
  expect(() => new Assembler().number(rax, 2 ** 31)).toThrow("32 bits");
  const rows: Kernel = {
    inputs: ["full", "row"],
    steps: [["add", 0, 1]],
    outputs: [2],
    size: 2 ** 30,
    width: 2 ** 29,
  };
  expect(() => writeKernel(new Assembler(), { kernel: rows })).toThrow("32 bits");
});

test("a label without a place is noticed", () => {
  const code = new Assembler();
  const label = new Label();
  code.jump(label);
  code.load(rax, rcx);
  expect(() => code.finish()).toThrow("no place");
  code.place(label);
  expect([...code.finish()]).toEqual([0xe9, 3, 0, 0, 0, 0x48, 0x8b, 0xc1]);
});

describe("a system that lets nobody make code", () => {
  const refusing = (results: Readonly<Record<string, number | bigint>>) => {
    const calls: string[] = [];
    const func = (declaration: string) => {
      const name = /(\w+)\(/.exec(declaration)![1]!;
      return () => {
        calls.push(name);
        return results[name] ?? 0;
      };
    };
    return { calls, memory: new CodeMemory({ koffi: { load: () => ({ func }) } as unknown as typeof koffi }) };
  };

  test("is told apart by the call that fails, and what was taken is given back", () => {
    const none = refusing({ mmap: 2n ** 64n - 1n });
    expect(() => none.memory.place(new Uint8Array(10))).toThrow(EngineError);
    expect(none.calls).toEqual(["mmap"]);
    const notExecutable = refusing({ mmap: 4096, mprotect: -1 });
    expect(() => notExecutable.memory.place(new Uint8Array(10))).toThrow(
      /mprotect gives no 10 bytes.*GLISSADE_KERNELS=off/s,
    );
    expect(notExecutable.calls).toEqual(["mmap", "memcpy", "mprotect", "munmap"]);
  });
});
