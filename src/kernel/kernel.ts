/**
 * Kernels: what several ops that work element by element compute together, in one pass over memory. An engine that can turns
 * a kernel into code for its processor; here is what it means.
 */

/** What a step does to the float32 at one place. Comparisons give a mask, which only `select` takes, also as what it chooses from. */
export type Operation =
  | "add"
  | "sub"
  | "mul"
  | "div"
  /** b where either is NaN or both are 0, as the processor has it. */
  | "min"
  /** b where either is NaN or both are 0. */
  | "max"
  | "sqrt"
  /** a·b + c, rounded once. */
  | "fma"
  /** To the nearest whole number, halves to the even one. */
  | "round"
  /** 2ᵃ for whole a from −126 to 127. */
  | "power"
  /** a·2ᵇ for whole b from −252 to 254. */
  | "scale"
  | "neg"
  | "abs"
  | "equal"
  | "less"
  | "lessEqual"
  /** Whether either is NaN. */
  | "unordered"
  /** The second where the mask is set, else the third. */
  | "select";

const operations: Readonly<Record<Operation, (...values: number[]) => number>> = {
  add: (a, b) => a! + b!,
  sub: (a, b) => a! - b!,
  mul: (a, b) => a! * b!,
  div: (a, b) => a! / b!,
  min: (a, b) => (Number.isNaN(a) ? b! : Math.min(a!, b!)),
  max: (a, b) => (Number.isNaN(a) ? b! : Math.max(a!, b!)),
  sqrt: (a) => Math.sqrt(a!),
  fma: (a, b, c) => a! * b! + c!,
  round: (a) => (Math.abs(a! % 1) === 0.5 ? 2 * Math.round(a! / 2) : Math.round(a!)),
  power: (a) => 2 ** a!,
  scale: (a, b) => a! * 2 ** b!,
  neg: (a) => -a!,
  abs: (a) => Math.abs(a!),
  equal: (a, b) => Number(a === b),
  less: (a, b) => Number(a! < b!),
  lessEqual: (a, b) => Number(a! <= b!),
  unordered: (a, b) => Number(Number.isNaN(a) || Number.isNaN(b)),
  select: (mask, b, c) => (mask ? b! : c!),
};

/** A value of a kernel by its number: the inputs come first, then the steps. */
export type KernelValue = number;

/** An operation on values that there are already. */
export type Application = readonly [operation: Operation, ...of: KernelValue[]];

/** An operation, or a number that is the same everywhere. */
export type Step = Application | number;

/** What an operation is done to. */
export function argumentsOf([, ...values]: Application): readonly KernelValue[] {
  return values;
}

/** Every so many rows one, the first of them at `part`: of a tensor with `of` times as many rows. */
export interface Part {
  readonly part: number;
  readonly of: number;
}

/**
 * How an input lies under the elements, which are rows of `width`: one element for each ("full"), one for each place in a row
 * ("row"), one for each row ("column"), one for all ("scalar"), or a part of the rows of a larger tensor.
 */
export type Layout = "full" | "row" | "column" | "scalar" | Part;

/** Whether an input has an address for each element. */
export const isStream = (layout: Layout): boolean => layout !== "column" && layout !== "scalar";

/** Most inputs in full or along rows, and outputs, of a kernel: engines keep an address in a register for each. */
export const mostStreams = 10;
/** Most inputs in any layout. */
export const mostInputs = 20;

/** Steps at every element of tensors of float32; `Layout` says how inputs lie. */
export interface Kernel {
  readonly inputs: readonly Layout[];
  readonly steps: readonly Step[];
  /** The values that are written; each has `size` elements. */
  readonly outputs: readonly KernelValue[];
  /** Whether all outputs are parts of one tensor, in which their rows take turns. Default false. */
  readonly takeTurns?: boolean;
  /** Number of elements. */
  readonly size: number;
  /** Elements in a row; the whole where nothing depends on rows. */
  readonly width: number;
}

/** A kernel as an op of a model. */
export interface KernelOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  readonly kernel: Kernel;
  /** By output. */
  readonly shapes: readonly (readonly number[])[];
  /** Where each run gives the sizes: its last input are the numbers of `sizesOf`, and those of kernel and shapes mean nothing. */
  readonly open?: { readonly widthIsOpen: boolean } | undefined;
}

/** A guard as an op of a model: it fails the run where an element of its float32 inputs is NaN or infinite. Its output is the number 1. */
export interface GuardOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  /** Elements, by input: at most `mostInputs` inputs. */
  readonly sizes: readonly number[];
  /** Whether each run gives the sizes instead, as the last input: the numbers of `guardSizes`. */
  readonly isOpen?: boolean | undefined;
}

/** Whether the elements are one row, of any length. */
export function isFlat({ inputs, takeTurns, size, width }: Kernel): boolean {
  return size === width && !takeTurns && inputs.every((layout) => typeof layout !== "object");
}

/** So many elements, read or written, are worth another part: handing one over costs some microseconds. */
const elementsInPart = 2 ** 16;

/** Elements of one row are given out in whole cache lines, so that no two threads write to the same. */
const elementsInLine = 16;

/** The elements that one call does: whole rows, or elements where the kernel has one row only. */
export function unitsOf({ size, width }: Kernel): number {
  return size === width ? size : size / width;
}

/** How the work is cut into parts for threads: units, units in a part, parts. */
function partsFor(units: number, unitsInLine: number, accesses: number, threads: number): number[] {
  const wanted = Math.max(1, Math.min(threads, Math.floor(accesses / elementsInPart)));
  const unitsInPart = Math.max(1, Math.ceil(units / wanted / unitsInLine)) * unitsInLine;
  return [units, unitsInPart, Math.ceil(units / unitsInPart)];
}

