/** The preparation of rows for a model: fitted on training data, saved with the model, and applied again for predictions. */
import { ConfigError, DataError, FormatError, printable, quoted } from "../errors.ts";
import {
  anything,
  aRecord,
  aText,
  described,
  expectArguments,
  type Kind,
  options as optionsOf,
} from "../graph/arguments.ts";
import type { Column } from "./dataset.ts";
import { originOfRows } from "./places.ts";
import { fitStandardizer } from "./standardize.ts";
import { type ColumnKind, columnsOf, recordOf, Table, type TableSchema, tableOfRows } from "./table.ts";

/**
 * The replacement of a missing value. `refuse`: an error that names the row and the column. `mean`, `median`: that of the training data's
 * numbers; for a category, the most frequent value. `mostFrequent`: the most frequent value. `{ constant }`: the given value.
 */
export type Missing = "refuse" | "mean" | "median" | "mostFrequent" | { readonly constant: number | string };

/** Options of `fitPreparation`. */
export interface PreparationOptions {
  /** Whether numbers are standardised to mean 0 and standard deviation 1, or left unchanged. Default `standardize`. */
  readonly numeric?: "standardize" | "none";
  /** The encoding of categories: a column of 0 and 1 for each value, or an index for `embedding`. Default `oneHot`. */
  readonly category?: "oneHot" | "index";
  /** The treatment of missing values, for all columns or for columns by name. Default `refuse`. */
  readonly missing?: Missing | Readonly<Record<string, Missing>>;
  /**
   * The treatment of a category value that the training data did not have: an error, or with `ignore` 0 in all its one-hot columns; as
   * index it is then 0, which no other value uses. Default `refuse`.
   */
  readonly unknown?: "refuse" | "ignore";
}

interface NumericStep {
  readonly kind: "numeric";
  readonly name: string;
  readonly mean: number;
  readonly scale: number;
  /** The replacement of a missing value; null if it is refused. */
  readonly fill: number | null;
}

interface CategoryStep {
  readonly kind: "category";
  readonly name: string;
  readonly values: readonly string[];
  readonly fill: string | null;
}

/** The content of a preparation. Plain JSON, exact when written and read again. */
export interface PreparationState {
  readonly format: "glissade preparation";
  readonly version: 1;
  readonly inputs: readonly (NumericStep | CategoryStep)[];
  readonly category: "oneHot" | "index";
  readonly unknown: "refuse" | "ignore";
  readonly label: { readonly name: string; readonly classes: readonly string[] } | null;
  readonly targets: readonly string[];
}

/** The prepared parts of rows. */
interface PreparedParts {
  readonly inputs?: Column<readonly [number, number], "float32">;
  readonly indices?: Column<readonly [number, number], "int32">;
  readonly labels?: Column<readonly [number], "int32">;
  readonly targets?: Column<readonly [number, number], "float32">;
}

/** Rows in the form that a model accepts. A part that the preparation does not have throws an error when it is read. */
export class Prepared {
  /** The number of rows. */
  readonly length: number;
  readonly #parts: PreparedParts;

  /** Internal: use `preparation.apply(rows)`. */
  constructor(length: number, parts: PreparedParts) {
    this.length = length;
    this.#parts = parts;
  }

  /** Numbers and one-hot categories: float32 [rows, features]. Throws DataError if there are none. */
  get inputs(): Column<readonly [number, number], "float32"> {
    return this.#part("inputs", "the table has no numeric columns, and its categories are indices: take `indices`");
  }

  /** The indices of categories, with `category: "index"`: int32 [rows, categories]. Throws DataError if there are none. */
  get indices(): Column<readonly [number, number], "int32"> {
    return this.#part("indices", 'prepare categories as indices: fitPreparation(table, { category: "index" })');
  }

  /** The classes, as indices into `preparation.classes`: int32 [rows]. Throws DataError for rows without a label. */
  get labels(): Column<readonly [number], "int32"> {
    return this.#part("labels", 'say which column holds them: readCsv(path, { label: "species" })');
  }

  /** The numbers to predict: float32 [rows, targets]. Throws DataError for rows without targets. */
  get targets(): Column<readonly [number, number], "float32"> {
    return this.#part("targets", 'say which column holds them: readCsv(path, { target: "price" })');
  }

