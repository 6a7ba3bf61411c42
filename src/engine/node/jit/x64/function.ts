/** Machine code for kernels: the function around the steps, with loops over rows and vectors, a stack frame and constants. */
import {
  isStream,
  type Kernel,
  type KernelOp,
  type KernelValue,
  type Layout,
  type Part,
  rowBytesAt,
} from "../../../../kernel/kernel.ts";
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
} from "./assembler.ts";
import { type Frame, lanes, maskRegister, writeSteps } from "./steps.ts";

const elementBytes = 4;
const vectorBytes = lanes * elementBytes;

/** Registers for the addresses of inputs and outputs that are read or written at every element. */
const pointers: readonly Register[] = [rcx, r8, r9, r10, r11, rbx, r12, r13, r14, r15];
/** Those among them whose values a function must restore. */
const saved: readonly Register[] = [rbx, r12, r13, r14, r15];

/** The layouts of inputs if there is only one row: "row" is then the same as "full", and "column" the same as "scalar". */
const inOneRow = { full: "full", row: "full", column: "scalar", scalar: "scalar" } as const;

/**
 * Writes the function `void kernel(void **addresses, int64 begin, int64 end, int64 *sizes)`. `addresses` has the addresses of the inputs,
 * of the sizes if each run gives them, then of the outputs. `begin` and `end` say which of the kernel's units to compute. `sizes` is as
 * `sizesOf` returns it. The calling convention is System V's.
 */
export function writeKernel(code: Assembler, { kernel, open }: Pick<KernelOp, "kernel" | "open">): void {
  new Writer(code, kernel, open).write();
}

class Writer implements Frame {
  readonly #code: Assembler;
  readonly #kernel: Kernel;
  readonly #hasRows: boolean;
  readonly #layouts: readonly Layout[];
  /** The registers with the addresses of inputs and outputs that are read or written at every element. */
  readonly #inputStreams = new Map<number, Register>();
  readonly #outputStreams: readonly Register[];
  /** Those of these registers whose rows are parts of a larger tensor: the rows of the other parts between them are skipped. */
  readonly #parts = new Map<Register, Part>();
  /** For each input that is the same along a row: where the stack has a vector that repeats its value. */
  readonly #repeated = new Map<number, Memory>();
  /** For each input with the layout "column": where the stack has the address of its next element. */
  readonly #columns = new Map<number, Memory>();
  readonly #rowsEnd: Memory;
  /** The position of the first output's address. */
  readonly #firstOutput: number;
  /** Where the stack has the length of a row in bytes, if each run gives it. */
  readonly #openRow: Memory | undefined;
  /** For each value that is kept on the stack: where its vector is. */
  readonly #slots = new Map<KernelValue, Memory>();
  /** The bytes for addresses on the stack; they lie below the vectors. */
  readonly #wordBytes: number;
  /** Constants by their bits. */
  readonly #constants = new Map<number, Label>();
  readonly #maskTable = new Label();

