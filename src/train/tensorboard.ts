/**
 * Writes records of TensorBoard's event files. The messages follow tensorboard/compat/proto/event.proto and summary.proto; the records
 * follow TensorFlow's record_writer.cc.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { crc32c } from "../files/crc32c.ts";

/** What TensorBoard shows under a name. */
export type Summary =
  | { readonly kind: "scalar"; readonly value: number }
  | { readonly kind: "histogram"; readonly histogram: Histogram }
  | {
      readonly kind: "image";
      readonly width: number;
      readonly height: number;
      readonly channels: number;
      readonly png: Uint8Array;
    }
  | { readonly kind: "text"; readonly text: string };

/** A histogram: how values are distributed. */
export interface Histogram {
  readonly min: number;
  readonly max: number;
  readonly count: number;
  readonly sum: number;
  readonly sumOfSquares: number;
  /** The upper end of each bucket, in ascending order. The lower end is the upper end of the bucket before. */
  readonly limits: readonly number[];
  readonly counts: readonly number[];
}

/** Returns the first record of every file. */
export function versionRecord(time: number): Uint8Array {
  return record(
    new BinaryWriter().tag(1, WireType.Bit64).double(time).tag(3, WireType.LengthDelimited).string("brain.Event:2"),
  );
}

/** Returns a record that holds named values at a step. `time` is in seconds since 1970. */
export function summaryRecord(time: number, step: number, summaries: ReadonlyMap<string, Summary>): Uint8Array {
  const event = new BinaryWriter().tag(1, WireType.Bit64).double(time).tag(2, WireType.Varint).int64(step);
  const whole = event.tag(5, WireType.LengthDelimited).fork();
  for (const [tag, summary] of summaries) {
    const value = whole.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(tag);
    writeSummary(value, summary);
    value.join();
  }
  return record(whole.join());
}

function writeSummary(value: BinaryWriter, summary: Summary): void {
  switch (summary.kind) {
    case "scalar":
      value.tag(2, WireType.Bit32).float(summary.value);
      return;
    case "image": {
      const { width, height, channels, png } = summary;
      const image = value.tag(4, WireType.LengthDelimited).fork();
      image.tag(1, WireType.Varint).int32(height).tag(2, WireType.Varint).int32(width);
      image.tag(3, WireType.Varint).int32(channels).tag(4, WireType.LengthDelimited).bytes(png);
      image.join();
      return;
    }
    case "histogram": {
      const { min, max, count, sum, sumOfSquares, limits, counts } = summary.histogram;
      const histogram = value.tag(5, WireType.LengthDelimited).fork();
      for (const [field, number] of [min, max, count, sum, sumOfSquares].entries())
        histogram.tag(field + 1, WireType.Bit64).double(number);
      for (const [field, numbers] of [
        [6, limits],
        [7, counts],
      ] as const) {
        const packed = histogram.tag(field, WireType.LengthDelimited).fork();
        for (const number of numbers) packed.double(number);
        packed.join();
      }
      histogram.join();
      return;
    }
    case "text": {
      const metadata = value.tag(9, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).fork();
      metadata.tag(1, WireType.LengthDelimited).string("text").join().join();
      const tensor = value.tag(8, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int32(dtString);
      const shape = tensor.tag(2, WireType.LengthDelimited).fork().tag(2, WireType.LengthDelimited).fork();
      shape.tag(1, WireType.Varint).int64(1).join().join();
      tensor.tag(8, WireType.LengthDelimited).bytes(new TextEncoder().encode(summary.text)).join();
    }
  }
}

/** DT_STRING of TensorFlow's types.proto. */
const dtString = 7;

/** Returns a record: length, checksum of the length, data, checksum of the data. */
function record(event: BinaryWriter): Uint8Array {
  const data = event.finish();
  const bytes = new Uint8Array(12 + data.length + 4);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(crc32c(bytes.subarray(0, 8))), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, masked(crc32c(data)), true);
  return bytes;
}

/** Masks a checksum, by a rotation and an addition: the file format does so because the data may contain checksums themselves. */
const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;

/** Ends of buckets, as in TensorBoard: ±10⁻¹² · 1.1ⁿ, up to 10²⁰, and 0. */
const ends: Float64Array = (() => {
  const positive: number[] = [];
  for (let end = 1e-12; end < 1e20; end *= 1.1) positive.push(end);
  return Float64Array.from([
    -Number.MAX_VALUE,
    ...positive.map((end) => -end).reverse(),
    0,
    ...positive,
    Number.MAX_VALUE,
  ]);
})();

/** Returns the histogram of values. NaN and infinities are left out. */
export function histogramOf(values: ArrayLike<number>): Histogram {
  const counts = new Float64Array(ends.length);
  let [min, max, count, sum, sumOfSquares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
    count++;
    sum += value;
    sumOfSquares += value * value;
    counts[bucketOf(value)]!++;
  }
  if (count === 0)
    return { min: 0, max: 0, count: 0, sum: 0, sumOfSquares: 0, limits: [Number.MAX_VALUE], counts: [0] };
  const first = counts.findIndex((each) => each > 0);
  const last = counts.findLastIndex((each) => each > 0);
  // An empty bucket before the first one gives the lower end of the first one.
  const from = Math.max(0, first - 1);
  return {
    min,
    max,
    count,
    sum,
    sumOfSquares,
    limits: Array.from(ends.subarray(from, last + 1)),
    counts: Array.from(counts.subarray(from, last + 1)),
  };
}

/** Returns the index of the first end that is not below a value. */
function bucketOf(value: number): number {
  let [low, high] = [0, ends.length - 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
