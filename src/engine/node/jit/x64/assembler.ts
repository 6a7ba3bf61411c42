/**
 * An assembler for x64 with the few instructions that kernels need. They are encoded as in the Intel 64 and IA-32 Architectures Software
 * Developer's Manual, volume 2; vector instructions have the VEX prefix.
 */

/** A 64-bit register, by its number. */
export type Register = number & { readonly brand?: "register" };
/** A 256-bit vector register, `ymm0` to `ymm15`, by its number. */
export type Vector = number & { readonly brand?: "vector" };

export const rax: Register = 0;
export const rcx: Register = 1;
export const rdx: Register = 2;
export const rbx: Register = 3;
export const rsp: Register = 4;
export const rbp: Register = 5;
export const rsi: Register = 6;
export const rdi: Register = 7;
export const r8: Register = 8;
export const r9: Register = 9;
export const r10: Register = 10;
export const r11: Register = 11;
export const r12: Register = 12;
export const r13: Register = 13;
export const r14: Register = 14;
export const r15: Register = 15;

/** A place in the code; it may be used before it is placed. */
export class Label {
  /** Its offset in the code, in bytes; undefined until it is placed. */
  at: number | undefined;
  /** Internal: the offsets in the code where the distance to the label must be written. */
  readonly waiting: number[] = [];
}

/** Memory at base + index·scale + displacement, or at a label. */
export type Memory =
  | {
      readonly base: Register;
      readonly index?: Register;
      readonly scale?: 1 | 2 | 4 | 8;
      readonly displacement?: number;
    }
  | { readonly label: Label };

/** The right operand of most instructions: a register or memory. */
type Operand = number | Memory;

/** Arithmetic on 64-bit registers: the opcode if the right operand is a register or memory, and the opcode extension for a number. */
const arithmetic = {
  add: [0x03, 0],
  or: [0x0b, 1],
  and: [0x23, 4],
  sub: [0x2b, 5],
  xor: [0x33, 6],
  cmp: [0x3b, 7],
} as const;

/** Conditional jumps, after a comparison: unsigned below, above; signed less, greater. */
const conditions = {
  below: 0x2,
  aboveOrEqual: 0x3,
  zero: 0x4,
  notZero: 0x5,
  above: 0x7,
  less: 0xc,
  greaterOrEqual: 0xd,
  lessOrEqual: 0xe,
  greater: 0xf,
} as const;

/** Opcodes of vector instructions with three operands, in the map 0F without a prefix. */
const vectors = {
  and: 0x54,
  xor: 0x57,
  add: 0x58,
  mul: 0x59,
  sub: 0x5c,
  min: 0x5d,
  div: 0x5e,
  max: 0x5f,
} as const;

/** Opcodes of operations on eight int32, in the map 0F with the prefix 66. */
const integers = { add: 0xfe, sub: 0xfa, xor: 0xef } as const;

/** Digits of shifts of eight int32. */
const shifts = { left: 6, right: 4, rightUnsigned: 2 } as const;

/** The comparisons of `vcmpps`. If a side is NaN, "unordered" is true, and the others are false. */
const comparisons = { equal: 0x00, less: 0x11, lessEqual: 0x12, unordered: 0x03 } as const;

export type VectorOperation = keyof typeof vectors;
export type VectorComparison = keyof typeof comparisons;

/** The number of a mandatory prefix in the VEX encoding. */
type Prefix = 0 | 1 | 2 | 3;
/** The number of an opcode map in the VEX encoding: 0F, 0F38, 0F3A. */
type OpcodeMap = 1 | 2 | 3;

/** Collects instructions. */
export class Assembler {
  readonly #bytes: number[] = [];
  /** How many uses refer to labels that are not placed yet. */
  #open = 0;

