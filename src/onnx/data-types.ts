/** The numbers of ONNX's element types. */
import { TensorProto_DataType } from "onnx-buf";
import type { OnnxType } from "../graph/op.ts";

export const dataTypes: Readonly<Record<OnnxType, TensorProto_DataType>> = {
  float32: TensorProto_DataType.FLOAT,
  float64: TensorProto_DataType.DOUBLE,
  int32: TensorProto_DataType.INT32,
  int64: TensorProto_DataType.INT64,
  uint32: TensorProto_DataType.UINT32,
  uint64: TensorProto_DataType.UINT64,
  bool: TensorProto_DataType.BOOL,
};
