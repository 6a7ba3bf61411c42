/** Memory for machine code: written first, then made executable, never both at once. */
import { EngineError } from "../../../errors.ts";
import type { OrtApi, Pointer } from "../ort-api.ts";

const readWrite = 1 | 2;
const readExecute = 1 | 4;
const privateAnonymous = 0x02 | 0x20;
const failed = 2n ** 64n - 1n;

/**
 * Puts code into memory of its own, where it stays until the process ends. Throws EngineError where the system does not let a process make
 * code.
 */
export function placeCode({ koffi }: OrtApi, code: Uint8Array): Pointer {
  const libc = koffi.load("libc.so.6");
  const map = libc.func("uintptr_t mmap(void *at, size_t bytes, int access, int flags, int file, int64_t offset)");
  const copy = libc.func("uintptr_t memcpy(uintptr_t to, const uint8_t *from, size_t bytes)");
  const protect = libc.func("int mprotect(uintptr_t at, size_t bytes, int access)");
  const at = BigInt(map(null, code.length, readWrite, privateAnonymous, -1, 0));
  if (at === failed) throw refused("mmap");
  copy(at, code, code.length);
  if (protect(at, code.length, readExecute) !== 0) throw refused("mprotect");
  return at;
}

function refused(call: string): EngineError {
  return new EngineError("node engine", `the system gives no memory for code (${call})`, "run without kernels");
}