  /** Returns the code. Throws Error if it uses a label that was not placed. */
  finish(): Uint8Array<ArrayBuffer> {
    if (this.#open > 0) throw new Error(`${this.#open} uses of labels that have no place`);
    return Uint8Array.from(this.#bytes);
  }

  /** How many bytes the code has so far. */
  get size(): number {
    return this.#bytes.length;
  }

  /** Puts a label here. */
  place(label: Label): void {
    label.at = this.size;
    for (const position of label.waiting) this.#patch(position, label.at);
    this.#open -= label.waiting.length;
    label.waiting.length = 0;
  }

  /** Bytes that are not instructions. */
  data(bytes: Uint8Array): void {
    this.#bytes.push(...bytes);
  }

  /** Fills up the code to a multiple of `bytes`. */
  align(bytes: number): void {
    while (this.size % bytes !== 0) this.#bytes.push(0xcc); //  int3, which stops the program if it is executed
  }

  // ——— 64-bit registers ———

  /** to = from */
  load(to: Register, from: Operand): void {
    this.#wide([0x8b], to, from);
  }

  /** memory = from */
  store(to: Memory, from: Register): void {
    this.#wide([0x89], from, to);
  }

  /** memory = the low 32 bits of from, one of the first eight registers */
  storeHalf(to: Memory, from: Register): void {
    this.#plain([0x89], from, to);
  }

  /** to = the address of the memory */
  address(to: Register, of: Memory): void {
    this.#wide([0x8d], to, of);
  }

  /** to = a signed 32-bit number */
  number(to: Register, value: number): void {
    this.#wide([0xc7], 0, to);
    this.#int32(value);
  }

  /** to = to ∘ operand; `cmp` compares only */
  arithmetic(operation: keyof typeof arithmetic, to: Register, operand: Operand): void {
    this.#wide([arithmetic[operation][0]], to, operand);
  }

  /** to = to ∘ a signed 32-bit number */
  arithmeticWith(operation: keyof typeof arithmetic, to: Register | Memory, value: number): void {
    this.#wide([0x81], arithmetic[operation][1], to, 4);
    this.#int32(value);
  }

  /** Makes room on the stack. Returns a function that sets the number of bytes later, when it is known. */
  reserveStack(): (bytes: number) => void {
    this.arithmeticWith("sub", rsp, 0);
    const position = this.size - 4;
    return (bytes) => this.#write(position, bytes);
  }

  /** to = to · operand */
  multiply(to: Register, operand: Operand): void {
    this.#wide([0x0f, 0xaf], to, operand);
  }

  /** rax = rdx:rax / operand, rdx = the remainder; unsigned */
  divide(operand: Operand): void {
    this.#wide([0xf7], 6, operand);
  }

  /** to = to · 2ⁿ */
  shiftLeft(to: Register, n: number): void {
    this.#wide([0xc1], 4, to, 1);
    this.#bytes.push(n);
  }

  /** to = operand if the condition holds for the comparison before */
  moveIf(condition: keyof typeof conditions, to: Register, operand: Operand): void {
    this.#wide([0x0f, 0x40 + conditions[condition]], to, operand);
  }

  push(register: Register): void {
    if (register > 7) this.#bytes.push(0x41);
    this.#bytes.push(0x50 + (register & 7));
  }

  pop(register: Register): void {
    if (register > 7) this.#bytes.push(0x41);
    this.#bytes.push(0x58 + (register & 7));
  }

  /** Asks for the cache line at an address, which need not exist, in the cache of a level. */
  prefetch(level: 1 | 2, from: Memory): void {
    this.#plain([0x0f, 0x18], level, from);
  }

  jump(to: Label): void {
    this.#bytes.push(0xe9);
    this.#distance(to);
  }

  jumpIf(condition: keyof typeof conditions, to: Label): void {
    this.#bytes.push(0x0f, 0x80 + conditions[condition]);
    this.#distance(to);
  }

  /** Jumps to the address that the memory holds. */
  jumpTo(address: Memory): void {
    this.#plain([0xff], 4, address);
  }

  /** Calls the function whose address the memory holds. */
  call(address: Memory): void {
    this.#plain([0xff], 2, address);
  }

  ret(): void {
    this.#bytes.push(0xc3);
  }

  /** Asks for features of the processor: leaves and bits as in the manual. Writes eax, ebx, ecx and edx. */
  cpuid(): void {
    this.#bytes.push(0x0f, 0xa2);
  }

  /** edx:eax = which registers the operating system saves. */
  xgetbv(): void {
    this.#bytes.push(0x0f, 0x01, 0xd0);
  }

  // ——— vectors of four float64 ———

  /** to = the first four numbers of a vector of float32, or four in memory, as float64 */
  doublesFrom(to: Vector, from: Operand): void {
    this.#vex(0, 1, 0x5a, to, 0, from);
  }

  /** to = four float64 as float32, in the first half */
  singlesFrom(to: Vector, from: Vector): void {
    this.#vex(1, 1, 0x5a, to, 0, from);
  }

  /** to = a·b + to, rounded once */
  doublesMultiplyAdd(to: Vector, a: Vector, b: Operand): void {
    this.#vex(1, 2, 0xb8, to, a, b, 0, 1);
  }

  /** to = a + b */
  doublesAdd(to: Vector, a: Vector, b: Operand): void {
    this.#vex(1, 1, 0x58, to, a, b);
  }

  /** to = sums of neighbours: of a's first two, of b's first two, of a's last two, of b's last two */
  doublesAddNeighbours(to: Vector, a: Vector, b: Operand): void {
    this.#vex(1, 1, 0x7c, to, a, b);
  }

  /** to = √a */
  doublesSqrt(to: Vector, a: Operand): void {
    this.#vex(1, 1, 0x51, to, 0, a);
  }

  /** first half of to = the second half of a vector */
  secondHalf(to: Vector, from: Vector): void {
    this.#vex(1, 3, 0x19, from, 0, to, 1);
    this.#bytes.push(1);
  }

  // ——— vectors of eight float32 ———

  /** to = a ∘ b */
  vector(operation: VectorOperation, to: Vector, a: Vector, b: Operand): void {
    this.#vex(0, 1, vectors[operation], to, a, b);
  }

  /** to = √a */
  vectorSqrt(to: Vector, a: Operand): void {
    this.#vex(0, 1, 0x51, to, 0, a);
  }

  /** to = a·b + to, rounded once */
  vectorMultiplyAdd(to: Vector, a: Vector, b: Operand): void {
    this.#vex(1, 2, 0xb8, to, a, b);
  }

  /** to = a, rounded to the nearest integers; halves are rounded to even ones */
  vectorRound(to: Vector, a: Operand): void {
    this.#vex(1, 3, 0x08, to, 0, a, 1);
    this.#bytes.push(8);
  }

  /** to = a as int32, rounded in the same way */
  vectorToIntegers(to: Vector, a: Operand): void {
    this.#vex(1, 1, 0x5b, to, 0, a);
  }

  /** to = a, int32, as float32, rounded */
  vectorFromIntegers(to: Vector, a: Operand): void {
    this.#vex(0, 1, 0x5b, to, 0, a);
  }

  /** to = a ∘ b, int32 */
  vectorIntegers(operation: keyof typeof integers, to: Vector, a: Vector, b: Operand): void {
    this.#vex(1, 1, integers[operation], to, a, b);
  }

  /** to = a shifted by n bits, int32; "right" keeps the sign, "rightUnsigned" fills with zeros */
  vectorShift(direction: keyof typeof shifts, to: Vector, a: Vector, n: number): void {
    this.#vex(1, 1, 0x72, shifts[direction], to, a);
    this.#bytes.push(n);
  }

  /** to = a shifted by n bits, four unsigned 64-bit numbers */
  vectorShiftWide(direction: "left" | "right", to: Vector, a: Vector, n: number): void {
    this.#vex(1, 1, 0x73, direction === "left" ? 6 : 2, to, a);
    this.#bytes.push(n);
  }

  /** to = a·b, four unsigned 64-bit products of the lower halves of 64-bit lanes */
  vectorMultiplyWide(to: Vector, a: Vector, b: Operand): void {
    this.#vex(1, 1, 0xf4, to, a, b);
  }

  /** to = in each half, one 64-bit number of a and one of b: the first one of that half ("low") or the second one ("high") */
  vectorUnpack(half: "low" | "high", to: Vector, a: Vector, b: Operand): void {
    this.#vex(1, 1, half === "low" ? 0x6c : 0x6d, to, a, b);
  }

  /** to = in each half, two float32 of a and two of b in turn: the first two of that half ("low") or the last two ("high") */
  vectorInterleave(half: "low" | "high", to: Vector, a: Vector, b: Operand): void {
    this.#vex(0, 1, half === "low" ? 0x14 : 0x15, to, a, b);
  }

  /** to = the first halves of a and b, or their second halves */
  vectorJoin(half: "first" | "second", to: Vector, a: Vector, b: Operand): void {
    this.#vex(1, 3, 0x06, to, a, b, 1);
    this.#bytes.push(half === "first" ? 0x20 : 0x31);
  }

  /** to = b in the 32-bit lanes whose bit in `set` is 1, else a */
  vectorBlend(to: Vector, a: Vector, b: Operand, set: number): void {
    this.#vex(1, 3, 0x02, to, a, b, 1);
    this.#bytes.push(set);
  }

  /** to = all bits set where the comparison holds */
  vectorCompare(comparison: VectorComparison, to: Vector, a: Vector, b: Operand): void {
    this.#vex(0, 1, 0xc2, to, a, b, 1);
    this.#bytes.push(comparisons[comparison]);
  }

  /** to = the sign bits of eight numbers, one bit each */
  vectorSigns(to: Register, from: Vector): void {
    this.#vex(0, 1, 0x50, to, 0, from);
  }

  /** to = b where the mask's sign is set, else a */
  vectorSelect(to: Vector, a: Vector, b: Operand, mask: Vector): void {
    this.#vex(1, 3, 0x4a, to, a, b, 1);
    this.#bytes.push(mask << 4);
  }

  /** to = from, eight numbers */
  vectorLoad(to: Vector, from: Operand): void {
    this.#vex(0, 1, 0x10, to, 0, from);
  }

  /** memory = from, eight numbers */
  vectorStore(to: Memory, from: Vector): void {
    this.#vex(0, 1, 0x11, from, 0, to);
  }

  /** to = from where the mask's sign is set, else 0; the memory of other lanes is not read */
  vectorLoadMasked(to: Vector, from: Memory, mask: Vector): void {
    this.#vex(1, 2, 0x2c, to, mask, from);
  }

  /** memory = from where the mask's sign is set */
  vectorStoreMasked(to: Memory, from: Vector, mask: Vector): void {
    this.#vex(1, 2, 0x2e, from, mask, to);
  }

  /** to = eight times the number in memory */
  vectorBroadcast(to: Vector, from: Memory): void {
    this.#vex(1, 2, 0x18, to, 0, from);
  }

  /** Clears the upper halves of vector registers (vzeroupper), which would slow down later code that uses SSE instructions. */
  vectorEnd(): void {
    this.#bytes.push(0xc5, 0xf8, 0x77);
  }

  /** An instruction on 64-bit operands; `following` bytes come after the operand. */
  #wide(opcode: readonly number[], reg: number, operand: Operand, following: number = 0): void {
    const { index, base } = numbers(operand);
    this.#bytes.push(0x48 | ((reg >> 3) << 2) | ((index >> 3) << 1) | (base >> 3), ...opcode);
    this.#operand(reg, operand, following);
  }

  /** An instruction on 32-bit operands, or one whose operand always has 64 bits. */
  #plain(opcode: readonly number[], reg: number, operand: Memory): void {
    const { index, base } = numbers(operand);
    if (index > 7 || base > 7) this.#bytes.push(0x40 | ((index >> 3) << 1) | (base >> 3));
    this.#bytes.push(...opcode);
    this.#operand(reg, operand, 0);
  }

