/** ONNX Runtime's C API, called through koffi: the library file inside onnxruntime-node, without its JavaScript binding. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import koffi from "koffi";
import { EngineError } from "../../errors.ts";
import type { DType } from "../../graph/types.ts";

/** An address in native memory. */
export type Pointer = bigint;

/** Where onnxruntime-node keeps the library for each platform. */
const files: Readonly<Record<string, string>> = {
  "linux-x64": "linux/x64/libonnxruntime.so.1",
  "linux-arm64": "linux/arm64/libonnxruntime.so.1",
  "darwin-arm64": "darwin/arm64/libonnxruntime.1.dylib",
  "win32-x64": "win32/x64/onnxruntime.dll",
  "win32-arm64": "win32/arm64/onnxruntime.dll",
};

/** A parameter's type, `out` where the function writes a handle. */
type Parameter = string | ReturnType<typeof koffi.out>;
const out: Parameter = koffi.out(koffi.pointer("void*"));

/**
 * The functions used here: position in the table of onnxruntime_c_api.h (append-only, so a position never changes), result
 * and parameters. Functions that return a status give 0 for success.
 */
type FunctionName =
  | "GetErrorMessage"
  | "CreateEnv"
  | "CreateSessionFromArray"
  | "Run"
  | "CreateSessionOptions"
  | "EnableProfiling"
  | "SetSessionGraphOptimizationLevel"
  | "SetIntraOpNumThreads"
  | "SetInterOpNumThreads"
  | "CreateTensorWithDataAsOrtValue"
  | "CreateCpuMemoryInfo"
  | "AllocatorFree"
  | "GetAllocatorWithDefaultOptions"
  | "ReleaseStatus"
  | "ReleaseSession"
  | "ReleaseValue"
  | "ReleaseSessionOptions"
  | "SessionEndProfiling"
  | "AddSessionConfigEntry";

const functions: Readonly<Record<FunctionName, readonly [position: number, result: string, parameters: readonly Parameter[]]>> = {
  GetErrorMessage: [2, "str", ["void*"]],
  CreateEnv: [3, "void*", ["int", "str", out]],
  CreateSessionFromArray: [8, "void*", ["void*", "void*", "size_t", "void*", "void*"]],
  Run: [9, "void*", ["void*", "void*", "void*", "void*", "size_t", "void*", "size_t", "void*"]],
  CreateSessionOptions: [10, "void*", [out]],
  EnableProfiling: [14, "void*", ["void*", process.platform === "win32" ? "str16" : "str"]],
  SetSessionGraphOptimizationLevel: [23, "void*", ["void*", "int"]],
  SetIntraOpNumThreads: [24, "void*", ["void*", "int"]],
  SetInterOpNumThreads: [25, "void*", ["void*", "int"]],
  CreateTensorWithDataAsOrtValue: [49, "void*", ["void*", "void*", "size_t", "int64_t*", "size_t", "int", out]],
  CreateCpuMemoryInfo: [69, "void*", ["int", "int", out]],
  AllocatorFree: [76, "void*", ["void*", "void*"]],
  GetAllocatorWithDefaultOptions: [78, "void*", [out]],
  ReleaseStatus: [93, "void", ["void*"]],
  ReleaseSession: [95, "void", ["void*"]],
  ReleaseValue: [96, "void", ["void*"]],
  ReleaseSessionOptions: [100, "void", ["void*"]],
  SessionEndProfiling: [110, "void*", ["void*", "void*", out]],
  AddSessionConfigEntry: [130, "void*", ["void*", "str", "str"]],
};

/** The version of the table that has all of the above; a newer library serves an older table. */
const tableVersion = 23;
const tableLength = 131;

/** ONNX's numbers for element types. */
export const elementTypes: Readonly<Record<DType, number>> = { float32: 1, float64: 11, int32: 6, bool: 9 };

