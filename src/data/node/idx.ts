/** IDX files in Node, packed with gzip or not. */
import { createGunzip } from "node:zlib";
import { FormatError } from "../../errors.ts";
import { type FileLocation, readFileChecked } from "../../files/node/atomic.ts";
import { decodeIdx, type IdxContent, idxHeader } from "../idx.ts";

/**
 * Reads the values of an IDX file, packed with gzip or not: `const { shape, values } = await readIdx("train-images-idx3-ubyte.gz")`. It
 * allocates only the memory that the header asks for. Throws FileError when the file cannot be read, FormatError when it is not an IDX
 * file, is cut off, or is longer than its header says.
 */
export async function readIdx(location: FileLocation): Promise<IdxContent> {
  const bytes = await readFileChecked(location);
  const source = location instanceof URL ? location.pathname : location;
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return decodeIdx(isPacked ? await unpack(bytes, source) : bytes, source);
}

async function unpack(bytes: Uint8Array, source: string): Promise<Uint8Array> {
  const stream = createGunzip({ chunkSize: 2 ** 20 });
  stream.end(bytes);
  const chunks: Uint8Array[] = [];
  let length = 0;
  let most: number | undefined;
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      length += chunk.length;
      most ??= idxHeader(Buffer.concat(chunks), source)?.bytes;
      if (most !== undefined && length > most)
        throw new FormatError(
          source,
          `it holds more than the ${most} bytes that its header says`,
          "check that the file is what was published",
        );
    }
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(
      source,
      `it cannot be unpacked: ${cause instanceof Error ? cause.message : String(cause)}`,
      "check that the file was downloaded to its end",
      "",
      { cause },
    );
  }
  return Buffer.concat(chunks);
}
