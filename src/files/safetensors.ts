/**
 * Safetensors, the format that Hugging Face publishes weights in: eight bytes with the length of the header, little
 * endian; a JSON header that gives each tensor's dtype, shape and place; the values, one tensor right after the other.
 *
 * A file from outside is hostile until proven otherwise: the whole header is checked before memory is taken for a
 * value, and what decoding then takes is at most four times the file (U8 and I8 grow to int32).
 */
import { FormatError } from "../errors.ts";
import { arrayTypes, type DType, type Shape, showType, type TensorType, type Values } from "../graph/types.ts";

/** A tensor's shape and dtype with its values, row-major. */
export interface NamedValues extends TensorType {
  readonly values: Values;
}

/** What a safetensors file holds. */
export interface SafetensorsContent {
  /** By name, in the order of the header. */
  readonly tensors: Map<string, NamedValues>;
  /** The strings under `__metadata__`; empty when the file has none. */
  readonly metadata: Record<string, string>;
}

/** The reference implementation's limit. */
const longestHeader = 100_000_000;
const metadataKey = "__metadata__";

/** How the dtypes we write are called in a file, in the order they are written: the reference implementation's. */
const written: readonly { readonly dtype: DType; readonly code: string }[] = [
  { dtype: "float64", code: "F64" },
  { dtype: "float32", code: "F32" },
  { dtype: "int32", code: "I32" },
  { dtype: "bool", code: "BOOL" },
];

/** A dtype as it may stand in a file. */
interface StoredDType {
  /** Bytes per element. */
  readonly bytes: number;
  readonly dtype: DType;
  /** Turns a tensor's bytes, in a buffer of their own, into values. `fail` throws a FormatError about the tensor. */
  decode(buffer: ArrayBuffer, fail: Fail): Values;
}

type Fail = (problem: string, fix: string) => never;

// The file is little-endian, and so is every machine that ONNX Runtime is built for: typed arrays read it as it is.
const stored: ReadonlyMap<string, StoredDType> = new Map<string, StoredDType>([
  ["F64", { bytes: 8, dtype: "float64", decode: (buffer) => new Float64Array(buffer) }],
  ["F32", { bytes: 4, dtype: "float32", decode: (buffer) => new Float32Array(buffer) }],
  ["F16", { bytes: 2, dtype: "float32", decode: (buffer) => fromFloat16(new Uint16Array(buffer)) }],
  ["BF16", { bytes: 2, dtype: "float32", decode: (buffer) => fromBfloat16(new Uint16Array(buffer)) }],
  ["I64", { bytes: 8, dtype: "int32", decode: (buffer, fail) => fromInt64(new Int32Array(buffer), fail) }],
  ["I32", { bytes: 4, dtype: "int32", decode: (buffer) => new Int32Array(buffer) }],
  ["I16", { bytes: 2, dtype: "int32", decode: (buffer) => Int32Array.from(new Int16Array(buffer)) }],
  ["U16", { bytes: 2, dtype: "int32", decode: (buffer) => Int32Array.from(new Uint16Array(buffer)) }],
  ["I8", { bytes: 1, dtype: "int32", decode: (buffer) => Int32Array.from(new Int8Array(buffer)) }],
  ["U8", { bytes: 1, dtype: "int32", decode: (buffer) => Int32Array.from(new Uint8Array(buffer)) }],
  ["BOOL", { bytes: 1, dtype: "bool", decode: (buffer, fail) => expectBooleans(new Uint8Array(buffer), fail) }],
]);

/** 1 sign, 5 exponent and 10 mantissa bits (IEEE 754 binary16). */
function fromFloat16(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i]!;
    const sign = (half & 0x8000) << 16;
    if ((half & 0x7c00) === 0x7c00) {
      bits[i] = sign | 0x7f800000 | ((half & 0x3ff) << 13);
    } else {
      // Under float32's exponent bias the same bits stand for a number 2¹¹² times smaller, subnormal ones included.
      bits[i] = sign | ((half & 0x7fff) << 13);
      values[i]! *= 2 ** 112;
    }
  }
  return values;
}

/** The upper half of a float32. */
function fromBfloat16(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return values;
}