/** The C API of one loaded library. */
export interface Ort {
  readonly version: string;
  /** Calls a function that returns a status. Throws EngineError with ONNX Runtime's own words when it is not success. */
  call(name: FunctionName, ...args: readonly unknown[]): void;
  /** Calls a function whose last parameter takes what it makes, and returns that. */
  create(name: FunctionName, ...args: readonly unknown[]): Pointer;
  /** Calls a function that returns nothing. */
  release(name: "ReleaseSession" | "ReleaseValue" | "ReleaseSessionOptions", handle: Pointer): void;
  /** Throws EngineError when a status is not success, and releases it. */
  check(subject: string, status: Pointer | null): void;
  /** The address of a function, for calls from another thread. */
  address(name: "Run" | "CreateSessionFromArray"): Pointer;
  readonly environment: Pointer;
  readonly cpuMemory: Pointer;
}

// koffi unloads a library whose object has been collected, and the next call would be a segmentation fault: what is native
// hangs from the process itself.
const kept = globalThis as { __glissadeOrt?: Ort; __glissadeLibrary?: unknown };

/** Loads the library, once for the process. Throws EngineError when there is none for this platform. */
export function loadOrt(): Ort {
  kept.__glissadeOrt ??= open();
  return kept.__glissadeOrt;
}

function libraryFile(): string {
  const platform = `${process.platform}-${process.arch}`;
  const file = files[platform];
  if (!file)
    throw new EngineError("node engine", `onnxruntime-node has no library for ${platform}`, "use the web engine there");
  const manifest = createRequire(import.meta.url).resolve("onnxruntime-node/package.json");
  const full = path.join(path.dirname(manifest), "bin/napi-v6", file);
  if (!existsSync(full))
    throw new EngineError("node engine", `${full} is missing`, "install onnxruntime-node again: npm ci");
  return full;
}

function open(): Ort {
  const library = koffi.load(libraryFile());
  kept.__glissadeLibrary = library;
  const ApiBase = koffi.struct({ GetApi: "void*", GetVersionString: "void*" });
  const base = koffi.decode(library.func("OrtGetApiBase", koffi.pointer(ApiBase), [])(), ApiBase) as {
    GetApi: Pointer;
    GetVersionString: Pointer;
  };
  const version = koffi.call(base.GetVersionString, koffi.proto("str GetVersionString()")) as string;
  const api = koffi.call(base.GetApi, koffi.proto("void* GetApi(uint32_t version)"), tableVersion) as Pointer;
  const table = koffi.decode(api, koffi.array("void*", tableLength)) as Pointer[];
  const calls = Object.fromEntries(
    Object.entries(functions).map(([name, [position, result, parameters]]) => [
      name,
      koffi.decode(table[position], koffi.proto(name, result, [...parameters])) as (...args: unknown[]) => unknown,
    ]),
  ) as Record<FunctionName, (...args: unknown[]) => unknown>;

  const check = (subject: string, status: Pointer | null): void => {
    if (!status) return;
    const message = calls.GetErrorMessage(status) as string;
    calls.ReleaseStatus(status);
    throw new EngineError("ONNX Runtime", `${subject} failed: ${message}`, hintFor(message));
  };
  const call: Ort["call"] = (name, ...args) => check(name, calls[name](...args) as Pointer | null);
  const create: Ort["create"] = (name, ...args) => {
    const handle: [Pointer | null] = [null];
    call(name, ...args, handle);
    return handle[0]!;
  };
  const logErrorsOnly = 3;
  return {
    version,
    call,
    create,
    check,
    release: (name, handle) => void calls[name](handle),
    address: (name) => table[functions[name][0]]!,
    environment: create("CreateEnv", logErrorsOnly, "glissade"),
    cpuMemory: create("CreateCpuMemoryInfo", 0, 0),
  };
}

function hintFor(message: string): string {
  if (/out of data bounds|out of bounds|indices element/i.test(message))
    return "an index lies outside of the table it points into: check labels and token ids";
  if (/bad_alloc|allocat/i.test(message)) return "there is not enough memory: use a smaller batch or model";
  if (/NOT_IMPLEMENTED|Could not find an implementation/i.test(message))
    return "ONNX Runtime has no kernel for this dtype: cast to float32";
  return "print the graph with GLISSADE_DEBUG=3 and look at the node it names";
}
