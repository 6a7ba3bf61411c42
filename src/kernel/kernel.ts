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
}

/** A guard as an op of a model: it fails the run where an element of its float32 inputs is NaN or infinite. Its output is the number 1. */
export interface GuardOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  /** Elements, by input: at most `mostInputs` inputs. */
  readonly sizes: readonly number[];
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
}

/** What a model may call besides ONNX's own ops, where the target has kernels. */
export type AnyKernelOp = KernelOp | GuardOp | RandomOp;

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