/** `words` holds each int64 as its low word and then its high word. */
function fromInt64(words: Int32Array, fail: Fail): Int32Array {
  const values = new Int32Array(words.length / 2);
  for (let i = 0; i < values.length; i++) {
    const low = words[2 * i]!;
    const high = words[2 * i + 1]!;
    if (high !== low >> 31)
      fail(
        `I64 is read into int32, and element ${i} is ${(BigInt(high) << 32n) | BigInt(low >>> 0)}`,
        "store values from -2147483648 to 2147483647",
      );
    values[i] = low;
  }
  return values;
}

function expectBooleans(values: Uint8Array, fail: Fail): Uint8Array {
  const at = values.findIndex((value) => value > 1);
  if (at >= 0)
    fail(`a bool is stored as 0 or 1, and element ${at} is ${values[at]}`, "store other values than 0 and 1 as U8");
  return values;
}

// Writing

/**
 * The bytes of a safetensors file: what the reference implementation writes for the same tensors.
 * Throws FormatError for values that do not fill their shape, and for names or metadata that a reader would refuse.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, NamedValues>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const subject = "encodeSafetensors";
  // Large elements first, so that each tensor starts at a multiple of its element's size.
  const rank = ({ dtype }: TensorType): number => written.findIndex((entry) => entry.dtype === dtype);
  const ordered = [...tensors].sort(
    ([nameA, a], [nameB, b]) => rank(a) - rank(b) || (nameA < nameB ? -1 : nameA > nameB ? 1 : 0),
  );

  // Put together by hand, because an object would move names that look like whole numbers to the front.
  const entries: string[] = [];
  if (metadata) entries.push(`"${metadataKey}":${JSON.stringify(expectMetadata(subject, metadata))}`);
  let end = 0;
  for (const [name, tensor] of ordered) {
    expectName(subject, name);
    expectFilled(subject, name, tensor);
    const begin = end;
    end += tensor.values.byteLength;
    const info = { dtype: written[rank(tensor)]!.code, shape: tensor.shape, data_offsets: [begin, end] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(info)}`);
  }
  const text = new TextEncoder().encode(`{${entries.join(",")}}`);
  const headerLength = Math.ceil(text.length / 8) * 8;
  if (headerLength > longestHeader)
    throw new FormatError(
      subject,
      `a header of ${headerLength} bytes for ${tensors.size} tensors, where readers accept at most ${longestHeader}`,
      "write several files, or shorten the names and the metadata",
    );

  const bytes = new Uint8Array(8 + headerLength + end);
  new DataView(bytes.buffer).setUint32(0, headerLength, true);
  bytes.set(text, 8);
  bytes.fill(0x20, 8 + text.length, 8 + headerLength);
  let at = 8 + headerLength;
  for (const [, { values }] of ordered) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return bytes;
}

function expectFilled(subject: string, name: string, tensor: NamedValues): void {
  const { shape, dtype, values } = tensor;
  const fail = failAbout(subject, name);
  if (!(values instanceof arrayTypes[dtype]))
    fail(
      `values of ${dtype} should be in ${arrayTypes[dtype].name}, and came in ${values.constructor.name}`,
      "pass the array of the dtype",
    );
  if (countOf(shape, fail) !== values.length)
    fail(
      `${showType(tensor)} needs ${countOf(shape, fail)} values, and got ${values.length}`,
      "make shape and values agree",
    );
  if (values instanceof Uint8Array) expectBooleans(values, fail);
}

// Reading

/** A tensor's entry in the header, checked. */
interface Entry {
  readonly name: string;
  readonly shape: Shape;
  readonly type: StoredDType;
  /** Where the values begin and end, in bytes from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

/**
 * The tensors of a safetensors file. F32, F64, I32 and BOOL keep their dtype; F16 and BF16 become float32; I64, I16,
 * I8, U16 and U8 become int32. Every array is a copy with a buffer of its own. `source` is what messages call the file:
 * its path or its address. Throws FormatError when anything about the file is not as the format says, or an I64 does
 * not fit an int32.
 */
export function decodeSafetensors(bytes: Uint8Array, source: string = "safetensors"): SafetensorsContent {
  const headerEnd = 8 + headerLengthOf(bytes, source);
  const data = bytes.subarray(headerEnd);
  const { entries, metadata } = readHeader(bytes.subarray(8, headerEnd), data.length, source);
  expectCovered(entries, data.length, source);
  const tensors = new Map<string, NamedValues>();
  for (const { name, shape, type, begin, end } of entries) {
    // A copy by the constructor: `slice` of a Node Buffer would be a view, and a view need not be aligned.
    const { buffer } = new Uint8Array(data.subarray(begin, end));
    tensors.set(name, { shape, dtype: type.dtype, values: type.decode(buffer, failAbout(source, name)) });
  }
  return { tensors, metadata };
}

function headerLengthOf(bytes: Uint8Array, source: string): number {
  if (bytes.length < 8)
    throw new FormatError(
      source,
      `a safetensors file starts with 8 bytes that hold the length of its header, and the file has ${bytes.length}`,
      "check that this is a safetensors file and was downloaded to its end",
    );
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > longestHeader)
    throw new FormatError(
      source,
      `its first 8 bytes announce a header of ${length} bytes, where at most ${longestHeader} are accepted`,
      "check that this is a safetensors file, and not a pickle, an archive or a web page",
    );
  if (length > bytes.length - 8)
    throw new FormatError(
      source,
      `its first 8 bytes announce a header of ${length} bytes, and only ${bytes.length - 8} follow`,
      "check that this is a safetensors file and was downloaded to its end",
    );
  return length;
}

