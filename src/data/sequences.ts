/** Columns of sequences of different lengths, and the padding of their batches. */
import { ConfigError, DataError } from "../errors.ts";
import { aText, described, expectArguments, options as optionsOf, sizes } from "../graph/arguments.ts";
import { allocate, arrayTypes, type DType, type Shape, showShape, sizeOf, type Values } from "../graph/types.ts";
import type { Column } from "./dataset.ts";

/** Options of `sequences`. */
export interface SequencesOptions<D extends DType = DType, R extends Shape = Shape> {
  /** Default `int32`, the dtype of token ids. */
  readonly dtype?: D;
  /** The shape of one step of a sequence: `[]`, the default, if a step is one number; `[12]` if it has 12 features. */
  readonly step?: readonly [...R];
  /** The value with which shorter sequences are padded in a batch. Default 0. */
  readonly padding?: number;
}

/** A column of sequences. Its `shape` is [examples, steps of the longest, …step]. */
export type Sequences<R extends Shape = Shape, D extends DType = DType> = Column<readonly [number, number, ...R], D> & {
  readonly offsets: Int32Array;
};

/**
 * Makes a column of sequences of different lengths: `sequences([[5, 2, 9], [7]])`. Each sequence is an array of numbers or a typed array,
 * one step after the other. A batch is [examples, steps, …step], padded with `padding` to one length. Throws DataError for a sequence that
 * is not a whole number of steps, and for a value that is not a number or not an int32.
 */
export function sequences<const D extends DType = "int32", const R extends Shape = readonly []>(
  list: readonly ArrayLike<number>[],
  options: SequencesOptions<D, R> = {},
): Sequences<R, D> {
  const known = optionsOf({ dtype: aText, step: sizes, padding: aFinite });
  expectArguments("sequences", [aList, known], [list, options]);
  const { dtype = "int32" as D, step = [] as readonly number[], padding = 0 } = options;
  if (!Object.hasOwn(arrayTypes, dtype))
    throw new ConfigError(
      "sequences",
      `the dtype is ${described(dtype)}`,
      `give ${Object.keys(arrayTypes).join(", ")}`,
    );
  const each = sizeOf(step);
  if (!step.every((size) => Number.isSafeInteger(size) && size > 0))
    throw new ConfigError("sequences", `the shape of a step is ${showShape(step)}`, "give whole numbers from 1 on");
  if (list.length === 0)
    throw new DataError("sequences", "there are none", "give one at least: sequences([[5, 2, 9], [7]])");
  const offsets = new Int32Array(list.length + 1);
  let steps = 0;
  let longest = 0;
  for (const [i, sequence] of list.entries()) {
    if (typeof sequence !== "object" || sequence === null || !Number.isSafeInteger(sequence.length))
      throw new DataError("sequences", `sequence ${i} is ${described(sequence)}`, "give an array of numbers");
    const count = sequence.length / each;
    if (!Number.isInteger(count))
      throw new DataError(
        "sequences",
        `sequence ${i} has ${sequence.length} numbers, and a step ${showShape(step)} takes ${each}`,
        "give whole steps, one after the other",
      );
    steps += count;
    if (steps > 0x7fffffff)
      throw new DataError("sequences", "there are more than 2³¹ steps together", "load the data in parts: see stream");
    offsets[i + 1] = steps;
    longest = Math.max(longest, count);
  }
  const values = allocate({ shape: [steps, ...step], dtype });
  for (const [i, sequence] of list.entries()) fill(values, offsets[i]! * each, sequence, i, dtype);
  if (dtype !== "float32" && dtype !== "float64" && arrayTypes[dtype].of(padding)[0] !== padding)
    throw new ConfigError("sequences", `the padding is ${padding}`, `give a number that ${dtype} has`);
  const shape = [list.length, longest, ...step] as unknown as readonly [number, number, ...R];
  return { shape, dtype, values, offsets, padding };
}

function fill(values: Values, at: number, sequence: ArrayLike<number>, index: number, dtype: DType): void {
  const isWhole = dtype === "int32" || dtype === "bool";
  for (let i = 0; i < sequence.length; i++) {
    const value = sequence[i]!;
    values[at + i] = value;
    if (typeof value === "number" && (!isWhole || values[at + i] === value)) continue;
    throw new DataError(
      "sequences",
      `element ${i} of sequence ${index} is ${described(value)}, which is no ${dtype}`,
      dtype === "int32" ? 'give whole numbers, or { dtype: "float32" }' : "give numbers of that dtype",
    );
  }
}

const aList = (value: unknown): string | undefined =>
  Array.isArray(value) ? undefined : "give an array of sequences: [[5, 2, 9], [7]]";

