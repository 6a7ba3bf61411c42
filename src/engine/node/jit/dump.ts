/** GLISSADE_DUMP_CODE: writes the machine code of kernels into files, for a disassembler. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { argumentsOf, type Kernel } from "../../../kernel/kernel.ts";
import { readEnvironment } from "../environment.ts";
import type { OpToWrite, ProgramCode } from "./generator.ts";

let programs = 0;

/**
 * Writes a program's code into the folder that GLISSADE_DUMP_CODE names, if it is set: `code-PROCESS-N.bin` with the bytes, and
 * `code-PROCESS-N.txt` with the place of each op's function and what it computes.
 */
export function dumpOf(generator: string, ops: readonly OpToWrite[], { bytes, functions }: ProgramCode): void {
  const { dumpFolder: folder } = readEnvironment();
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `code-${process.pid}-${programs++}`);
  writeFileSync(`${file}.bin`, bytes);
  const lines = ops.map((each, i) => `${functions[i]!.toString(16).padStart(8, "0")} ${described(each)}`);
  writeFileSync(`${file}.txt`, `${generator}, ${bytes.length} bytes\n${lines.join("\n")}\n`);
}

/** An op's name, and the steps of a kernel. */
function described({ op, key }: OpToWrite): string {
  return "kernel" in op ? `${op.name}: ${stepsOf(op.kernel)}` : `${op.name}: ${key}`;
}

/** `%0 = full; %1 = mul %0 %0; writes %1` */
export function stepsOf({ inputs, steps, outputs }: Pick<Kernel, "inputs" | "steps" | "outputs">): string {
  const given = inputs.map((layout) => (typeof layout === "object" ? `part ${layout.part} of ${layout.of}` : layout));
  const made = steps.map((step) => {
    if (typeof step === "number") return `${Object.is(step, -0) ? "-0" : step}`;
    return [step[0], ...argumentsOf(step).map((n) => `%${n}`)].join(" ");
  });
  return [...given, ...made]
    .map((text, n) => `%${n} = ${text}`)
    .concat(`writes ${outputs.map((n) => `%${n}`).join(" ")}`)
    .join("; ");
}
