/** Machine code for kernels: eight elements at once. Inputs are read before anything is written, and again only where registers run out. */
import { type Application, argumentsOf, type Kernel, type KernelValue, type Layout } from "../../../graph/kernel.ts";
import {
  type Assembler,
  Label,
  type Memory,
  type Register,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  type Vector,
} from "./assembler.ts";

/** Elements in a vector, and their bytes. */
const lanes = 8;
const vectorBytes = 32;
const elementBytes = 4;

/** Registers for the addresses of what is read and written at every element. */
const pointers: readonly Register[] = [rcx, r8, r9, r10, r11, rbx, r12, r13, r14, r15];
/** Those among them that a function has to leave as they were. */
const saved: readonly Register[] = [rbx, r12, r13, r14, r15];

/** In a single row, what has an element for each place is there in full, and what has one for the row is a scalar. */
const inOneRow: Readonly<Record<Layout, Layout>> = { full: "full", row: "full", column: "scalar", scalar: "scalar" };

/** Keeps the lanes that a last, partial vector has. All others hold values. */
const maskRegister: Vector = 15;
const valueRegisters = maskRegister;

/** The elements that one call does: whole rows, or elements where the kernel has one row only. */
export function unitsOf({ size, width }: Kernel): number {
  return size === width ? size : size / width;
}

/**
 * Writes the function `void kernel(void **addresses, int64 begin, int64 end)`: the addresses of the inputs, then of the outputs; and
 * which of the kernel's units to do. The convention for calls is System V's.
 */
export function writeKernel(code: Assembler, kernel: Kernel): void {
  new Writer(code, kernel).write();
}

/** Bits of a float32: all but the sign, and the sign alone. */
const magnitudeBits = 0x7fffffff;
const signBits = 0x80000000;

/** How a float32 keeps its exponent. */
const exponentBias = 127;
const mantissaBits = 23;

class Writer {
  readonly #code: Assembler;
  readonly #kernel: Kernel;
  readonly #hasRows: boolean;
  readonly #layouts: readonly Layout[];
  /** The registers that keep addresses, by input and by output. */
  readonly #inputStreams = new Map<number, Register>();
  readonly #outputStreams: readonly Register[];
  /** Where an input that is the same for a whole row, or for all, lies on the stack as a vector; by input. */
  readonly #repeated = new Map<number, Memory>();
  /** Where the address of a column's next element is, by input. */
  readonly #columns = new Map<number, Memory>();
  readonly #rowsEnd: Memory;
  /** Where vectors are on the stack, by value. */
  readonly #slots = new Map<KernelValue, Memory>();
  /** Bytes for addresses, which are at the top of the stack, below the vectors. */
  readonly #wordBytes: number;
  /** Constants by their bits. */
  readonly #constants = new Map<number, Label>();
  readonly #maskTable = new Label();
  /** By value: the steps that use it, in order; outputs are used behind the last. */
  readonly #uses: readonly (readonly number[])[];

  constructor(code: Assembler, kernel: Kernel) {
    this.#code = code;
    this.#kernel = kernel;
    const { outputs, size, width } = kernel;
    this.#hasRows = size !== width;
    const inputs = this.#hasRows ? kernel.inputs : kernel.inputs.map((layout) => inOneRow[layout]);
    this.#layouts = inputs;
    this.#uses = usesOf(kernel);
    const free = [...pointers];
    const take = (): Register => {
      const register = free.shift();
      if (register === undefined) throw new Error(`a kernel with more than ${pointers.length} streams`);
      return register;
    };

    const word = (n: number): Memory => ({ base: rsp, displacement: n * 8 });
    this.#rowsEnd = word(0);
    const columns = inputs.filter((layout) => layout === "column").length;
    this.#wordBytes = roundUp((1 + columns) * 8, vectorBytes);
    for (const [i, layout] of inputs.entries()) {
      if (layout === "full" || layout === "row") this.#inputStreams.set(i, take());
      else this.#repeated.set(i, this.slot(i));
      if (layout === "column") this.#columns.set(i, word(1 + this.#columns.size));
    }
    this.#outputStreams = outputs.map(take);
  }

