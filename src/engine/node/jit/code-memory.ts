/** Memory for machine code: it is writable first, then executable, never both at once. */
import type { LibraryHandle } from "koffi";
import { EngineError } from "../../../errors.ts";
import type { OrtApi, Pointer } from "../ort-api.ts";

const readWrite = 1 | 2;
const readExecute = 1 | 4;
const privateAnonymous = 0x02 | 0x20;
const failed = 2n ** 64n - 1n;

/** Code in its own memory. */
export interface PlacedCode {
  readonly address: Pointer;
  /** Gives the memory back; no thread may be running the code. */
  free(): void;
}

/** Allocates and frees memory for code through system calls. */
export class CodeMemory {
  /** Kept, because koffi unloads a library that no object refers to. */
  readonly #libc: LibraryHandle;
  readonly #map: (...args: unknown[]) => unknown;
  readonly #copy: (...args: unknown[]) => unknown;
  readonly #protect: (...args: unknown[]) => unknown;
  readonly #unmap: (...args: unknown[]) => unknown;

  /** Throws if the C library of Linux is missing. */
  constructor({ koffi }: Pick<OrtApi, "koffi">) {
    const libc = koffi.load("libc.so.6");
    this.#libc = libc;
    this.#map = libc.func("uintptr_t mmap(void *at, size_t bytes, int access, int flags, int file, int64_t offset)");
    this.#copy = libc.func("uintptr_t memcpy(uintptr_t to, const uint8_t *from, size_t bytes)");
    this.#protect = libc.func("int mprotect(uintptr_t at, size_t bytes, int access)");
    this.#unmap = libc.func("int munmap(uintptr_t at, size_t bytes)");
  }

  /** Puts code into executable memory. Throws EngineError if the system does not let a process create code. */
  place(code: Uint8Array): PlacedCode {
    void this.#libc;
    const address = BigInt(this.#map(null, code.length, readWrite, privateAnonymous, -1, 0) as bigint | number);
    if (address === failed) throw refused("mmap", code.length);
    this.#copy(address, code, code.length);
    if (this.#protect(address, code.length, readExecute) !== 0) {
      this.#unmap(address, code.length);
      throw refused("mprotect", code.length);
    }
    return { address, free: () => void this.#unmap(address, code.length) };
  }
}

function refused(call: string, bytes: number): EngineError {
  return new EngineError(
    "node engine",
    `${call} gives no ${bytes} bytes for compiled kernels`,
    "set GLISSADE_KERNELS=off if this system forbids processes to make code",
  );
}
