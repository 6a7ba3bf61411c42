/** Random kernels, and what they compute in float32. */
import fc from "fast-check";
import {
  argumentsOf,
  type Kernel,
  type Layout,
  type Operation,
  placeUnder,
  type Step,
} from "../../src/kernel/kernel.ts";

const { fround } = Math;

/** Each step in float32, as the processor does it. */
const inFloat32: Readonly<Record<Operation, (...values: number[]) => number>> = {
  add: (a, b) => fround(a! + b!),
  sub: (a, b) => fround(a! - b!),
  mul: (a, b) => fround(a! * b!),
  div: (a, b) => fround(a! / b!),
  // The second of two equal ones: of 0 and −0 it matters which.
  // biome-ignore lint/complexity/useMathMinMax: Math.min has another idea of −0 and of NaN.
  min: (a, b) => (a! < b! ? a! : b!),
  // biome-ignore lint/complexity/useMathMinMax: likewise.
  max: (a, b) => (a! > b! ? a! : b!),
  sqrt: (a) => fround(Math.sqrt(a!)),
  neg: (a) => -a!,
  abs: (a) => Math.abs(a!),
  fma: (a, b, c) => fround(a! * b! + c!),
  round: (a) => (Math.abs(a! % 1) === 0.5 ? 2 * Math.round(a! / 2) : Math.round(a!)),
  power: (a) => 2 ** a!,
  scale: (a, b) => fround(a! * 2 ** b!),
  equal: (a, b) => Number(a === b),
  less: (a, b) => Number(a! < b!),
  lessEqual: (a, b) => Number(a! <= b!),
  unordered: (a, b) => Number(Number.isNaN(a) || Number.isNaN(b)),
  select: (mask, b, c) => (mask ? b! : c!),
};

/** Those whose result is rounded once, so that its bits are known. */
const exact = (Object.keys(inFloat32) as Operation[]).filter((name) => !["fma", "power", "scale"].includes(name));

const masks: readonly Operation[] = ["equal", "less", "lessEqual", "unordered"];

/** How many rows, of which length, and what happens at each element. */
export const kernels: fc.Arbitrary<Kernel> = fc
  .record({
    rows: fc.constantFrom(1, 2, 3, 17),
    width: fc.constantFrom(1, 2, 7, 8, 9, 16, 31, 64, 100),
    layouts: fc.array(
      fc.constantFrom<Layout>("full", "row", "column", "scalar", { part: 1, of: 2 }, { part: 0, of: 3 }),
      { minLength: 1, maxLength: 6 },
    ),
    steps: fc.array(
      fc.record({
        operation: fc.constantFrom<Operation | "constant">(...exact, "constant"),
        of: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
        constant: fc.constantFrom(0, -0, 1, -0.5, 3e38, Number.POSITIVE_INFINITY, Number.NaN, 1e-20),
      }),
      { minLength: 1, maxLength: 40 },
    ),
    outputs: fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
    takeTurns: fc.boolean(),
  })
  .map(({ rows, width, layouts, steps: drawn, outputs, takeTurns }) => {
    const values = layouts.map((_, i) => i);
    const found: number[] = [];
    const steps: Step[] = [];
    const make = (step: Step, to: number[]): void => void to.push(layouts.length + steps.push(step) - 1);
    for (const { operation, of, constant } of drawn) {
      const pick = (n: number): number => values[of[n]! % values.length]!;
      if (operation === "constant") make(constant, values);
      else if (operation === "select" && found.length > 0)
        make([operation, found[of[0]! % found.length]!, pick(1), pick(2)], values);
      else if (operation !== "select") {
        const inputs = Array.from({ length: inFloat32[operation].length }, (_, n) => pick(n));
        make([operation, ...inputs], masks.includes(operation) ? found : values);
      }
    }
    const computed = values.filter((value) => value >= layouts.length);
    if (computed.length === 0) make(["add", 0, 0], computed);
    const chosen = [...new Set(outputs.map((n) => computed[n % computed.length]!))];
    return { inputs: layouts, steps, outputs: chosen, takeTurns, size: rows * width, width };
  });

/** Elements of an input. */
export function elementsUnder(layout: Layout, { size, width }: Kernel): number {
  if (typeof layout === "object") return layout.of * size;
  return { full: size, row: width, column: size / width, scalar: 1 }[layout];
}

/** Elements of each output. */
export const outputSizes = ({ outputs, takeTurns, size }: Kernel): number[] =>
  takeTurns ? [outputs.length * size] : outputs.map(() => size);

/** The outputs, with float32 between the steps too. */
export function inSingles(kernel: Kernel, inputs: readonly Float32Array[]): Float32Array[] {
  const { size, width, steps } = kernel;
  const outputs = outputSizes(kernel).map((length) => new Float32Array(length));
  for (let i = 0; i < size; i++) {
    const values = kernel.inputs.map((layout, n) => inputs[n]![placeUnder(layout, i, width)]!);
    for (const step of steps)
      values.push(
        typeof step === "number"
          ? fround(step)
          : inFloat32[step[0]](...argumentsOf(step).map((value) => values[value]!)),
      );
    kernel.outputs.forEach((value, n) => {
      if (kernel.takeTurns) outputs[0]![placeUnder({ part: n, of: kernel.outputs.length }, i, width)] = values[value]!;
      else outputs[n]![i] = values[value]!;
    });
  }
  return outputs;
}