  write(): void {
    const code = this.#code;
    code.push(rbp);
    code.load(rbp, rsp);
    for (const register of saved) code.push(register);
    const reserve = code.reserveStack();
    code.arithmeticWith("and", rsp, -vectorBytes);
    this.#loadAddresses();
    if (this.#hasRows) this.#rows();
    else {
      code.shiftLeft(rsi, Math.log2(elementBytes));
      code.shiftLeft(rdx, Math.log2(elementBytes));
      this.#row();
    }
    code.vectorEnd();
    code.address(rsp, { base: rbp, displacement: -8 * saved.length });
    for (const register of [...saved].reverse()) code.pop(register);
    code.pop(rbp);
    code.ret();
    this.#data();
    reserve(this.#wordBytes + this.#slots.size * vectorBytes);
  }

  #loadAddresses(): void {
    const code = this.#code;
    const { inputs } = this.#kernel;
    for (const i of inputs.keys()) {
      const given: Memory = { base: rdi, displacement: 8 * i };
      const stream = this.#inputStreams.get(i);
      if (stream !== undefined) {
        code.load(stream, given);
        continue;
      }
      code.load(rax, given);
      const column = this.#columns.get(i);
      if (column) {
        code.address(rax, { base: rax, index: rsi, scale: elementBytes });
        code.store(column, rax);
      } else this.#repeat(i);
    }
    for (const [i, stream] of this.#outputStreams.entries())
      code.load(stream, { base: rdi, displacement: 8 * (inputs.length + i) });
  }

  /** Fills a vector on the stack with the number at rax. */
  #repeat(input: number): void {
    this.#code.vectorBroadcast(0, { base: rax });
    this.#code.vectorStore(this.#repeated.get(input)!, 0);
  }

  /** Row by row: rsi and rdx hold the first row and the one behind the last. */
  #rows(): void {
    const code = this.#code;
    const rowBytes = this.#kernel.width * elementBytes;
    code.number(rax, rowBytes);
    code.multiply(rsi, rax);
    code.multiply(rdx, rax);
    code.store(this.#rowsEnd, rdx);
    const next = new Label();
    code.place(next);
    for (const [input, address] of this.#columns) {
      code.load(rax, address);
      this.#repeat(input);
      code.arithmeticWith("add", rax, elementBytes);
      code.store(address, rax);
    }
    code.address(rdx, { base: rsi, displacement: rowBytes });
    code.arithmetic("xor", rdi, rdi);
    this.#row();
    code.arithmetic("cmp", rsi, this.#rowsEnd);
    code.jumpIf("below", next);
  }

  /** The elements from rsi to rdx, both in bytes; rdi counts from the row's begin. rsi ends at rdx. */
  #row(): void {
    const code = this.#code;
    const [loop, tail, done] = [new Label(), new Label(), new Label()];
    code.arithmeticWith("sub", rdx, vectorBytes);
    code.arithmetic("cmp", rsi, rdx);
    code.jumpIf("greater", tail);
    code.place(loop);
    new Body(this, false).write();
    code.arithmeticWith("add", rsi, vectorBytes);
    if (this.#hasRows) code.arithmeticWith("add", rdi, vectorBytes);
    code.arithmetic("cmp", rsi, rdx);
    code.jumpIf("lessOrEqual", loop);

    code.place(tail);
    code.address(rax, { base: rdx, displacement: vectorBytes });
    code.arithmetic("sub", rax, rsi); //  bytes that are left
    code.jumpIf("zero", done);
    code.address(rdx, { label: this.#maskTable });
    code.arithmetic("sub", rdx, rax);
    code.vectorLoad(maskRegister, { base: rdx });
    new Body(this, true).write();
    code.arithmetic("add", rsi, rax);
    code.place(done);
  }

  #data(): void {
    const code = this.#code;
    for (const [bits, label] of this.#constants) {
      const vector = new Uint8Array(Uint32Array.from({ length: lanes }, () => bits).buffer);
      code.align(vectorBytes);
      code.place(label);
      code.data(vector);
    }
    code.data(new Uint8Array(vectorBytes).fill(0xff));
    code.place(this.#maskTable);
    code.data(new Uint8Array(vectorBytes));
  }

  // ——— what a body needs ———

  get code(): Assembler {
    return this.#code;
  }

  get kernel(): Kernel {
    return this.#kernel;
  }

  /** Whether a value is used behind a step, and where next. */
  nextUse(value: number, step: number): number | undefined {
    return this.#uses[value]?.find((use) => use > step);
  }

  /** Where an input is read at each element; nothing for one that is repeated. */
  streamOf(input: number): Memory | undefined {
    const base = this.#inputStreams.get(input);
    return base === undefined ? undefined : { base, index: this.#layouts[input] === "row" ? rdi : rsi };
  }

  outputStream(output: number): Memory {
    return { base: this.#outputStreams[output]!, index: rsi };
  }

  /** Where a value is that stays the same along a row. */
  repeatedAt(value: number): Memory | undefined {
    const repeated = this.#repeated.get(value);
    if (repeated) return repeated;
    const step = this.#kernel.steps[value - this.#kernel.inputs.length];
    return typeof step === "number" ? this.constant(float32Bits(step)) : undefined;
  }

  /** A vector with the same bits in every lane. */
  constant(bits: number): Memory {
    const label = this.#constants.get(bits) ?? new Label();
    this.#constants.set(bits, label);
    return { label };
  }

  /** A vector on the stack, for a value. */
  slot(value: KernelValue): Memory {
    const slot = this.#slots.get(value) ?? {
      base: rsp,
      displacement: this.#wordBytes + this.#slots.size * vectorBytes,
    };
    this.#slots.set(value, slot);
    return slot;
  }
}

/** The steps for one vector, whole or partial. */
class Body {
  readonly #writer: Writer;
  readonly #code: Assembler;
  readonly #isPartial: boolean;
  readonly #free: Vector[] = Array.from({ length: valueRegisters }, (_, i) => i);
  readonly #registers = new Map<number, Vector>();
  /** Values that were moved to the stack. */
  readonly #onStack = new Set<number>();
  /** The step that is being written. */
  #at = 0;

  constructor(writer: Writer, isPartial: boolean) {
    this.#writer = writer;
    this.#code = writer.code;
    this.#isPartial = isPartial;
  }

  write(): void {
    const { inputs, steps, outputs } = this.#writer.kernel;
    for (const [i, step] of steps.entries()) {
      this.#at = i;
      if (typeof step !== "number") this.#step(inputs.length + i, step);
    }
    // Only now: an output may have an input's memory.
    this.#at = steps.length;
    for (const [i, value] of outputs.entries()) {
      const from = this.#inRegister(value, []);
      const to = this.#writer.outputStream(i);
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
        code.vector(logic, this.#result(value, of), from, this.#writer.constant(bits));
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
        // 2ᵇ as two factors, whose exponents are halves of b: one would not reach.
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

  /** Makes 2ⁿ of whole numbers n: their place in a float32 is that of the exponent. */
  #toPower(register: Vector): void {
    this.#code.vectorIntegers("add", register, register, this.#writer.constant(exponentBias));
    this.#code.vectorShift("left", register, register, mantissaBits);
  }

  /** A register for a step's value; it may be that of one whose last use this is. */
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

  /** Frees the registers of what has had its last use. */
  #release(of: readonly number[]): void {
    for (const used of of) {
      const register = this.#registers.get(used);
      if (register === undefined || this.#writer.nextUse(used, this.#at) !== undefined) continue;
      this.#registers.delete(used);
      this.#free.push(register);
    }
  }

  /** A value where an instruction can take it on its right: in memory if it is there anyway. */
  #operand(value: number, pinned: readonly number[]): Vector | Memory {
    if (this.#registers.has(value)) return this.#registers.get(value)!;
    const repeated = this.#writer.repeatedAt(value);
    if (repeated) return repeated;
    return this.#onStack.has(value) ? this.#writer.slot(value) : this.#inRegister(value, pinned);
  }

  #inRegister(value: number, pinned: readonly number[]): Vector {
    const known = this.#registers.get(value);
    if (known !== undefined) return known;
    const register = this.#take(pinned);
    const stream = this.#writer.streamOf(value);
    if (stream && this.#isPartial) this.#code.vectorLoadMasked(register, stream, maskRegister);
    else this.#code.vectorLoad(register, stream ?? this.#writer.repeatedAt(value) ?? this.#writer.slot(value));
    this.#registers.set(value, register);
    return register;
  }

  /** A register; where all are taken, that of the value which is needed last, `pinned` excepted. */
  #take(pinned: readonly number[]): Vector {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    let last: number | undefined;
    let furthest = -1;
    for (const value of this.#registers.keys()) {
      const use = pinned.includes(value) ? -1 : (this.#writer.nextUse(value, this.#at - 1) ?? 0);
      if (use > furthest) [last, furthest] = [value, use];
    }
    const register = this.#registers.get(last!)!;
    this.#registers.delete(last!);
    const canBeRead = this.#writer.streamOf(last!) ?? this.#writer.repeatedAt(last!);
    if (!canBeRead && !this.#onStack.has(last!)) {
      this.#code.vectorStore(this.#writer.slot(last!), register);
      this.#onStack.add(last!);
    }
    return register;
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

function float32Bits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}

function roundUp(n: number, to: number): number {
  return Math.ceil(n / to) * to;
}
