/** Machine code for random bits: Philox4x32-10 (src/random/philox.ts), eight blocks of four words at once. */
import { type RandomOp, randomUnit, rowBytesAt } from "../../../../kernel/kernel.ts";
import { multipliers, rounds, weyl } from "../../../../random/philox.ts";
import {
  type Assembler,
  Label,
  type Memory,
  r8,
  r9,
  r10,
  r11,
  rax,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  type Vector,
} from "./assembler.ts";
import { lanes, maskRegister } from "./steps.ts";

const elementBytes = 4;
const vectorBytes = lanes * elementBytes;
/** Elements of a unit: those of eight blocks. */
const unitElements = randomUnit;

/** Four words of four blocks: each word in the lower half of 64 bits. What the upper half holds does not matter. */
type Chain = [Vector, Vector, Vector, Vector];

const [m0, m1, k0, k1]: Chain = [10, 11, 12, 13];
/** The first words of the counters of the four blocks of the first chain. */
const index: Vector = 14;

/**
 * Writes the function `void random(void **addresses, int64 begin, int64 end, int64 *sizes)`. `addresses` has the addresses of a generator's
 * state, of the sizes if each run gives them, and of the output. `begin` and `end` say which of the op's units to draw. `sizes` is as
 * `randomSizes` returns it.
 */
