/** Machine code for the lengths of rows, √Σx², computed in float64, which can hold the square of every float32. */
import { type LengthsOp, rowBytesAt } from "../../../../kernel/kernel.ts";
import { type Assembler, Label, r8, r9, r10, rax, rcx, rdi, rdx, rsi, type Vector } from "./assembler.ts";
import { lanes, maskRegister } from "./steps.ts";

const elementBytes = 4;
const vectorBytes = lanes * elementBytes;
/** How many float64 a vector has. */
const half = lanes / 2;

/** Registers for several sums, because an addition to a sum has to wait for the addition before it. */
const sums: readonly Vector[] = [0, 1, 2, 3, 4, 5, 6, 7];
const widened: readonly Vector[] = [8, 9];
/** The last elements of a row, which do not fill a vector. */
const rest: Vector = 10;

/**
 * Writes the function `void lengths(void **addresses, int64 begin, int64 end, int64 *sizes)`. It computes the lengths of the rows from
 * `begin` to before `end` of a float32 input; `sizes` is as `lengthsSizes` returns it.
 */
export function writeLengths(code: Assembler, { isOpen }: Pick<LengthsOp, "isOpen">): void {
  const [row, wide, narrow, tail, complete, done] = [0, 1, 2, 3, 4, 5].map(() => new Label()) as [
    Label,
    Label,
    Label,
    Label,
    Label,
    Label,
  ];
  const maskEnd = new Label();
  /** Adds the squares of four numbers in memory or in the first half of a vector. */
  const add = (i: number, from: Parameters<Assembler["doublesFrom"]>[1]): void => {
    const numbers = widened[i % widened.length]!;
    code.doublesFrom(numbers, from);
    code.doublesMultiplyAdd(sums[i]!, numbers, numbers);
  };
  /** Adds the squares of `count` times four numbers at rcx, each four to another sum, and moves rcx past them. */
  const look = (count: number): void => {
    for (let i = 0; i < count; i++) add(i, { base: rcx, displacement: i * half * elementBytes });
    code.arithmeticWith("add", rcx, count * half * elementBytes);
    code.arithmeticWith("sub", rax, count * half * elementBytes);
  };

  code.load(r10, { base: rcx, displacement: 8 * rowBytesAt });
  code.load(rcx, { base: rdi });
  code.load(r8, { base: rdi, displacement: isOpen ? 16 : 8 }); //  behind the sizes
  code.address(r8, { base: r8, index: rsi, scale: elementBytes });
  code.load(r9, rsi);
  code.multiply(r9, r10);
  code.arithmetic("add", rcx, r9); //  rcx moves from row to row: rows follow one another without gaps

  code.place(row);
  code.arithmetic("cmp", rsi, rdx);
  code.jumpIf("aboveOrEqual", done);
  for (const sum of sums) code.vector("xor", sum, sum, sum);
  code.load(rax, r10);
  code.place(wide);
  code.arithmeticWith("cmp", rax, sums.length * half * elementBytes);
  code.jumpIf("below", narrow);
  look(sums.length);
  code.jump(wide);
  code.place(narrow);
  code.arithmeticWith("cmp", rax, half * elementBytes);
  code.jumpIf("below", tail);
  look(1);
  code.jump(narrow);
  code.place(tail);
  code.arithmeticWith("cmp", rax, 0); //  bytes that are left
  code.jumpIf("zero", complete);
  code.address(r9, { label: maskEnd });
  code.arithmetic("sub", r9, rax);
  code.vectorLoad(maskRegister, { base: r9 });
  code.vectorLoadMasked(rest, { base: rcx }, maskRegister);
  add(1, rest);
  code.arithmetic("add", rcx, rax);

  code.place(complete);
  for (let count = sums.length / 2; count >= 1; count /= 2)
    for (let i = 0; i < count; i++) code.doublesAdd(sums[i]!, sums[i]!, sums[i + count]!);
  const [sum, other] = sums as [Vector, Vector];
  code.secondHalf(other, sum);
  code.doublesAdd(sum, sum, other);
  code.doublesAddNeighbours(sum, sum, sum);
  code.doublesSqrt(sum, sum);
  code.singlesFrom(sum, sum);
  code.address(r9, { label: maskEnd });
  code.vectorLoad(maskRegister, { base: r9, displacement: -elementBytes });
  code.vectorStoreMasked({ base: r8 }, sum, maskRegister);
  code.arithmeticWith("add", r8, elementBytes);
  code.arithmeticWith("add", rsi, 1);
  code.jump(row);

  code.place(done);
  code.vectorEnd();
  code.ret();
  code.align(vectorBytes);
  code.data(new Uint8Array(vectorBytes).fill(0xff));
  code.place(maskEnd);
  code.data(new Uint8Array(vectorBytes));
}
