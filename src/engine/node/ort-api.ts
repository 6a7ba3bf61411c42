/**
 * ONNX Runtime's C API, called through koffi: the library file inside onnxruntime-node, without its JavaScript binding.
 * Everything native that lives as long as the process (library, environment, thread pool) is made here, once.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import type { LibraryHandle } from "koffi";
import { EngineError } from "../../errors.ts";
import type { DType } from "../../graph/types.ts";
import { runtimeError } from "./runtime-error.ts";

/** An address in native memory. */
export type Pointer = bigint;

/** Where onnxruntime-node keeps the library, for each platform that it supports. */
const files: Readonly<Record<string, string>> = {
  "linux-x64": "linux/x64/libonnxruntime.so.1",
  "linux-arm64": "linux/arm64/libonnxruntime.so.1",
  "darwin-arm64": "darwin/arm64/libonnxruntime.1.dylib",
  "win32-x64": "win32/x64/onnxruntime.dll",
  "win32-arm64": "win32/arm64/onnxruntime.dll",
};

/** A parameter through which a function returns the handle it makes. */
const made = "made";

/** The functions used here. */
type FunctionName =
  | "GetErrorMessage"
  | "CreateSessionFromArray"
  | "Run"
  | "CreateSessionOptions"
  | "EnableProfiling"
  | "SetSessionGraphOptimizationLevel"
  | "SetIntraOpNumThreads"
  | "SetInterOpNumThreads"
  | "CreateCustomOpDomain"
  | "CustomOpDomain_Add"
  | "AddCustomOpDomain"
  | "GetTensorMutableData"
  | "KernelContext_GetInput"
  | "KernelContext_GetOutput"
  | "KernelContext_ParallelFor"
  | "ReleaseCustomOpDomain"
  | "CreateTensorWithDataAsOrtValue"
  | "CreateCpuMemoryInfo"
  | "AllocatorFree"
  | "GetAllocatorWithDefaultOptions"
  | "ReleaseStatus"
  | "ReleaseSession"
  | "ReleaseValue"
  | "ReleaseSessionOptions"
  | "SessionEndProfiling"
  | "CreateEnvWithGlobalThreadPools"
  | "DisablePerSessionThreads"
  | "CreateThreadingOptions"
  | "ReleaseThreadingOptions"
  | "AddSessionConfigEntry"
  | "SetGlobalIntraOpNumThreads"
  | "SetGlobalInterOpNumThreads"
  | "SetGlobalDenormalAsZero";

/** Position, result, parameters. */
type Signature = readonly [position: number, result: string, parameters: readonly string[]];

/**
 * Their positions in the table of onnxruntime_c_api.h, which only ever grows at its end, and their types. What returns `void*` returns a status, null for success.
 */
