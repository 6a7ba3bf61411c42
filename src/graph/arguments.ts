/** Kinds of arguments of public functions: a wrong argument gives a clear error, not one of the JavaScript engine from deep inside. */
import { ConfigError, printable, quoted } from "../errors.ts";

/** A kind of argument: a function that returns `undefined` for a value of the kind, otherwise what to give instead. */
export type Kind = (value: unknown) => string | undefined;

let tensorClass: (abstract new (...parts: never[]) => unknown) | undefined;

/** Called once by tensor.ts, which imports this file. */
export function setTensorClass(made: NonNullable<typeof tensorClass>): void {
  tensorClass = made;
}

const kind =
  (wanted: string, holds: (value: unknown) => boolean): Kind =>
  (value) =>
    holds(value) ? undefined : `give ${wanted}`;

const isTensor = (value: unknown): boolean => tensorClass !== undefined && value instanceof tensorClass;
const isNumber = (value: unknown): boolean => typeof value === "number";
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !ArrayBuffer.isView(value) &&
  !isTensor(value);

export const aTensor: Kind = kind("a tensor, made with tensor(values)", isTensor);
export const anOperand: Kind = kind("a tensor or a number", (value) => isTensor(value) || isNumber(value));
export const aNumber: Kind = kind("a number", isNumber);
export const aWhole: Kind = kind("a whole number", Number.isSafeInteger);
export const aText: Kind = kind("a text", (value) => typeof value === "string");
export const aFlag: Kind = kind("true or false", (value) => typeof value === "boolean");
export const aFunction: Kind = kind("a function", (value) => typeof value === "function");
/** One of some words. */
export const oneOf = (...words: readonly string[]): Kind =>
  kind(words.map((word) => quoted(word)).join(" or "), (value) => words.some((word) => word === value));
export const sizes: Kind = kind(
  "an array of numbers, one for each axis",
  (value) => Array.isArray(value) && value.every(isNumber),
);
export const wholeSizes: Kind = kind(
  "an array of whole numbers from 0 on, one for each axis",
  (value) => Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0),
);
export const axes: Kind = kind(
  "an axis, or an array of axes",
  (value) => Number.isSafeInteger(value) || (Array.isArray(value) && value.every(Number.isSafeInteger)),
);
/** A number, or one for each of several axes. */
export const perAxis: Kind = kind(
  "a number, or an array of numbers",
  (value) => isNumber(value) || (Array.isArray(value) && value.every(isNumber)),
);
export const tensors: Kind = kind("an array of tensors", (value) => Array.isArray(value) && value.every(isTensor));
export const pairs: Kind = kind(
  "[before, after] for each axis",
  (value) =>
    Array.isArray(value) && value.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every(isNumber)),
);
export const anything: Kind = () => undefined;

/** A kind whose value may be left out. */
export const optional =
  (of: Kind): Kind =>
  (value) =>
    value === undefined ? undefined : of(value);

/** The kind of a number that is finite and in a range. */
export const aNumberThat = (wanted: string, holds: (value: number) => boolean): Kind =>
  kind(wanted, (value) => typeof value === "number" && Number.isFinite(value) && holds(value));
export const aPositive: Kind = aNumberThat("a finite number above 0", (value) => value > 0);
export const fromZero: Kind = aNumberThat("a finite number of at least 0", (value) => value >= 0);
export const aShare: Kind = aNumberThat("a number from 0 to 1", (value) => value >= 0 && value <= 1);
export const wholeFromZero: Kind = aNumberThat(
  "a whole number from 0 on",
  (value) => Number.isSafeInteger(value) && value >= 0,
);

/** The kind of a record of options, given by name. Each option may be left out, except those that are `required`. */
export function options(known: Readonly<Record<string, Kind>>, required: readonly string[] = []): Kind {
  return (value) => {
    const names = Object.keys(known);
    if (value === undefined && required.length === 0) return undefined;
    if (!isRecord(value)) return `give options as a record: { ${names.join(", ")} }`;
    for (const [name, of] of Object.entries(value)) {
      if (!Object.hasOwn(known, name)) return missing(name, names);
      const instead = optional(known[name]!)(of);
      if (instead) return `${instead} for \`${name}\`, which is ${described(of)}`;
    }
    const absent = required.find((name) => value[name] === undefined);
    return absent === undefined ? undefined : `${known[absent]!(undefined)} for \`${absent}\``;
  };
}

