/** Environment variables of the node engine, validated when they are read. */
import { availableParallelism } from "node:os";
import { ConfigError } from "../../errors.ts";

/** How ONNX Runtime is called: through its C API, or through onnxruntime-node's JavaScript binding. */
export type Implementation = "direct" | "binding";

export interface NodeEnvironment {
  /** GLISSADE_THREADS: threads inside an op, a positive integer. Default: as many as the machine runs at once. */
  readonly threads: number;
  /** GLISSADE_ENGINE: how ONNX Runtime is called. Default: direct, and the binding if direct does not load. */
  readonly implementation: Implementation | undefined;
  /** GLISSADE_KERNELS: "on", or "off" or "0": whether kernels are compiled. Default: on. */
  readonly kernels: boolean;
  /** GLISSADE_DUMP_CODE: a folder for the machine code of kernels. Default: none is written. */
  readonly dumpFolder: string | undefined;
  /**
   * GLISSADE_CACHE_DIR: the folder where programs are kept for later processes, or "off". False if it is "off". Default: undefined, which is
   * `glissade` in the system's folder for caches.
   */
  readonly cacheDir: string | false | undefined;
}

/** Reads the variables. Throws ConfigError for invalid values. */
export function readEnvironment(
  variables: Readonly<Record<string, string | undefined>> = process.env,
): NodeEnvironment {
  const { GLISSADE_THREADS: threads, GLISSADE_ENGINE: implementation, GLISSADE_KERNELS: kernels } = variables;
  const { GLISSADE_DUMP_CODE: dumpFolder, GLISSADE_CACHE_DIR: cacheDir } = variables;
  return {
    threads: threads === undefined ? availableParallelism() : expectThreads("GLISSADE_THREADS", threads),
    implementation: expectImplementation("GLISSADE_ENGINE", implementation),
    kernels: expectSwitch("GLISSADE_KERNELS", kernels),
    dumpFolder: dumpFolder === undefined ? undefined : expectFolder("GLISSADE_DUMP_CODE", dumpFolder),
    cacheDir: cacheDir === undefined ? undefined : cacheDir !== "off" && expectFolder("GLISSADE_CACHE_DIR", cacheDir),
  };
}

const mostThreads = 1024;

/** The number of threads, given as a number or as text. Throws ConfigError unless it is an integer from 1 to 1024. */
export function expectThreads(subject: string, value: number | string): number {
  const threads = /^\d+$/.test(String(value)) ? Number(value) : Number.NaN;
  if (threads >= 1 && threads <= mostThreads) return threads;
  throw new ConfigError(subject, `the number of threads is "${value}"`, `give an integer from 1 to ${mostThreads}`);
}

/** Returns the implementation, or undefined. Throws ConfigError if no implementation has that name. */
export function expectImplementation(subject: string, value: string | undefined): Implementation | undefined {
  if (value === undefined || value === "direct" || value === "binding") return value;
  throw new ConfigError(subject, `there is no implementation "${value}"`, 'use "direct" or "binding", or leave it out');
}

/** Returns the path of a folder. Throws ConfigError for an empty text. */
export function expectFolder(subject: string, value: string): string {
  if (value !== "" && !value.includes("\0")) return value;
  throw new ConfigError(subject, "it is empty", "give the path of a folder, or leave it out");
}

/** Returns whether a switch is on; it is on if the variable is not set. Throws ConfigError for a value other than "on", "off" and "0". */
function expectSwitch(subject: string, value: string | undefined): boolean {
  if (value === undefined || value === "on") return true;
  if (value === "off" || value === "0") return false;
  throw new ConfigError(subject, `"${value}" is neither on nor off`, 'use "on" or "off", or leave it out');
}
