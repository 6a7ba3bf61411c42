/**
 * Safetensors, the format that Hugging Face publishes weights in: eight bytes with the length of the header, little endian; a JSON header
 * that gives each tensor's dtype, shape and place; the values, one tensor right after the other.
 *
 * A file from outside may be hostile. The whole header is checked before memory is allocated for values, and decoding then takes at most
 * four times the size of the file (U8 and I8 become int32).
 */

import { FormatError, quoted } from "../errors.ts";
import { aColumn, aRecord, aText, bytesOfFile, expectArguments, optional } from "../graph/arguments.ts";
import {
  arrayTypes,
  type DType,
  type Shape,
  showShape,
  showType,
  type TensorType,
  type Values,
} from "../graph/types.ts";
import {
  expectMetadata,
  expectName,
  type Fail,
  failAbout,
  Header,
  type HeaderEntry,
  metadataKey,
  Places,
} from "./safetensors-header.ts";

/** A tensor's shape and dtype with its values, row-major. */
export interface NamedValues extends TensorType {
  readonly values: Values;
}

/** The content of a safetensors file. */
export interface SafetensorsContent {
  /** The tensors by name, in the order of the header. */
  readonly tensors: Map<string, NamedValues>;
  /** The strings under `__metadata__`; empty when the file has none. */
  readonly metadata: Record<string, string>;
}

/** The most bytes of a header: the reference implementation's limit. */
const longestHeader = 100_000_000;

/** The names in files of the dtypes that are written, in the order in which they are written, which is the reference implementation's. */
const written: readonly { readonly dtype: DType; readonly code: string }[] = [
  { dtype: "float64", code: "F64" },
  { dtype: "float32", code: "F32" },
  { dtype: "int32", code: "I32" },
  { dtype: "bool", code: "BOOL" },
];

/** A dtype that a file may contain. */
interface StoredDType {
  /** Bytes per element. */
  readonly bytes: number;
  readonly dtype: DType;
  /** Returns a tensor's values in a new array. `fail` throws a FormatError about the tensor. */
  decode(place: Place, fail: Fail): Values;
}

/** The place of a tensor's bytes in the data of a file. */
interface Place {
  readonly data: Data;
  readonly begin: number;
  readonly end: number;
}

/** The data of a file, as elements of any type. */
class Data {
  readonly bytes: Uint8Array;
  readonly #whole = new Map<unknown, unknown>();

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** Returns all data as one array, or undefined if the data do not begin at a multiple of the element size. */
  as<T>(type: ElementArray<T>): T | undefined {
    const { buffer, byteOffset, length } = this.bytes;
    const size = type.BYTES_PER_ELEMENT;
    if (byteOffset % size > 0) return undefined;
    const whole = (this.#whole.get(type) as T | undefined) ?? new type(buffer, byteOffset, Math.floor(length / size));
    this.#whole.set(type, whole);
    return whole;
  }
}

interface ElementArray<T> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): T;
}

/** Returns a copy of a tensor's elements. `slice` of an array over all data makes only one object, which matters with a million tensors. */
function copyOf<T extends { slice(begin: number, end: number): T }>(type: ElementArray<T>, place: Place): T {
  const { data, begin, end } = place;
  const size = type.BYTES_PER_ELEMENT;
  const whole = begin % size === 0 ? data.as(type) : undefined;
  return whole?.slice(begin / size, end / size) ?? new type(new Uint8Array(data.bytes.subarray(begin, end)).buffer);
}

// The file is little-endian, and so is every machine that ONNX Runtime is built for: typed arrays read it directly.
const stored: ReadonlyMap<string, StoredDType> = new Map<string, StoredDType>([
  ["F64", { bytes: 8, dtype: "float64", decode: (place) => copyOf(Float64Array, place) }],
  ["F32", { bytes: 4, dtype: "float32", decode: (place) => copyOf(Float32Array, place) }],
  ["F16", { bytes: 2, dtype: "float32", decode: (place) => fromFloat16(copyOf(Uint16Array, place)) }],
  ["BF16", { bytes: 2, dtype: "float32", decode: (place) => fromBfloat16(copyOf(Uint16Array, place)) }],
  ["I64", { bytes: 8, dtype: "int32", decode: (place, fail) => fromInt64(copyOf(Int32Array, place), fail) }],
  ["I32", { bytes: 4, dtype: "int32", decode: (place) => copyOf(Int32Array, place) }],
  ["I16", { bytes: 2, dtype: "int32", decode: (place) => new Int32Array(copyOf(Int16Array, place)) }],
  ["U16", { bytes: 2, dtype: "int32", decode: (place) => new Int32Array(copyOf(Uint16Array, place)) }],
  ["I8", { bytes: 1, dtype: "int32", decode: (place) => new Int32Array(copyOf(Int8Array, place)) }],
  ["U8", { bytes: 1, dtype: "int32", decode: (place) => new Int32Array(copyOf(Uint8Array, place)) }],
  ["BOOL", { bytes: 1, dtype: "bool", decode: (place, fail) => expectBooleans(copyOf(Uint8Array, place), fail) }],
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
      // With float32's exponent bias, the same bits mean a number 2¹¹² times smaller; this also holds for subnormal numbers.
      bits[i] = sign | ((half & 0x7fff) << 13);
      values[i]! *= 2 ** 112;
    }
  }
  return values;
}

