/** `glissade predict`: what a run's model says of rows (CSV, JSON, JSON lines) or images, from files or standard input. */
import { extname } from "node:path";
import Papa from "papaparse";
import { CsvRecords, CsvRows, linesOf, textOf } from "../data/csv.ts";
import type { Column } from "../data/dataset.ts";
import { jsonRow } from "../data/json-lines.ts";
import { decodeImage } from "../data/node/images.ts";
import { type Origin, placeOfRow, readAt } from "../data/places.ts";
import { toTensor } from "../data/tensors.ts";
import { ConfigError, DataError, FormatError, printable } from "../errors.ts";
import { readFileChecked } from "../files/node/atomic.ts";
import { aRecord, described } from "../graph/arguments.ts";
import { type Shape, sizeOf } from "../graph/types.ts";
import { inMode } from "../nn/module.ts";
import type { PreparedRecipe } from "../recipes/recipe.ts";
import { numbersOf } from "../recipes/rows.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { cannotBeAsked } from "./asking.ts";
import { loadTrained, type Which } from "./checkpoint.ts";
import { quotedForShell } from "./hyperparameters.ts";
import { type Network, networkOf } from "./network.ts";

export interface PredictOptions {
  readonly checkpoint: Which;
  /** JSON lines instead of CSV. */
  readonly json?: boolean;
}

type Row = Readonly<Record<string, unknown>>;

