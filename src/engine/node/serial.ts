/** What ONNX Runtime's thread pool leaves to one thread. */
import { requirePackage } from "./packages.ts";

/**
 * ONNX Runtime splits a loop between threads by an estimate of its cost in cycles, from 110,000 on; ScatterND gives as many as
 * it adds elements. Read in its sources, release by release: in others it may be another number.
 */
const known: Readonly<Record<string, number>> = { "1.30": 2 ** 16 };

/** What `Target.serialElements` says, for sessions with so many threads. */
export function serialElements(threads: number): number | undefined {
  if (threads === 1) return Number.POSITIVE_INFINITY;
  const { version } = requirePackage("onnxruntime-node/package.json") as { version: string };
  return known[version.split(".", 2).join(".")];
}