function readHeader(
  bytes: Uint8Array,
  dataLength: number,
  source: string,
): { entries: Entry[]; metadata: Record<string, string> } {
  const fix = "check that this is a safetensors file and was written by a tool that keeps to the format";
  let text: string;
  let header: unknown;
  try {
    // The byte order mark is kept, so that a header that starts with one is refused as not starting with `{`.
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(source, "its header is not UTF-8", fix, "", { cause });
  }
  try {
    header = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(source, `its header is not JSON: ${(cause as Error).message}`, fix, "", { cause });
  }
  if (!text.startsWith("{") || !isRecord(header))
    throw new FormatError(source, `its header should be a JSON object, and got ${quote(text)}`, fix);
  const twice = duplicateKey(text);
  if (twice !== undefined) throw new FormatError(source, `its header has the key ${quote(twice)} twice`, fix);

  let metadata: Record<string, string> = {};
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === metadataKey) metadata = expectMetadata(source, value);
    else entries.push(readEntry(name, value, dataLength, source));
  }
  return { entries, metadata };
}

function readEntry(name: string, value: unknown, dataLength: number, source: string): Entry {
  expectName(source, name);
  const fail = failAbout(source, name);
  const fix = "write the file anew with a tool that keeps to the format";
  if (!isRecord(value))
    return fail(`its entry should be an object with dtype, shape and data_offsets, and got ${show(value)}`, fix);
  const { dtype, shape, data_offsets: offsets } = value;
  const type = typeof dtype === "string" ? stored.get(dtype) : undefined;
  if (!type)
    return fail(
      `the dtype is ${show(dtype)}, and one of ${[...stored.keys()].join(", ")} can be read`,
      "convert it to one of these",
    );
  if (!isWholeNumbers(shape)) return fail(`its shape should be an array of whole numbers, and got ${show(shape)}`, fix);
  const length = countOf(shape, fail) * type.bytes;
  if (!isWholeNumbers(offsets) || offsets.length !== 2)
    return fail(`data_offsets should be two whole numbers, begin and end, and got ${show(offsets)}`, fix);
  const [begin, end] = offsets as [number, number];
  if (begin > end) fail(`its data begin at ${begin} and end before, at ${end}`, fix);
  if (end > dataLength)
    fail(
      `its data end at ${end}, and the file has ${dataLength} bytes of data`,
      "check that the file was downloaded to its end",
    );
  if (end - begin !== length)
    fail(`${dtype}${show(shape)} takes ${length} bytes, and data_offsets [${begin}, ${end}] give ${end - begin}`, fix);
  return { name, shape, type, begin, end };
}

