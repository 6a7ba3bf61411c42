/**
 * ONNX Runtime's C API, called through koffi: the library file inside onnxruntime-node, without its JavaScript binding.
 * Everything native that lives as long as the process (library, environment, thread pool) is made here, once.
 */
import { EngineError } from "../../errors.ts";
import type { OnnxType } from "../../graph/op.ts";
import { type Koffi, libraryFile, loadForGood, loadKoffi } from "./library.ts";
import { runtimeError } from "./runtime-error.ts";
import { switchTelemetryOff } from "./telemetry.ts";
import { type ThreadEnd, threadEnd } from "./thread-end.ts";

/** An address in native memory. */
export type Pointer = bigint;

/** The type of an output parameter, through which a function returns the handle that it makes. */
const made = "made";

/** The functions used here. */
type FunctionName =
  | "CreateStatus"
  | "GetErrorMessage"
  | "DisableTelemetryEvents"
  | "CreateRunOptions"
  | "RunOptionsSetTerminate"
  | "ReleaseRunOptions"
  | "CreateSessionFromArray"
  | "Run"
  | "CreateSessionOptions"
  | "EnableProfiling"
  | "DisableMemPattern"
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
  | "AddExternalInitializers"
  | "ReleaseCustomOpDomain"
  | "CreateTensorWithDataAsOrtValue"
  | "CreateCpuMemoryInfo"
  | "AllocatorFree"
  | "GetAllocatorWithDefaultOptions"
  | "ReleaseStatus"
  | "ReleaseMemoryInfo"
  | "ReleaseSession"
  | "ReleaseValue"
  | "ReleaseSessionOptions"
  | "SessionEndProfiling"
  | "CreateEnvWithGlobalThreadPools"
  | "DisablePerSessionThreads"
  | "CreateThreadingOptions"
  | "ReleaseThreadingOptions"
  | "AddSessionConfigEntry"
  | "CreateAndRegisterAllocator"
  | "CreateArenaCfg"
  | "ReleaseArenaCfg"
  | "SetGlobalIntraOpNumThreads"
  | "SetGlobalInterOpNumThreads"
  | "SetGlobalDenormalAsZero";

/** Position, result, parameters. */
type Signature = readonly [position: number, result: string, parameters: readonly string[]];

/**
 * The functions' positions in the table of onnxruntime_c_api.h, and their types. Releases only append to that table. A function that
 * returns `void*` returns a status, null for success.
 */
const functions: Readonly<Record<FunctionName, Signature>> = {
  CreateStatus: [0, "void*", ["int", "str"]],
  GetErrorMessage: [2, "str", ["void*"]],
  DisableTelemetryEvents: [6, "void*", ["void*"]],
  CreateSessionFromArray: [8, "void*", ["void*", "void*", "size_t", "void*", "void*"]],
  Run: [9, "void*", ["void*", "void*", "void*", "void*", "size_t", "void*", "size_t", "void*"]],
  CreateSessionOptions: [10, "void*", [made]],
  EnableProfiling: [14, "void*", ["void*", process.platform === "win32" ? "str16" : "str"]],
  DisableMemPattern: [17, "void*", ["void*"]],
  SetSessionGraphOptimizationLevel: [23, "void*", ["void*", "int"]],
  SetIntraOpNumThreads: [24, "void*", ["void*", "int"]],
  SetInterOpNumThreads: [25, "void*", ["void*", "int"]],
  CreateCustomOpDomain: [26, "void*", ["str", made]],
  CustomOpDomain_Add: [27, "void*", ["void*", "void*"]],
  AddCustomOpDomain: [28, "void*", ["void*", "void*"]],
  CreateRunOptions: [39, "void*", [made]],
  RunOptionsSetTerminate: [46, "void*", ["void*"]],
  CreateTensorWithDataAsOrtValue: [49, "void*", ["void*", "void*", "size_t", "int64_t*", "size_t", "int", made]],
  GetTensorMutableData: [51, "void*", ["void*", "void*"]],
  CreateCpuMemoryInfo: [69, "void*", ["int", "int", made]],
  AllocatorFree: [76, "void*", ["void*", "void*"]],
  GetAllocatorWithDefaultOptions: [78, "void*", [made]],
  KernelContext_GetInput: [90, "void*", ["void*", "size_t", "void*"]],
  KernelContext_GetOutput: [91, "void*", ["void*", "size_t", "int64_t*", "size_t", "void*"]],
  ReleaseStatus: [93, "void", ["void*"]],
  ReleaseMemoryInfo: [94, "void", ["void*"]],
  ReleaseSession: [95, "void", ["void*"]],
  ReleaseValue: [96, "void", ["void*"]],
  ReleaseRunOptions: [97, "void", ["void*"]],
  ReleaseSessionOptions: [100, "void", ["void*"]],
  ReleaseCustomOpDomain: [101, "void", ["void*"]],
  SessionEndProfiling: [110, "void*", ["void*", "void*", "void*"]],
  CreateEnvWithGlobalThreadPools: [119, "void*", ["int", "str", "void*", made]],
  DisablePerSessionThreads: [120, "void*", ["void*"]],
  CreateThreadingOptions: [121, "void*", [made]],
  ReleaseThreadingOptions: [122, "void", ["void*"]],
  AddSessionConfigEntry: [130, "void*", ["void*", "str", "str"]],
  CreateAndRegisterAllocator: [144, "void*", ["void*", "void*", "void*"]],
  SetGlobalIntraOpNumThreads: [147, "void*", ["void*", "int"]],
  SetGlobalInterOpNumThreads: [148, "void*", ["void*", "int"]],
  SetGlobalDenormalAsZero: [155, "void*", ["void*"]],
  CreateArenaCfg: [156, "void*", ["size_t", "int", "int", "int", made]],
  ReleaseArenaCfg: [157, "void", ["void*"]],
  AddExternalInitializers: [210, "void*", ["void*", "void*", "void*", "size_t"]],
  KernelContext_ParallelFor: [274, "void*", ["void*", "void*", "size_t", "size_t", "void*"]],
};

