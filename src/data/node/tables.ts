/** Reads tables from files in Node. */
import { ConfigError, DataError, FormatError } from "../../errors.ts";
import { type FileLocation, readFileChecked, readPartsChecked } from "../../files/node/atomic.ts";
import { aRecord, described } from "../../graph/arguments.ts";
import {
  type CsvOptions,
  CsvRecords,
  type CsvRow,
  CsvRows,
  expectCsvOptions,
  notText,
  parseCsv,
  tableOfCsv,
  textOf,
} from "../csv.ts";
import { expectJsonOptions, jsonRow, parseJsonLines } from "../json-lines.ts";
import type { Origin } from "../places.ts";
import { type Table, type TableOptions, type TableSchema, tableOfRows } from "../table.ts";

/** Returns the name of a file for messages. */
export const nameOf = (location: FileLocation): string => (location instanceof URL ? location.pathname : location);

/** Returns the delimiter for a file, according to its name. */
export const delimiterOf = (location: FileLocation): string => (/\.(?:tsv|tab)$/i.test(nameOf(location)) ? "\t" : ",");

/**
 * Reads the table of a CSV file: `const people = await readCsv("people.csv", { label: "bought" })`. Files named .tsv or .tab are read with
 * tabs as delimiters. Throws FileError when the file cannot be read, FormatError when it is not UTF-8, and the errors of `parseCsv`.
 */
export async function readCsv(location: FileLocation, options: CsvOptions = {}): Promise<Table> {
  expectCsvOptions("readCsv", options);
  const bytes = await readFileChecked(location);
  const source = nameOf(location);
  return parseCsv(textOf(bytes, source), { delimiter: delimiterOf(location), ...options }, source);
}

/**
 * Reads the table of a file with a JSON record on each line. Throws FileError when the file cannot be read, FormatError when it is not
 * UTF-8, and the errors of `parseJsonLines`.
 */
export async function readJsonLines(location: FileLocation, options: TableOptions = {}): Promise<Table> {
  expectJsonOptions("readJsonLines", options);
  const bytes = await readFileChecked(location);
  return parseJsonLines(textOf(bytes, nameOf(location)), options, nameOf(location));
}

/** Options for reading a file in parts. */
export interface PartOptions {
  /** The kind of each column. It is required, because one part does not show the content of the others. */
  readonly schema: TableSchema;
  /** The number of rows in a part. Default 1024; the last part may have fewer. */
  readonly rows?: number;
}

/**
 * Yields the table of a CSV file in parts, for files that do not fit into memory: `for await (const part of streamCsv(path, { schema }))`,
 * with a schema such as `preparation.schema(true)`. Throws as `readCsv` does, when it reaches the faulty place.
 */
export async function* streamCsv(
  location: FileLocation,
  options: CsvOptions & PartOptions,
): AsyncGenerator<Table, void, undefined> {
  const { size, rest } = partOptions("streamCsv", options);
  expectCsvOptions("streamCsv", rest);
  const origin: Origin = { source: nameOf(location), unit: "line" };
  const records = new CsvRecords(origin.source, rest.delimiter ?? delimiterOf(location));
  const reader = new CsvRows(origin.source, rest.header);
  let waiting: CsvRow[] = [];
  let isEmpty = true;
  for await (const text of textsOf(location)) {
    const isLast = text === undefined;
    for (const row of reader.take(records.take(text ?? "", isLast))) waiting.push(row);
    while (waiting.length >= size || (isLast && (waiting.length > 0 || isEmpty))) {
      isEmpty = false;
      yield tableOfCsv(reader.names, waiting.slice(0, size), origin, rest); //  throws for a file without rows
      waiting = waiting.slice(size);
    }
  }
}

/** Yields the table of a file with a JSON record on each line in parts, as `streamCsv` does for a CSV file. */
export async function* streamJsonLines(
  location: FileLocation,
  options: TableOptions & PartOptions,
): AsyncGenerator<Table, void, undefined> {
  const { size, rest } = partOptions("streamJsonLines", options);
  expectJsonOptions("streamJsonLines", rest);
  const origin: Origin = { source: nameOf(location), unit: "line" };
  const always = Object.entries(rest.schema).flatMap(([name, kind]) => (kind === "ignore" ? [] : [name]));
  let rows: Readonly<Record<string, unknown>>[] = [];
  let places: number[] = [];
  let [line, given] = [0, 0];
  let open = "";
  for await (const text of textsOf(location)) {
    const isLast = text === undefined;
    const lines = (open + (text ?? "")).split("\n");
    open = isLast ? "" : lines.pop()!;
    if (open.length > longestLine)
      throw new FormatError(
        origin.source,
        `line ${line + lines.length + 1} is longer than ${longestLine} characters`,
        "write one record of JSON on each line",
      );
    for (const each of lines) {
      const row = jsonRow(each, ++line, origin.source);
      if (!row) continue;
      places.push(line);
      if (rows.push(row) < size) continue;
      given += rows.length;
      yield tableOfRows(rows, Uint32Array.from(places), origin, rest, always);
      [rows, places] = [[], []];
    }
  }
  if (rows.length > 0) yield tableOfRows(rows, Uint32Array.from(places), origin, rest, always);
  else if (given === 0)
    throw new DataError(origin.source, "it has no rows", "check that the file was written to its end");
}

const longestLine = 2 ** 22;

/** Separates the options of reading in parts from those of the underlying reader. */
function partOptions<O extends PartOptions>(
  subject: string,
  options: O,
): { readonly size: number; readonly rest: Omit<O, "rows"> } {
  if (aRecord(options) !== undefined || aRecord(options.schema) !== undefined)
    throw new ConfigError(
      subject,
      `the schema is ${described(options?.schema)}`,
      'say what each column is, { schema: { age: "numeric", bought: "label" } }, or give preparation.schema(true)',
    );
  const { rows = 1024, ...rest } = options;
  if (!Number.isSafeInteger(rows) || rows < 1)
    throw new ConfigError(subject, `rows is ${described(rows)}`, "give a whole number from 1 on");
  return { size: rows, rest };
}

/** Yields the text of a file in parts, and undefined at the end. */
async function* textsOf(location: FileLocation): AsyncGenerator<string | undefined, void, undefined> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decode = (part?: Uint8Array): string => {
    try {
      return part ? decoder.decode(part, { stream: true }) : decoder.decode();
    } catch (cause) {
      throw notText(nameOf(location), cause);
    }
  };
  for await (const part of readPartsChecked(location)) yield decode(part);
  yield decode();
  yield undefined;
}