export function writeRandom(
  code: Assembler,
  { bits, dtype, isOpen }: Pick<RandomOp, "bits" | "dtype" | "isOpen">,
): void {
  const [unit, tail, next, end] = [new Label(), new Label(), new Label(), new Label()];
  const maskEnd = new Label();
  const repeated = (): Label => new Label();
  const [factor0, factor1, step0, step1, firstLanes, unitBlocks, halfUnit] = Array.from({ length: 7 }, repeated) as [
    Label,
    Label,
    Label,
    Label,
    Label,
    Label,
    Label,
  ];
  const word = (n: number): Memory => ({ base: r8, displacement: n * elementBytes });
  const scratch: Memory = { base: rsp, displacement: -8 }; //  the red zone below the stack: a function without calls may write there

  code.load(r8, { base: rdi });
  code.load(r9, { base: rcx, displacement: 8 * rowBytesAt });
  code.load(rcx, { base: rdi, displacement: isOpen ? 16 : 8 });
  code.vectorLoad(m0, { label: factor0 });
  code.vectorLoad(m1, { label: factor1 });
  // rcx points into the output; rsi counts units; r9 is the number of elements that are left.
  code.load(rax, rsi);
  code.shiftLeft(rax, Math.log2(lanes));
  code.store(scratch, rax);
  code.vectorBroadcast(index, scratch);
  code.vectorIntegers("add", index, index, { label: firstLanes });
  code.load(rax, rsi);
  code.shiftLeft(rax, Math.log2(unitElements));
  code.address(rcx, { base: rcx, index: rax, scale: elementBytes });
  code.arithmetic("sub", r9, rax);
  code.arithmetic("cmp", rsi, rdx);
  code.jumpIf("aboveOrEqual", end);

  code.place(unit);
  const chains: readonly Chain[] = [
    [0, 1, 2, 3],
    [4, 5, 6, 7],
  ];
  let spare: [Vector, Vector] = [8, 9];
  for (const [i, [c0, c1, c2, c3]] of chains.entries()) {
    if (i === 0) code.vectorLoad(c0, index);
    else code.vectorIntegers("add", c0, index, { label: halfUnit });
    code.vectorBroadcast(c1, word(3));
    code.vectorBroadcast(c2, word(2));
    code.vectorIntegers("xor", c3, c3, c3);
  }
  code.vectorBroadcast(k0, word(0));
  code.vectorBroadcast(k1, word(1));
  for (let round = 0; round < rounds; round++) {
    for (const chain of chains as Chain[]) {
      const [c0, c1, c2, c3] = chain;
      const [p0, p1] = spare;
      code.vectorMultiplyWide(p0, c0, m0);
      code.vectorMultiplyWide(p1, c2, m1);
      code.vectorShiftWide("right", c0, p1, 32);
      code.vectorIntegers("xor", c0, c0, c1);
      code.vectorIntegers("xor", c0, c0, k0);
      code.vectorShiftWide("right", c2, p0, 32);
      code.vectorIntegers("xor", c2, c2, c3);
      code.vectorIntegers("xor", c2, c2, k1);
      // The lower halves of the products are words 1 and 3 of the next round. The registers that had these words are free now.
      [chain[1], chain[3], spare] = [p1, p0, [c1, c3]];
    }
    if (round === rounds - 1) break;
    code.vectorIntegers("add", k0, k0, { label: step0 });
    code.vectorIntegers("add", k1, k1, { label: step1 });
  }
  code.vectorIntegers("add", index, index, { label: unitBlocks });

  // Puts the words of each block side by side. The lanes have blocks 0, 2, 1, 3, so that unpacking gives blocks 0, 1 and then 2, 3.
  const results = chains.flatMap(([c0, c1, c2, c3]) => {
    code.vectorShiftWide("left", c1, c1, 32);
    code.vectorBlend(c0, c0, c1, oddLanes);
    code.vectorShiftWide("left", c3, c3, 32);
    code.vectorBlend(c2, c2, c3, oddLanes);
    code.vectorUnpack("low", c1, c0, c2);
    code.vectorUnpack("high", c3, c0, c2);
    return [c1, c3];
  });
  for (const result of results) {
    if (bits < 32) code.vectorShift("rightUnsigned", result, result, 32 - bits);
    if (dtype === "float32") code.vectorFromIntegers(result, result);
  }
  code.arithmeticWith("cmp", r9, unitElements);
  code.jumpIf("less", tail);
  for (const [i, result] of results.entries()) code.vectorStore({ base: rcx, displacement: i * vectorBytes }, result);
  code.jump(next);

  code.place(tail);
  code.number(r10, 0);
  code.number(r11, lanes);
  for (const [i, result] of results.entries()) {
    code.load(rax, r9);
    code.arithmeticWith("sub", rax, i * lanes);
    code.arithmeticWith("cmp", rax, 0);
    code.moveIf("lessOrEqual", rax, r10);
    code.arithmeticWith("cmp", rax, lanes);
    code.moveIf("greater", rax, r11);
    code.shiftLeft(rax, Math.log2(elementBytes));
    code.address(rdi, { label: maskEnd });
    code.arithmetic("sub", rdi, rax);
    code.vectorLoad(maskRegister, { base: rdi });
    code.vectorStoreMasked({ base: rcx, displacement: i * vectorBytes }, result, maskRegister);
  }

  code.place(next);
  code.arithmeticWith("add", rcx, unitElements * elementBytes);
  code.arithmeticWith("sub", r9, unitElements);
  code.arithmeticWith("add", rsi, 1);
  code.arithmetic("cmp", rsi, rdx);
  code.jumpIf("below", unit);
  code.place(end);
  code.vectorEnd();
  code.ret();

  const vector = (label: Label, ...values: readonly number[]): void => {
    code.place(label);
    const all = Array.from({ length: lanes }, (_, i) => values[i % values.length]! >>> 0);
    code.data(new Uint8Array(Uint32Array.from(all).buffer));
  };
  code.align(vectorBytes);
  vector(factor0, multipliers[0]);
  vector(factor1, multipliers[1]);
  vector(step0, weyl[0]);
  vector(step1, weyl[1]);
  vector(firstLanes, 0, 0, 2, 0, 1, 0, 3, 0);
  vector(unitBlocks, lanes);
  vector(halfUnit, lanes / 2);
  code.data(new Uint8Array(vectorBytes).fill(0xff));
  code.place(maskEnd);
  code.data(new Uint8Array(vectorBytes));
}

/** The lanes of 32 bits that come from the second operand of a blend. */
const oddLanes = 0b10101010;
