/** Reads tables from CSV text. */
import Papa from "papaparse";
import { DataError, FormatError, quoted } from "../errors.ts";
import { anything, aText, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import type { Origin } from "./places.ts";
import { buildTable, type Cell, expectColumns, type Table, type TableOptions, tableOptionKinds } from "./table.ts";

/** Options of `parseCsv`. */
export interface CsvOptions extends TableOptions {
  /** The character between fields. Default: a comma; for files named .tsv or .tab a tab. */
  readonly delimiter?: string;
  /** Whether the first line holds the names of the columns; if it does not, give the names. Default true. */
  readonly header?: boolean | readonly string[];
}

export const csvOptions: (value: unknown) => string | undefined = optionsOf({
  ...tableOptionKinds,
  delimiter: (value) =>
    typeof value === "string" && [...value].length === 1 && !'\r\n"\uFEFF'.includes(value)
      ? undefined
      : 'give one character that is no quote and no line end: "," or ";" or "\\t"',
  header: (value) =>
    typeof value === "boolean" || (Array.isArray(value) && value.every((name) => typeof name === "string"))
      ? undefined
      : "give true or false, or the names of the columns",
});

/**
 * Returns the table of a CSV text (RFC 4180). Fields with delimiters or line ends are in quotes; a line end in quotes becomes "\n". Empty
 * lines are skipped. `source` is the text's name in messages. Throws FormatError for quotes that are not closed, a row with more or fewer
 * fields than columns, and two columns with the same name; DataError for a text without rows, a value that is not a number in a column of
 * numbers, and a column of the schema that does not exist.
 */
export function parseCsv(text: string, options: CsvOptions = {}, source: string = "CSV"): Table {
  expectArguments("parseCsv", [aText, csvOptions, aText], [text, options, source]);
  const records = new CsvRecords(source, options.delimiter);
  const reader = new CsvRows(source, options.header);
  const rows = reader.take(records.take(text, true));
  return tableOfCsv(reader.names, rows, { source, unit: "line" }, options);
}

/** Makes a table of rows with one field for each name. */
export function tableOfCsv(
  names: readonly string[],
  rows: readonly CsvRow[],
  origin: Origin,
  options: TableOptions,
): Table {
  if (rows.length === 0)
    throw new DataError(
      origin.source,
      names.length > 0 ? "it has the names of columns and no rows" : "it is empty",
      "check that the file was written to its end",
    );
  const cells = new Map<string, Cell[]>();
  for (const [column, name] of names.entries())
    cells.set(
      name,
      rows.map(({ fields }) => fields[column]),
    );
  const places = Uint32Array.from(rows, ({ line }) => line);
  return buildTable(cells, places, origin, options);
}

/** A record of the file, with the line on which it begins. */
export interface CsvRow {
  readonly fields: readonly string[];
  readonly line: number;
}

/** The longest record, in characters. A longer record most likely has a quote that is never closed. */
const longestRecord = 2 ** 22;

/** Cuts a text that arrives in parts into records. */
export class CsvRecords {
  readonly #source: string;
  readonly #parser: Papa.Parser;
  #rest = "";
  #line = 1;
  #isFirst = true;

  constructor(source: string, delimiter: string = ",") {
    this.#source = source;
    this.#parser = new Papa.Parser({ delimiter, newline: "\n", quoteChar: '"' });
  }

  /**
   * Returns the records that a part completes, without empty lines; with `isLast` also the last record. Throws FormatError for wrong
   * quotes.
   */
  take(part: string, isLast: boolean): CsvRow[] {
    let text = this.#rest + part;
    if (this.#isFirst && text.length > 0) {
      text = text.replace(/^\uFEFF/, "");
      this.#isFirst = false;
    }
    // A carriage return at the end may be the first half of a line end.
    const held = !isLast && text.endsWith("\r") ? "\r" : "";
    text = text.slice(0, text.length - held.length).replace(/\r\n?/g, "\n");
    const { data, errors, meta } = this.#parser.parse(text, 0, !isLast) as Papa.ParseResult<string[]>;
    const [error] = errors;
    if (error) {
      const before = data.slice(0, error.row ?? 0).reduce((sum, fields) => sum + linesOf(fields), 0);
      throw new FormatError(
        this.#source,
        `line ${this.#line + before}: ${error.code === "MissingQuotes" ? "a quote is opened and never closed" : "a closing quote is followed by something else than a delimiter"}`,
        'close it, and write a quote inside of quotes twice: "say ""yes"""',
      );
    }
    this.#rest = isLast ? "" : text.slice(meta.cursor) + held;
    if (this.#rest.length > longestRecord)
      throw new FormatError(
        this.#source,
        `line ${this.#line + data.length}: a row is longer than ${longestRecord} characters`,
        "check for a quote that is opened and never closed",
      );
    const rows: CsvRow[] = [];
    for (const fields of data) {
      if (fields.length > 1 || fields[0] !== "") rows.push({ fields, line: this.#line });
      this.#line += linesOf(fields);
    }
    return rows;
  }
}

/** Returns the number of lines that a record takes in the file. */
export function linesOf(fields: readonly string[]): number {
  let lines = 1;
  for (const field of fields) for (let at = field.indexOf("\n"); at >= 0; at = field.indexOf("\n", at + 1)) lines++;
  return lines;
}

/** Takes the column names from the first record and checks that the other records match them. */
export class CsvRows {
  readonly #source: string;
  #names: readonly string[] | undefined;
  readonly #hasHeader: boolean;

  constructor(source: string, header: boolean | readonly string[] = true) {
    this.#source = source;
    this.#hasHeader = header === true;
    if (typeof header !== "boolean") this.#names = this.#checked(header, "the names that were given");
  }

  get names(): readonly string[] {
    return this.#names ?? [];
  }

  /** Returns the rows among records. Throws FormatError for a row with a wrong number of fields. */
  take(records: readonly CsvRow[]): readonly CsvRow[] {
    const [first, ...others] = records;
    if (!first) return [];
    const isHeader = this.#names === undefined && this.#hasHeader;
    this.#names ??= isHeader
      ? this.#checked(first.fields, `line ${first.line}`)
      : first.fields.map((_, column) => `column ${column}`);
    const rows = isHeader ? others : records;
    const wrong = rows.find(({ fields }) => fields.length !== this.names.length);
    if (wrong)
      throw new FormatError(
        this.#source,
        `line ${wrong.line} has ${wrong.fields.length} fields, and there are ${this.names.length} columns`,
        "check the line for a delimiter too many or too few, and whether the delimiter is the right one",
      );
    return rows;
  }

  #checked(names: readonly string[], where: string): readonly string[] {
    expectColumns(this.#source, names.length);
    const trimmed = names.map((name) => name.trim());
    const seen = new Map<string, number>();
    for (const [column, name] of trimmed.entries()) {
      const before = seen.get(name);
      if (before !== undefined)
        throw new FormatError(
          this.#source,
          `${where}: columns ${before + 1} and ${column + 1} are both called ${quoted(name)}`,
          "give each column its own name, in the file or with { header: [names] }",
        );
      seen.set(name, column);
    }
    return trimmed;
  }
}

/** Throws ConfigError for invalid options of a reader. Used by the readers of files. */
export function expectCsvOptions(subject: string, options: unknown): void {
  expectArguments(subject, [anything, csvOptions], [undefined, options]);
}

/** Returns the text of a file's bytes. Throws FormatError for bytes that are not UTF-8. */
export function textOf(bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw notText(source, cause);
  }
}

/** Returns the error for bytes that are not text. */
export function notText(source: string, cause: unknown): FormatError {
  return new FormatError(
    source,
    "its bytes are no UTF-8",
    "save the file as UTF-8, or decode it and use the text: parseCsv(new TextDecoder('windows-1252').decode(bytes))",
    "",
    { cause },
  );
}