  #part<K extends keyof PreparedParts>(name: K, fix: string): NonNullable<PreparedParts[K]> {
    const part = this.#parts[name];
    if (part) return part;
    throw new DataError("preparation", `the rows have no ${name}`, fix);
  }
}

/** A preparation. `fitPreparation` fits it on training data; it applies to any rows of the same form. */
export class Preparation {
  readonly #state: PreparationState;
  /** The place of each value of each category, by the place of its step. */
  readonly #tables: readonly ReadonlyMap<string, number>[];
  readonly #classNumbers: ReadonlyMap<string, number>;
  /** The names of the columns of `inputs`, such as `age` or `city=Rome`. */
  readonly features: readonly string[];
  /** The number of different indices in each column of `indices`, for `embedding(count, width)`. */
  readonly indexCounts: readonly number[];

  /** Internal: use `fitPreparation` or `preparation`. */
  constructor(state: PreparationState) {
    this.#state = state;
    const isIndex = state.category === "index";
    const free = isIndex && state.unknown === "ignore" ? 1 : 0;
    this.#tables = state.inputs.map((step) => placesOf(step.kind === "category" ? step.values : [], free));
    this.#classNumbers = placesOf(state.label?.classes ?? [], 0);
    this.features = state.inputs.flatMap((step) =>
      step.kind === "numeric" ? [step.name] : isIndex ? [] : step.values.map((value) => `${step.name}=${value}`),
    );
    this.indexCounts = state.inputs.flatMap((step) =>
      step.kind === "category" && isIndex ? [free + step.values.length] : [],
    );
  }

  /** The classes of the label, in the order of their numbers; empty without a label. */
  get classes(): readonly string[] {
    return this.#state.label?.classes ?? [];
  }

  /** The names of the targets, in their order. */
  get targets(): readonly string[] {
    return this.#state.targets;
  }

  /** The names of the columns that rows must have for a prediction. */
  get columns(): readonly string[] {
    return this.#state.inputs.map(({ name }) => name);
  }

  /**
   * Returns the kind of each column, for reading another file of the same form: `readCsv(path, { schema: preparation.schema() })`. The
   * label and the targets are included only if `withAnswers` is true; data for predictions do not have them.
   */
  schema(withAnswers: boolean = false): TableSchema {
    const { inputs, label, targets } = this.#state;
    const schema: [string, ColumnKind][] = inputs.map(({ name, kind }) => [name, kind]);
    if (withAnswers && label) schema.push([label.name, "label"]);
    if (withAnswers) for (const name of targets) schema.push([name, "target"]);
    return recordOf(schema);
  }

