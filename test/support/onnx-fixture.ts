/** The official node tests of ONNX, as test/fixtures/onnx/generate.mjs packed them. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { arrayTypes, type DType, type Shape, type Values } from "../../src/graph/types.ts";
import type { Tensor } from "../../src/index.ts";
import { adopt } from "../../src/tensor/create.ts";

export interface OnnxNode {
  readonly op: string;
  /** "" where an optional one is absent. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** A graph inside a node. */
export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export interface Named {
  readonly name: string;
  /** Its number. */
  readonly tensor: number;
}

export interface OnnxTest {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly Named[];
  readonly outputs: readonly Named[];
}

interface Stored {
  readonly dtype: keyof typeof types;
  readonly shape: Shape;
  readonly data: string;
}

const fixture = JSON.parse(
  gunzipSync(readFileSync(new URL("../fixtures/onnx/node-tests.json.gz", import.meta.url))).toString(),
) as { readonly tests: readonly OnnxTest[]; readonly tensors: readonly Stored[] };

export const onnxTests: readonly OnnxTest[] = fixture.tests;

/** What carries each of ONNX's element types, and ours that holds its values: integers are int32. */
const types = {
  float32: [Float32Array, "float32"],
  float64: [Float64Array, "float64"],
  int8: [Int8Array, "int32"],
  int16: [Int16Array, "int32"],
  int32: [Int32Array, "int32"],
  int64: [BigInt64Array, "int32"],
  uint8: [Uint8Array, "int32"],
  uint16: [Uint16Array, "int32"],
  uint32: [Uint32Array, "int32"],
  uint64: [BigUint64Array, "int32"],
  bool: [Uint8Array, "bool"],
  float16: [Uint16Array, undefined],
} as const;

/** The element type of a tensor, as ONNX calls it. */
export const onnxType = (number: number): string => fixture.tensors[number]!.dtype;

/** A tensor's shape and values, in our dtype. Throws where there is none, or where a value does not fit. */
export function storedValues(number: number): { dtype: DType; shape: Shape; values: Values } {
  const { dtype: given, shape, data } = fixture.tensors[number]!;
  const [ArrayType, dtype] = types[given];
  if (!dtype) throw new Error(`no dtype for ${given}`);
  const bytes = Buffer.from(data, "base64");
  const read = Array.from(new ArrayType(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)), Number);
  const values = arrayTypes[dtype].from(read);
  if (dtype === "int32" && values.some((value, i) => value !== read[i]))
    throw new Error(`a value of ${given} does not fit into int32`);
  return { dtype, shape, values };
}

/** A tensor by its number. */
export function storedTensor(number: number): Tensor {
  const { values, ...type } = storedValues(number);
  return adopt(type, values);
}