  /** A 256-bit instruction with a VEX prefix of three bytes. */
  #vex(
    prefix: Prefix,
    map: OpcodeMap,
    opcode: number,
    reg: number,
    first: number,
    operand: Operand,
    following: number = 0,
    wide: 0 | 1 = 0,
  ): void {
    const { index, base } = numbers(operand);
    const inverted = ((~reg & 8) << 4) | ((~index & 8) << 3) | ((~base & 8) << 2);
    this.#bytes.push(0xc4, inverted | map, (wide << 7) | ((~first & 15) << 3) | 4 | prefix, opcode);
    this.#operand(reg, operand, following);
  }

  /** ModRM, SIB and displacement. */
  #operand(reg: number, operand: Operand, following: number): void {
    const digit = (reg & 7) << 3;
    if (typeof operand === "number") {
      this.#bytes.push(0xc0 | digit | (operand & 7));
      return;
    }
    if ("label" in operand) {
      this.#bytes.push(digit | 5);
      this.#distance(operand.label, following);
      return;
    }
    const { base, index = rsp, scale = 1, displacement = 0 } = operand;
    const isShort = displacement >= -128 && displacement < 128;
    // There is always a SIB byte, which allows every base. The index 100 in binary, the number of rsp, means that there is no index.
    this.#bytes.push((isShort ? 0x40 : 0x80) | digit | 4, (Math.log2(scale) << 6) | ((index & 7) << 3) | (base & 7));
    if (isShort) this.#bytes.push(displacement & 0xff);
    else this.#int32(displacement);
  }

  /** Writes the distance to a label from the end of the instruction; `following` bytes come after the distance. */
  #distance(label: Label, following: number = 0): void {
    const position = this.size;
    this.#int32(-4 - following); //  replaced, or added to
    if (label.at === undefined) {
      label.waiting.push(position);
      this.#open++;
    } else this.#patch(position, label.at);
  }

  #patch(position: number, target: number): void {
    const bytes = Uint8Array.from(this.#bytes.slice(position, position + 4));
    this.#write(position, new DataView(bytes.buffer).getInt32(0, true) + target - position);
  }

  /** Overwrites a 32-bit number. */
  #write(position: number, value: number): void {
    for (let i = 0; i < 4; i++) this.#bytes[position + i] = (value >> (8 * i)) & 0xff;
  }

  /** Writes a signed 32-bit number. Throws RangeError if it does not fit. */
  #int32(value: number): void {
    if (value !== (value | 0)) throw new RangeError(`${value} in an instruction that has 32 bits for it`);
    for (let shift = 0; shift < 32; shift += 8) this.#bytes.push((value >> shift) & 0xff);
  }
}

/** Returns the index and base registers of an operand, for the prefixes; 0 if there is none. */
function numbers(operand: Operand): { readonly index: number; readonly base: number } {
  if (typeof operand === "number") return { index: 0, base: operand };
  if ("label" in operand) return { index: 0, base: 0 };
  return { index: operand.index ?? 0, base: operand.base };
}
