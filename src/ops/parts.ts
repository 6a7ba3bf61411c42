/** Kernels over a short axis in the middle of a tensor: each element along it is a part of the rows that lie behind it. */
import type { Target } from "../graph/target.ts";
import { sizeOf, type TensorType } from "../graph/types.ts";
import { type Kernel, type KernelValue, KernelWriter, mostStreams } from "../kernel/kernel.ts";

/** The shortest row for which it pays to begin anew with each. */
const shortestRow = 32;
/** The longest tensor, in elements: distances in it are numbers inside instructions, in bytes. */
const longest = 2 ** 29 - 1;

/** How many parts there are, and how long and how many their rows are. */
export interface Parts {
  readonly of: number;
  readonly width: number;
  readonly rows: number;
}

/** A tensor's parts along an axis, where the target makes kernels of them and has room for `streams` beside one for each part. */
export function partsOf(
  { shape, dtype }: TensorType,
  axis: number,
  target: Target,
  streams: number,
): Parts | undefined {
  const [of, width, rows] = [shape[axis]!, sizeOf(shape.slice(axis + 1)), sizeOf(shape.slice(0, axis))];
  const fits = of > 1 && of + streams <= mostStreams && width >= shortestRow && rows > 0 && of * width <= longest;
  return target.kernels && dtype === "float32" && fits ? { of, width, rows } : undefined;
}

/** A kernel that reads all parts of a tensor, and as many others as are wanted row by row; they come first. */
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
