/** JSON lines: a record of JSON on each line. */
import { DataError, FormatError } from "../errors.ts";
import { aText, described, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import { type Table, type TableOptions, tableOfRows, tableOptionKinds } from "./table.ts";

const jsonOptions = optionsOf(tableOptionKinds);

/**
 * The table of a text that has a JSON record on each line: `{"age": 31, "city": "Rome"}`. Values are numbers, texts, true and false; null
 * and names that a line lacks are missing. Empty lines are passed over. `source` is what messages call the text. Throws FormatError for a
 * line that is no JSON or no record; DataError for a text without rows, lists and records inside of a row, and what the schema does not
 * take.
 */
export function parseJsonLines(text: string, options: TableOptions = {}, source: string = "JSON lines"): Table {
  expectArguments("parseJsonLines", [aText, jsonOptions, aText], [text, options, source]);
  const rows: Readonly<Record<string, unknown>>[] = [];
  const lines: number[] = [];
  let line = 0;
  for (const each of text.replace(/^\uFEFF/, "").split("\n")) {
    line++;
    const row = jsonRow(each, line, source);
    if (!row) continue;
    rows.push(row);
    lines.push(line);
  }
  if (rows.length === 0) throw new DataError(source, "it has no rows", "check that the file was written to its end");
  return tableOfRows(rows, Uint32Array.from(lines), { source, unit: "line" }, options);
}

/** The record on a line; undefined for an empty one. Throws FormatError for anything else. */
export function jsonRow(text: string, line: number, source: string): Readonly<Record<string, unknown>> | undefined {
  if (text.trim() === "") return undefined;
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(
      source,
      `line ${line} is no JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      "write one record of JSON on each line",
      "",
      { cause },
    );
  }
  if (typeof row !== "object" || row === null || Array.isArray(row))
    throw new FormatError(
      source,
      `line ${line} holds ${described(row)}`,
      'write a record: {"age": 31, "city": "Rome"}',
    );
  return row as Readonly<Record<string, unknown>>;
}

/** Throws ConfigError for options of a reader that are none. */
export function expectJsonOptions(subject: string, options: unknown): void {
  expectArguments(subject, [() => undefined, jsonOptions], [undefined, options]);
}
