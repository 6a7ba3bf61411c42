/** A graph made ready for an engine: numbered inputs and outputs, ONNX on one side, the plain evaluation on the other. */
import type { ModelProto } from "onnx-buf";
import type { Port, Program, Target } from "../engine/engine.ts";
import { DTypeError } from "../errors.ts";
import { collect, type Node, type Value } from "../graph/node.ts";
import type { Data, OnnxValue } from "../graph/op.ts";
import { showType, sizeOf, type TensorType, type Values } from "../graph/types.ts";
import { encodeModel, OnnxBuilder } from "./onnx.ts";
import { canonicalText } from "./text.ts";

/** A program over the graph between `inputs` (leaves) and `outputs`. */
export class GraphProgram implements Program {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly #leaves: readonly Node[];
  readonly #roots: readonly Value[];
  readonly #nodes: readonly Node[];
  readonly #target: Target;

  constructor(leaves: readonly Node[], roots: readonly Value[], target: Target, names: PortNames = {}) {
    const port = (name: string, type: TensorType): Port => ({ name, type });
    this.inputs = leaves.map((leaf, i) => port(names.inputs?.[i] ?? `input${i}`, leaf.outputs[0]!));
    this.outputs = roots.map(({ node, index }, i) => port(names.outputs?.[i] ?? `output${i}`, node.outputs[index]!));
    this.#leaves = leaves;
    this.#roots = roots;
    this.#nodes = collect(roots).filter((node) => node.source === undefined);
    this.#target = target;
  }

  /** Number of operations. */
  get size(): number {
    return this.#nodes.length;
  }

  /** The graph as the small language of `printGraph`. */
  text(): string {
    return canonicalText(this.#leaves, this.#roots);
  }

  onnx(): Uint8Array<ArrayBuffer> {
    return encodeModel(this.model());
  }

  /** The ONNX model; `weights` are values to put inside instead of inputs, by port. */
  model(weights?: ReadonlyMap<Port, Values>): ModelProto {
    const builder = new OnnxBuilder(this.#target);
    const values = new Map<Node, readonly OnnxValue[]>();
    this.#leaves.forEach((leaf, i) => values.set(leaf, [this.inputs[i]!.name as OnnxValue]));
    for (const node of this.#nodes) {
      const inputTypes = node.inputs.map(({ node: from, index }) => from.outputs[index]!);
      expectKernel(node, inputTypes);
      const inputs = node.inputs.map(({ node: from, index }) => values.get(from)![index]!);
      values.set(node, node.op.onnx(builder, { inputs, inputTypes, outputTypes: node.outputs, params: node.params }));
    }
    this.#roots.forEach(({ node, index }, i) => builder.name(values.get(node)![index]!, this.outputs[i]!.name));
    return builder.model(this.inputs, this.outputs, weights);
  }

  evaluate(inputs: readonly Float64Array[]): Float64Array[] {
    const values = new Map<Node, readonly Data[]>();
    this.#leaves.forEach((leaf, i) => values.set(leaf, [{ ...leaf.outputs[0]!, values: inputs[i]! }]));
    for (const node of this.#nodes) {
      const outputs = node.outputs.map((type) => ({ ...type, values: new Float64Array(sizeOf(type.shape)) }));
      node.op.evaluate(
        node.inputs.map(({ node: from, index }) => values.get(from)![index]!),
        outputs,
        node.params,
      );
      values.set(node, outputs);
    }
    return this.#roots.map(({ node, index }) => values.get(node)![index]!.values);
  }
}

/** Names for the model's inputs and outputs where the caller has better ones than `input0`. */
export interface PortNames {
  readonly inputs?: readonly string[];
  readonly outputs?: readonly string[];
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
