/**
 * The header of a safetensors file, read byte by byte. No object is built before its text has been checked: a header from outside may be a
 * hundred megabytes of arbitrary bytes, and `JSON.parse` would need up to 75 times as much memory before the first check.
 */
import { FormatError, quoted } from "../errors.ts";
import type { Shape } from "../graph/types.ts";

export const metadataKey = "__metadata__";

/** The deepest nesting of JSON values in fields that the format does not use: the reference implementation's limit. */
const deepest = 128;
/** The largest number of axes of a tensor, as in NumPy. */
const mostAxes = 64;
/** The most bytes of a tensor's name. */
const longestName = 65_536;
/** The most tensors without elements. They take no bytes of the data, so the file's size does not limit their number. */
const mostEmpty = 100_000;
/** The most bytes of values in unknown fields, over all entries: such values are skipped, but skipping must not take seconds. */
const mostUnknown = 4_000_000;
/** The most keys of the metadata. Usual files have a few keys; their values may be long. */
const mostMetadata = 10_000;

/** A tensor's entry in the header. Its form has been checked; its sizes and offsets have not yet been compared with the file. */
export interface HeaderEntry {
  /** The position in the header of the quotation mark before the name. The name itself is read when it is needed. */
  readonly at: number;
  /** A hash of the name: equal names have equal hashes. */
  readonly hash: number;
  readonly dtype: string;
  readonly shape: Shape;
  /** The begin and end of the values, in bytes from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

export type Fail = (problem: string, fix: string) => never;

const toRewrite = "write the file anew with a tool that keeps to the format";
const toStrings = "give metadata as an object of strings; numbers and lists go in as JSON text";
const offsetsWanted = "data_offsets should be two whole numbers, begin and end";
const toCheck = "check that this is a safetensors file and was written by a tool that keeps to the format";

const [quote, comma, colon, backslash] = [0x22, 0x2c, 0x3a, 0x5c];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** The words that occur in every entry, by length. */
const words = [
  metadataKey,
  "__proto__",
  "dtype",
  "shape",
  "data_offsets",
  "F64",
  "F32",
  "F16",
  "I64",
  "I32",
  "BF16",
  "BOOL",
];
const wordsByLength = Array.from({ length: 14 }, (_, length) => words.filter((word) => word.length === length));

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A header. It is read more than once: first to check everything, then to use it. */
export class Header {
  readonly #bytes: Uint8Array;
  readonly #source: string;
  #at = 0;
  /** The begin and end of the last skipped string, without its quotation marks, and its hash. */
  #begin = 0;
  #end = 0;
  #hash = 0;
  /** Whether that string is ASCII without escapes. */
  #isPlain = true;
  // The following objects are reused: with a million tensors, most of the time would otherwise go into garbage collection.
  /** Arrays for the bytes of a string, by length. */
  readonly #codes: number[][] = [];
  /** The last array of whole numbers that was read: the first `#count` elements. */
  readonly #numbers = new Float64Array(mostAxes);
  #count = 0;
  /** The number of bytes of unknown values that are still allowed, and the position where the present value must end. */
  #unknownLeft = mostUnknown;
  #unknownEnd = 0;
  #lastShape: Shape = Object.freeze([]);

  constructor(bytes: Uint8Array, source: string) {
    this.#bytes = bytes;
    this.#source = source;
  }

