/** What a generator of machine code is. There is one for each kind of processor, in a folder of its own; each is tried in turn. */
import type { AnyKernelOp, KernelLimits } from "../../../kernel/kernel.ts";
import type { OrtApi } from "../ort-api.ts";
import type { CodeMemory } from "./code-memory.ts";
import type { Field } from "./custom-op.ts";

/** A kernel op to write code for. */
export interface OpToWrite {
  readonly op: AnyKernelOp;
  /** Equal for ops with the same code, which is written once. */
  readonly key: string;
  /** Pairs of an input and an output that may share memory. */
  readonly inPlace: readonly (readonly [input: number, output: number])[];
}

/** The code of a program's ops. Places are in bytes from its begin. */
export interface ProgramCode {
  readonly bytes: Uint8Array;
  /**
   * For each op: its function `void op(void **addresses, int64 begin, int64 end, int64 *sizes)`, which computes the units from `begin` to
   * `end`. `addresses` has the addresses of the inputs, of the sizes if each run gives them, then of the outputs. `sizes` is as `sizesOf`,
   * `guardSizes`, `lengthsSizes`, `productSizes` or `randomSizes` returns it.
   */
  readonly functions: readonly number[];
  /** For each op: its function GetMayInplace of ONNX Runtime's struct. It does not get the struct, so each op has its own. */
  readonly mayInplace: readonly number[];
}

/** The code that all custom ops share. Places are in bytes from its begin. */
export interface SharedCode {
  readonly bytes: Uint8Array;
  /** The functions of ONNX Runtime's struct, by their fields. */
  readonly functions: ReadonlyMap<Field, number>;
  /** The function `int unmap(void *code)`, which calls munmap on a program's code: the code begins with its size and munmap's address. */
  readonly unmap: number;
}

/** Writes machine code for one kind of processor. */
export interface CodeGenerator {
  readonly name: string;
  readonly limits: KernelLimits;
  /** Whether this processor and system run its code. Throws EngineError if the system does not let a process create code. */
  canRun(ort: OrtApi, memory: CodeMemory): boolean;
  shared(): SharedCode;
  /** Writes a program's ops, behind `head` bytes that stay free. */
  program(ops: readonly OpToWrite[], head: number): ProgramCode;
}
