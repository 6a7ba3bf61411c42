/**
 * Measures the width of ONNX Runtime's blocks of channels on this processor. ONNX Runtime has no call for it, so this program packs four
 * channels, which are padded to a whole block, and returns the shape.
 */

import type { OnnxValue } from "../../graph/op.ts";
import type { Port } from "../../graph/target.ts";
import { encodeModel, OnnxBuilder } from "../../onnx/model.ts";
import type { Program } from "../engine.ts";

const x: Port = { name: "x", type: { dtype: "float32", shape: [1, 4, 1, 1] } };
const y: Port = { name: "y", type: { dtype: "int32", shape: [4] } };

/** Returns the shape of a packed float32 tensor [1, 4, 1, 1]: its second element is the width of a block. */
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