  /**
   * Reads the header from the first byte to the last, calls `visit` with each tensor's entry, and returns the metadata. It needs memory for
   * one entry at a time. Throws FormatError for text that is not JSON, and for JSON that is not a header.
   */
  read(visit: (entry: HeaderEntry) => void): Record<string, string> {
    this.#at = 0;
    this.#unknownLeft = mostUnknown;
    if (this.#bytes[0] !== openObject)
      throw new FormatError(this.#source, `its header should be a JSON object, and got ${this.#excerpt()}`, toCheck);
    let metadata: Record<string, string> | undefined;
    this.#members(() => {
      if (this.#word() !== metadataKey) return visit(this.#entry());
      if (metadata) this.#failTwice(metadataKey);
      metadata = this.#metadata();
    });
    this.#space();
    if (this.#at < this.#bytes.length) this.#notJson("text after the end of the object");
    return metadata ?? {};
  }

  /** Returns the name of an entry. */
  nameOf({ at }: Pick<HeaderEntry, "at">): string {
    const before = this.#at;
    this.#at = at;
    const name = this.#string();
    this.#at = before;
    return name;
  }

  /** Reads the entry whose name has just been skipped. */
  #entry(): HeaderEntry {
    const [at, hash, length] = [this.#begin - 1, this.#hash, this.#end - this.#begin];
    if (length > longestName)
      throw new FormatError(
        this.#source,
        `the name at byte ${at} of its header has ${length} bytes, where at most ${longestName} are accepted`,
        "give the tensor a shorter name",
      );
    if (!this.#isPlain || this.#word() === "__proto__") expectName(this.#source, this.#text());
    const fail: Fail = (problem, fix) => failAbout(this.#source, this.nameOf({ at }))(problem, fix);
    this.#space();
    if (this.#next() !== openObject)
      fail(`its entry should be an object with dtype, shape and data_offsets, and got ${this.#show()}`, toRewrite);
    let dtype: string | undefined;
    let shape: Shape | undefined;
    let [hasOffsets, begin, end]: [boolean, number | undefined, number | undefined] = [false, undefined, undefined];
    this.#members(() => {
      const field = this.#word();
      this.#space();
      switch (field) {
        case "dtype":
          if (dtype !== undefined) this.#failTwice(field);
          if (this.#next() !== quote) fail(`the dtype is ${this.#show()}`, toRewrite);
          dtype = this.#string();
          break;
        case "shape":
          if (shape) this.#failTwice(field);
          this.#wholeNumbers(mostAxes, "its shape should be an array of whole numbers", fail);
          shape = this.#shape();
          break;
        case "data_offsets":
          if (hasOffsets) this.#failTwice(field);
          this.#wholeNumbers(2, offsetsWanted, fail);
          hasOffsets = true;
          begin = this.#count > 0 ? this.#numbers[0] : undefined;
          end = this.#count > 1 ? this.#numbers[1] : undefined;
          break;
        default:
          this.#skipUnknown();
      }
    });
    if (dtype === undefined) return fail("the dtype is nothing", toRewrite);
    if (!shape) return fail("its shape should be an array of whole numbers, and got nothing", toRewrite);
    if (begin === undefined || end === undefined)
      return fail(`${offsetsWanted}, and got ${hasOffsets ? `[${begin ?? ""}]` : "nothing"}`, toRewrite);
    return { at, hash, dtype, shape, begin, end };
  }

  #metadata(): Record<string, string> {
    if (this.#next() !== openObject)
      throw new FormatError(
        this.#source,
        `its metadata should be an object of strings, and got ${this.#show()}`,
        toStrings,
      );
    const metadata = new Map<string, string>();
    this.#members(() => {
      const key = this.#text();
      if (metadata.has(key)) this.#failTwice(key);
      if (this.#next() !== quote)
        throw new FormatError(
          this.#source,
          `its metadata should be strings, and ${quoted(key)} is ${this.#show()}`,
          toStrings,
        );
      metadata.set(key, this.#string());
      if (metadata.size > mostMetadata) tooMuchMetadata(this.#source);
    });
    return expectMetadata(this.#source, Object.fromEntries(metadata));
  }

  /** Reads an array of at most `most` whole numbers, written in digits alone, into `#numbers`. */
  #wholeNumbers(most: number, wanted: string, fail: Fail): void {
    const begin = this.#at;
    this.#count = 0;
    const refuse = (): never => {
      this.#at = begin;
      return fail(`${wanted}, and got ${this.#show()}`, toRewrite);
    };
    if (this.#next() !== openList) refuse();
    this.#items(() => {
      const number = this.#wholeNumber();
      if (number === undefined || this.#count === most) refuse();
      else this.#numbers[this.#count++] = number;
    });
  }

  /** Returns the shape that has just been read. Consecutive tensors of equal shape share one array. */
  #shape(): Shape {
    const last = this.#lastShape;
    let isSame = last.length === this.#count;
    for (let i = 0; isSame && i < last.length; i++) isSame = last[i] === this.#numbers[i];
    if (!isSame) this.#lastShape = Object.freeze([...this.#numbers.subarray(0, this.#count)]);
    return this.#lastShape;
  }

  #wholeNumber(): number | undefined {
    const begin = this.#at;
    let number = 0;
    let digit = this.#bytes[this.#at]! - 0x30;
    for (; digit >= 0 && digit <= 9; digit = this.#bytes[++this.#at]! - 0x30) number = number * 10 + digit;
    const length = this.#at - begin;
    const hasLeadingZero = length > 1 && this.#bytes[begin] === 0x30;
    const isCut = this.#next() !== comma && this.#next() !== closeList;
    return length === 0 || hasLeadingZero || isCut || !Number.isSafeInteger(number) ? undefined : number;
  }

  // JSON

  /** Skips white space and returns the next byte, `undefined` at the end. */
  #next(): number | undefined {
    this.#space();
    return this.#bytes[this.#at];
  }

  #space(): void {
    let byte = this.#bytes[this.#at]!;
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = this.#bytes[++this.#at]!;
  }

  #take(byte: number): void {
    if (this.#next() !== byte) this.#notJson(`expected ${String.fromCharCode(byte)}`);
    this.#at++;
  }

  /** Reads the object that begins here. `visit` is called after each key and must read the key's value. */
  #members(visit: () => void): void {
    this.#separated(openObject, closeObject, () => {
      if (this.#next() !== quote) this.#notJson('expected "');
      this.#pass();
      this.#take(colon);
      visit();
    });
  }

