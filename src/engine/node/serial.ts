/** How many elements ONNX Runtime's thread pool leaves to one thread. */
import { requirePackage } from "./packages.ts";

/**
 * ONNX Runtime splits a loop between threads if its estimated cost is at least 110,000 cycles; for ScatterND the estimate is the number of
 * elements that it adds. These numbers were read in the sources, release by release: other releases may have other numbers.
 */
const known: Readonly<Record<string, number>> = { "1.30": 2 ** 16 };

/** Returns `Target.serialElements` for sessions with a number of threads. */
export function serialElements(threads: number): number | undefined {
  if (threads === 1) return Number.POSITIVE_INFINITY;
  const { version } = requirePackage("onnxruntime-node/package.json") as { version: string };
  return known[version.split(".", 2).join(".")];
}