/** Converts bfloat16, which is the upper half of a float32. */
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
 * Returns the bytes of a safetensors file: the same bytes that the reference implementation writes for these tensors. Throws FormatError
 * for values that do not fill their shape, and for names or metadata that a reader would refuse.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, NamedValues>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const subject = "encodeSafetensors";
  expectArguments(subject, [mapOfValues, optional(aRecord)], [tensors, metadata]);
  // Large elements first, so that each tensor starts at a multiple of its element's size.
  const rank = ({ dtype }: TensorType): number => written.findIndex((entry) => entry.dtype === dtype);
  const ordered = [...tensors].sort(
    ([nameA, a], [nameB, b]) => rank(a) - rank(b) || (nameA < nameB ? -1 : nameA > nameB ? 1 : 0),
  );

  // The JSON is written by hand, because a JavaScript object would move names that look like whole numbers to the front.
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

const mapOfValues = (value: unknown): string | undefined =>
  value instanceof Map &&
  [...value].every(([name, tensor]) => typeof name === "string" && aColumn(tensor) === undefined)
    ? undefined
    : "give a Map from names to { shape, dtype, values }";

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

/**
 * Returns the tensors of a safetensors file. F32, F64, I32 and BOOL keep their dtype; F16 and BF16 become float32; I64, I16, I8, U16 and U8
 * become int32. Every array is a copy with its own buffer. `source` is the file's name in messages: its path or its address. Throws
 * FormatError when the file violates the format, or an I64 does not fit an int32.
 */
export function decodeSafetensors(bytes: Uint8Array, source: string = "safetensors"): SafetensorsContent {
  expectArguments("decodeSafetensors", [bytesOfFile, aText], [bytes, source]);
  const headerEnd = 8 + headerLengthOf(bytes, source);
  const header = new Header(bytes.subarray(8, headerEnd), source);
  const data = new Data(bytes.subarray(headerEnd));
  const dataLength = bytes.length - headerEnd;
  // The header is read twice: no tensor is made before the whole header has been checked.
  const places = new Places(header, source);
  const metadata = header.read((entry) => {
    expectFits(entry, header, dataLength, source);
    places.add(entry);
  });
  places.expectDistinct();
  places.expectCovered(dataLength);
  const tensors = new Map<string, NamedValues>();
  header.read((entry) => {
    const { dtype, decode } = stored.get(entry.dtype)!;
    const name = header.nameOf(entry);
    const values = decode({ data, begin: entry.begin, end: entry.end }, failAbout(source, name));
    tensors.set(name, { shape: entry.shape, dtype, values });
  });
  return { tensors, metadata };
}

const startOfPointer = new TextEncoder().encode("version https://git-lfs.github.com/spec/");

function headerLengthOf(bytes: Uint8Array, source: string): number {
  if (bytes.length < 8)
    throw new FormatError(
      source,
      `a safetensors file starts with 8 bytes that hold the length of its header, and the file has ${bytes.length}`,
      "check that this is a safetensors file and was downloaded to its end",
    );
  if (startOfPointer.every((byte, i) => bytes[i] === byte))
    throw new FormatError(
      source,
      "it is a pointer of Git LFS, a few lines of text in place of the file",
      "fetch the file itself: git lfs pull, or download it from its page",
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

/** Throws FormatError unless a tensor's dtype can be read, and its sizes, its place and the file agree. */
function expectFits(entry: HeaderEntry, header: Header, dataLength: number, source: string): void {
  const { dtype, shape, begin, end } = entry;
  const fail: Fail = (problem, fix) => failAbout(source, header.nameOf(entry))(problem, fix);
  const type = stored.get(dtype);
  const bytes = type?.bytes ?? failAboutType(dtype, fail);
  const length = countOf(shape, fail) * bytes;
  const fix = "write the file anew with a tool that keeps to the format";
  if (begin > end) fail(`its data begin at ${begin} and end before, at ${end}`, fix);
  if (end > dataLength)
    fail(
      `its data end at ${end}, and the file has ${dataLength} bytes of data`,
      "check that the file was downloaded to its end",
    );
  if (end - begin !== length)
    fail(
      `${dtype}${showShape(shape)} takes ${length} bytes, and data_offsets [${begin}, ${end}] give ${end - begin}`,
      fix,
    );
}

function failAboutType(dtype: string, fail: Fail): never {
  return fail(
    `the dtype is ${quoted(dtype)}, and one of ${[...stored.keys()].join(", ")} can be read`,
    "convert it to one of these",
  );
}

/** Returns the number of elements. Throws when the shape is invalid, or has more elements than a number can count. */
function countOf(shape: Shape, fail: Fail): number {
  let count = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0)
      fail(`a shape should be made of whole numbers, and got ${showShape(shape)}`, "give sizes from 0 on");
    count *= size;
    // The number of bytes, at eight for each element, must be exact too.
    if (count > Number.MAX_SAFE_INTEGER / 8)
      fail(`the shape ${showShape(shape)} has more elements than can be counted`, "check the shape");
  }
  return count;
}
