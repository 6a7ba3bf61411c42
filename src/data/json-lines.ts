/** Reads JSON lines: one JSON record on each line. */
import { DataError, FormatError } from "../errors.ts";
import { aText, described, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import { type Table, type TableOptions, tableOfRows, tableOptionKinds } from "./table.ts";

const jsonOptions = optionsOf(tableOptionKinds);

/**
 * Returns the table of a text with a JSON record on each line: `{"age": 31, "city": "Rome"}`. Values are numbers, texts, true and false;
 * null and absent names are missing values. Empty lines are skipped. `source` is the text's name in messages. Throws FormatError for a line
 * that is not JSON or not a record; DataError for a text without rows, for lists and records inside a row, and for values that do not fit
 * the schema.
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

/** Returns the record on a line, or undefined for an empty line. Throws FormatError for any other line. */
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

/** Throws ConfigError for invalid options of a reader. */
export function expectJsonOptions(subject: string, options: unknown): void {
  expectArguments(subject, [() => undefined, jsonOptions], [undefined, options]);
}
