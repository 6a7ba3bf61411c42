/** Writes the steps of a kernel as machine code, for one vector of eight elements, and decides which register holds which value. */
import { type Application, argumentsOf, type Kernel, type KernelValue } from "../../../../kernel/kernel.ts";
import type { Assembler, Memory, Vector } from "./assembler.ts";

/** Elements in a vector. */
export const lanes = 8;

/** The register with the mask of a partial vector: its sign bits say which lanes exist. All registers before it hold values. */
export const maskRegister: Vector = 15;

/** What the steps need from the function around them. */
export interface Frame {
  /** The memory of an input that is read at each element; undefined for an input that is the same along a row. */
  streamOf(input: number): Memory | undefined;
  outputStream(output: number): Memory;
  /** The memory of a value that is the same along a row; undefined for other values. */
  repeatedAt(value: KernelValue): Memory | undefined;
  /** A vector with the same bits in every lane. */
  constant(bits: number): Memory;
  /** A vector on the stack, for a value. */
  slot(value: KernelValue): Memory;
}

/** Writes the steps. All inputs are read before an output is written; an input is read twice only if registers run out. */
export function writeSteps(code: Assembler, kernel: Kernel, frame: Frame, vector: "whole" | "partial"): void {
  new Steps(code, kernel, frame, vector === "partial").write();
}

/** Bits of a float32: all but the sign, and the sign alone. */
const magnitudeBits = 0x7fffffff;
const signBits = 0x80000000;

/** The form of a float32: its exponent is biased and lies above the mantissa. */
const exponentBias = 127;
const mantissaBits = 23;

/** The steps for one vector, whole or partial. */
class Steps {
  readonly #code: Assembler;
  readonly #kernel: Kernel;
  readonly #frame: Frame;
  readonly #isPartial: boolean;
  readonly #free: Vector[] = Array.from({ length: maskRegister }, (_, i) => i);
  readonly #registers = new Map<number, Vector>();
  /** Values that were moved to the stack. */
  readonly #onStack = new Set<number>();
  /** The step that is being written. */
  #at = 0;

  /** For each value, the steps that use it, in order; outputs are used after the last step. */
  readonly #uses: readonly (readonly number[])[];

  constructor(code: Assembler, kernel: Kernel, frame: Frame, isPartial: boolean) {
    this.#code = code;
    this.#kernel = kernel;
    this.#frame = frame;
    this.#isPartial = isPartial;
    this.#uses = usesOf(kernel);
  }