/** Where the bytes of a row are among a kernel's sizes, and where what follows the parts and these begins. */
export const rowBytesAt = 3;
export const firstSize = 4;

/** What a kernel's code is told of its sizes: parts, bytes of a row, the outputs' dimensions. */
export function sizesOf(kernel: Kernel, shapes: readonly (readonly number[])[], threads: number): number[] {
  const { inputs, outputs, size, width } = kernel;
  const streams = inputs.filter((layout) => isStream(layout) && layout !== "row").length + outputs.length;
  const parts = partsFor(unitsOf(kernel), size === width ? elementsInLine : 1, streams * size, threads);
  const rowBytes = isFlat(kernel) ? 0 : width * Float32Array.BYTES_PER_ELEMENT; //  nobody asks for it where all is one row
  return [...parts, rowBytes, ...shapes.flat()];
}

/** What a guard's code is told of its sizes: parts, and for each input its first place among all elements and the one behind its last. */
export function guardSizes(sizes: readonly number[], threads: number): number[] {
  const units = sizes.reduce((sum, size) => sum + size, 0);
  let place = 0;
  const places = sizes.flatMap((size) => {
    place += size;
    return [place - size, place];
  });
  return [...partsFor(units, elementsInLine, units, threads), 0, ...places];
}

/** Random bits as an op of a model: of the block cipher behind `randomBits`, from a generator's state, int32 [4]. */
export interface RandomOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly size: number;
  /** How many of the upper bits of each word. */
  readonly bits: number;
  readonly dtype: "int32" | "float32";
  /** Whether each run gives shape and size instead, as the last input: the numbers of `randomSizes`. */
  readonly isOpen?: boolean | undefined;
}

/** How many random numbers are drawn together. */
export const randomUnit = 32;

/** What a draw's code is told of its sizes: parts, the number of elements, the output's dimensions. */
export function randomSizes({ size, shape }: Pick<RandomOp, "size" | "shape">, threads: number): number[] {
  return [...partsFor(Math.ceil(size / randomUnit), 1, 2 * size, threads), size, ...shape];
}

/** The lengths √Σx² of the rows of a float32 input, added up in float64, as an op of a model. */
export interface LengthsOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  /** Elements in a row: at least one. */
  readonly width: number;
  /** The output's shape, with an element for each row. */
  readonly shape: readonly number[];
  /** Whether each run gives width and shape instead, as the last input: the numbers of `lengthsSizes`. */
  readonly isOpen?: boolean | undefined;
}

/** What the code for lengths is told of its sizes: parts, bytes of a row, the output's dimensions. */
export function lengthsSizes({ width, shape }: Pick<LengthsOp, "width" | "shape">, threads: number): number[] {
  const rows = shape.reduce((product, size) => product * size, 1);
  const rowBytes = width * Float32Array.BYTES_PER_ELEMENT;
  return [...partsFor(rows, elementsInLine, rows * width, threads), rowBytes, ...shape];
}

/** What a model may call besides ONNX's own ops, where the target has kernels. */
export type AnyKernelOp = KernelOp | GuardOp | RandomOp | LengthsOp;

/** The ONNX domain of kernels in a model. */
export const kernelDomain = "glissade";

/** Computes a kernel the slow way. */
export function runKernel(kernel: Kernel, inputs: readonly Float64Array[], outputs: readonly Float64Array[]): void {
  const { size, width, steps } = kernel;
  const values: number[] = [];
  for (let i = 0; i < size; i++) {
    values.length = 0;
    kernel.inputs.forEach((layout, n) => void values.push(inputs[n]![placeUnder(layout, i, width)]!));
    for (const step of steps) {
      if (typeof step === "number") values.push(step);
      else values.push(operations[step[0]](...argumentsOf(step).map((n) => values[n]!)));
    }
    kernel.outputs.forEach((n, output) => {
      if (kernel.takeTurns) outputs[0]![placeUnder({ part: output, of: kernel.outputs.length }, i, width)] = values[n]!;
      else outputs[output]![i] = values[n]!;
    });
  }
}

/** Where the element of an input is that belongs to the i-th one of a kernel. */
export function placeUnder(layout: Layout, i: number, width: number): number {
  const [row, column] = [Math.floor(i / width), i % width];
  if (typeof layout === "object") return (row * layout.of + layout.part) * width + column;
  return { full: i, row: column, column: row, scalar: 0 }[layout];
}

/** Writes the steps of a kernel; equal ones once. */
export class KernelWriter {
  readonly inputs: Layout[] = [];
  readonly steps: Step[] = [];
  readonly #known = new Map<string, KernelValue>();
  #inputsAreGiven = false;

  /** One more input. They all come before the first step. */
  input(layout: Layout): KernelValue {
    if (this.#inputsAreGiven) throw new Error("a kernel's inputs come before its steps");
    return this.inputs.push(layout) - 1;
  }

  constant(value: number): KernelValue {
    return this.#step(`${Object.is(value, -0) ? "-0" : value}`, value);
  }

  apply(operation: Operation, ...of: readonly KernelValue[]): KernelValue {
    return this.#step(`${operation} ${of}`, [operation, ...of]);
  }

  #step(key: string, step: Step): KernelValue {
    this.#inputsAreGiven = true;
    const value = this.#known.get(key) ?? this.inputs.length + this.steps.push(step) - 1;
    this.#known.set(key, value);
    return value;
  }
}
