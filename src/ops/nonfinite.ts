/**
 * Nodes of ONNX Runtime that are fast and get NaN or infinities wrong: they are for finite numbers, slower ones for the rest. Every
 * run decides between the two by the sum of all elements, the cheapest look at a tensor that there is.
 */
import type { OnnxGraph, OnnxValue } from "../graph/op.ts";
import { type DType, isFloat, type TensorType } from "../graph/types.ts";

/** Writes nodes of a graph, which is a part of another; one value for each output. */
type Branch = (graph: OnnxGraph) => readonly OnnxValue[];

/**
 * The outputs of `quick` where all elements of all values are finite, or where the target's nodes need no care; of `careful`
 * otherwise. A sum that overflows takes the careful way too: it is slower and as right.
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