  write(): void {
    const { inputs, steps, outputs } = this.#kernel;
    for (const [i, step] of steps.entries()) {
      this.#at = i;
      if (typeof step !== "number") this.#step(inputs.length + i, step);
    }
    // Outputs are written only now, because an output may have an input's memory.
    this.#at = steps.length;
    for (const [i, value] of outputs.entries()) {
      const from = this.#inRegister(value, []);
      const to = this.#frame.outputStream(i);
      if (this.#isPartial) this.#code.vectorStoreMasked(to, from, maskRegister);
      else this.#code.vectorStore(to, from);
    }
  }

  #step(value: KernelValue, step: Application): void {
    const code = this.#code;
    const [operation] = step;
    const of = argumentsOf(step);
    const [a, b, c] = of as [KernelValue, KernelValue, KernelValue];
    switch (operation) {
      case "sqrt": {
        const from = this.#operand(a, of);
        code.vectorSqrt(this.#result(value, of), from);
        break;
      }
      case "neg":
      case "abs": {
        const from = this.#inRegister(a, of);
        const [logic, bits] = operation === "neg" ? (["xor", signBits] as const) : (["and", magnitudeBits] as const);
        code.vector(logic, this.#result(value, of), from, this.#frame.constant(bits));
        break;
      }
      case "round": {
        const from = this.#operand(a, of);
        code.vectorRound(this.#result(value, of), from);
        break;
      }
      case "fma": {
        const left = this.#inRegister(a, of);
        const right = this.#operand(b, of);
        const sum = this.#operand(c, of);
        const to = this.#take(of);
        code.vectorLoad(to, sum);
        code.vectorMultiplyAdd(to, left, right);
        this.#keep(value, to, of);
        break;
      }
      case "power": {
        const exponent = this.#operand(a, of);
        const to = this.#result(value, of);
        code.vectorToIntegers(to, exponent);
        this.#toPower(to);
        break;
      }
      case "scale": {
        // 2ᵇ is computed as two factors, whose exponents are halves of b: b may be too large for the exponent of one factor.
        const left = this.#inRegister(a, of);
        const exponent = this.#operand(b, of);
        const [to, other] = [this.#take(of), this.#take(of)];
        code.vectorToIntegers(to, exponent);
        code.vectorShift("right", other, to, 1);
        code.vectorIntegers("sub", to, to, other);
        for (const factor of [to, other]) this.#toPower(factor);
        code.vector("mul", to, left, to);
        code.vector("mul", to, to, other);
        this.#free.push(other);
        this.#keep(value, to, of);
        break;
      }
      case "select": {
        const mask = this.#inRegister(a, of);
        const otherwise = this.#inRegister(c, of);
        const chosen = this.#operand(b, of);
        code.vectorSelect(this.#result(value, of), otherwise, chosen, mask);
        break;
      }
      case "equal":
      case "less":
      case "lessEqual":
      case "unordered": {
        const left = this.#inRegister(a, of);
        const right = this.#operand(b, of);
        code.vectorCompare(operation, this.#result(value, of), left, right);
        break;
      }
      default: {
        const left = this.#inRegister(a, of);
        const right = this.#operand(b, of);
        code.vector(operation, this.#result(value, of), left, right);
      }
    }
  }

  /** Turns integers n into the float32 2ⁿ: adds the bias to n, and moves it to the exponent. */
  #toPower(register: Vector): void {
    this.#code.vectorIntegers("add", register, register, this.#frame.constant(exponentBias));
    this.#code.vectorShift("left", register, register, mantissaBits);
  }

  /** Returns a register for a step's value. It may be the register of an operand that is not used later. */
  #result(value: number, of: readonly number[]): Vector {
    this.#release(of);
    const register = this.#take([]);
    this.#registers.set(value, register);
    return register;
  }

  /** Notes that a register holds a step's value. */
  #keep(value: number, register: Vector, of: readonly number[]): void {
    this.#release(of);
    this.#registers.set(value, register);
  }

  /** Frees the registers of operands that are not used later. */
  #release(of: readonly number[]): void {
    for (const used of of) {
      const register = this.#registers.get(used);
      if (register === undefined || this.#nextUse(used, this.#at) !== undefined) continue;
      this.#registers.delete(used);
      this.#free.push(register);
    }
  }

  /** Returns a value as the right operand of an instruction: in a register, or in memory if it is there anyway. */
  #operand(value: number, pinned: readonly number[]): Vector | Memory {
    if (this.#registers.has(value)) return this.#registers.get(value)!;
    const repeated = this.#frame.repeatedAt(value);
    if (repeated) return repeated;
    return this.#onStack.has(value) ? this.#frame.slot(value) : this.#inRegister(value, pinned);
  }

  #inRegister(value: number, pinned: readonly number[]): Vector {
    const known = this.#registers.get(value);
    if (known !== undefined) return known;
    const register = this.#take(pinned);
    const stream = this.#frame.streamOf(value);
    if (stream && this.#isPartial) this.#code.vectorLoadMasked(register, stream, maskRegister);
    else this.#code.vectorLoad(register, stream ?? this.#frame.repeatedAt(value) ?? this.#frame.slot(value));
    this.#registers.set(value, register);
    return register;
  }

  /** Returns a free register. If all are taken, returns that of the value whose next use is latest; values in `pinned` keep theirs. */
  #take(pinned: readonly number[]): Vector {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    let last: number | undefined;
    let furthest = -1;
    for (const value of this.#registers.keys()) {
      const use = pinned.includes(value) ? -1 : (this.#nextUse(value, this.#at - 1) ?? 0);
      if (use > furthest) [last, furthest] = [value, use];
    }
    const register = this.#registers.get(last!)!;
    this.#registers.delete(last!);
    const canBeRead = this.#frame.streamOf(last!) ?? this.#frame.repeatedAt(last!);
    if (!canBeRead && !this.#onStack.has(last!)) {
      this.#code.vectorStore(this.#frame.slot(last!), register);
      this.#onStack.add(last!);
    }
    return register;
  }

  /** The first step after another step that uses a value. */
  #nextUse(value: KernelValue, step: number): number | undefined {
    return this.#uses[value]?.find((use) => use > step);
  }
}

function usesOf({ inputs, steps, outputs }: Kernel): number[][] {
  const uses: number[][] = Array.from({ length: inputs.length + steps.length }, () => []);
  for (const [i, step] of steps.entries())
    if (typeof step !== "number") for (const value of argumentsOf(step)) uses[value]!.push(i);
  for (const value of outputs) {
    if (value < inputs.length) throw new Error("a kernel that gives out an input as it is");
    uses[value]!.push(steps.length);
  }
  return uses;
}