const functions: Readonly<Record<FunctionName, Signature>> = {
  GetErrorMessage: [2, "str", ["void*"]],
  CreateSessionFromArray: [8, "void*", ["void*", "void*", "size_t", "void*", "void*"]],
  Run: [9, "void*", ["void*", "void*", "void*", "void*", "size_t", "void*", "size_t", "void*"]],
  CreateSessionOptions: [10, "void*", [made]],
  EnableProfiling: [14, "void*", ["void*", process.platform === "win32" ? "str16" : "str"]],
  SetSessionGraphOptimizationLevel: [23, "void*", ["void*", "int"]],
  SetIntraOpNumThreads: [24, "void*", ["void*", "int"]],
  SetInterOpNumThreads: [25, "void*", ["void*", "int"]],
  CreateCustomOpDomain: [26, "void*", ["str", made]],
  CustomOpDomain_Add: [27, "void*", ["void*", "void*"]],
  AddCustomOpDomain: [28, "void*", ["void*", "void*"]],
  CreateTensorWithDataAsOrtValue: [49, "void*", ["void*", "void*", "size_t", "int64_t*", "size_t", "int", made]],
  GetTensorMutableData: [51, "void*", ["void*", "void*"]],
  CreateCpuMemoryInfo: [69, "void*", ["int", "int", made]],
  AllocatorFree: [76, "void*", ["void*", "void*"]],
  GetAllocatorWithDefaultOptions: [78, "void*", [made]],
  KernelContext_GetInput: [90, "void*", ["void*", "size_t", "void*"]],
  KernelContext_GetOutput: [91, "void*", ["void*", "size_t", "int64_t*", "size_t", "void*"]],
  ReleaseStatus: [93, "void", ["void*"]],
  ReleaseSession: [95, "void", ["void*"]],
  ReleaseValue: [96, "void", ["void*"]],
  ReleaseSessionOptions: [100, "void", ["void*"]],
  ReleaseCustomOpDomain: [101, "void", ["void*"]],
  SessionEndProfiling: [110, "void*", ["void*", "void*", "void*"]],
  CreateEnvWithGlobalThreadPools: [119, "void*", ["int", "str", "void*", made]],
  DisablePerSessionThreads: [120, "void*", ["void*"]],
  CreateThreadingOptions: [121, "void*", [made]],
  ReleaseThreadingOptions: [122, "void", ["void*"]],
  AddSessionConfigEntry: [130, "void*", ["void*", "str", "str"]],
  SetGlobalIntraOpNumThreads: [147, "void*", ["void*", "int"]],
  SetGlobalInterOpNumThreads: [148, "void*", ["void*", "int"]],
  SetGlobalDenormalAsZero: [155, "void*", ["void*"]],
  KernelContext_ParallelFor: [274, "void*", ["void*", "void*", "size_t", "size_t", "void*"]],
};

type Native = (...args: readonly unknown[]) => unknown;

/** The version of the table that has all of the above; a newer library serves older tables too. */
const tableVersion = 18;

/** ONNX's numbers for element types. */
export const elementTypes: Readonly<Record<DType, number>> = { float32: 1, float64: 11, int32: 6, bool: 9 };

/** ORT_LOGGING_LEVEL_FATAL: what is less comes back as a status, and would be printed besides. */
const quiet = 4;

/** The C API of the one loaded library. */
export interface OrtApi {
  /** koffi, for addresses of typed arrays. */
  readonly koffi: typeof import("koffi");
  /** Calls a function that returns a status. Throws EngineError in ONNX Runtime's own words when it is not success. */
  call(name: FunctionName, ...args: readonly unknown[]): void;
  /** Calls a function whose last parameter returns the handle it makes; gives that handle. Throws as `call` does. */
  create(name: FunctionName, ...args: readonly unknown[]): Pointer;
  /** Calls a Release function. */
  release(name: Extract<FunctionName, `Release${string}`>, handle: Pointer): void;
  /** Throws EngineError when a status (0 for success) says that `subject` failed, and releases the status. */
  check(subject: string, status: Pointer): void;
  /** The address of a function, for calls from another thread. */
  address(name: FunctionName): Pointer;
  /** Describes memory of the CPU to CreateTensorWithDataAsOrtValue. */
  readonly cpuMemory: Pointer;
  /** The process's environment. The first call decides how many threads the pool that sessions share has. */
  environment(threads: number): Environment;
}

/** ONNX Runtime's environment: one for each process, kept until its end. */
export interface Environment {
  readonly pointer: Pointer;
  /**
   * Size of the thread pool that sessions share; 0 for no such pool. Sharing matters: a session with a pool of its own takes
   * 15–30 ms to make on two cores and 150 with eight threads, instead of 0.4, and each keeps its threads.
   */
  poolThreads: number;
}

// koffi unloads a library whose object has been collected, and the next call would be a segmentation fault: what is native
// hangs from the process itself, also when this module is loaded twice.
const kept = globalThis as { [key: symbol]: OrtApi | undefined };
const key = Symbol.for("glissade.onnxruntime");