  constructor(code: Assembler, kernel: Kernel, open: KernelOp["open"]) {
    this.#code = code;
    this.#kernel = kernel;
    const { outputs, size, width } = kernel;
    this.#hasRows = size !== width;
    const inputs = kernel.inputs.map((layout) =>
      this.#hasRows || typeof layout === "object" ? layout : inOneRow[layout],
    );
    this.#layouts = inputs;
    const free = [...pointers];
    const take = (): Register => {
      const register = free.shift();
      if (register === undefined) throw new Error(`a kernel with more than ${pointers.length} streams`);
      return register;
    };

    const word = (n: number): Memory => ({ base: rsp, displacement: n * 8 });
    this.#rowsEnd = word(0);
    this.#openRow = open?.widthIsOpen ? word(1) : undefined;
    this.#firstOutput = inputs.length + (open ? 1 : 0);
    const columns = inputs.filter((layout) => layout === "column").length;
    this.#wordBytes = roundUp((2 + columns) * 8, vectorBytes);
    for (const [i, layout] of inputs.entries()) {
      if (isStream(layout)) this.#inputStreams.set(i, take());
      else this.#repeated.set(i, this.slot(i));
      if (layout === "column") this.#columns.set(i, word(2 + this.#columns.size));
      if (typeof layout === "object") this.#parts.set(this.#inputStreams.get(i)!, layout);
    }
    this.#outputStreams = outputs.map(take);
    if (kernel.takeTurns)
      for (const [part, stream] of this.#outputStreams.entries()) this.#parts.set(stream, { part, of: outputs.length });
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
    if (this.#openRow) {
      code.load(rax, { base: rcx, displacement: 8 * rowBytesAt });
      code.store(this.#openRow, rax);
    }
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
      code.load(stream, { base: rdi, displacement: 8 * (this.#firstOutput + (this.#kernel.takeTurns ? 0 : i)) });
    for (const [stream, { part }] of this.#parts) {
      if (this.#openRow) for (let row = 0; row < part; row++) code.arithmetic("add", stream, this.#openRow);
      else code.arithmeticWith("add", stream, part * this.#rowBytes);
    }
  }

  get #rowBytes(): number {
    return this.#kernel.width * elementBytes;
  }

  /** Loads the length of a row, in bytes, into a register. */
  #loadRowBytes(into: Register): void {
    if (this.#openRow) this.#code.load(into, this.#openRow);
    else this.#code.number(into, this.#rowBytes);
  }

  /** Moves the addresses past the rows of other parts: rax has the number of bytes for each other part. */
  #passOthers(): void {
    for (const [stream, { of }] of this.#parts)
      for (let other = 1; other < of; other++) this.#code.arithmetic("add", stream, rax);
  }

  /** Fills a vector on the stack with the number at the address in rax. */
  #repeat(input: number): void {
    this.#code.vectorBroadcast(0, { base: rax });
    this.#code.vectorStore(this.#repeated.get(input)!, 0);
  }

  /** Computes row by row: rsi has the first row, and rdx the one after the last. */
  #rows(): void {
    const code = this.#code;
    this.#loadRowBytes(rax);
    code.multiply(rsi, rax);
    code.multiply(rdx, rax);
    code.load(rax, rsi);
    this.#passOthers();
    code.store(this.#rowsEnd, rdx);
    const next = new Label();
    code.place(next);
    for (const [input, address] of this.#columns) {
      code.load(rax, address);
      this.#repeat(input);
      code.arithmeticWith("add", rax, elementBytes);
      code.store(address, rax);
    }
    this.#loadRowBytes(rdx);
    code.arithmetic("add", rdx, rsi);
    code.arithmetic("xor", rdi, rdi);
    this.#row();
    if (this.#parts.size > 0) {
      this.#loadRowBytes(rax);
      this.#passOthers();
    }
    code.arithmetic("cmp", rsi, this.#rowsEnd);
    code.jumpIf("below", next);
  }

  /** Computes the elements from rsi to rdx, both in bytes; rdi counts from the start of the row. At the end rsi has the value of rdx. */
  #row(): void {
    const code = this.#code;
    const [loop, tail, done] = [new Label(), new Label(), new Label()];
    code.arithmeticWith("sub", rdx, vectorBytes);
    code.arithmetic("cmp", rsi, rdx);
    code.jumpIf("greater", tail);
    code.place(loop);
    writeSteps(code, this.#kernel, this, "whole");
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
    writeSteps(code, this.#kernel, this, "partial");
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

  // ——— what the steps need ———

  streamOf(input: number): Memory | undefined {
    const base = this.#inputStreams.get(input);
    return base === undefined ? undefined : { base, index: this.#layouts[input] === "row" ? rdi : rsi };
  }

  outputStream(output: number): Memory {
    return { base: this.#outputStreams[output]!, index: rsi };
  }

  repeatedAt(value: number): Memory | undefined {
    const repeated = this.#repeated.get(value);
    if (repeated) return repeated;
    const step = this.#kernel.steps[value - this.#kernel.inputs.length];
    return typeof step === "number" ? this.constant(float32Bits(step)) : undefined;
  }

  constant(bits: number): Memory {
    const label = this.#constants.get(bits) ?? new Label();
    this.#constants.set(bits, label);
    return { label };
  }

  slot(value: KernelValue): Memory {
    const slot = this.#slots.get(value) ?? {
      base: rsp,
      displacement: this.#wordBytes + this.#slots.size * vectorBytes,
    };
    this.#slots.set(value, slot);
    return slot;
  }
}

function float32Bits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}

function roundUp(n: number, to: number): number {
  return Math.ceil(n / to) * to;
}
