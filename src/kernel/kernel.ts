/**
 * Kernels: several elementwise ops that are computed together, in one pass over memory. Some engines turn a kernel into code for their
 * processor. This file says what a kernel computes.
 */

import type { ProductLimits, ProductOp } from "./product.ts";

/**
 * The operation of a step, on float32 elements. Comparisons give a mask. Only `select` takes masks: as its condition, and as the values
 * that it chooses from.
 */
export type Operation =
  | "add"
  | "sub"
  | "mul"
  | "div"
  /** b where either is NaN or both are 0, as with the processor's instruction. */
  | "min"
  /** b where either is NaN or both are 0. */
  | "max"
  | "sqrt"
  /** a·b + c, rounded once. */
  | "fma"
  /** Rounds to the nearest whole number, and halves to the even one. */
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
  /** The second argument where the first, a mask, is set; else the third. */
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

/** The number of a value of a kernel: inputs are numbered first, then steps. */
export type KernelValue = number;

/** An operation, and the earlier values that it is applied to. */
export type Application = readonly [operation: Operation, ...of: KernelValue[]];

/** An operation, or a constant. */
export type Step = Application | number;

/** Returns the values that an operation is applied to. */
export function argumentsOf([, ...values]: Application): readonly KernelValue[] {
  return values;
}

/** Every `of`-th row of a tensor, from row `part` on. The tensor has `of` times as many rows as the kernel. */
export interface Part {
  readonly part: number;
  readonly of: number;
}

/**
 * How an input belongs to the elements of a kernel, which form rows of `width`. It has one element for each of them ("full"), for each
 * place in a row ("row"), for each row ("column"), or one for all ("scalar"); or it is a part of the rows of a larger tensor.
 */
export type Layout = "full" | "row" | "column" | "scalar" | Part;

/** Whether an input is read at another address for each element of a row. */
export const isStream = (layout: Layout): boolean => layout !== "column" && layout !== "scalar";

/** The largest kernels that a generator of code can write. */
export interface KernelLimits {
  /** The most streams of a kernel: outputs, and inputs that are read at another address for each element. */
  readonly streams: number;
  /** The most inputs of a kernel, in any layout, and of a guard. */
  readonly inputs: number;
  /** The most elements of a row, and from a row to the next one of the same part. */
  readonly rowElements: number;
  /** The smallest matrix products for which its code is faster than ONNX Runtime's. Absent if it writes none. */
  readonly products?: ProductLimits | undefined;
}

/** Steps that are computed for every element of float32 tensors. `Layout` says how inputs belong to the elements. */
export interface Kernel {
  readonly inputs: readonly Layout[];
  readonly steps: readonly Step[];
  /** The values that are written; each has `size` elements. */
  readonly outputs: readonly KernelValue[];
  /** Whether all outputs are parts of one tensor: its rows come from each output in turn. Default false. */
  readonly takeTurns?: boolean;
  /** Number of elements. */
  readonly size: number;
  /** Number of elements in a row; the same as `size` where nothing depends on rows. */
  readonly width: number;
}

/** A kernel as an op of a model. */
export interface KernelOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  readonly kernel: Kernel;
  /** One shape for each output. */
  readonly shapes: readonly (readonly number[])[];
  /**
   * Set if each run gives the sizes: the last input then holds the numbers of `sizesOf`, and the sizes in `kernel` and `shapes` mean
   * nothing.
   */
  readonly open?: { readonly widthIsOpen: boolean } | undefined;
}

/** A guard as an op of a model: it fails the run where an element of its float32 inputs is NaN or infinite. Its output is the number 1. */
export interface GuardOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  /** Number of elements of each input. There are at most as many as the target's kernels have inputs. */
  readonly sizes: readonly number[];
  /** Whether each run gives the sizes instead, as the last input: the numbers of `guardSizes`. */
  readonly isOpen?: boolean | undefined;
}

/** Whether the elements are one row, of any length. */
export function isFlat({ inputs, takeTurns, size, width }: Kernel): boolean {
  return size === width && !takeTurns && inputs.every((layout) => typeof layout !== "object");
}

/** The number of elements, read or written, for which one more part pays: giving a part to a thread costs some microseconds. */
const elementsInPart = 2 ** 16;

/**
 * Number of elements in a cache line. The elements of one row are cut at whole cache lines, so that no two threads write to the same line.
 */
const elementsInLine = 16;

/** Returns the number of units that work is cut into: rows, or elements if the kernel has one row only. */
export function unitsOf({ size, width }: Kernel): number {
  return size === width ? size : size / width;
}

