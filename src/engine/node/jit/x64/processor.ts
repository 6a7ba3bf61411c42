/** Asks the processor for its features. */
import type { OrtApi } from "../../ort-api.ts";
import type { CodeMemory } from "../code-memory.ts";
import { Assembler, Label, r8, rax, rbx, rcx, rdi } from "./assembler.ts";

/** A leaf number used here to ask which registers the operating system saves. */
const systemLeaf = -1;

/** int64 ask(int64 leaf): ebx << 32 | ecx of cpuid, subleaf 0; eax of xgetbv for `systemLeaf`. */
function writeQuestion(code: Assembler): void {
  const system = new Label();
  code.push(rbx);
  code.number(rcx, 0);
  code.arithmeticWith("cmp", rdi, systemLeaf);
  code.jumpIf("zero", system);
  code.load(rax, rdi);
  code.cpuid();
  code.load(r8, rbx);
  code.shiftLeft(r8, 32);
  code.load(rax, rcx);
  code.arithmetic("or", rax, r8);
  code.pop(rbx);
  code.ret();
  code.place(system);
  code.xgetbv();
  code.pop(rbx);
  code.ret();
}

/** Whether the processor has AVX2 and fused multiply-add, and the operating system saves the registers that they use. */
export function hasAvx2({ koffi }: Pick<OrtApi, "koffi">, memory: CodeMemory): boolean {
  const code = new Assembler();
  writeQuestion(code);
  const placed = memory.place(code.finish());
  const signature = koffi.proto("uint64_t", ["int64_t"]);
  const ask = (leaf: number): bigint => BigInt(koffi.call(placed.address, signature, leaf) as bigint | number);
  const has = (bits: bigint, ...wanted: readonly number[]): boolean =>
    wanted.every((bit) => (bits >> BigInt(bit)) & 1n);
  try {
    const [fma, osxsave, avx, avx2] = [12, 27, 28, 32 + 5];
    const [xmm, ymm] = [1, 2];
    return has(ask(1), fma, osxsave, avx) && has(ask(7), avx2) && has(ask(systemLeaf), xmm, ymm);
  } finally {
    placed.free();
  }
}
