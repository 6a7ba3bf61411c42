/** IDX files: the format of MNIST's images and labels (LeCun, Cortes and Burges). */
import { FormatError } from "../errors.ts";
import { aText, bytesOfFile, expectArguments } from "../graph/arguments.ts";
import { showShape } from "../graph/types.ts";

/** The content of an IDX file. */
export interface IdxContent {
  readonly shape: readonly number[];
  /** The values, row-major, in an array of the file's type. Images and labels are bytes, in a Uint8Array. */
  readonly values: Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;
}

/** The content of a header: the type, the shape, and where the values begin. */
export interface IdxHeader {
  readonly type: IdxType;
  readonly shape: readonly number[];
  /** The number of bytes of the header. */
  readonly header: number;
  /** The number of bytes of the whole file. */
  readonly bytes: number;
}

interface IdxType {
  readonly code: number;
  readonly array:
    | Uint8ArrayConstructor
    | Int8ArrayConstructor
    | Int16ArrayConstructor
    | Int32ArrayConstructor
    | Float32ArrayConstructor
    | Float64ArrayConstructor;
  /** The method that reads a value; undefined for bytes, which are copied. */
  readonly read: "getInt16" | "getInt32" | "getFloat32" | "getFloat64" | undefined;
}

const types: readonly IdxType[] = [
  { code: 0x08, array: Uint8Array, read: undefined },
  { code: 0x09, array: Int8Array, read: undefined },
  { code: 0x0b, array: Int16Array, read: "getInt16" },
  { code: 0x0c, array: Int32Array, read: "getInt32" },
  { code: 0x0d, array: Float32Array, read: "getFloat32" },
  { code: 0x0e, array: Float64Array, read: "getFloat64" },
];

const mostAxes = 8;
/** The most bytes of a file: a larger dataset does not fit into memory. */
const mostBytes = 2 ** 33;

/**
 * Returns the header at the beginning of some bytes, or undefined if there are too few bytes. Throws FormatError if they are not an IDX
 * file.
 */
export function idxHeader(bytes: Uint8Array, source: string): IdxHeader | undefined {
  if (bytes.length < 4) return undefined;
  const type = types.find(({ code }) => code === bytes[2]);
  const axes = bytes[3]!;
  if (bytes[0] !== 0 || bytes[1] !== 0 || !type || axes < 1 || axes > mostAxes)
    throw new FormatError(
      source,
      `it begins with the bytes ${[...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}, which is no IDX file`,
      "an IDX file begins with 00 00, a type from 08 to 0e and the number of its axes; give the file as it was published",
    );
  const header = 4 + 4 * axes;
  if (bytes.length < header) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, header);
  const shape = Array.from({ length: axes }, (_, axis) => view.getUint32(4 + 4 * axis));
  const size = shape.reduce((product, axis) => product * axis, 1) * type.array.BYTES_PER_ELEMENT;
  if (!(size <= mostBytes))
    throw new FormatError(
      source,
      `its header says ${showShape(shape)}, which is ${(size / 2 ** 30).toPrecision(3)} GiB`,
      "check that the file is what was published",
    );
  return { type, shape, header, bytes: header + size };
}

/**
 * Returns the values of an IDX file. `source` is the file's name in messages. Throws FormatError for bytes that are not an IDX file, that
 * are cut off, or that are followed by more bytes.
 */
export function decodeIdx(bytes: Uint8Array, source: string = "IDX"): IdxContent {
  expectArguments("decodeIdx", [bytesOfFile, aText], [bytes, source]);
  const found = idxHeader(bytes, source);
  if (!found || bytes.length !== found.bytes)
    throw new FormatError(
      source,
      found
        ? `${showShape(found.shape)} takes ${found.bytes} bytes, and there are ${bytes.length}`
        : `it has ${bytes.length} bytes, which is less than a header`,
      "check that the file was downloaded to its end",
    );
  const { type, shape, header } = found;
  const size = (bytes.length - header) / type.array.BYTES_PER_ELEMENT;
  const values = new type.array(size);
  if (type.read === undefined) new Uint8Array(values.buffer).set(bytes.subarray(header));
  else {
    const view = new DataView(bytes.buffer, bytes.byteOffset + header);
    for (let i = 0; i < size; i++) values[i] = view[type.read](i * type.array.BYTES_PER_ELEMENT); //  big-endian
  }
  return { shape, values };
}
