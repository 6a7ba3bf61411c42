/** Flushes denormal floats to zero on the caller's thread during one native call, and restores the setting after it. */
import type { OrtApi } from "./ort-api.ts";

/** Runs native code with denormal floats flushed to zero. The call must not run JavaScript computations, which would be affected too. */
export type Flushed = <T>(call: () => T) => T;

/** Bits of the register MXCSR: results flushed to zero, denormal operands taken for zero. */
const mxcsr = 0x8040;

/** Returns the function for this platform. On platforms such as arm64 it only makes the call (see native-thread.ts). */
export function flushedDenormals({ koffi }: OrtApi): Flushed {
  if (process.arch !== "x64") return (call) => call();
  if (process.platform === "win32") {
    const control = koffi.load("ucrtbase.dll").func("int _controlfp_s(void *current, uint32_t value, uint32_t mask)");
    const mask = 0x03000000; //  _MCW_DN
    const current = new Uint32Array(1);
    return (call) => {
      control(current, 0, 0);
      const [before] = current;
      control(current, 0x01000000 /* _DN_FLUSH */, mask);
      try {
        return call();
      } finally {
        control(current, before, mask);
      }
    };
  }
  if (process.platform !== "linux") return (call) => call();
  const libm = koffi.load("libm.so.6");
  const read = libm.func("int fegetenv(void *environment)");
  const write = libm.func("int fesetenv(void *environment)");
  const before = new Uint32Array(8); //  fenv_t: MXCSR is the last word
  const flushing = new Uint32Array(8);
  const kept = libm; //  koffi unloads a library that no object refers to
  return (call) => {
    void kept;
    read(before);
    flushing.set(before);
    flushing[7]! |= mxcsr;
    write(flushing);
    try {
      return call();
    } finally {
      write(before);
    }
  };
}