type Native = (...args: readonly unknown[]) => unknown;

/** The version of the table that has all of the above; a newer library serves older tables too. */
const tableVersion = 18;

/** ONNX's numbers for element types. */
export const elementTypes: Readonly<Record<OnnxType, number>> = {
  float32: 1,
  float64: 11,
  int32: 6,
  bool: 9,
  int64: 7,
  uint32: 12,
  uint64: 13,
};

/** ORT_LOGGING_LEVEL_FATAL: lesser errors are returned as a status, and need not be printed too. */
const quiet = 4;

/** A function's address and how many parameters it takes. */
export interface Entry {
  readonly address: Pointer;
  readonly parameters: number;
}

type ReleaseName = Extract<FunctionName, `Release${string}`>;

/** The C API of the one loaded library. */
export interface OrtApi {
  /** koffi, for addresses of typed arrays. */
  readonly koffi: Koffi;
  /** Calls a function that returns a status. Throws EngineError in ONNX Runtime's own words when it is not success. */
  call(name: FunctionName, ...args: readonly unknown[]): void;
  /** Calls a function whose last parameter is a new handle, and returns the handle. Throws as `call` does. */
  create(name: FunctionName, ...args: readonly unknown[]): Pointer;
  /** Calls a Release function. */
  release(name: ReleaseName, pointer: Pointer): void;
  /** Makes sure that a Release function is called when this thread ends, unless `release` is called before. */
  releaseAtEnd(name: ReleaseName, pointer: Pointer): void;
  /** The list of functions that are called when this thread ends. */
  readonly end: ThreadEnd;
  /** Throws EngineError when a status (0 for success) says that `subject` failed, and releases the status. */
  check(subject: string, status: Pointer): void;
  /** The address of a function. */
  address(name: FunctionName): Pointer;
  /** The address and the number of parameters of a function, which another thread needs to call it. */
  entry(name: FunctionName): Entry;
  /** Sleeps in native code; the termination of a worker waits until native code returns. */
  sleep(milliseconds: number): void;
  /** The description of CPU memory that CreateTensorWithDataAsOrtValue takes. */
  readonly cpuMemory: Pointer;
  /** Returns the environment of the process. The first call sets the number of threads in the pool that sessions share. */
  environment(threads: number): Environment;
}

/** ONNX Runtime's environment: one for each process, kept until its end. */
export interface Environment {
  readonly pointer: Pointer;
  /**
   * The size of the thread pool that sessions share; 0 if there is no such pool. Sharing matters: a session with its own pool takes
   * 15–30 ms to make on two cores, and 150 ms with eight threads, instead of 0.4 ms; and each such session keeps its threads.
   */
  poolThreads: number;
}

