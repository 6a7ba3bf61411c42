/** Environment variables of the node engine, validated when they are read. */
import { availableParallelism } from "node:os";
import { ConfigError } from "../../errors.ts";

export type Implementation = "direct" | "binding";

export interface NodeEnvironment {
  /** GLISSADE_THREADS, threads inside an op. Default: as many as the machine runs at once. */
  readonly threads: number;
  /** GLISSADE_ENGINE, how ONNX Runtime is reached. Default: direct, and the binding where that fails. */
  readonly implementation: Implementation | undefined;
}

/** Reads the variables. Throws ConfigError for values they cannot have. */
export function readEnvironment(environment: Readonly<Record<string, string | undefined>> = process.env): NodeEnvironment {
  const { GLISSADE_THREADS: threads, GLISSADE_ENGINE: implementation } = environment;
  if (implementation !== undefined && implementation !== "direct" && implementation !== "binding")
    throw new ConfigError("GLISSADE_ENGINE", `the engine is "${implementation}"`, 'use "direct" or "binding", or leave it unset');
  return {
    threads: threads === undefined ? availableParallelism() : expectThreads("GLISSADE_THREADS", Number(threads)),
    implementation,
  };
}

/** Throws ConfigError unless the number of threads is a whole number from 1 to 1024. */
export function expectThreads(subject: string, threads: number): number {
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024)
    throw new ConfigError(subject, `the number of threads is ${threads}`, "give a whole number from 1 to 1024");
  return threads;
}