/** Rows that are computed together. */
const together = 256;
const images = new Set([".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".avif"]);

/** Predicts for files, or for standard input where there are none. */
export async function predictCommand(
  folder: string,
  files: readonly string[],
  { checkpoint, json = false }: PredictOptions,
  input: AsyncIterable<Uint8Array> = process.stdin,
): Promise<number> {
  const run = await loadTrained(folder, checkpoint);
  const { prepared } = run;
  const network = await networkOf(prepared);
  const writer = new Writer(network, json);
  const pictures = files.filter((file) => images.has(extname(file).toLowerCase()));
  const tables = files.filter((file) => !pictures.includes(file));
  if (files.length === 0) tables.push("-");
  if (tables.length > 0 && !takesRows(prepared, network))
    throw cannotBeAsked(run, {
      verb: "predict",
      why: "whose model takes no rows",
      own: "give its prediction a function `rows`: prediction: { rows: (rows) => preparation.apply(rows).inputs }",
      other: `measure it: npx glissade evaluate ${quotedForShell(printable(folder))}`,
    });
  for (const file of tables) {
    const rows =
      file === "-" ? rowsOf(await allOf(input), "standard input") : rowsOf(await readFileChecked(file), file);
    for (let at = 0; at < rows.length; at += together) {
      const columns = columnsOf(rows.slice(at, at + together), prepared, network);
      writer.write(await answers(network, columns));
    }
  }
  for (let at = 0; at < pictures.length; at += together) {
    const some = pictures.slice(at, at + together);
    writer.write(await answers(network, [await pixelsOf(some, prepared, network)]), some);
  }
  return 0;
}

async function allOf(input: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of input) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The rows of a text, of which none but the last lines may be empty: JSON where it begins so, otherwise CSV. Throws FormatError and DataError for what is neither. */
export function rowsOf(bytes: Uint8Array, source: string): Row[] {
  const text = textOf(bytes, source).replace(/^\uFEFF/, "");
  const [first] = text.trimStart();
  if (first === undefined) throw new DataError(source, "it is empty", "give rows as CSV, JSON or JSON lines");
  const origin: Origin = { source, unit: first === "[" ? "element" : "line" };
  if (first === "[") return jsonArray(text, source).map((row, i) => readAt(row, origin, i + 1));
  if (first === "{")
    return text
      .trimEnd()
      .split("\n")
      .map((line, i) => readAt(jsonRow(line, i + 1, source) ?? failEmpty(i + 1, source), origin, i + 1));
  const delimiter = /\.(?:tsv|tab)$/i.test(source) ? "\t" : ",";
  const reader = new CsvRows(source);
  const records = new CsvRecords(source, delimiter).take(text, true);
  for (const [i, { line }] of records.entries()) {
    const before = records[i - 1];
    if (before && line > before.line + linesOf(before.fields)) failEmpty(line - 1, source);
  }
  const rows = reader.take(records);
  if (rows.length === 0)
    throw new DataError(source, "it has the names of columns and no rows", "give one row at least");
  return rows.map(({ fields, line }) =>
    readAt(Object.fromEntries(reader.names.map((name, k) => [name, fields[k]])), origin, line),
  );
}

/** A line without a prediction would shift those of all later lines. */
function failEmpty(line: number, source: string): never {
  throw new DataError(source, `line ${line} is empty`, "leave the line out: each row has a prediction, in their order");
}

function jsonArray(text: string, source: string): Row[] {
  let rows: unknown;
  try {
    rows = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(
      source,
      `is no JSON: ${cause instanceof Error ? cause.message : ""}`,
      "give an array of records",
      "",
      {
        cause,
      },
    );
  }
  const wrong = (rows as unknown[]).findIndex((row) => aRecord(row) !== undefined);
  if (wrong >= 0)
    throw new FormatError(
      source,
      `element ${wrong + 1} is ${described((rows as unknown[])[wrong])}`,
      'give an array of records: [{ "age": 31 }]',
    );
  if ((rows as unknown[]).length === 0) throw new DataError(source, "it has no rows", "give one at least");
  return rows as Row[];
}

/** Whether rows can become the model's input: the recipe says how, or it is one column of numbers. */
function takesRows({ prediction }: PreparedRecipe, { columns }: Network): boolean {
  return prediction.rows !== undefined || (columns.length <= 2 && columns[0]?.dtype === "float32");
}

/** The model's input, made by the recipe, or of the values of the rows in their order. */
function columnsOf(rows: readonly Row[], { prediction }: PreparedRecipe, { columns }: Network): readonly Column[] {
  if (prediction.rows) return [prediction.rows(rows)];
  const { shape } = columns[0]!;
  const names = Object.keys(rows[0]!);
  const size = sizeOf(shape);
  if (names.length !== size)
    throw new DataError(
      "predict",
      `${placeOfRow(rows[0]!, 1)} has ${names.length} values, and the model takes ${size}`,
      "give the values of the input, in their order; or give the recipe's prediction a function `rows`",
    );
  const { values } = numbersOf(rows, names);
  return [{ shape: [rows.length, ...shape], dtype: "float32", values }];
}

async function pixelsOf(
  files: readonly string[],
  { prediction }: PreparedRecipe,
  { columns }: Network,
): Promise<Column> {
  const { image } = prediction;
  if (!image)
    throw new ConfigError(
      "predict",
      `${printable(files[0]!)} is an image, and the recipe's model takes no images`,
      "give its prediction the size of images: prediction: { image: { width: 28, height: 28 } }",
    );
  const { width, height, channels = 1 } = image;
  const size = width * height * channels;
  const values = new Float32Array(files.length * size);
  for (const [i, file] of files.entries())
    values.set(await decodeImage(await readFileChecked(file), { size: [height, width], channels }, file), i * size);
  return { shape: [files.length, ...columns[0]!.shape], dtype: "float32", values };
}

async function answers(network: Network, columns: readonly Column[]): Promise<number[][]> {
  const inputs = columns.map((column) => toTensor(column as Column<Shape>) as Tensor);
  const output = inMode(false, () => network.answer(...inputs));
  const values = await output.data();
  const width = network.names.length;
  return Array.from({ length: output.shape[0] ?? 1 }, (_, i) =>
    Array.from({ length: width }, (_, k) => Number(values[i * width + k])),
  );
}

/** Writes predictions as they come. */
class Writer {
  readonly #network: Network;
  readonly #json: boolean;
  #hasHead = false;

  constructor(network: Network, json: boolean) {
    this.#network = network;
    this.#json = json;
  }

  write(rows: readonly (readonly number[])[], files?: readonly string[]): void {
    const { names, task } = this.#network;
    for (const [i, values] of rows.entries()) {
      const file = files ? { file: files[i]! } : {};
      const best = values.indexOf(Math.max(...values));
      const numbers = Object.fromEntries(names.map((name, k) => [name, values[k]!]));
      const record =
        task === "classes"
          ? { ...file, prediction: names[best]!, probability: values[best]! }
          : { ...file, ...numbers };
      if (this.#json) console.log(JSON.stringify(task === "classes" ? { ...record, probabilities: numbers } : record));
      else {
        if (!this.#hasHead) console.log(Papa.unparse([Object.keys(record)]));
        this.#hasHead = true;
        console.log(Papa.unparse([Object.values(record)]));
      }
    }
  }
}
