/** Tables in files, in Node. */
import { type FileLocation, readFileChecked } from "../../files/node/atomic.ts";
import { type CsvOptions, expectCsvOptions, parseCsv, textOf } from "../csv.ts";
import { expectJsonOptions, parseJsonLines } from "../json-lines.ts";
import type { Table, TableOptions } from "../table.ts";

/** What messages call a file. */
export const nameOf = (location: FileLocation): string => (location instanceof URL ? location.pathname : location);

/** The delimiter that a file's name stands for. */
export const delimiterOf = (location: FileLocation): string => (/\.(?:tsv|tab)$/i.test(nameOf(location)) ? "\t" : ",");

/**
 * The table of a CSV file: `const people = await readCsv("people.csv", { label: "bought" })`, of a file called .tsv or .tab with tabulators.
 * Throws FileError when the file cannot be read, FormatError when it is no UTF-8, and what `parseCsv` throws.
 */
export async function readCsv(location: FileLocation, options: CsvOptions = {}): Promise<Table> {
  expectCsvOptions("readCsv", options);
  const bytes = await readFileChecked(location);
  const source = nameOf(location);
  return parseCsv(textOf(bytes, source), { delimiter: delimiterOf(location), ...options }, source);
}

/**
 * The table of a file with a JSON record on each line. Throws FileError when the file cannot be read, FormatError when it is no UTF-8, and
 * what `parseJsonLines` throws.
 */
export async function readJsonLines(location: FileLocation, options: TableOptions = {}): Promise<Table> {
  expectJsonOptions("readJsonLines", options);
  const bytes = await readFileChecked(location);
  return parseJsonLines(textOf(bytes, nameOf(location)), options, nameOf(location));
}