  /**
   * Prepares rows for the model. Rows are a table, or records such as `[{ age: 31, city: "Rome" }]`. The label and the targets may be
   * absent, as in data for predictions. Throws DataError, with the row and the column, for a missing value that is refused, a category or a
   * class that the training data did not have, and an absent column.
   */
  apply(rows: Table | readonly Readonly<Record<string, unknown>>[]): Prepared {
    const given = rows instanceof Table ? rows : this.#tableOf(rows);
    const { length } = given;
    if (length === 0) throw new DataError("preparation", "there are no rows", "give one at least");
    const names = new Set(given.names);
    const absent = this.columns.find((name) => !names.has(name));
    if (absent !== undefined)
      throw new DataError(
        "preparation",
        `the rows have no column ${quoted(absent)}`,
        `give rows with ${this.columns
          .slice(0, 20)
          .map((name) => printable(name))
          .join(", ")}`,
      );
    const { inputs, label, targets } = this.#state;
    const [width, depth] = [this.features.length, this.indexCounts.length];
    const values = new Float32Array(length * width);
    const indices = new Int32Array(length * depth);
    let [feature, index] = [0, 0];
    for (const [i, step] of inputs.entries()) {
      if (step.kind === "numeric") {
        const { mean, scale, fill } = step;
        const numbers = given.numbers(step.name);
        for (let row = 0; row < length; row++) {
          const missing = Number.isNaN(numbers[row]!);
          if (missing && fill === null) throw isMissing(given, row, step.name);
          values[row * width + feature] = ((missing ? fill! : numbers[row]!) - mean) / scale;
        }
        feature++;
        continue;
      }
      const places = this.#placesIn(given, step, this.#tables[i]!);
      if (this.#state.category === "index") {
        for (let row = 0; row < length; row++) indices[row * depth + index] = Math.max(places[row]!, 0);
        index++;
      } else {
        for (let row = 0; row < length; row++) if (places[row]! >= 0) values[row * width + feature + places[row]!] = 1;
        feature += step.values.length;
      }
    }
    const hasTargets = targets.length > 0 && targets.every((name) => names.has(name));
    return new Prepared(length, {
      ...(width > 0 && { inputs: { shape: [length, width], dtype: "float32", values } }),
      ...(depth > 0 && { indices: { shape: [length, depth], dtype: "int32", values: indices } }),
      ...(label && names.has(label.name) && { labels: this.#labels(given, label.name) }),
      ...(hasTargets && { targets: this.#targets(given) }),
    });
  }

  /**
   * Returns the classes for the numbers that a model predicts: `inverse(await logits.argmax().data())`. Throws DataError for other numbers.
   */
  inverse(labels: ArrayLike<number>): string[] {
    return Array.from(labels, (label, i) => {
      const name = this.classes[label];
      if (name !== undefined) return name;
      throw new DataError(
        "preparation",
        `label ${i} is ${described(label)}`,
        this.classes.length > 0
          ? `give whole numbers from 0 to ${this.classes.length - 1}`
          : "it was fitted without labels",
      );
    });
  }

  /** Returns the content for JSON.stringify. `preparation(JSON.parse(text))` restores the preparation. */
  toJSON(): PreparationState {
    return this.#state;
  }

  /** Makes a table of records. A label or target column is included only if it is present. */
  #tableOf(rows: readonly Readonly<Record<string, unknown>>[]): Table {
    expectArguments("preparation.apply", [someRows], [rows]);
    const all = this.schema(true);
    // A label or target is present if some row has a value. An input is also present if all rows have null.
    const has = (name: string): boolean =>
      rows.some(
        (row) =>
          aRecord(row) === undefined && Object.hasOwn(row, name) && (this.columns.includes(name) || row[name] != null),
      );
    const present = Object.keys(all).filter(has);
    const cells = rows.map((row) => (aRecord(row) === undefined ? withAll(row, present) : row));
    const schema = recordOf(present.map((name) => [name, all[name]!] as const));
    const { origin, places } = originOfRows(rows) ?? {
      origin: { source: "rows", unit: "row" } as const,
      places: Uint32Array.from(rows.keys()),
    };
    return tableOfRows(cells, places, origin, { schema, missing: [""] });
  }

  /** Returns the index of each row's category, −1 for an unknown value that is ignored. */
  #placesIn(given: Table, { name, fill }: CategoryStep, places: ReadonlyMap<string, number>): Int32Array {
    const texts = given.texts(name);
    const found = new Int32Array(given.length);
    for (let row = 0; row < found.length; row++) {
      const text = texts[row] ?? fill;
      if (text === null) throw isMissing(given, row, name);
      const place = places.get(text);
      if (place === undefined && this.#state.unknown === "refuse")
        throw new DataError(
          "preparation",
          `${given.placeOf(row)}, column ${quoted(name)}: ${quoted(text)} was not among the ${places.size} categories of the training data`,
          `there are ${shown([...places.keys()])}; or prepare with { unknown: "ignore" }`,
        );
      found[row] = place ?? -1;
    }
    return found;
  }

  #labels(given: Table, name: string): Column<readonly [number], "int32"> {
    const texts = given.texts(name);
    const values = new Int32Array(given.length);
    for (let row = 0; row < values.length; row++) {
      const text = texts[row];
      if (text === undefined) throw isMissing(given, row, name);
      const number = this.#classNumbers.get(text);
      if (number === undefined)
        throw new DataError(
          "preparation",
          `${given.placeOf(row)}, column ${quoted(name)}: ${quoted(text)} is no class of the training data`,
          `the classes are ${shown(this.classes)}`,
        );
      values[row] = number;
    }
    return { shape: [given.length], dtype: "int32", values };
  }

  #targets(given: Table): Column<readonly [number, number], "float32"> {
    const { targets } = this.#state;
    const values = new Float32Array(given.length * targets.length);
    for (const [column, name] of targets.entries()) {
      const numbers = given.numbers(name);
      for (let row = 0; row < numbers.length; row++) {
        if (Number.isNaN(numbers[row]!)) throw isMissing(given, row, name);
        values[row * targets.length + column] = numbers[row]!;
      }
    }
    return { shape: [given.length, targets.length], dtype: "float32", values };
  }
}

const someRows = (value: unknown): string | undefined =>
  Array.isArray(value) ? undefined : "give a table, or an array of rows: [{ age: 31, city: 'Rome' }]";

/** Returns the row with all names, so that its table has all columns. */
function withAll(row: Readonly<Record<string, unknown>>, names: readonly string[]): Readonly<Record<string, unknown>> {
  return recordOf(names.map((name) => [name, Object.hasOwn(row, name) ? (row[name] ?? "") : ""] as const));
}

function placesOf(values: readonly string[], first: number): ReadonlyMap<string, number> {
  return new Map(values.map((value, i) => [value, first + i]));
}

function isMissing(given: Table, row: number, name: string): DataError {
  return new DataError(
    "preparation",
    `${given.placeOf(row)}, column ${quoted(name)}: the value is missing`,
    'fill it in, leave such rows out with table.dropMissing(), or prepare with { missing: "median" }',
  );
}

const shown = (names: readonly string[]): string =>
  `${names
    .slice(0, 8)
    .map((name) => quoted(name))
    .join(", ")}${names.length > 8 ? ` and ${names.length - 8} more` : ""}`;

const isMissingRule = (value: unknown): boolean =>
  ["refuse", "mean", "median", "mostFrequent"].includes(value as string) ||
  (aRecord(value) === undefined &&
    Object.keys(value as object).join() === "constant" &&
    ["number", "string"].includes(typeof (value as { constant: unknown }).constant));

const one =
  (...values: readonly string[]): Kind =>
  (value) =>
    values.includes(value as string) ? undefined : `give ${values.map((each) => quoted(each)).join(" or ")}`;

const preparationOptions = optionsOf({
  numeric: one("standardize", "none"),
  category: one("oneHot", "index"),
  unknown: one("refuse", "ignore"),
  missing: (value) =>
    isMissingRule(value) || (aRecord(value) === undefined && Object.values(value as object).every(isMissingRule))
      ? undefined
      : 'give "refuse", "mean", "median", "mostFrequent" or { constant: value }, or a record of them by column,',
});

/**
 * Fits a preparation to training data: means and deviations of numbers, the values of categories, the classes of the label. `const prepared
 * = fitPreparation(train).apply(train)`, then `dataset(prepared.inputs, prepared.labels)`. Columns of free text are not used. Throws
 * DataError, with the row and the column, for a missing value that is refused; ConfigError for an unknown column and for a rule that does
 * not fit its column.
 */
export function fitPreparation(train: Table, options: PreparationOptions = {}): Preparation {
  expectArguments("fitPreparation", [aTable, preparationOptions], [train, options]);
  const { numeric = "standardize", category = "oneHot", missing = "refuse", unknown = "refuse" } = options;
  if (train.length === 0) throw new DataError("fitPreparation", "the table has no rows", "fit it to training data");
  const names = train.names;
  const rules: ReadonlyMap<string, Missing> = isMissingRule(missing)
    ? new Map(names.map((name) => [name, missing as Missing]))
    : new Map(Object.entries(missing as Readonly<Record<string, Missing>>));
  const isForAll = isMissingRule(missing);
  if (!isForAll) for (const [name, rule] of rules) expectRule(train, name, rule);
  const inputs: (NumericStep | CategoryStep)[] = [];
  const targets: string[] = [];
  let label: { name: string; classes: string[] } | null = null;
  for (const name of names) {
    const kind = train.kind(name);
    const rule = rules.get(name) ?? "refuse";
    if (kind === "numeric") inputs.push(fitNumbers(train, name, rule, numeric === "standardize"));
    else if (kind === "category") inputs.push(fitCategory(train, name, rule));
    else if (kind === "label") label = { name, classes: sortedValues(train, name) };
    else if (kind === "target") targets.push(name);
  }
  if (inputs.length === 0)
    throw new DataError(
      "fitPreparation",
      "the table has no numbers and no categories to learn from",
      `say what the columns are: schema: { ${quoted(names[0] ?? "age")}: "numeric" }; there are ${shown(names)}`,
    );
  return new Preparation({
    format: "glissade preparation",
    version: 1,
    inputs,
    category,
    unknown,
    label,
    targets,
  });
}

const aTable = (value: unknown): string | undefined =>
  value instanceof Table ? undefined : "give a table: await readCsv(path), or table(rows)";

/** Throws ConfigError for a rule that does not fit its column. */
function expectRule(train: Table, name: string, rule: Missing): void {
  const column = quoted(name);
  if (!train.names.includes(name))
    throw new ConfigError("fitPreparation", `there is no column ${column}`, columnsOf(name, train.names));
  const kind = train.kind(name);
  if (kind !== "numeric" && kind !== "category")
    throw new ConfigError(
      "fitPreparation",
      `there is a rule for missing values of ${column}, which is ${kind}`,
      "leave rows without an answer out: table.dropMissing()",
    );
  if (kind === "category" && (rule === "mean" || rule === "median"))
    throw new ConfigError(
      "fitPreparation",
      `missing values of ${column} are to be the ${rule}, and the column has categories`,
      'give "mostFrequent" or { constant: "unknown" }',
    );
}

/** Zero without a sign: JSON has no −0. */
const unsigned = (value: number | null): number | null => (value === null ? null : value + 0);

function fitNumbers(train: Table, name: string, rule: Missing, standardized: boolean): NumericStep {
  const numbers = train.numbers(name);
  const present = numbers.filter((value) => !Number.isNaN(value));
  const fill = fillOfNumbers(train, name, rule, numbers, present);
  const filled = fill === null ? numbers : numbers.map((value) => (Number.isNaN(value) ? fill : value));
  if (!standardized) return { kind: "numeric", name, mean: 0, scale: 1, fill: unsigned(fill) };
  const { mean, scale } = fitStandardizer({ shape: [filled.length], dtype: "float64", values: filled }).statistics;
  return { kind: "numeric", name, mean: mean[0]! + 0, scale: scale[0]!, fill: unsigned(fill) };
}

function fillOfNumbers(
  train: Table,
  name: string,
  rule: Missing,
  numbers: Float64Array,
  present: Float64Array,
): number | null {
  const column = quoted(name);
  if (typeof rule === "object") {
    if (typeof rule.constant === "number" && Number.isFinite(rule.constant)) return rule.constant;
    throw new ConfigError(
      "fitPreparation",
      `missing values of ${column} are to be ${described(rule.constant)}, and the column has numbers`,
      "give a finite number",
    );
  }
  if (rule === "refuse") {
    const row = numbers.findIndex((value) => Number.isNaN(value));
    if (row >= 0) throw isMissing(train, row, name);
    return null;
  }
  if (present.length === 0)
    throw new DataError(
      "fitPreparation",
      `column ${column} has no values`,
      `leave it out: schema: { ${column}: "ignore" }`,
    );
  if (rule === "mean") return present.reduce((mean, value, i) => mean + (value - mean) / (i + 1), 0);
  if (rule === "mostFrequent") return mostFrequent([...present]);
  const sorted = present.slice().sort();
  const [low, high] = [sorted[(sorted.length - 1) >> 1]!, sorted[sorted.length >> 1]!];
  return low + (high - low) / 2;
}

function fitCategory(train: Table, name: string, rule: Missing): CategoryStep {
  const texts = train.texts(name);
  const column = quoted(name);
  let fill: string | null = null;
  if (rule === "refuse") {
    const row = texts.indexOf(undefined);
    if (row >= 0) throw isMissing(train, row, name);
  } else if (typeof rule === "object") fill = String(rule.constant);
  else {
    const present = texts.filter((text) => text !== undefined);
    if (present.length === 0)
      throw new DataError(
        "fitPreparation",
        `column ${column} has no values`,
        `leave it out: schema: { ${column}: "ignore" }`,
      );
    fill = mostFrequent(present);
  }
  const values = sortedValues(train, name);
  if (fill !== null && !values.includes(fill)) values.push(fill);
  return { kind: "category", name, values, fill };
}

/** Returns the most frequent value; of several equally frequent values, the first. */
function mostFrequent<T extends string | number>(values: readonly T[]): T {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  let [best, most]: [T, number] = [values[0]!, 0];
  for (const [value, count] of counts) if (count > most) [best, most] = [value, count];
  return best;
}

/**
 * Returns the different values of a column, sorted as numbers if all are numbers, otherwise by code units, so that the order is the same on
 * every system.
 */
function sortedValues(train: Table, name: string): string[] {
  const values = [...new Set(train.texts(name))].filter((text) => text !== undefined);
  if (values.length === 0 && train.kind(name) === "label")
    throw new DataError("fitPreparation", `the label ${quoted(name)} has no values`, "fit it to data with answers");
  const areNumbers = values.every((text) => text.trim() !== "" && Number.isFinite(Number(text)));
  return values.sort((a, b) => (areNumbers ? Number(a) - Number(b) : 0) || (a < b ? -1 : a > b ? 1 : 0));
}

/**
 * Restores a saved preparation from the result of `JSON.stringify`, as a value or as text. `source` is its name in messages. Throws
 * FormatError for any other value.
 */
export function preparation(saved: unknown, source: string = "preparation"): Preparation {
  expectArguments("preparation", [anything, aText], [saved, source]);
  let value: unknown = saved;
  if (typeof saved === "string")
    try {
      value = JSON.parse(saved);
    } catch (cause) {
      throw refused(source, "it is no JSON", cause);
    }
  return new Preparation(checked(value, source));
}

function checked(value: unknown, source: string): PreparationState {
  const expect = (holds: boolean, problem: string): void => {
    if (!holds) throw refused(source, problem);
  };
  const record = (given: unknown, where: string): Readonly<Record<string, unknown>> => {
    expect(aRecord(given) === undefined, `${where} is ${described(given)}`);
    return given as Readonly<Record<string, unknown>>;
  };
  const texts = (given: unknown, where: string): readonly string[] => {
    expect(Array.isArray(given) && given.every((text) => typeof text === "string"), `${where} is no list of texts`);
    expect(new Set(given as string[]).size === (given as string[]).length, `${where} has a text twice`);
    return [...(given as string[])];
  };
  const { format, version, ...state } = record(value, "it");
  expect(format === "glissade preparation", "it is no preparation of Glissade");
  expect(version === 1, `its version is ${described(version)}, and this program reads version 1`);
  const { category, unknown, label, targets } = state;
  expect(category === "oneHot" || category === "index", `category is ${described(category)}`);
  expect(unknown === "refuse" || unknown === "ignore", `unknown is ${described(unknown)}`);
  expect(Array.isArray(state.inputs) && state.inputs.length > 0, "it has no inputs");
  const inputs = (state.inputs as unknown[]).map((given, i): NumericStep | CategoryStep => {
    const where = `input ${i}`;
    const { kind, name, mean, scale, fill, values } = record(given, where);
    if (typeof name !== "string") throw refused(source, `the name of ${where} is ${described(name)}`);
    if (kind === "category") {
      if (fill !== null && typeof fill !== "string") throw refused(source, `fill of ${where} is ${described(fill)}`);
      return { kind, name, values: texts(values, `values of ${where}`), fill };
    }
    if (kind !== "numeric") throw refused(source, `the kind of ${where} is ${described(kind)}`);
    if (!isNumber(mean) || !isNumber(scale) || !(scale > 0))
      throw refused(source, `mean and scale of ${where} are ${described(mean)} and ${described(scale)}`);
    if (fill !== null && !isNumber(fill)) throw refused(source, `fill of ${where} is ${described(fill)}`);
    return { kind, name, mean, scale, fill };
  });
  let answer: PreparationState["label"] = null;
  if (label !== null) {
    const { name, classes } = record(label, "label");
    if (typeof name !== "string") throw refused(source, `the name of the label is ${described(name)}`);
    answer = { name, classes: texts(classes, "the classes") };
  }
  const numbers = texts(targets, "targets");
  const names = [...inputs.map(({ name }) => name), ...(answer ? [answer.name] : []), ...numbers];
  const seen = new Set<string>();
  const twice = names.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined) throw refused(source, `there are two columns called ${quoted(twice)}`);
  return {
    format: "glissade preparation",
    version: 1,
    inputs,
    category: category as "oneHot" | "index",
    unknown: unknown as "refuse" | "ignore",
    label: answer,
    targets: numbers,
  };
}

const isNumber = (value: unknown): value is number => Number.isFinite(value);

function refused(source: string, problem: string, cause?: unknown): FormatError {
  return new FormatError(
    source,
    problem,
    "give what JSON.stringify(preparation) wrote",
    "",
    cause === undefined ? undefined : { cause },
  );
}