// One API object for each thread, even when this module is loaded twice.
const kept = globalThis as { [key: symbol]: OrtApi | undefined };
const key = Symbol.for("glissade.onnxruntime");

/** Returns the API of the library, which is loaded once for each thread. Throws EngineError if koffi or the library is missing. */
export function loadOrt(): OrtApi {
  kept[key] ??= open();
  return kept[key];
}

function open(): OrtApi {
  const koffi = loadKoffi();
  const file = libraryFile();
  switchTelemetryOff(koffi);
  const library = loadForGood(koffi, file);

  const pointers = (at: Pointer, count: number): BigUint64Array => new BigUint64Array(koffi.view(at, 8 * count));
  const base = library.func("OrtGetApiBase", "uint64_t", [])() as number | bigint;
  const [getApi] = pointers(BigInt(base), 1);
  const api = (koffi.decode(getApi, koffi.proto("void*", ["uint32_t"])) as Native)(tableVersion) as Pointer | null;
  if (!api)
    throw new EngineError(
      "node engine",
      `the library does not serve version ${tableVersion} of the C API`,
      "install onnxruntime-node 1.18 or newer",
    );
  const positions = Object.values(functions).map(([position]) => position);
  const table = pointers(api, Math.max(...positions) + 1);
  const callable = ([name, [position, result, parameters]]: [string, Signature]): [string, Native] => {
    const types = parameters.map((type) => (type === made ? "void*" : type));
    return [name, koffi.decode(table[position], koffi.proto(result, types)) as Native];
  };
  const calls = Object.fromEntries(Object.entries(functions).map(callable)) as Record<FunctionName, Native>;
  const address = (name: FunctionName): Pointer => table[functions[name][0]]!;
  const end = threadEnd(koffi);

  const check: OrtApi["check"] = (subject, status) => {
    if (!status) return;
    const message = calls.GetErrorMessage(status) as string;
    calls.ReleaseStatus(status);
    throw runtimeError(subject, message);
  };
  const call: OrtApi["call"] = (name, ...args) => check(name, (calls[name](...args) as Pointer | null) ?? 0n);
  // koffi's output parameters are not used: koffi throws when it fills them in a worker that is being terminated, and ends the process.
  const handle = new BigUint64Array(1);
  const create: OrtApi["create"] = (name, ...args) => {
    call(name, ...args, handle);
    return handle[0]!;
  };
  const release: OrtApi["release"] = (name, pointer) => {
    end.remove(address(name), pointer);
    calls[name](pointer);
  };

  /** Makes one memory arena for all sessions. Otherwise each session would keep its own arena, as large as its largest run needs. */
  const shareArena = (environment: Pointer): void => {
    const [inArena, ordinary, unlimited, byDefault] = [1, 0, 0, -1];
    const memory = create("CreateCpuMemoryInfo", inArena, ordinary);
    const settings = create("CreateArenaCfg", unlimited, byDefault, byDefault, byDefault);
    // A status here means that another thread of the process has made the arena already.
    const status = calls.CreateAndRegisterAllocator(environment, memory, settings) as Pointer | null;
    if (status) calls.ReleaseStatus(status);
    release("ReleaseArenaCfg", settings);
    release("ReleaseMemoryInfo", memory);
  };

  let environment: Environment | undefined;
  return {
    koffi,
    call,
    create,
    release,
    check,
    address,
    entry: (name) => ({ address: address(name), parameters: functions[name][2].length }),
    sleep: sleepOf(koffi),
    end,
    releaseAtEnd: (name, pointer) => end.add(address(name), pointer),
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
      shareArena(environment.pointer);
      // Needed if other code in this process has loaded the library before.
      call("DisableTelemetryEvents", environment.pointer);
      return environment;
    },
  };
}

/** Returns libuv's sleep function. Hosts other than Node may lack it: then the function returned does not wait. */
function sleepOf(koffi: Koffi): (milliseconds: number) => void {
  try {
    return koffi.load(null).func("void uv_sleep(unsigned int milliseconds)") as (milliseconds: number) => void;
  } catch {
    return () => {};
  }
}
