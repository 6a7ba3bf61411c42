/** Reads weights from ONNX models: the named tensors of a file that another program has written. */
import { fromBinary } from "@bufbuild/protobuf";
import {
  type GraphProto,
  ModelProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProto_DataType,
} from "onnx-buf";
import { FormatError } from "../errors.ts";
import { aText, bytesOfFile, expectArguments } from "../graph/arguments.ts";
import { arrayTypes, type DType, type Shape, showShape, sizeOf, type Values } from "../graph/types.ts";
import type { NamedValues } from "./safetensors.ts";

/** The dtypes that are read. Tensors of other dtypes, such as int64 sizes, are not weights. */
const dtypes = new Map<TensorProto_DataType, DType>([
  [TensorProto_DataType.FLOAT, "float32"],
  [TensorProto_DataType.DOUBLE, "float64"],
  [TensorProto_DataType.INT32, "int32"],
  [TensorProto_DataType.BOOL, "bool"],
]);

/** The largest number of axes of a tensor, as in NumPy, and the deepest nesting of graphs. */
const mostAxes = 64;
const deepest = 100;

/**
 * Returns the named tensors of an ONNX model with dtype float32, float64, int32 or bool: initializers and values of `Constant` nodes, also
 * in graphs inside `If`, `Loop` and `Scan`. Names and layouts are those of the program that wrote the file; PyTorch's exporter keeps those
 * of its parameters:
 *
 *     const weights = decodeOnnxWeights(await readFile("detector.onnx"));
 *     for (const [name, state] of cell.namedStates()) state.write(weights.get(`decoder.rnn.${name}`)!.values);
 *
 * Throws FormatError for bytes that are not an ONNX model, for a number of values that does not match the shape, and for values that are
 * stored in a separate file. `source` is the model's name in messages.
 */
export function decodeOnnxWeights(bytes: Uint8Array, source: string = "the ONNX model"): Map<string, NamedValues> {
  expectArguments("decodeOnnxWeights", [bytesOfFile, aText], [bytes, source]);
  const found = new Map<string, NamedValues>();
  const { graph } = modelOf(bytes, source);
  if (!graph) throw new FormatError(source, "it holds no graph", "give a model in the ONNX format");
  for (const [name, tensor] of tensorsIn(graph, source)) {
    const dtype = dtypes.get(tensor.dataType);
    if (dtype === undefined || name === "") continue;
    if (found.has(name))
      throw new FormatError(source, `two tensors are called ${JSON.stringify(name)}`, "export the model again");
    found.set(name, valuesOf(tensor, dtype, `${source}, ${JSON.stringify(name)}`));
  }
  return found;
}

function modelOf(bytes: Uint8Array, source: string): { readonly graph?: GraphProto | undefined } {
  try {
    return fromBinary(ModelProtoSchema, bytes, { readUnknownFields: false });
  } catch (cause) {
    const fix = "give a model in the ONNX format, the whole of it";
    throw new FormatError(source, "its bytes are no protobuf of a model", fix, "", { cause });
  }
}

/** Yields the named tensors of a graph and of the graphs in it. */
function* tensorsIn(graph: GraphProto, source: string, depth: number = 0): Generator<[string, TensorProto]> {
  if (depth > deepest)
    throw new FormatError(source, `graphs lie in it deeper than ${deepest} levels`, "export the model again");
  for (const tensor of graph.initializer) yield [tensor.name, tensor];
  for (const { opType, output, attribute } of graph.node)
    for (const { name, t, g, graphs } of attribute) {
      if (opType === "Constant" && name === "value" && t) yield [output[0] ?? "", t];
      for (const inner of g ? [g, ...graphs] : graphs) yield* tensorsIn(inner, source, depth + 1);
    }
}

function valuesOf(tensor: TensorProto, dtype: DType, subject: string): NamedValues {
  const shape = shapeOf(tensor, subject);
  if (tensor.dataLocation === TensorProto_DataLocation.EXTERNAL || tensor.externalData.length > 0)
    throw new FormatError(subject, "its values lie in a file beside the model", "save the model as one file");
  const count = sizeOf(shape);
  const { rawData, floatData, doubleData, int32Data } = tensor;
  const typed = { float32: floatData, float64: doubleData, int32: int32Data, bool: int32Data }[dtype];
  const { BYTES_PER_ELEMENT } = arrayTypes[dtype];
  const given = rawData.length > 0 ? rawData.length / BYTES_PER_ELEMENT : typed.length;
  if (given !== count)
    throw new FormatError(
      subject,
      `its shape ${showShape(shape)} has ${count} elements, and there are ${given}`,
      "export the model again: the file is not whole",
    );
  return { shape, dtype, values: rawData.length > 0 ? fromRaw(rawData, dtype) : arrayTypes[dtype].from(typed) };
}

function shapeOf({ dims }: TensorProto, subject: string): Shape {
  const shape = dims.map(Number);
  const isShape = shape.length <= mostAxes && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!isShape || !Number.isSafeInteger(sizeOf(shape)))
    throw new FormatError(subject, `its shape is [${dims.slice(0, 8).join(", ")}]`, "export the model again");
  return shape;
}

/** Returns the values of raw bytes, which are little-endian in this format. */
function fromRaw(raw: Uint8Array, dtype: DType): Values {
  const own = Uint8Array.from(raw);
  if (dtype === "bool") return own;
  const view = new DataView(own.buffer);
  const read = { float32: view.getFloat32, float64: view.getFloat64, int32: view.getInt32 }[dtype];
  const size = arrayTypes[dtype].BYTES_PER_ELEMENT;
  const values = new arrayTypes[dtype](own.length / size);
  for (let i = 0; i < values.length; i++) values[i] = read.call(view, i * size, true);
  return values;
}
