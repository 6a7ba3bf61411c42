/**
 * Some nodes of ONNX Runtime are fast, but wrong for NaN or infinities. They are used where all elements are finite, and slower nodes
 * elsewhere. Every run decides between the two by the sum of all elements, which is the cheapest check of a tensor.
 */
import type { OnnxGraph, OnnxValue } from "../graph/op.ts";
import { type DType, isFloat, type TensorType } from "../graph/types.ts";

/** Writes the nodes of a branch of an If into its graph. Returns one value for each output. */
type Branch = (graph: OnnxGraph) => readonly OnnxValue[];

/**
 * Returns the outputs of `quick` if all elements of all values are finite, or if the nodes of the target are right for NaN and infinities;
 * the outputs of `careful` otherwise. If the sum overflows, `careful` is used too, which is slower but just as right.
 */
export function forNumbers(
  graph: OnnxGraph,
  values: readonly OnnxValue[],
  dtype: DType,
  outputTypes: readonly TensorType[],
  quick: Branch,
  careful: Branch,
): readonly OnnxValue[] {
  if (!isFloat(dtype) || !graph.target.forgetsNaN) return quick(graph);
  const total = values
    .map((value) => graph.node("ReduceSum", [value], { keepdims: 0 }))
    .reduce((sum, part) => graph.node("Add", [sum, part]));
  const most = graph.constant(dtype, [], [Number.POSITIVE_INFINITY]);
  return graph.nodes("If", [graph.node("Less", [graph.node("Abs", [total]), most])], outputTypes.length, {
    then_branch: graph.subgraph([], outputTypes, quick),
    else_branch: graph.subgraph([], outputTypes, careful),
  });
}

/** 1 for NaN, 0 for all else: int32. */
export const nanFlags = (graph: OnnxGraph, x: OnnxValue): OnnxValue => graph.cast(graph.node("IsNaN", [x]), "int32");
