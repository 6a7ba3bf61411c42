/**
 * A reader of TensorBoard's event files that shares nothing with the writer: TensorBoard's own descriptions of its messages, read by a
 * protobuf library, and checksums computed bit by bit.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { createFileRegistry, fromBinary, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const descriptions = readFileSync(path.join(import.meta.dirname, "../fixtures/tensorboard.binpb"));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptions));
const eventSchema = registry.getMessage("tensorboard.Event")!;

/** A value under a name, in protobuf's JSON form: bytes are base64, 64-bit numbers texts. */
export interface SummaryValue {
  readonly tag: string;
  readonly simple_value?: number | string;
  readonly histo?: {
    readonly num: number;
    readonly sum: number;
    readonly bucket: number[];
    readonly bucket_limit: number[];
  };
  readonly image?: {
    readonly width: number;
    readonly height: number;
    readonly colorspace: number;
    readonly encoded_image_string: string;
  };
  readonly tensor?: { readonly dtype: string; readonly string_val: string[] };
  readonly metadata?: { readonly plugin_data: { readonly plugin_name: string } };
}

export interface TensorboardEvent {
  readonly wallTime: number;
  readonly step: number;
  readonly fileVersion?: string;
  readonly values: readonly SummaryValue[];
}

/** Castagnoli's polynomial, a bit at a time. */
function crc32c(bytes: Uint8Array): number {
  let rest = 0xffffffff;
  for (const byte of bytes)
    for (let bit = 0; bit < 8; bit++) {
      const isOdd = ((rest ^ (byte >> bit)) & 1) === 1;
      rest = isOdd ? (rest >>> 1) ^ 0x82f63b78 : rest >>> 1;
    }
  return ~rest >>> 0;
}

function unmasked(masked: number): number {
  const turned = (masked - 0xa282ead8) >>> 0;
  return ((turned << 15) | (turned >>> 17)) >>> 0;
}

/** All events of a file. Throws where a checksum is wrong or the file ends in a record. */
export function readEventFile(file: string): TensorboardEvent[] {
  const bytes = readFileSync(file);
  const events: TensorboardEvent[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    const data = bytes.subarray(at + 12, at + 12 + length);
    if (unmasked(bytes.readUInt32LE(at + 8)) !== crc32c(bytes.subarray(at, at + 8))) throw new Error(`length at ${at}`);
    if (unmasked(bytes.readUInt32LE(at + 12 + length)) !== crc32c(data)) throw new Error(`data at ${at}`);
    const json = toJson(eventSchema, fromBinary(eventSchema, data), {
      registry,
      useProtoFieldName: true,
    }) as unknown as {
      readonly wall_time: number;
      readonly step?: string;
      readonly file_version?: string;
      readonly summary?: { readonly value: readonly SummaryValue[] };
    };
    const { wall_time: wallTime, step = "0", file_version: fileVersion, summary } = json;
    events.push({ wallTime, step: Number(step), ...(fileVersion && { fileVersion }), values: summary?.value ?? [] });
    at += 12 + length + 4;
  }
  return events;
}

/** All events of a run's folder, file after file. */
export function readEvents(folder: string): TensorboardEvent[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith("events.out.tfevents."))
    .sort()
    .flatMap((name) => readEventFile(path.join(folder, name)));
}
