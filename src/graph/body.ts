/** A graph inside an op: the body of a loop. */

import { DTypeError } from "../errors.ts";
import { collect, type Node, type Value } from "./node.ts";
import type { Data, OnnxGraph, OnnxValue } from "./op.ts";
import { canonicalText } from "./text.ts";
import { showType, sizeOf, type TensorType } from "./types.ts";

/** A graph with its arguments in order. It uses no values from outside, so equal bodies have equal texts. */
export class Body {
  /** The arguments. */
  readonly leaves: readonly Node[];
  /** The values that it returns. */
  readonly roots: readonly Value[];
  #nodes: readonly Node[] | undefined;
  #text: string | undefined;

  constructor(leaves: readonly Node[], roots: readonly Value[]) {
    this.leaves = leaves;
    this.roots = roots;
  }

  /** All nodes between the arguments and the roots, inputs before users. */
  get nodes(): readonly Node[] {
    this.#nodes ??= collect(this.roots).filter((node) => node.source === undefined);
    return this.#nodes;
  }

  get inputTypes(): readonly TensorType[] {
    return this.leaves.map((leaf) => leaf.outputs[0]!);
  }

  get outputTypes(): readonly TensorType[] {
    return this.roots.map(({ node, index }) => node.outputs[index]!);
  }

  /** Returns the text that represents the body where parameters are compared. */
  toJSON(): string {
    this.#text ??= canonicalText(this.leaves, this.roots);
    return this.#text;
  }

  /** Computes the roots by each op's plain evaluation. */
  evaluate(inputs: readonly Data[]): Data[] {
    const values = new Map<Node, readonly Data[]>();
    this.leaves.forEach((leaf, i) => values.set(leaf, [inputs[i]!]));
    const at = ({ node, index }: Value): Data => values.get(node)![index]!;
    for (const node of this.nodes) {
      const outputs = node.outputs.map((type) => ({ ...type, values: new Float64Array(sizeOf(type.shape)) }));
      node.op.evaluate(node.inputs.map(at), outputs, node.params);
      for (const output of outputs) if (output.dtype === "int32") wrapAround(output.values);
      values.set(node, outputs);
    }
    return this.roots.map(at);
  }

  /** Writes the ONNX form of every node; `inputs` are the arguments' names. */
  lower(graph: OnnxGraph, inputs: readonly OnnxValue[]): OnnxValue[] {
    const values = new Map<Node, readonly OnnxValue[]>();
    this.leaves.forEach((leaf, i) => values.set(leaf, [inputs[i]!]));
    const at = ({ node, index }: Value): OnnxValue => values.get(node)![index]!;
    for (const node of this.nodes) {
      const inputTypes = node.inputs.map(({ node: from, index }) => from.outputs[index]!);
      expectKernel(node, inputTypes);
      const { op, params, outputs: outputTypes } = node;
      const lowering = { inputs: node.inputs.map(at), inputTypes, outputTypes, params };
      graph.note?.(node, lowering);
      values.set(node, op.onnx(graph, lowering));
    }
    return this.roots.map(at);
  }
}

/** Wraps values outside of the int32 range around, modulo 2³², as int32 arithmetic does. */
function wrapAround(values: Float64Array): void {
  for (let i = 0; i < values.length; i++) values[i]! |= 0;
}

function expectKernel(node: Node, inputTypes: readonly TensorType[]): void {
  const { onnxTypes, name } = node.op;
  const [first] = inputTypes;
  if (!onnxTypes || !first || onnxTypes.includes(first.dtype)) return;
  throw new DTypeError(
    name,
    `ONNX Runtime has no kernel for ${showType(first)}`,
    `cast to ${onnxTypes.join(" or ")}, or run on the plain engine`,
    node.path,
  );
}
