/** Tables: named columns of numbers and texts, as in common data files, before they become tensors. */
import { ConfigError, DataError, printable, quoted } from "../errors.ts";
import {
  aRecord,
  aText,
  described,
  expectArguments,
  type Kind,
  missing as nearestOf,
  options as optionsOf,
} from "../graph/arguments.ts";
import { expectSeed } from "../random/generator.ts";
import { folds, parts, type StratifyByName, stratifyByName } from "./parts.ts";
import { type Origin, placeIn } from "./places.ts";

/**
 * The kind of a table's column. `numeric`: numbers to learn from. `category`: one of a few texts. `text`: free text, which is not changed.
 * `label`: the class to predict. `target`: a number to predict. `ignore`: left out.
 */
export type ColumnKind = "numeric" | "category" | "text" | "label" | "target" | "ignore";

const kinds: readonly ColumnKind[] = ["numeric", "category", "text", "label", "target", "ignore"];

/** The kind of each column of a table, by name. */
export type TableSchema = Readonly<Record<string, ColumnKind>>;

/** Options of `table`. */
export interface TableOptions {
  /** The kind of each column by name; columns that are not named are left out. Default: inferred from the values, see `report()`. */
  readonly schema?: TableSchema;
  /** The column with the class to predict; the other kinds are inferred. */
  readonly label?: string;
  /** The column with the number to predict, or several columns; the other kinds are inferred. */
  readonly target?: string | readonly string[];
  /** Texts that stand for a missing value. Default: "", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null" and "None". */
  readonly missing?: readonly string[];
}

/** A value of a file: `undefined` is a missing value. */
export type Cell = string | number | boolean | undefined;

interface StoredColumn {
  readonly kind: ColumnKind;
  /** The numbers of the column; NaN is a missing value. */
  readonly numbers?: Float64Array;
  readonly texts?: readonly (string | undefined)[];
  /** Why the kind was chosen, for the report. */
  readonly why: string;
}

const usualMissing = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None"];

/** Rows of a file, with columns by name. Made by `readCsv`, `readJsonLines`, `table`; prepared for a model by `fitPreparation`. */
export class Table {
  /** The names of the columns, in the order of the file, without the columns that are left out. */
  readonly names: readonly string[];
  /** The number of rows. */
  readonly length: number;
  /** The names of the columns that are left out. */
  readonly ignored: readonly string[];
  readonly #columns: ReadonlyMap<string, StoredColumn>;
  readonly #places: Uint32Array;
  readonly #origin: Origin;

  /** Internal: use `readCsv`, `parseCsv`, `readJsonLines`, `parseJsonLines` or `table`. */
  constructor(
    columns: ReadonlyMap<string, StoredColumn>,
    places: Uint32Array,
    origin: Origin,
    ignored: readonly string[] = [],
  ) {
    this.names = [...columns.keys()];
    this.length = places.length;
    this.ignored = ignored;
    this.#columns = columns;
    this.#places = places;
    this.#origin = origin;
  }

  /** Returns the kind of a column. Throws ConfigError for an unknown name. */
  kind(name: string): ColumnKind {
    return this.#column(name).kind;
  }