  #items(visit: () => void): void {
    this.#separated(openList, closeList, visit);
  }

  #separated(open: number, close: number, visit: () => void): void {
    this.#take(open);
    if (this.#next() === close) {
      this.#at++;
      return;
    }
    for (;;) {
      this.#space();
      visit();
      if (this.#next() === close) break;
      this.#take(comma);
    }
    this.#at++;
  }

  /** Reads the string that begins here. */
  #string(): string {
    this.#pass();
    return this.#word() ?? this.#text();
  }

  /** Skips the string that begins here. */
  #pass(): void {
    const bytes = this.#bytes;
    const begin = this.#at + 1;
    let isPlain = true;
    let hash = 0x811c9dc5; //  FNV-1a
    let at = begin;
    for (let byte = bytes[at]; byte !== quote; byte = bytes[at]) {
      if (byte === undefined || byte < 0x20) {
        this.#at = at;
        this.#notJson(byte === undefined ? "a string without an end" : "a control character inside a string");
      }
      if (byte === backslash || byte >= 0x80) isPlain = false;
      hash = Math.imul(hash ^ byte, 0x01000193);
      at += byte === backslash ? 2 : 1;
    }
    this.#at = at + 1;
    this.#begin = begin;
    this.#end = at;
    this.#isPlain = isPlain;
    // The same text can be written with or without escapes, so the hash is of the unescaped text.
    this.#hash = (isPlain || at - begin > longestName ? hash : hashOf(this.#text())) >>> 0;
  }

  /** Returns the last skipped string if it is one of the format's words, without making a new string. */
  #word(): string | undefined {
    const length = this.#end - this.#begin;
    if (length >= wordsByLength.length) return undefined;
    for (const word of wordsByLength[length]!) if (this.#isWord(word)) return word;
    return undefined;
  }

  #isWord(word: string): boolean {
    for (let i = 0; i < word.length; i++) if (word.charCodeAt(i) !== this.#bytes[this.#begin + i]) return false;
    return true;
  }

  /** Returns the last skipped string. */
  #text(): string {
    const [begin, end] = [this.#begin, this.#end];
    if (this.#isPlain && end - begin < 128) {
      const length = end - begin;
      this.#codes[length] ??= new Array<number>(length).fill(0);
      const codes = this.#codes[length];
      for (let i = 0; i < codes.length; i++) codes[i] = this.#bytes[begin + i]!;
      return String.fromCharCode.apply(null, codes);
    }
    const text = this.#decoded(this.#bytes.subarray(begin - 1, end + 1));
    if (this.#isPlain) return text.slice(1, -1);
    try {
      return JSON.parse(text) as string;
    } catch {
      this.#at = begin;
      return this.#notJson("a string with a wrong escape");
    }
  }

  #decoded(bytes: Uint8Array): string {
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      throw new FormatError(this.#source, "its header is not UTF-8", toCheck, "", { cause });
    }
  }

  /** Skips the value of a field that the format does not use, within the limits. */
  #skipUnknown(): void {
    const begin = this.#at;
    this.#unknownEnd = begin + this.#unknownLeft;
    this.#skip(2);
    this.#unknownLeft -= this.#at - begin;
  }

  /** Skips a value that the format does not use. */
  #skip(depth: number): void {
    if (depth > deepest)
      throw new FormatError(this.#source, `its header is nested deeper than ${deepest} levels`, toCheck);
    if (this.#at > this.#unknownEnd)
      throw new FormatError(
        this.#source,
        `its header has more than ${mostUnknown} bytes beside dtype, shape and data_offsets`,
        "keep what else there is to say in the metadata",
      );
    switch (this.#next()) {
      case quote:
        this.#string();
        return;
      case openObject:
        this.#members(() => this.#skip(depth + 1));
        return;
      case openList:
        this.#items(() => this.#skip(depth + 1));
        return;
      default:
        this.#scalar();
    }
  }

  /** Reads a number, `true`, `false` or `null`, and returns its text. */
  #scalar(): string {
    let text = "";
    for (
      let byte = this.#bytes[this.#at];
      isOfScalar(byte) && text.length < longestScalar;
      byte = this.#bytes[++this.#at]
    )
      text += String.fromCharCode(byte);
    if (isOfScalar(this.#bytes[this.#at]) || !/^(-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?|true|false|null)$/.test(text))
      this.#notJson("expected a value");
    return text;
  }

  /** Returns a value for a message: its top level, shortened, up to the first nested value that is not a scalar. */
  #show(): string {
    switch (this.#next()) {
      case openObject:
        return "an object";
      case quote:
        return quoted(this.#string());
      case openList:
        return this.#showList();
      default:
        return this.#scalar();
    }
  }

  #showList(): string {
    this.#at++;
    const shown: string[] = [];
    while (this.#next() !== closeList && shown.length < 8) {
      const isDeep = this.#next() === openList || this.#next() === openObject;
      if (isDeep) return `[${[...shown, this.#next() === openList ? "an array" : "an object", "…"].join(", ")}]`;
      shown.push(this.#show());
      if (this.#next() !== comma) break;
      this.#at++;
    }
    return `[${shown.join(", ")}${this.#next() === closeList ? "" : ", …"}]`;
  }

  #excerpt(): string {
    return quoted(new TextDecoder().decode(this.#bytes.subarray(0, 80)));
  }

  #notJson(problem: string): never {
    throw new FormatError(this.#source, `its header is not JSON: ${problem} at byte ${this.#at}`, toCheck);
  }

  #failTwice(key: string): never {
    throw new FormatError(this.#source, `its header has the key ${quoted(key)} twice`, toCheck);
  }
}

/** The most bytes of a number: longer ones are refused. */
const longestScalar = 400;

/** Whether a byte is a letter, a digit, `+`, `-` or `.`: the characters of numbers, `true`, `false` and `null`. */
function isOfScalar(byte: number | undefined): byte is number {
  if (byte === undefined) return false;
  const letter = byte | 0x20;
  return (
    (letter >= 0x61 && letter <= 0x7a) ||
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x2b && byte <= 0x2e && byte !== comma)
  );
}

/** The names and places of all tensors of a file. They are stored in columns, so that a million entries take little memory. */
export class Places {
  readonly #header: Header;
  readonly #source: string;
  #count = 0;
  #empty = 0;
  /** The field `at` of each `HeaderEntry`. */
  #ats = new Float64Array(64);
  #hashes = new Float64Array(64);
  #begins = new Float64Array(64);
  #ends = new Float64Array(64);
  /**
   * The end of the data so far, as long as each tensor begins where the tensor before it ends, as in nearly all files; undefined otherwise.
   */
  #end: number | undefined = 0;

  constructor(header: Header, source: string) {
    this.#header = header;
    this.#source = source;
  }

  add({ at, hash, begin, end }: HeaderEntry): void {
    const count = this.#count++;
    if (begin === end && ++this.#empty > mostEmpty)
      throw new FormatError(this.#source, `its header has more than ${mostEmpty} tensors without elements`, toRewrite);
    if (count === this.#ats.length)
      [this.#ats, this.#hashes, this.#begins, this.#ends] = [
        grown(this.#ats),
        grown(this.#hashes),
        grown(this.#begins),
        grown(this.#ends),
      ];
    this.#ats[count] = at;
    this.#hashes[count] = hash;
    this.#begins[count] = begin;
    this.#ends[count] = end;
    this.#end = begin === this.#end ? end : undefined;
  }

  /** Throws FormatError for a name that occurs twice. Only names with equal hashes are compared. */
  expectDistinct(): void {
    const hashes = this.#hashes.slice(0, this.#count).sort();
    const equal = new Set(hashes.filter((hash, i) => hash === hashes[i - 1]));
    if (equal.size === 0) return;
    const seen = new Set<string>();
    for (let i = 0; i < this.#count; i++) {
      if (!equal.has(this.#hashes[i]!)) continue;
      const name = this.#nameOf(i);
      if (seen.has(name)) throw new FormatError(this.#source, `its header has the key ${quoted(name)} twice`, toCheck);
      seen.add(name);
    }
  }

  /**
   * Throws FormatError unless the tensors fill the data from the first byte to the last, each byte once. Begins and ends are sorted
   * separately: if every begin equals the end before it, every byte belongs to exactly one tensor.
   */
  expectCovered(dataLength: number): void {
    if (this.#end === dataLength) return;
    const filled = this.#indices((i) => this.#begins[i]! < this.#ends[i]!);
    const begins = picked(this.#begins, filled).sort();
    const ends = picked(this.#ends, filled).sort();
    let at = 0;
    for (const [i, begin] of begins.entries()) {
      if (begin > at)
        this.#fail(
          this.#begins.indexOf(begin),
          `its data begin at ${begin}, and bytes ${at} to ${begin} belong to no tensor`,
        );
      if (begin < at) this.#failInside(begin);
      at = ends[i]!;
    }
    if (at < dataLength)
      throw new FormatError(
        this.#source,
        `the tensors end at byte ${at} of the data, and the file has ${dataLength}`,
        toRewrite,
      );
    // A tensor without values must lie between two other tensors or at an end of the data.
    const empty = this.#indices((i) => this.#begins[i] === this.#ends[i]);
    if (empty.length === 0) return;
    const borders = new Set([0, ...ends]);
    for (const i of empty) if (!borders.has(this.#begins[i]!)) this.#failInside(this.#begins[i]!);
  }

  #indices(holds: (index: number) => boolean): Uint32Array {
    const indices = new Uint32Array(this.#count);
    let count = 0;
    for (let i = 0; i < this.#count; i++) if (holds(i)) indices[count++] = i;
    return indices.subarray(0, count);
  }

  /** Throws the error for a tensor that begins inside another tensor. */
  #failInside(at: number): never {
    const [outer] = this.#indices((i) => this.#begins[i]! <= at && at < this.#ends[i]!) as unknown as [number];
    const [inner] = this.#indices((i) => i !== outer && this.#begins[i] === at) as unknown as [number];
    return this.#fail(
      inner,
      `its data begin at ${at}, inside those of ${quoted(this.#nameOf(outer))}, which end at ${this.#ends[outer]}`,
    );
  }

  #fail(index: number, problem: string): never {
    return failAbout(this.#source, this.#nameOf(index))(problem, toRewrite);
  }

  #nameOf(index: number): string {
    return this.#header.nameOf({ at: this.#ats[index]! });
  }
}

function grown(column: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * column.length);
  larger.set(column);
  return larger;
}

function picked(column: Float64Array, indices: Uint32Array): Float64Array {
  const values = new Float64Array(indices.length);
  for (let i = 0; i < values.length; i++) values[i] = column[indices[i]!]!;
  return values;
}

/** The FNV-1a hash of the text's UTF-8 form, equal to the hash of the same string without escapes. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}

// Rules for reading and writing

export function expectName(subject: string, name: string): void {
  if (name === metadataKey || name === "__proto__")
    throw new FormatError(
      subject,
      `a tensor is called ${quoted(name)}, which has another meaning`,
      "give the tensor another name",
    );
  expectText(subject, name, "the name of a tensor");
}

export function expectMetadata(subject: string, metadata: unknown): Record<string, string> {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata))
    throw new FormatError(
      subject,
      `its metadata should be an object of strings, and got ${String(metadata)}`,
      toStrings,
    );
  const entries = Object.entries(metadata);
  if (entries.length > mostMetadata) tooMuchMetadata(subject);
  for (const [key, value] of entries) {
    if (key === "__proto__")
      throw new FormatError(subject, `its metadata have the key "__proto__"`, "give the key another name");
    if (typeof value !== "string")
      throw new FormatError(
        subject,
        `its metadata should be strings, and ${quoted(key)} is ${String(value)}`,
        toStrings,
      );
    expectText(subject, key, "a key of its metadata");
    expectText(subject, value, `the metadata under ${quoted(key)}`);
  }
  return { ...(metadata as Record<string, string>) };
}

function tooMuchMetadata(subject: string): never {
  throw new FormatError(
    subject,
    `its metadata have more than ${mostMetadata} keys`,
    "keep lists in one value, as JSON text",
  );
}

/** Throws for an unpaired surrogate: it has no UTF-8 form, and readers in other languages refuse it. */
function expectText(subject: string, text: string, what: string): void {
  if (!text.isWellFormed())
    throw new FormatError(
      subject,
      `${what} is not Unicode text: ${quoted(text)}`,
      "remove the half of a surrogate pair in it",
    );
}

export function failAbout(subject: string, name: string): Fail {
  return (problem, fix) => {
    throw new FormatError(subject, `tensor ${quoted(name)}: ${problem}`, fix);
  };
}