/** Returns what to do about an unknown option. */
export function missing(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  const list = known.length > 0 ? `the options are ${known.join(", ")}` : "there are no options";
  return `there is no option ${quoted(name)}${near ? `: did you mean ${near}?` : ""}; ${list}`;
}

/** Throws ConfigError for the first argument that is not of the wanted kind. */
export function expectArguments(subject: string, wanted: readonly Kind[], given: readonly unknown[]): void {
  for (let i = 0; i < wanted.length; i++) {
    const instead = wanted[i]!(given[i]);
    if (instead) throw new ConfigError(subject, `argument ${i + 1} is ${described(given[i])}`, instead);
  }
}

/** Throws ConfigError for an unknown option, and suggests the name that was probably meant. */
export function expectOptions(subject: string, given: unknown, known: readonly string[]): void {
  if (given === undefined) return;
  const instead = options(Object.fromEntries(known.map((name) => [name, anything])))(given);
  if (instead) throw new ConfigError(subject, `the options are ${described(given)}`, instead);
}

/**
 * Calls `read` with the options, and notes which ones it reads, for example by destructuring. Throws ConfigError for an option that
 * `read` does not read, unless it is among `others`, which other code reads.
 */
export function readingOptions<O extends object, R>(
  subject: string,
  given: O,
  read: (options: O) => R,
  others: readonly string[] = [],
): R {
  if (!isRecord(given)) expectOptions(subject, given, others);
  const asked = new Set(others);
  const watched = new Proxy(given, {
    get: (target, key) => {
      asked.add(String(key));
      return Reflect.get(target, key) as unknown;
    },
  });
  const result = read(watched);
  expectOptions(subject, given, [...asked]);
  return result;
}

/** Returns the text for a value in a message. */
export function described(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (isTensor(value)) return "a tensor";
  if (typeof value === "string") return quoted(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "bigint") return printable(`${value}n`);
  if (typeof value !== "object") return `a ${typeof value}`;
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : "an array";
  const name = Object.getPrototypeOf(value)?.constructor?.name;
  if (typeof name === "string" && name !== "Object" && name !== "") return `a ${printable(name)}`;
  return `a record { ${printable(Object.keys(value).slice(0, 8).join(", "))} }`;
}

/** Returns the known name that is most like another: the same letters in another spelling, the same initials, or a typing error. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string =>
    text
      .slice(0, 60)
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]/gu, "");
  const initials = (text: string): string => `${text[0] ?? ""}${text.replace(/[^A-Z]/g, "")}`.toLowerCase();
  const given = plain(name);
  if (given === "") return undefined;
  const exact = known.find((each) => plain(each) === given || initials(each) === given);
  if (exact) return exact;
  const byDistance = known
    .map((each) => ({ each, distance: distance(given, plain(each)), length: plain(each).length }))
    .filter((near) => near.distance < Math.max(given.length, near.length)) //  the others have no letter in common
    .sort((a, b) => a.distance - b.distance)[0];
  return byDistance && byDistance.distance <= Math.max(1, given.length / 3) ? byDistance.each : undefined;
}

/** Returns how many letters must be changed, added or left out (Levenshtein distance). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])));
    row = next;
  }
  return row[b.length]!;
}

export const aRecord: Kind = kind("a record", isRecord);
export const bytesOfFile: Kind = kind("the bytes of a file, a Uint8Array", (value) => value instanceof Uint8Array);
export const someValues: Kind = kind("values in a typed array", (value) => ArrayBuffer.isView(value));
export const anEngine: Kind = kind(
  "an engine: nodeEngine(), plainEngine(), or { name, target, buffer, load }",
  (value) =>
    isRecord(value) &&
    typeof value.name === "string" &&
    isRecord(value.target) &&
    typeof value.buffer === "function" &&
    typeof value.load === "function",
);
/** The kind of objects that have variables: a module, an optimizer, a generator. */
export const withStates: Kind = kind(
  "a module or an optimizer",
  (value) => ((typeof value === "object" && value !== null) || typeof value === "function") && "namedStates" in value,
);
export const aColumn: Kind = kind(
  "{ shape, dtype, values }, with the values in a typed array",
  (value) =>
    isRecord(value) &&
    Array.isArray(value.shape) &&
    typeof value.dtype === "string" &&
    ArrayBuffer.isView(value.values),
);
