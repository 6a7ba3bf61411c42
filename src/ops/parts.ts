/**
 * Kernels over a short axis in the middle of a tensor. Each position along this axis is a part: it consists of the rows on the axes behind
 * it.
 */
import type { Target } from "../graph/target.ts";
import { sizeOf, type TensorType } from "../graph/types.ts";
import { type Kernel, type KernelValue, KernelWriter } from "../kernel/kernel.ts";

/** The shortest rows for which it pays that a kernel goes row by row. */
const shortestRow = 32;

/** The number of parts, the width of their rows, and the number of their rows. */
export interface Parts {
  readonly of: number;
  readonly width: number;
  readonly rows: number;
}

/**
 * Returns a tensor's parts along an axis; undefined if the target makes no kernels, or if a kernel does not pay or has too many streams. It
 * has one stream for each part, and `streams` more.
 */
export function partsOf(
  { shape, dtype }: TensorType,
  axis: number,
  target: Target,
  streams: number,
): Parts | undefined {
  const [of, width, rows] = [shape[axis]!, sizeOf(shape.slice(axis + 1)), sizeOf(shape.slice(0, axis))];
  const { kernels: limits } = target;
  if (!limits || dtype !== "float32" || of <= 1 || width < shortestRow || rows === 0) return undefined;
  return of + streams <= limits.streams && of * width <= limits.rowElements ? { of, width, rows } : undefined;
}

/** Makes a kernel that reads all parts of a tensor, and `others` more inputs, each as large as a part. The other inputs come first. */
export function partsKernel(
  { of, width, rows }: Parts,
  others: number,
  write: (
    writer: KernelWriter,
    parts: readonly KernelValue[],
    others: readonly KernelValue[],
  ) => readonly KernelValue[],
  takeTurns: boolean,
): Kernel {
  const writer = new KernelWriter();
  const rest = Array.from({ length: others }, () => writer.input("full"));
  const parts = Array.from({ length: of }, (_, part) => writer.input({ part, of }));
  const outputs = write(writer, parts, rest);
  return { inputs: writer.inputs, steps: writer.steps, outputs, takeTurns, size: rows * width, width };
}
