/** Kernels on this processor: compiled to machine code once for the process, and given to ONNX Runtime as custom ops. */
import { type Kernel, type KernelOp, kernelDomain } from "../../../graph/kernel.ts";
import { paramsKey } from "../../../graph/text.ts";
import type { OrtApi, Pointer } from "../ort-api.ts";
import { Assembler, Label, r8, rax, rbx, rcx, rdi, rdx } from "./assembler.ts";
import { placeCode } from "./code-memory.ts";
import { type CustomOpStruct, customOp, writeFunctions } from "./custom-op.ts";
import { unitsOf, writeKernel } from "./elementwise.ts";

/** A domain of custom ops, for the options of one session. */
export interface KernelDomain {
  readonly pointer: Pointer;
  /** What must live as long as the session. */
  readonly memory: readonly unknown[];
}

/** So many elements, read or written, are worth another part: handing one over costs some microseconds. */
const elementsInPart = 2 ** 16;

/** Elements of a flat kernel are given out in whole cache lines, so that no two threads write to the same. */
const elementsInLine = 16;

export class Kernels {
  readonly #ort: OrtApi;
  /** The functions of custom ops. */
  readonly #functions: ReadonlyMap<string, Pointer>;
  /** The code of kernels by their text. */
  readonly #code = new Map<string, Pointer>();

  private constructor(ort: OrtApi) {
    this.#ort = ort;
    const code = new Assembler();
    const functions = Object.entries(writeFunctions(code));
    const at = placeCode(ort, code.finish());
    this.#functions = new Map(functions.map(([name, label]) => [name, at + BigInt(label.at!)]));
  }

  /** Nothing where this processor or system has not what it takes: x64 with AVX2, Linux, and leave to make code. */
  static for(ort: OrtApi): Kernels | undefined {
    if (process.platform !== "linux" || process.arch !== "x64") return undefined;
    try {
      return hasAvx2(ort) ? new Kernels(ort) : undefined;
    } catch {
      return undefined;
    }
  }

  /** A domain with a program's kernels. It is released with ReleaseCustomOpDomain, behind the session. */
  domain(ops: readonly KernelOp[], threads: number): KernelDomain {
    this.#compile(ops.map(({ kernel }) => kernel));
    const structs = ops.map((op) => this.#struct(op, threads));
    const name = new TextEncoder().encode(`${kernelDomain}\0`);
    const pointer = this.#ort.create("CreateCustomOpDomain", kernelDomain);
    for (const { address } of structs) this.#ort.call("CustomOpDomain_Add", pointer, address);
    return { pointer, memory: [structs, name] };
  }

  #struct({ name, kernel, shapes }: KernelOp, threads: number): CustomOpStruct {
    const { inputs, outputs, size, width } = kernel;
    const streams = inputs.filter((layout) => layout === "full").length + outputs.length;
    const units = unitsOf(kernel);
    return customOp(this.#ort, this.#functions, {
      name,
      inputs: inputs.length,
      shapes,
      code: this.#code.get(paramsKey(kernel))!,
      units,
      unitsInLine: size === width ? elementsInLine : 1,
      parts: Math.max(1, Math.min(threads, Math.floor((streams * size) / elementsInPart))),
    });
  }

  /** Writes the code of those that are new, side by side. */
  #compile(kernels: readonly Kernel[]): void {
    const code = new Assembler();
    const written = new Map<string, Label>();
    for (const kernel of kernels) {
      const text = paramsKey(kernel);
      if (this.#code.has(text) || written.has(text)) continue;
      const label = new Label();
      code.align(64);
      code.place(label);
      written.set(text, label);
      writeKernel(code, kernel);
    }
    if (written.size === 0) return;
    const at = placeCode(this.#ort, code.finish());
    for (const [text, label] of written) this.#code.set(text, at + BigInt(label.at!));
  }
}

/** Asks the processor for AVX2, and whether the system keeps those registers. */
function hasAvx2(ort: OrtApi): boolean {
  const code = new Assembler();
  // bits(leaf, subleaf): ebx << 32 | ecx of cpuid; or, for leaf −1, eax of xgetbv.
  const system = new Label();
  code.push(rbx);
  code.load(rax, rdi);
  code.load(rcx, 6);
  code.arithmeticWith("cmp", rdi, -1);
  code.jumpIf("zero", system);
  code.cpuid();
  code.load(r8, rbx);
  code.shiftLeft(r8, 32);
  code.load(rax, rcx);
  code.arithmetic("or", rax, r8);
  code.pop(rbx);
  code.ret();
  code.place(system);
  code.number(rcx, 0);
  code.xgetbv();
  code.pop(rbx);
  code.ret();
  void rdx;
  const { koffi } = ort;
  const bits = koffi.proto("uint64_t", ["int64_t", "int64_t"]);
  const at = placeCode(ort, code.finish());
  const ask = (leaf: number, subleaf: number): bigint => BigInt(koffi.call(at, bits, leaf, subleaf));
  const isSet = (value: bigint, bit: number): boolean => ((value >> BigInt(bit)) & 1n) === 1n;
  const [osxsave, avx, avx2, xmmAndYmm] = [27, 28, 32 + 5, 0b110n];
  const first = ask(1, 0);
  if (!isSet(first, osxsave) || !isSet(first, avx)) return false;
  return (ask(-1, 0) & xmmAndYmm) === xmmAndYmm && isSet(ask(7, 0), avx2);
}