/** The library, loaded once for the process. Throws EngineError where koffi or the library is missing. */
export function loadOrt(): OrtApi {
  kept[key] ??= open();
  return kept[key];
}

function libraryFile(require: NodeJS.Require): string {
  const platform = `${process.platform}-${process.arch}`;
  const file = files[platform];
  if (!file)
    throw new EngineError("node engine", `onnxruntime-node has no library for ${platform}`, "use the web engine there");
  const manifest = require.resolve("onnxruntime-node/package.json");
  const full = path.join(path.dirname(manifest), "bin/napi-v6", file);
  if (!existsSync(full)) throw new EngineError("node engine", `${full} is missing`, "install onnxruntime-node again");
  return full;
}

function loadKoffi(require: NodeJS.Require): typeof import("koffi") {
  try {
    // Not an import: the fallback must work where koffi has no build for the platform.
    return require("koffi") as typeof import("koffi");
  } catch (cause) {
    const problem = `koffi does not load: ${(cause as Error).message.split("\n")[0]}`;
    throw new EngineError("node engine", problem, "install koffi with its optional dependencies", "", { cause });
  }
}

function open(): OrtApi & { readonly library: LibraryHandle } {
  const require = createRequire(import.meta.url);
  const koffi = loadKoffi(require);
  const library = koffi.load(libraryFile(require));

  const ApiBase = koffi.struct({ GetApi: "void*", GetVersionString: "void*" });
  const base = koffi.decode(library.func("OrtGetApiBase", koffi.pointer(ApiBase), [])(), ApiBase) as {
    GetApi: Pointer;
  };
  const api = koffi.call(base.GetApi, koffi.proto("void*", ["uint32_t"]), tableVersion) as Pointer | null;
  if (!api)
    throw new EngineError(
      "node engine",
      `the library does not serve version ${tableVersion} of the C API`,
      "install onnxruntime-node 1.18 or newer",
    );
  const positions = Object.values(functions).map(([position]) => position);
  const table = koffi.decode(api, koffi.array("void*", Math.max(...positions) + 1)) as Pointer[];
  const makes = koffi.out(koffi.pointer("void*"));
  const callable = ([name, [position, result, parameters]]: [string, Signature]): [string, Native] => {
    const types = parameters.map((type) => (type === made ? makes : type));
    return [name, koffi.decode(table[position], koffi.proto(result, types)) as Native];
  };
  const calls = Object.fromEntries(Object.entries(functions).map(callable)) as Record<FunctionName, Native>;

  const check: OrtApi["check"] = (subject, status) => {
    if (!status) return;
    const message = calls.GetErrorMessage(status) as string;
    calls.ReleaseStatus(status);
    throw runtimeError(subject, message);
  };
  const call: OrtApi["call"] = (name, ...args) => check(name, (calls[name](...args) as Pointer | null) ?? 0n);
  const create: OrtApi["create"] = (name, ...args) => {
    const handle: [Pointer | null] = [null];
    call(name, ...args, handle);
    return handle[0]!;
  };
  const release: OrtApi["release"] = (name, handle) => void calls[name](handle);

  let environment: Environment | undefined;
  return {
    koffi,
    library,
    call,
    create,
    release,
    check,
    address: (name) => table[functions[name][0]]!,
    cpuMemory: create("CreateCpuMemoryInfo", 0, 0),
    environment(threads) {
      if (environment) return environment;
      const options = create("CreateThreadingOptions");
      call("SetGlobalIntraOpNumThreads", options, threads);
      call("SetGlobalInterOpNumThreads", options, 1);
      call("SetGlobalDenormalAsZero", options);
      environment = {
        pointer: create("CreateEnvWithGlobalThreadPools", quiet, "glissade", options),
        poolThreads: threads,
      };
      release("ReleaseThreadingOptions", options);
      return environment;
    },
  };
}
