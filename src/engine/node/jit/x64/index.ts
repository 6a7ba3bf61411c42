/** The code generator for x64 with AVX2 and fused multiply-add, with System V's calling convention. */
import type { AnyKernelOp } from "../../../../kernel/kernel.ts";
import type { Field } from "../custom-op.ts";
import type { CodeGenerator } from "../generator.ts";
import { Assembler, Label, rdi, rsi } from "./assembler.ts";
import { writeKernel } from "./function.ts";
import { writeFunctions, writeMayInplace } from "./functions.ts";
import { writeGuard } from "./guard.ts";
import { writeLengths } from "./lengths.ts";
import { limits } from "./limits.ts";
import { hasAvx2 } from "./processor.ts";
import { writeProduct } from "./product.ts";
import { writeRandom } from "./random.ts";

export const x64: CodeGenerator = {
  name: "x64",
  limits,
  canRun: (ort, memory) => process.platform === "linux" && process.arch === "x64" && hasAvx2(ort, memory),
  shared() {
    const code = new Assembler();
    const functions = Object.entries(writeFunctions(code));
    const unmap = begin(code, 16);
    code.load(rsi, { base: rdi });
    code.jumpTo({ base: rdi, displacement: BigUint64Array.BYTES_PER_ELEMENT });
    return {
      bytes: code.finish(),
      functions: new Map(functions.map(([name, label]) => [name as Field, label.at!])),
      unmap: unmap.at!,
    };
  },
  program(ops, head) {
    const code = new Assembler();
    code.data(new Uint8Array(head));
    const known = new Map<string, Label>();
    const labels = ops.map(({ op, key, inPlace }) => {
      const main = known.get(key) ?? begin(code, 64);
      if (!known.has(key)) write(code, op);
      known.set(key, main);
      const mayInplace = begin(code, 64);
      writeMayInplace(code, inPlace);
      return { main, mayInplace };
    });
    return {
      bytes: code.finish(),
      functions: labels.map(({ main }) => main.at!),
      mayInplace: labels.map(({ mayInplace }) => mayInplace.at!),
    };
  },
};

function begin(code: Assembler, alignment: number): Label {
  const label = new Label();
  code.align(alignment);
  code.place(label);
  return label;
}

function write(code: Assembler, op: AnyKernelOp): void {
  if ("kernel" in op) writeKernel(code, op);
  else if ("sizes" in op) writeGuard(code, op);
  else if ("width" in op) writeLengths(code, op);
  else if ("form" in op) writeProduct(code, op);
  else writeRandom(code, op);
}
