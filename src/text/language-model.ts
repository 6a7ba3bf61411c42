/** Rows and batches of token ids for language models. */
import type { Column } from "../data/dataset.ts";
import { dataset } from "../data/dataset.ts";
import type { Loader } from "../data/loader.ts";
import { loader } from "../data/tensors.ts";
import { ConfigError, DataError } from "../errors.ts";
import { aWhole, described, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { anIterable, someIds, wholeIds } from "./kinds.ts";

/** Options of `languageModelBatches`. */
export interface LanguageModelOptions {
  /** The number of parallel streams. */
  readonly batchSize: number;
  /** The number of steps of a batch along each stream, through which gradients flow back. */
  readonly steps: number;
}

/** Inputs and the ids that follow them, both [batchSize, steps]. */
export type LanguageModelBatch = [
  inputs: Tensor<[number, number], "int32">,
  targets: Tensor<[number, number], "int32">,
];

/**
 * Makes batches for truncated back-propagation through time (Williams and Peng 1990). The ids are divided into `batchSize` streams, and
 * each batch continues where the batch before stopped, so that a recurrent state can be passed from batch to batch. Targets are the next
 * ids. Ids at the end that do not fill a batch, fewer than batchSize · steps + 1, are left out. Throws DataError when there are too few ids
 * for one batch, and for an id that is no int32.
 */
export function languageModelBatches(
  ids: ArrayLike<number>,
  options: LanguageModelOptions,
): Loader<LanguageModelBatch> {
  expectArguments(
    "languageModelBatches",
    [someIds, optionsOf({ batchSize: aWhole, steps: aWhole })],
    [ids, options ?? {}],
  );
  const all = wholeIds("languageModelBatches", ids);
  const { batchSize, steps } = expectPositive("languageModelBatches", options, ["batchSize", "steps"]);
  const chunks = Math.floor((ids.length - 1) / (batchSize * steps));
  if (chunks < 1)
    throw new DataError(
      "languageModelBatches",
      `${ids.length} ids fill no batch of ${batchSize} streams and ${steps} steps, which takes ${batchSize * steps + 1}`,
      "give more text, or smaller batches",
    );
  const stream = chunks * steps;
  const inputs = new Int32Array(batchSize * stream);
  const targets = new Int32Array(batchSize * stream);
  let at = 0;
  for (let chunk = 0; chunk < chunks; chunk++)
    for (let row = 0; row < batchSize; row++)
      for (let step = 0, from = row * stream + chunk * steps; step < steps; step++, from++, at++) {
        inputs[at] = all[from]!;
        targets[at] = all[from + 1]!;
      }
  const column = (values: Int32Array): Column<readonly [number, number], "int32"> => ({
    shape: [chunks * batchSize, steps],
    dtype: "int32",
    values,
  });
  const batches = loader(dataset(column(inputs), column(targets)), { batchSize });
  return batches;
}

/** Options of `packRows`. */
export interface PackOptions {
  /** The number of ids in a row. */
  readonly length: number;
  /** The id after each sequence, such as that of `<|endoftext|>`. Default: none. */
  readonly separator?: number;
  /** The id that fills the last row. Default: a last row that is not full is left out. */
  readonly padding?: number;
}

/**
 * Packs sequences one after the other into rows of one length, as for training models like GPT: without padding, and a sequence may
 * continue in the next row. Throws DataError when the sequences do not fill a row, and for an id that is no int32.
 */
export function packRows(
  sequences: Iterable<ArrayLike<number>>,
  options: PackOptions,
): Column<readonly [number, number], "int32"> {
  const known = optionsOf({ length: aWhole, separator: aWhole, padding: aWhole });
  expectArguments("packRows", [anIterable, known], [sequences, options ?? {}]);
  const { length, separator, padding } = { ...options, ...expectPositive("packRows", options, ["length"]) };
  const values: number[] = [];
  let index = 0;
  for (const sequence of sequences) {
    if (someIds(sequence) !== undefined)
      throw new DataError("packRows", `sequence ${index} is ${described(sequence)}`, "give arrays of ids");
    for (const id of wholeIds("packRows", sequence, ` of sequence ${index}`)) values.push(id);
    if (separator !== undefined) values.push(separator);
    index++;
  }
  if (padding !== undefined) while (values.length % length !== 0) values.push(padding);
  const rows = Math.floor(values.length / length);
  if (rows === 0)
    throw new DataError(
      "packRows",
      `${values.length} ids fill no row of ${length}`,
      "give more text, a shorter row, or a padding",
    );
  return { shape: [rows, length], dtype: "int32", values: Int32Array.from(values.slice(0, rows * length)) };
}

function expectPositive<K extends string>(
  subject: string,
  given: Readonly<Partial<Record<K, number>>> | undefined,
  names: readonly K[],
): Record<K, number> {
  const checked: Partial<Record<K, number>> = {};
  for (const name of names) {
    const value = given?.[name];
    if (value === undefined || !Number.isSafeInteger(value) || value < 1)
      throw new ConfigError(subject, `${name} is ${described(value)}`, "give a whole number from 1 on");
    checked[name] = value;
  }
  return checked as Record<K, number>;
}
