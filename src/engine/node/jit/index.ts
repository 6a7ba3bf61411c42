/** Compiles kernels to machine code for this processor, and gives them to ONNX Runtime as custom ops. */
import { EngineError } from "../../../errors.ts";
import { paramsKey } from "../../../graph/text.ts";
import {
  type AnyKernelOp,
  type GuardOp,
  guardSizes,
  isFlat,
  type KernelOp,
  kernelDomain,
  type LengthsOp,
  lengthsSizes,
  type RandomOp,
  randomSizes,
  sizesOf,
} from "../../../kernel/kernel.ts";
import type { OrtApi, Pointer } from "../ort-api.ts";
import { CodeMemory } from "./code-memory.ts";
import { Assembler, Label, rdi, rsi } from "./x64/assembler.ts";
import { type CustomOp, customOp, writeFunctions, writeMayInplace } from "./x64/custom-op.ts";
import { writeKernel } from "./x64/function.ts";
import { writeGuard } from "./x64/guard.ts";
import { writeLengths } from "./x64/lengths.ts";
import { hasAvx2 } from "./x64/processor.ts";
import { writeRandom } from "./x64/random.ts";

/** A domain of custom ops, for the options of one session. */
export interface KernelDomain {
  readonly pointer: Pointer;
  /** Frees the domain and its code; call it after the session was released. */
  free(): void;
}

/**
 * The head before a program's code has two words: the number of bytes, and the address of munmap. They are used to free the memory when a
 * thread ends without freeing it.
 */
const headWords = 2;

/** Compiles kernels for ONNX Runtime; each JavaScript thread has one such object. */
export class Kernels {
  readonly #ort: OrtApi;
  readonly #memory: CodeMemory;
  /** The addresses of the functions that all custom ops share, by field; they stay until the process ends. */
  readonly #functions: ReadonlyMap<string, Pointer>;
  /** The address of a function that frees the memory of a program's code; its parameter is the address of the code's head. */
  readonly #unmap: Pointer;
  readonly #munmap: Pointer;

  private constructor(ort: OrtApi, memory: CodeMemory) {
    this.#ort = ort;
    this.#memory = memory;
    const code = new Assembler();
    const functions = Object.entries(writeFunctions(code));
    const unmap = new Label();
    code.align(16);
    code.place(unmap);
    code.load(rsi, { base: rdi });
    code.jumpTo({ base: rdi, displacement: BigUint64Array.BYTES_PER_ELEMENT });
    const { address } = memory.place(code.finish());
    const find = ort.koffi.load(null).func("uintptr_t dlsym(void *library, const char *name)");
    this.#munmap = BigInt(find(null, "munmap") as number | bigint);
    this.#unmap = address + BigInt(unmap.at!);
    this.#functions = new Map(functions.map(([name, label]) => [name, address + BigInt(label.at!)]));
  }

  /** Returns undefined unless this machine has Linux on x64 with AVX2, and the system lets the process create code. */
  static for(ort: OrtApi): Kernels | undefined {
    if (process.platform !== "linux" || process.arch !== "x64") return undefined;
    let memory: CodeMemory;
    try {
      memory = new CodeMemory(ort);
    } catch {
      return undefined; //  no glibc
    }
    try {
      return hasAvx2(ort, memory) ? new Kernels(ort, memory) : undefined;
    } catch (error) {
      if (error instanceof EngineError) return undefined; //  the system does not let the process create code
      throw error;
    }
  }