const aFinite = (value: unknown): string | undefined =>
  typeof value === "number" && Number.isFinite(value) ? undefined : "give a finite number";

/**
 * Returns the number of steps of each sequence as a column, for models that must ignore padding. Throws ConfigError for a column without
 * sequences.
 */
export function sequenceLengths(column: Sequences): Column<readonly [number], "int32"> {
  const { offsets } = expectSequences("sequenceLengths", column);
  const values = Int32Array.from({ length: offsets.length - 1 }, (_, i) => offsets[i + 1]! - offsets[i]!);
  return { shape: [values.length], dtype: "int32", values };
}

/** Returns a mask of sequences: 1 for each step, and in a batch 0 for padding. Throws ConfigError for a column without sequences. */
export function sequenceMask(column: Sequences): Sequences<readonly [], "bool"> {
  const { offsets, shape } = expectSequences("sequenceMask", column);
  const values = new Uint8Array(offsets.at(-1)!).fill(1);
  return { shape: [shape[0], shape[1]], dtype: "bool", values, offsets, padding: 0 };
}

function expectSequences(subject: string, column: Sequences): Sequences {
  if (typeof column === "object" && column !== null && column.offsets instanceof Int32Array) return column;
  throw new ConfigError(subject, `it is given ${described(column)}`, "give a column of sequences([[5, 2, 9], [7]])");
}

/** Throws DataError unless the offsets of a column of sequences fit its values. */
export function expectOffsets(subject: string, { shape, values, offsets }: Column): void {
  const [count, longest, ...step] = shape;
  const isSound =
    offsets instanceof Int32Array &&
    offsets.length === count! + 1 &&
    offsets[0] === 0 &&
    offsets.every((offset, i) => i === 0 || (offset >= offsets[i - 1]! && offset - offsets[i - 1]! <= longest!)) &&
    offsets[count!]! * sizeOf(step) === values.length;
  if (!isSound)
    throw new DataError(
      subject,
      `its offsets do not cut ${values.length} values into ${count} sequences of at most ${longest} steps`,
      "make the column with sequences([[5, 2, 9], [7]])",
    );
}

/** Returns the sequences at `indices` as a column of sequences. The indices must be in range. */
export function gatherSequences(column: Column, indices: ArrayLike<number>): Column {
  const { dtype, values, offsets = new Int32Array(0) } = column;
  const [, , ...step] = column.shape;
  const each = sizeOf(step);
  const own = new Int32Array(indices.length + 1);
  let longest = 0;
  for (let i = 0; i < indices.length; i++) {
    const steps = offsets[indices[i]! + 1]! - offsets[indices[i]!]!;
    own[i + 1] = own[i]! + steps;
    if (steps > longest) longest = steps;
  }
  const gathered = new arrayTypes[dtype](own[indices.length]! * each);
  for (let i = 0; i < indices.length; i++)
    gathered.set(values.subarray(offsets[indices[i]!]! * each, offsets[indices[i]! + 1]! * each), own[i]! * each);
  return { ...column, shape: [indices.length, longest, ...step], values: gathered, offsets: own };
}

/** Returns the sequences at `indices`, padded to one length: the given length, or that of the longest among them. */
export function padSequences(column: Column, indices: ArrayLike<number>, length?: number): Column {
  const { dtype, values, offsets = new Int32Array(0), padding = 0 } = column;
  const [, , ...step] = column.shape;
  const each = sizeOf(step);
  const steps = length ?? longestOf(offsets, indices);
  const padded = new arrayTypes[dtype](indices.length * steps * each);
  if (padding !== 0) padded.fill(padding);
  for (let i = 0; i < indices.length; i++)
    padded.set(values.subarray(offsets[indices[i]!]! * each, offsets[indices[i]! + 1]! * each), i * steps * each);
  return { shape: [indices.length, steps, ...step], dtype, values: padded };
}

/** Returns the longest length, at least 1, so that a batch of only empty sequences still has elements. */
function longestOf(offsets: Int32Array, indices: ArrayLike<number>): number {
  let longest = 1;
  for (let i = 0; i < indices.length; i++)
    longest = Math.max(longest, offsets[indices[i]! + 1]! - offsets[indices[i]!]!);
  return longest;
}

/** Returns the column with all sequences padded to one length; a column without sequences is returned unchanged. */
export function padded<C extends Column>(column: C, length: number = column.shape[1] ?? 0): C {
  if (!column.offsets) return column;
  const all = Uint32Array.from({ length: column.shape[0]! }, (_, i) => i);
  return padSequences(column, all, Math.max(1, length)) as C;
}