/** Returns how the work is cut into parts for threads: units, units in a part, parts. */
function partsFor(units: number, unitsInLine: number, accesses: number, threads: number): number[] {
  const wanted = Math.max(1, Math.min(threads, Math.floor(accesses / elementsInPart)));
  const unitsInPart = Math.max(1, Math.ceil(units / wanted / unitsInLine)) * unitsInLine;
  return [units, unitsInPart, Math.ceil(units / unitsInPart)];
}

/** The index of the bytes of a row among a kernel's sizes, and the index of the first size behind them. */
export const rowBytesAt = 3;
export const firstSize = 4;

/** Returns the sizes that a kernel's code gets: parts, bytes of a row, the outputs' dimensions. */
export function sizesOf(kernel: Kernel, shapes: readonly (readonly number[])[], threads: number): number[] {
  const { inputs, outputs, size, width } = kernel;
  const streams = inputs.filter((layout) => isStream(layout) && layout !== "row").length + outputs.length;
  const parts = partsFor(unitsOf(kernel), size === width ? elementsInLine : 1, streams * size, threads);
  const rowBytes = isFlat(kernel) ? 0 : width * Float32Array.BYTES_PER_ELEMENT; //  not used where all is one row
  return [...parts, rowBytes, ...shapes.flat()];
}

/**
 * Returns the sizes that a guard's code gets: parts, and for each input the index of its first element among the elements of all inputs,
 * and the index behind its last one.
 */
export function guardSizes(sizes: readonly number[], threads: number): number[] {
  const units = sizes.reduce((sum, size) => sum + size, 0);
  let place = 0;
  const places = sizes.flatMap((size) => {
    place += size;
    return [place - size, place];
  });
  return [...partsFor(units, elementsInLine, units, threads), 0, ...places];
}

/** Random bits as an op of a model, from the block cipher of `randomBits`. The input is the state of a generator, int32 [4]. */
export interface RandomOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly size: number;
  /** How many of the upper bits of each word are used. */
  readonly bits: number;
  readonly dtype: "int32" | "float32";
  /** Whether each run gives shape and size instead, as the last input: the numbers of `randomSizes`. */
  readonly isOpen?: boolean | undefined;
}

/** How many random numbers are drawn together. */
export const randomUnit = 32;

/** Returns the sizes that a draw's code gets: parts, the number of elements, the output's dimensions. */
export function randomSizes({ size, shape }: Pick<RandomOp, "size" | "shape">, threads: number): number[] {
  return [...partsFor(Math.ceil(size / randomUnit), 1, 2 * size, threads), size, ...shape];
}

/** The lengths √Σx² of the rows of a float32 input, as an op of a model. The sums are made in float64. */
export interface LengthsOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  /** Number of elements in a row: at least one. */
  readonly width: number;
  /** The output's shape, with an element for each row. */
  readonly shape: readonly number[];
  /** Whether each run gives width and shape instead, as the last input: the numbers of `lengthsSizes`. */
  readonly isOpen?: boolean | undefined;
}

/** Returns the sizes that the code for lengths gets: parts, bytes of a row, the output's dimensions. */
export function lengthsSizes({ width, shape }: Pick<LengthsOp, "width" | "shape">, threads: number): number[] {
  const rows = shape.reduce((product, size) => product * size, 1);
  const rowBytes = width * Float32Array.BYTES_PER_ELEMENT;
  return [...partsFor(rows, elementsInLine, rows * width, threads), rowBytes, ...shape];
}

/** The ops that a model may call besides ONNX's own, where the target has kernels. */
export type AnyKernelOp = KernelOp | GuardOp | RandomOp | LengthsOp | ProductOp;

/** The ONNX domain of kernels in a model. */
export const kernelDomain = "glissade";

/** Computes a kernel in JavaScript, element by element. */
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

/** Returns the position in an input of the element that belongs to element i of a kernel. */
export function placeUnder(layout: Layout, i: number, width: number): number {
  const [row, column] = [Math.floor(i / width), i % width];
  if (typeof layout === "object") return (row * layout.of + layout.part) * width + column;
  return { full: i, row: column, column: row, scalar: 0 }[layout];
}

/** Writes the steps of a kernel. Equal steps are written once. */
export class KernelWriter {
  readonly inputs: Layout[] = [];
  readonly steps: Step[] = [];
  readonly #known = new Map<string, KernelValue>();
  #inputsAreGiven = false;

  /** Adds an input. All inputs come before the first step. */
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
