/** IDX files: the format of MNIST's images and labels (LeCun, Cortes and Burges). */
import { FormatError } from "../errors.ts";
import { aText, bytesOfFile, expectArguments } from "../graph/arguments.ts";
import { showShape } from "../graph/types.ts";

/** What an IDX file holds. */
export interface IdxContent {
  readonly shape: readonly number[];
  /** Row-major, in the array of the file's type: bytes, as of images and labels, in a Uint8Array. */
  readonly values: Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;
}

/** What a header says: the type, the shape, and where the values begin. */
export interface IdxHeader {
  readonly type: IdxType;
  readonly shape: readonly number[];
  /** Bytes of the header. */
  readonly header: number;
  /** Bytes of the whole file. */
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
  /** How a value is read; bytes are copied. */
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
/** More is no dataset that fits into memory. */
const mostBytes = 2 ** 33;

/** The header at the beginning of some bytes; undefined where there are too few of them. Throws FormatError for what is no IDX file. */
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

/** The values of an IDX file. `source` is what messages call it. Throws FormatError for bytes that are none, cut off or followed by others. */
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