  /**
   * Returns a domain with a program's kernels, for a session with `threads` threads. Throws EngineError if there is no memory for their
   * code.
   */
  domain(ops: readonly AnyKernelOp[], threads: number): KernelDomain {
    const code = new Assembler();
    const head = new BigUint64Array(headWords);
    code.data(new Uint8Array(head.buffer)); //  reserves room; it is filled in when the size of the code is known
    const labels = new Map<string, Label>();
    const begin = (): Label => {
      const label = new Label();
      code.align(64);
      code.place(label);
      return label;
    };
    const written = ops.map((op) => {
      const form = formOf(op, threads);
      const known = labels.get(form.key);
      const main = known ?? begin();
      if (!known) form.write(code);
      labels.set(form.key, main);
      const mayInplace = begin();
      writeMayInplace(code, form.inPlace);
      return { op, form, main, mayInplace };
    });
    const bytes = code.finish();
    head.set([BigInt(bytes.length), this.#munmap]);
    bytes.set(new Uint8Array(head.buffer));
    const placed = this.#memory.place(bytes);
    this.#ort.end.add(this.#unmap, placed.address);
    const at = (label: Label): Pointer => placed.address + BigInt(label.at!);
    const structs = written.map(({ op: { name }, form: { work }, main, mayInplace }) =>
      customOp(this.#ort, this.#functions, { name, ...work, code: at(main), mayInplace: at(mayInplace) }),
    );
    const pointer = this.#ort.create("CreateCustomOpDomain", kernelDomain);
    this.#ort.releaseAtEnd("ReleaseCustomOpDomain", pointer);
    for (const { address } of structs) this.#ort.call("CustomOpDomain_Add", pointer, address);
    return {
      pointer,
      free: () => {
        this.#ort.release("ReleaseCustomOpDomain", pointer);
        this.#ort.end.remove(this.#unmap, placed.address);
        placed.free();
        structs.length = 0; //  kept until now, because ONNX Runtime knows only their addresses
      },
    };
  }
}

/** The parts of a kernel, guard, draw or lengths op that the domain needs. */
interface Form {
  /** Equal for ops with the same code. */
  readonly key: string;
  write(code: Assembler): void;
  /** Pairs of an input and an output that may share memory. */
  readonly inPlace: readonly (readonly [input: number, output: number])[];
  readonly work: Omit<CustomOp, "name" | "code" | "mayInplace">;
}

function formOf(op: AnyKernelOp, threads: number): Form {
  if ("kernel" in op) return formOfKernel(op, threads);
  if ("sizes" in op) return formOfGuard(op, threads);
  return "width" in op ? formOfLengths(op, threads) : formOfRandom(op, threads);
}

const floats = { inputType: "float32", outputType: "float32" } as const;

function formOfKernel(op: KernelOp, threads: number): Form {
  const { kernel, shapes, open } = op;
  const { inputs, outputs } = kernel;
  // Outputs that take turns are parts of one tensor, which is larger than any input that is read element by element.
  const full = inputs.flatMap((layout, i) => (layout === "full" && !kernel.takeTurns ? [i] : []));
  const sizes = open ? undefined : sizesOf(kernel, shapes, threads);
  return {
    key: codeKey(op),
    write: (code) => writeKernel(code, op),
    inPlace: outputs.flatMap((_, output) => full.map((input) => [input, output] as const)),
    work: { ...floats, inputs: inputs.length, shapes, sizes },
  };
}

function formOfGuard(op: GuardOp, threads: number): Form {
  const { length } = op.sizes;
  const sizes = op.isOpen ? undefined : guardSizes(op.sizes, threads);
  return {
    key: `guard ${length} ${op.isOpen}`,
    write: (code) => writeGuard(code, op),
    inPlace: [],
    work: { ...floats, inputs: length, shapes: [[]], sizes },
  };
}

function formOfLengths(op: LengthsOp, threads: number): Form {
  const { shape, isOpen } = op;
  const sizes = isOpen ? undefined : lengthsSizes(op, threads);
  return {
    key: `lengths ${isOpen}`,
    write: (code) => writeLengths(code, op),
    inPlace: [],
    work: { ...floats, inputs: 1, shapes: [shape], sizes },
  };
}

function formOfRandom(op: RandomOp, threads: number): Form {
  const { bits, dtype, shape, isOpen } = op;
  const sizes = isOpen ? undefined : randomSizes(op, threads);
  return {
    key: paramsKey(["random", bits, dtype, isOpen]),
    write: (code) => writeRandom(code, op),
    inPlace: [],
    work: { inputType: "int32", outputType: dtype, inputs: 1, shapes: [shape], sizes },
  };
}

/** Returns a key that is equal for kernels with the same code. The code for a single row does not depend on its length. */
function codeKey({ kernel, open }: KernelOp): string {
  const { inputs, steps, outputs, takeTurns = false, width } = kernel;
  const row = isFlat(kernel) ? "one row" : open?.widthIsOpen ? "any width" : width;
  return paramsKey([inputs, steps, outputs, takeTurns, row, kernel.size === width, open !== undefined]);
}
