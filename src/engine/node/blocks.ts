/**
 * How wide ONNX Runtime's blocks of channels are on this processor. It has no call that says so: the program asks for the shape
 * of four channels laid out in blocks, which is filled up to a whole one.
 */

import type { OnnxValue } from "../../graph/op.ts";
import type { Port } from "../../graph/target.ts";
import { encodeModel, OnnxBuilder } from "../../onnx/model.ts";
import type { Program } from "../engine.ts";

const x: Port = { name: "x", type: { dtype: "float32", shape: [1, 4, 1, 1] } };
const y: Port = { name: "y", type: { dtype: "int32", shape: [4] } };

/** [1, 4, 1, 1] of float32 to the shape in blocks: the width is its second element. */
export const blockProbe: Program = {
  inputs: [x],
  outputs: [y],
  onnx() {
    const graph = new OnnxBuilder({ contrib: true });
    const laid = graph.node("ReorderInput", [x.name as OnnxValue], {}, "com.microsoft.nchwc");
    return encodeModel(graph.model([x], [y], [graph.cast(graph.node("Shape", [laid]), "int32")]));
  },
  evaluate: ([values]) => [Float64Array.of(1, values!.length, 1, 1)],
};