  /** Returns the kinds of the columns, for reading another file of the same form: `readCsv(path, { schema: table.schema() })`. */
  schema(): TableSchema {
    return recordOf([...this.#columns].map(([name, { kind }]) => [name, kind]));
  }

  /** Returns the numbers of a numeric or target column, with NaN for missing values. Throws ConfigError for other columns. */
  numbers(name: string): Float64Array {
    const { numbers, kind } = this.#column(name);
    if (numbers) return numbers.slice();
    throw new ConfigError("table", `column ${quoted(name)} is ${kind}`, `take its texts: texts(${quoted(name)})`);
  }

  /** Returns the texts of a category, text or label column, with undefined for missing values. Throws ConfigError for other columns. */
  texts(name: string): readonly (string | undefined)[] {
    const { texts, kind } = this.#column(name);
    if (texts) return texts;
    throw new ConfigError("table", `column ${quoted(name)} is ${kind}`, `take its numbers: numbers(${quoted(name)})`);
  }

  /** Returns the number of missing values in a column. */
  missing(name: string): number {
    const { numbers, texts } = this.#column(name);
    let count = 0;
    for (let i = 0; i < this.length; i++) if (numbers ? Number.isNaN(numbers[i]!) : texts![i] === undefined) count++;
    return count;
  }

  /** Returns the origin of a row for messages: `line 4 of people.csv`, or `row 2`. */
  placeOf(row: number): string {
    return placeIn(this.#origin, this.#places[row]!);
  }

  /** Returns a table of the rows at `indices`, in that order. Throws DataError for an index out of range. */
  take(indices: ArrayLike<number>): Table {
    for (let i = 0; i < indices.length; i++)
      if (!Number.isInteger(indices[i]) || indices[i]! < 0 || indices[i]! >= this.length)
        throw new DataError(
          "take",
          `index ${described(indices[i])}, at position ${i}, of a table with ${this.length} rows`,
          this.length > 0 ? `give integers from 0 to ${this.length - 1}` : "the table is empty",
        );
    const all = Array.from(indices);
    const columns = [...this.#columns].map(([name, { numbers, texts, ...rest }]): [string, StoredColumn] => [
      name,
      {
        ...rest,
        ...(numbers && { numbers: Float64Array.from(all, (index) => numbers[index]!) }),
        ...(texts && { texts: all.map((index) => texts[index]) }),
      },
    ]);
    const places = Uint32Array.from(all, (index) => this.#places[index]!);
    return new Table(new Map(columns), places, this.#origin, this.ignored);
  }

  /**
   * Returns the table without the rows in which one of the named columns has a missing value, by default any column that is not free text.
   * The difference of the lengths is the number of removed rows.
   */
  dropMissing(names: readonly string[] = this.names.filter((name) => this.kind(name) !== "text")): Table {
    if (!Array.isArray(names))
      throw new ConfigError("dropMissing", `the names are ${described(names)}`, "give an array");
    const columns = names.map((name) => this.#column(name));
    const kept: number[] = [];
    for (let i = 0; i < this.length; i++)
      if (columns.every(({ numbers, texts }) => (numbers ? !Number.isNaN(numbers[i]!) : texts![i] !== undefined)))
        kept.push(i);
    return this.take(kept);
  }

  /**
   * Splits the table at random into two tables without common rows, as `Dataset.split` does. With `stratify`, each class of the label, or
   * of the named column, has the same share in both.
   */
  split(part: number, seed: number = 0, options: StratifyByName = {}): [Table, Table] {
    expectSeed("split", seed);
    expectArguments("split", [() => undefined, () => undefined, stratifyByName], [part, seed, options]);
    const [first, second] = parts(this.length, part, seed, this.#classesFor("split", options.stratify));
    return [this.take(first), this.take(second)];
  }

  /**
   * Yields `k` pairs for cross-validation, one by one, as `Dataset.folds` does. Fit a preparation to each `train`, so that it does not use
   * the validation rows.
   */
  folds(
    k: number,
    seed: number = 0,
    options: StratifyByName = {},
  ): Iterable<{ readonly train: Table; readonly validation: Table }> {
    expectSeed("folds", seed);
    expectArguments("folds", [() => undefined, () => undefined, stratifyByName], [k, seed, options]);
    const { order, fold } = folds(this.length, k, seed, this.#classesFor("folds", options.stratify));
    return this.#pairs(k, order, fold);
  }

  *#pairs(
    k: number,
    order: Uint32Array,
    fold: Uint32Array,
  ): Generator<{ readonly train: Table; readonly validation: Table }, void> {
    for (let held = 0; held < k; held++)
      yield {
        train: this.take(order.filter((index) => fold[index] !== held)),
        validation: this.take(order.filter((index) => fold[index] === held)),
      };
  }

  /** Returns the classes to stratify by, as numbers. */
  #classesFor(subject: string, stratify: boolean | string = false): ArrayLike<number> | undefined {
    if (stratify === false) return undefined;
    const name = stratify === true ? this.names.find((each) => this.kind(each) === "label") : stratify;
    if (name === undefined)
      throw new ConfigError(subject, "the table has no label to stratify by", 'name a column: { stratify: "city" }');
    const texts = this.texts(name);
    const numbers = new Map<string | undefined, number>();
    return texts.map((text) => {
      if (!numbers.has(text)) numbers.set(text, numbers.size);
      return numbers.get(text)!;
    });
  }

  /** Returns a text with one line for each column: its kind, why it was chosen, and the number of missing values. */
  report(): string {
    const shown = this.names.slice(0, 100).map((name) => {
      const count = this.missing(name);
      const { kind, why } = this.#column(name);
      return `  ${printable(name) || '""'}: ${kind}${why ? `, ${why}` : ""}${count > 0 ? `; ${count} missing` : ""}`;
    });
    if (this.names.length > shown.length) shown.push(`  and ${this.names.length - shown.length} more columns`);
    const left = this.ignored.slice(0, 10).map((name) => quoted(name));
    if (left.length > 0)
      shown.push(
        `  left out: ${left.join(", ")}${this.ignored.length > 10 ? ` and ${this.ignored.length - 10} more` : ""}`,
      );
    return [`${this.length} rows, ${this.names.length} columns`, ...shown].join("\n");
  }

  toString(): string {
    return this.report();
  }

  #column(name: string): StoredColumn {
    const column = this.#columns.get(name);
    if (column) return column;
    throw new ConfigError(
      "table",
      `there is no column ${described(name)}`,
      typeof name === "string" ? columnsOf(name, this.names) : "give the name of a column",
    );
  }
}

/** Makes a record whose keys are names from outside; `__proto__` is then a key like any other. */
export function recordOf<T>(entries: readonly (readonly [string, T])[]): Readonly<Record<string, T>> {
  const record = Object.create(null) as Record<string, T>;
  for (const [name, value] of entries) record[name] = value;
  return record;
}

/** Returns the advice for an unknown column. */
export function columnsOf(name: string, names: readonly string[]): string {
  const shown = names.slice(0, 20).map((each) => printable(each));
  return nearestOf(name, shown)
    .replace("there is no option", "there is no column")
    .replace("the options are", "there are");
}

/**
 * Makes a table of rows in memory: `table([{ age: 31, city: "Rome", bought: "yes" }, …], { label: "bought" })`. Values are numbers, texts,
 * true and false; null, undefined and absent names are missing values. Throws DataError for rows with other values, ConfigError for a
 * schema that does not fit.
 */
export function table(rows: readonly Readonly<Record<string, unknown>>[], options: TableOptions = {}): Table {
  expectArguments("table", [anArray, tableOptions], [rows, options]);
  return tableOfRows(rows, Uint32Array.from(rows.keys()), { source: "table", unit: "row" }, options);
}

const anArray = (value: unknown): string | undefined =>
  Array.isArray(value) ? undefined : "give an array of rows: [{ age: 31, city: 'Rome' }]";

const aList = (value: unknown): string | undefined =>
  Array.isArray(value) && value.every((each) => typeof each === "string") ? undefined : "give an array of texts";

export const tableOptionKinds: Readonly<Record<keyof TableOptions, Kind>> = {
  schema: aRecord,
  label: aText,
  target: (value) => (typeof value === "string" ? undefined : aList(value)),
  missing: aList,
};

const tableOptions = optionsOf(tableOptionKinds);

/** Makes a table of rows that are records. `always` are columns that the table has even if no row does. */
export function tableOfRows(
  rows: readonly Readonly<Record<string, unknown>>[],
  places: Uint32Array,
  origin: Origin,
  options: TableOptions,
  always: readonly string[] = [],
): Table {
  const place = (row: number): string => `${origin.unit} ${places[row]}`;
  const cells = new Map<string, Cell[]>(always.map((name) => [name, []]));
  for (const [i, row] of rows.entries()) {
    if (aRecord(row) !== undefined)
      throw new DataError(
        origin.source,
        `${place(i)} is ${described(row)}`,
        'give a record: { "age": 31, "city": "Rome" }',
      );
    for (const name of Object.keys(row)) {
      const value = row[name];
      if (value === null || value === undefined) continue;
      if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean")
        throw new DataError(
          origin.source,
          `${place(i)}, column ${quoted(name)}: it is ${described(value)}`,
          "give a number, a text, true or false; take lists and records apart first",
        );
      const known = cells.get(name);
      const column = known ?? [];
      if (!known) {
        cells.set(name, column);
        if (cells.size * rows.length > mostCells)
          throw new DataError(
            origin.source,
            `${cells.size} columns of ${rows.length} rows are more than ${mostCells} values`,
            "give rows that have the same names, or fewer of them",
          );
      }
      column.length = i;
      column.push(value);
    }
  }
  for (const column of cells.values()) column.length = rows.length;
  return buildTable(cells, places, origin, options);
}

/** The most cells of a table: otherwise, rows without common names could fill all memory. */
const mostCells = 2 ** 27;

const mostColumns = 2 ** 16;

/** Throws DataError for more columns than a table may have. */
export function expectColumns(source: string, count: number): void {
  if (count > mostColumns)
    throw new DataError(
      source,
      `it has ${count} columns, and a table has at most ${mostColumns}`,
      "check the delimiter and the line ends; give what is wider as an array: dataset({ shape, dtype, values })",
    );
}

/** Makes a table of columns of cells from a reader. Throws DataError and ConfigError as documented at the readers. */
export function buildTable(
  cells: ReadonlyMap<string, readonly Cell[]>,
  places: Uint32Array,
  origin: Origin,
  { schema, label, target = [], missing = usualMissing }: TableOptions,
): Table {
  const names = [...cells.keys()];
  expectColumns(origin.source, names.length);
  const chosen = new Map<string, ColumnKind>();
  const choose = (name: string, kind: ColumnKind): void => {
    if (!cells.has(name) && !(kind === "ignore"))
      throw new DataError(
        origin.source,
        `there is no column ${quoted(name)}`,
        names.length === 0 ? "it has no columns" : columnsOf(name, names),
      );
    if (!kinds.includes(kind))
      throw new ConfigError(
        "schema",
        `column ${quoted(name)} is to be ${described(kind)}`,
        `give one of ${kinds.join(", ")}`,
      );
    if (chosen.has(name) && chosen.get(name) !== kind)
      throw new ConfigError("schema", `column ${quoted(name)} is to be ${chosen.get(name)} and ${kind}`, "choose one");
    chosen.set(name, kind);
  };
  for (const [name, kind] of Object.entries(schema ?? {})) choose(name, kind);
  if (label !== undefined) choose(label, "label");
  for (const name of typeof target === "string" ? [target] : target) choose(name, "target");
  const labels = [...chosen].filter(([, kind]) => kind === "label").map(([name]) => quoted(name));
  if (labels.length > 1)
    throw new ConfigError("schema", `the labels are ${labels.join(" and ")}`, "choose one column as label");

  const isMissing = new Set(missing);
  const columns = new Map<string, StoredColumn>();
  const ignored: string[] = [];
  for (const [name, column] of cells) {
    const present = (cell: Cell): Cell =>
      typeof cell === "string" && isMissing.has(cell.trim()) ? undefined : Number.isNaN(cell) ? undefined : cell;
    const clean = Array.from(column, present);
    const given = chosen.get(name) ?? (schema ? "ignore" : undefined);
    if (given === "ignore") {
      ignored.push(name);
      continue;
    }
    const { kind, why } = given ? { kind: given, why: "" } : inferred(name, clean, places, origin);
    columns.set(
      name,
      kind === "numeric" || kind === "target"
        ? { kind, why, numbers: numbersOf(name, clean, places, origin) }
        : { kind, why, texts: clean.map((cell) => (cell === undefined ? undefined : String(cell))) },
    );
  }
  return new Table(columns, places, origin, ignored);
}

/** A decimal number without other characters. Other texts that `Number` accepts, such as "0x10" and "", do not match. */
const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

function numberOf(cell: Cell): number | undefined {
  if (typeof cell === "number") return Number.isFinite(cell) ? cell : undefined;
  if (typeof cell !== "string") return undefined;
  const text = cell.trim();
  if (text.length > 400 || !decimal.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

function numbersOf(name: string, cells: readonly Cell[], places: Uint32Array, origin: Origin): Float64Array {
  const numbers = new Float64Array(cells.length).fill(Number.NaN);
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (cell === undefined) continue;
    const value = numberOf(cell);
    if (value === undefined)
      throw new DataError(
        origin.source,
        `${origin.unit} ${places[i]}, column ${quoted(name)}: ${described(cell)} is no finite number`,
        `correct it, name it among the texts that are missing values, or give the column another kind`,
      );
    numbers[i] = value;
  }
  return numbers;
}

/** Infers the kind of a column that has none. Throws DataError for a column that is mostly, but not only, numbers. */
function inferred(
  name: string,
  cells: readonly Cell[],
  places: Uint32Array,
  origin: Origin,
): { readonly kind: ColumnKind; readonly why: string } {
  const distinct = new Set<Cell>();
  let present = 0;
  let numbers = 0;
  let characters = 0;
  let firstOther = -1;
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (cell === undefined) continue;
    present++;
    if (numberOf(cell) !== undefined) numbers++;
    else if (firstOther < 0) firstOther = i;
    if (distinct.size <= 1000) distinct.add(cell);
    if (typeof cell === "string") characters += cell.length;
  }
  if (present === 0) return { kind: "text", why: "no values" };
  if (numbers === present) return { kind: "numeric", why: "all are numbers" };
  if (2 * numbers > present)
    throw new DataError(
      origin.source,
      `${origin.unit} ${places[firstOther]}, column ${quoted(name)}: ${described(cells[firstOther])} is no finite number, and ${numbers} of ${present} values of the column are`,
      `correct it, name it among the texts that are missing values, or say what the column is: schema: { ${quoted(name)}: "text" }`,
    );
  const few = Math.min(1000, Math.max(20, present / 20));
  if (distinct.size <= few && characters <= 60 * present)
    return { kind: "category", why: `${distinct.size} different values` };
  return { kind: "text", why: `${distinct.size > 1000 ? "more than 1000" : distinct.size} different values` };
}
