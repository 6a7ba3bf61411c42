/** Compiles kernels to machine code for this processor, and gives them to ONNX Runtime as custom ops. */
import { EngineError } from "../../../errors.ts";
import { paramsKey } from "../../../graph/text.ts";
import {
  type AnyKernelOp,
  type GuardOp,
  guardSizes,
  isFlat,
  type KernelLimits,
  type KernelOp,
  kernelDomain,
  type LengthsOp,
  lengthsSizes,
  type RandomOp,
  randomSizes,
  sizesOf,
} from "../../../kernel/kernel.ts";
import { type ProductOp, productSizes } from "../../../kernel/product.ts";
import type { OrtApi, Pointer } from "../ort-api.ts";
import { CodeMemory } from "./code-memory.ts";
import { type CustomOp, customOp, type Field } from "./custom-op.ts";
import { dumpOf } from "./dump.ts";
import type { CodeGenerator } from "./generator.ts";
import { x64 } from "./x64/index.ts";

/** The generators, in the order in which they are tried. */
const generators: readonly CodeGenerator[] = [x64];

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
  /** The largest kernels that it compiles. */
  readonly limits: KernelLimits;
  readonly #ort: OrtApi;
  readonly #memory: CodeMemory;
  readonly #generator: CodeGenerator;
  /** The addresses of the functions that all custom ops share, by field; they stay until the process ends. */
  readonly #functions: ReadonlyMap<Field, Pointer>;
  /** The address of a function that frees the memory of a program's code; its parameter is the address of the code's head. */
  readonly #unmap: Pointer;
  readonly #munmap: Pointer;

  private constructor(ort: OrtApi, memory: CodeMemory, generator: CodeGenerator) {
    this.#ort = ort;
    this.#memory = memory;
    this.#generator = generator;
    this.limits = generator.limits;
    const { bytes, functions, unmap } = generator.shared();
    const { address } = memory.place(bytes);
    const find = ort.koffi.load(null).func("uintptr_t dlsym(void *library, const char *name)");
    this.#munmap = BigInt(find(null, "munmap") as number | bigint);
    this.#unmap = address + BigInt(unmap);
    this.#functions = new Map([...functions].map(([name, at]) => [name, address + BigInt(at)]));
  }

  /** Returns undefined unless a generator has code for this machine, and the system lets the process create code. */
  static for(ort: OrtApi): Kernels | undefined {
    let memory: CodeMemory;
    try {
      memory = new CodeMemory(ort);
    } catch {
      return undefined; //  no glibc
    }
    try {
      const generator = generators.find((each) => each.canRun(ort, memory));
      return generator && new Kernels(ort, memory, generator);
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
    const head = new BigUint64Array(headWords);
    const forms = ops.map((op) => formOf(op, threads));
    const written = ops.map((op, i) => ({ op, key: forms[i]!.key, inPlace: forms[i]!.inPlace }));
    const { bytes, functions, mayInplace } = this.#generator.program(written, head.byteLength);
    dumpOf(this.#generator.name, written, { bytes, functions, mayInplace });
    head.set([BigInt(bytes.length), this.#munmap]);
    bytes.set(new Uint8Array(head.buffer));
    const placed = this.#memory.place(bytes);
    this.#ort.end.add(this.#unmap, placed.address);
    const at = (place: number): Pointer => placed.address + BigInt(place);
    const structs = ops.map(({ name }, i) =>
      customOp(this.#ort, this.#functions, {
        name,
        ...forms[i]!.work,
        code: at(functions[i]!),
        mayInplace: at(mayInplace[i]!),
      }),
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

/** The parts of a kernel, guard, draw, lengths or product op that the domain needs. */
interface Form {
  /** Equal for ops with the same code. */
  readonly key: string;
  /** Pairs of an input and an output that may share memory. */
  readonly inPlace: readonly (readonly [input: number, output: number])[];
  readonly work: Omit<CustomOp, "name" | "code" | "mayInplace">;
}

function formOf(op: AnyKernelOp, threads: number): Form {
  if ("kernel" in op) return formOfKernel(op, threads);
  if ("sizes" in op) return formOfGuard(op, threads);
  if ("width" in op) return formOfLengths(op, threads);
  return "form" in op ? formOfProduct(op, threads) : formOfRandom(op, threads);
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
    inPlace: outputs.flatMap((_, output) => full.map((input) => [input, output] as const)),
    work: { ...floats, inputs: inputs.length, shapes, sizes },
  };
}

function formOfGuard(op: GuardOp, threads: number): Form {
  const { length } = op.sizes;
  const sizes = op.isOpen ? undefined : guardSizes(op.sizes, threads);
  return {
    key: `guard ${length} ${op.isOpen}`,
    inPlace: [],
    work: { ...floats, inputs: length, shapes: [[]], sizes },
  };
}

function formOfLengths(op: LengthsOp, threads: number): Form {
  const { shape, isOpen } = op;
  const sizes = isOpen ? undefined : lengthsSizes(op, threads);
  return {
    key: `lengths ${isOpen}`,
    inPlace: [],
    work: { ...floats, inputs: 1, shapes: [shape], sizes },
  };
}

function formOfProduct(op: ProductOp, threads: number): Form {
  const { form, shape, isOpen } = op;
  const sizes = isOpen ? undefined : productSizes(op, threads);
  return {
    key: paramsKey(["product", form, shape.length, isOpen]),
    inPlace: form.added?.layout === "full" ? [[2, 0]] : [], //  each element of C is read before it is overwritten
    work: { ...floats, inputs: form.added ? 3 : 2, shapes: [shape, [0]], sizes }, //  the second output is working memory
  };
}

function formOfRandom(op: RandomOp, threads: number): Form {
  const { bits, dtype, shape, isOpen } = op;
  const sizes = isOpen ? undefined : randomSizes(op, threads);
  return {
    key: paramsKey(["random", bits, dtype, isOpen]),
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
