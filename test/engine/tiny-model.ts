/** Programs of a few ONNX nodes, written by hand, to test engines without a compiler. */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "onnx-buf";
import type { Program } from "../../src/engine/engine.ts";
import type { Port } from "../../src/graph/target.ts";
import type { DType, Shape } from "../../src/graph/types.ts";

/** An op's name, its inputs and outputs by name, its own name. */
export type TinyNode = readonly [op: string, inputs: readonly string[], outputs: readonly string[], name?: string];

/** The model and its ports. It cannot be evaluated in JavaScript. */
export function tinyProgram(inputs: readonly Port[], outputs: readonly Port[], nodes: readonly TinyNode[]): Program {
  const model = create(ModelProtoSchema, {
    irVersion: 10n,
    opsetImport: [create(OperatorSetIdProtoSchema, { domain: "", version: 21n })],
    graph: create(GraphProtoSchema, {
      name: "tiny",
      input: inputs.map(valueInfo),
      output: outputs.map(valueInfo),
      node: nodes.map(([opType, input, output, name = ""]) =>
        create(NodeProtoSchema, { opType, input: [...input], output: [...output], name }),
      ),
    }),
  });
  return {
    inputs,
    outputs,
    onnx: () => toBinary(ModelProtoSchema, model),
    evaluate() {
      throw new Error("a tiny program has no evaluation in JavaScript");
    },
  };
}

export function port(name: string, dtype: DType, shape: Shape): Port {
  return { name, type: { dtype, shape } };
}

/** `z = x · yᵏ`, by k products with the scalar y one after the other. */
export function powerProgram(shape: Shape, k: number = 1): Program {
  const nodes = Array.from({ length: k }, (_, i): TinyNode => {
    return ["Mul", [i === 0 ? "x" : `t${i}`, "y"], [i === k - 1 ? "z" : `t${i + 1}`]];
  });
  return tinyProgram([port("x", "float32", shape), port("y", "float32", [])], [port("z", "float32", shape)], nodes);
}

const elementTypes: Readonly<Record<DType, TensorProto_DataType>> = {
  float32: TensorProto_DataType.FLOAT,
  float64: TensorProto_DataType.DOUBLE,
  int32: TensorProto_DataType.INT32,
  bool: TensorProto_DataType.BOOL,
};

function valueInfo({ name, type }: Port): ValueInfoProto {
  const dim = type.shape.map((size) =>
    create(TensorShapeProto_DimensionSchema, { value: { case: "dimValue", value: BigInt(size) } }),
  );
  const shape = create(TensorShapeProtoSchema, { dim });
  const tensor = create(TypeProto_TensorSchema, { elemType: elementTypes[type.dtype], shape });
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: "tensorType", value: tensor } }),
  });
}
