/** Machine code for guards: functions with the parameters of a kernel, which check that all elements of their inputs are finite. */
import { firstSize, type GuardOp } from "../../../../kernel/kernel.ts";
import { flawAt } from "../custom-op.ts";
import { type Assembler, Label, r8, r9, r10, r11, rax, rcx, rdi, rdx, rsi, type Vector } from "./assembler.ts";
import { lanes, maskRegister } from "./steps.ts";

const elementBytes = 4;
const vectorBytes = lanes * elementBytes;
/** The float32 that is 1. */
const oneBits = 0x3f800000;

const zeros: Vector = 0;
/** Registers for several sums, because an addition to a sum has to wait for the addition before it. */
const sums: readonly Vector[] = [1, 2, 3, 4, 5, 6, 7, 8];
/** The last elements of an input, which do not fill a vector. */
const rest: Vector = 9;

/**
 * Writes the function `void guard(void **addresses, int64 begin, int64 end, int64 *sizes)`. It checks the elements from `begin` to before
 * `end`; elements are counted through all inputs, one after the other, as in `guardSizes`. If an element is NaN or infinite, the function
 * sets the word at `flawAt`. It sets the output to 1.
 *
 * Zero times an element is NaN if the element is NaN or infinite, and a sum with a NaN stays NaN: so one instruction checks eight elements.
 */
export function writeGuard(code: Assembler, { sizes, isOpen }: Pick<GuardOp, "sizes" | "isOpen">): void {
  const maskEnd = new Label();
  const [input, next, met] = [new Label(), new Label(), new Label()];
  const [wide, narrow, tail] = [new Label(), new Label(), new Label()];
  /** Checks `count` vectors at rcx, each with another sum, and moves rcx past them. */
  const look = (count: number): void => {
    for (let i = 0; i < count; i++)
      code.vectorMultiplyAdd(sums[i]!, zeros, { base: rcx, displacement: i * vectorBytes });
    code.arithmeticWith("add", rcx, count * vectorBytes);
    code.arithmeticWith("sub", rax, count * lanes);
  };

  for (const register of [zeros, ...sums]) code.vector("xor", register, register, register);
  code.load(r8, rdi);
  code.address(r9, { base: rcx, displacement: 8 * firstSize });
  code.address(r10, { base: r9, displacement: 16 * sizes.length });

  // r8 points to the input's address. r9 points to two numbers: the input's first element in the count of all, and the one after its last.
  code.place(input);
  code.load(rcx, { base: r9 });
  code.load(rax, { base: r9, displacement: 8 });
  code.load(r11, rcx);
  code.arithmetic("cmp", r11, rsi);
  code.moveIf("below", r11, rsi);
  code.arithmetic("cmp", rax, rdx);
  code.moveIf("above", rax, rdx);
  code.arithmetic("sub", rax, r11); //  how many
  code.jumpIf("lessOrEqual", next);
  code.arithmetic("sub", r11, rcx);
  code.load(rcx, { base: r8 });
  code.address(rcx, { base: rcx, index: r11, scale: elementBytes });

  code.place(wide);
  code.arithmeticWith("cmp", rax, sums.length * lanes);
  code.jumpIf("below", narrow);
  look(sums.length);
  code.jump(wide);
  code.place(narrow);
  code.arithmeticWith("cmp", rax, lanes);
  code.jumpIf("below", tail);
  look(1);
  code.jump(narrow);
  code.place(tail);
  code.shiftLeft(rax, Math.log2(elementBytes));
  code.address(r11, { label: maskEnd });
  code.arithmetic("sub", r11, rax);
  code.vectorLoad(maskRegister, { base: r11 });
  code.vectorLoadMasked(rest, { base: rcx }, maskRegister);
  code.vectorMultiplyAdd(sums[0]!, zeros, rest);

  code.place(next);
  code.arithmeticWith("add", r8, 8);
  code.arithmeticWith("add", r9, 16);
  code.arithmetic("cmp", r9, r10);
  code.jumpIf("below", input);

  // Now r8 points to the address of the output, or to that of the sizes, which come before it.
  const [sum, ...others] = sums as [Vector, ...Vector[]];
  for (const other of others) code.vector("add", sum, sum, other);
  code.vectorCompare("unordered", sum, sum, sum);
  code.vectorSigns(rax, sum);
  code.arithmeticWith("cmp", rax, 0);
  code.jumpIf("zero", met);
  code.arithmeticWith("or", { base: rdi, displacement: flawAt }, 1);
  code.place(met);
  code.load(rcx, { base: r8, displacement: isOpen ? 8 : 0 });
  code.number(rax, oneBits);
  code.storeHalf({ base: rcx }, rax);
  code.vectorEnd();
  code.ret();

  code.align(vectorBytes);
  code.data(new Uint8Array(vectorBytes).fill(0xff));
  code.place(maskEnd);
  code.data(new Uint8Array(vectorBytes));
}