/** Throws unless the entries fill the data from the first byte to the last, each byte once. */
function expectCovered(entries: readonly Entry[], dataLength: number, source: string): void {
  const fix = "write the file anew with a tool that keeps to the format";
  let at = 0;
  let before = "";
  for (const { name, begin, end } of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    const fail = failAbout(source, name);
    if (begin < at) fail(`its data begin at ${begin}, inside those of ${quote(before)}, which end at ${at}`, fix);
    if (begin > at) fail(`its data begin at ${begin}, and bytes ${at} to ${begin} belong to no tensor`, fix);
    at = end;
    before = name;
  }
  if (at < dataLength)
    throw new FormatError(source, `the tensors end at byte ${at} of the data, and the file has ${dataLength}`, fix);
}

/**
 * The first key that stands twice in an object of a JSON text, which must be valid; JSON.parse keeps the last of them
 * and says nothing. A loop and not a regular expression, whose stack a long name would exhaust.
 */
function duplicateKey(json: string): string | undefined {
  const open: Set<string>[] = [];
  for (let at = 0; at < json.length; at++) {
    const character = json[at];
    if (character === "{") open.push(new Set());
    else if (character === "}") open.pop();
    else if (character === '"') {
      const begin = at;
      for (at++; json[at] !== '"'; at++) if (json[at] === "\\") at++;
      let next = at + 1;
      while (/\s/.test(json.charAt(next))) next++;
      if (json[next] !== ":") continue;
      const key = JSON.parse(json.slice(begin, at + 1)) as string;
      const seen = open.at(-1)!;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

// Rules for both ways

/** The number of elements. Throws when the shape is none, or its size is beyond what a number can count. */
function countOf(shape: Shape, fail: Fail): number {
  let count = 1;
  for (const size of shape) {
    if (!isWholeNumber(size))
      fail(`a shape should be made of whole numbers, and got ${show(shape)}`, "give sizes from 0 on");
    count *= size;
    // Eight bytes an element must still be counted exactly.
    if (count > Number.MAX_SAFE_INTEGER / 8)
      fail(`the shape ${show(shape)} has more elements than can be counted`, "check the shape");
  }
  return count;
}

function expectName(subject: string, name: string): void {
  if (name === metadataKey || name === "__proto__")
    throw new FormatError(
      subject,
      `a tensor is called ${quote(name)}, which has another meaning`,
      "give the tensor another name",
    );
  expectText(subject, name, "the name of a tensor");
}

function expectMetadata(subject: string, metadata: unknown): Record<string, string> {
  const fix = "give metadata as an object of strings; numbers and lists go in as JSON text";
  if (!isRecord(metadata))
    throw new FormatError(subject, `its metadata should be an object of strings, and got ${show(metadata)}`, fix);
  for (const [key, value] of Object.entries(metadata)) {
    if (key === "__proto__")
      throw new FormatError(subject, `its metadata have the key "__proto__"`, "give the key another name");
    if (typeof value !== "string")
      throw new FormatError(subject, `its metadata should be strings, and ${quote(key)} is ${show(value)}`, fix);
    expectText(subject, key, "a key of its metadata");
    expectText(subject, value, `the metadata under ${quote(key)}`);
  }
  return { ...(metadata as Record<string, string>) };
}

/** Throws for half a surrogate pair: it has no UTF-8 form, and readers in other languages refuse it. */
function expectText(subject: string, text: string, what: string): void {
  if (/\p{Surrogate}/u.test(text))
    throw new FormatError(
      subject,
      `${what} is not Unicode text: ${quote(text)}`,
      "remove the half of a surrogate pair in it",
    );
}

function failAbout(subject: string, name: string): Fail {
  return (problem, fix) => {
    throw new FormatError(subject, `tensor ${quote(name)}: ${problem}`, fix);
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** −0 is none: no writer makes it, and other readers refuse it. */
function isWholeNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

function isWholeNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isWholeNumber);
}

/** A value from a header in a message. What a stranger wrote may be long or deep, so only its upper layer is shown. */
function show(value: unknown): string {
  if (!Array.isArray(value)) return showScalar(value);
  return `[${value.slice(0, 8).map(showScalar).join(", ")}${value.length > 8 ? ", …" : ""}]`;
}

function showScalar(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object" && value !== null) return "an object";
  return typeof value === "string" ? quote(value) : Object.is(value, -0) ? "-0" : String(value);
}

function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
