/** Programs: graphs with numbered inputs and outputs, which engines run as ONNX models or evaluate node by node. */
import type { ModelProto } from "onnx-buf";
import type { InPlace, Program } from "../engine/engine.ts";
import { Body } from "../graph/body.ts";
import type { Node, Value } from "../graph/node.ts";
import type { OnnxValue } from "../graph/op.ts";
import type { Port, Target } from "../graph/target.ts";
import type { TensorType } from "../graph/types.ts";
import type { AnyKernelOp } from "../kernel/kernel.ts";
import { encodeModel, OnnxBuilder, type OpenNodes, type Weights } from "../onnx/model.ts";

/** A program over the graph between `inputs` (leaves) and `outputs`. */
export class GraphProgram implements Program {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly inPlace: InPlace;
  readonly body: Body;
  readonly #target: Target;
  #kernels: readonly AnyKernelOp[] | undefined;

  constructor(leaves: readonly Node[], roots: readonly Value[], target: Target, options: ProgramOptions = {}) {
    this.body = new Body(leaves, roots);
    const ports = (types: readonly TensorType[], kind: "input" | "output"): Port[] =>
      types.map((type, i) => ({ name: options[`${kind}s`]?.[i] ?? `${kind}${i}`, type }));
    this.inputs = ports(this.body.inputTypes, "input");
    this.outputs = ports(this.body.outputTypes, "output");
    this.inPlace = options.inPlace ?? new Map();
    this.#target = target;
  }

  /** Number of operations. */
  get size(): number {
    return this.body.nodes.length;
  }

  /** The graph as the small language of `printGraph`. */
  text(): string {
    return this.body.toJSON();
  }

  onnx(weights?: Weights): Uint8Array<ArrayBuffer> {
    return encodeModel(this.model(weights));
  }

  get kernels(): readonly AnyKernelOp[] {
    if (!this.#kernels) this.model();
    return this.#kernels!;
  }

  /**
   * Returns the ONNX model. `weights` are values, by port, that are stored in the model instead of being inputs; `openNodes` are given for a
   * model whose sizes will be opened.
   */
  model(weights?: Weights, opset?: number, openNodes?: OpenNodes): ModelProto {
    const builder = new OnnxBuilder(this.#target, [], "", new Map(), openNodes);
    const results = this.body.lower(
      builder,
      this.inputs.map(({ name }) => name as OnnxValue),
    );
    this.#kernels = builder.kernels;
    return builder.model(this.inputs, this.outputs, results, weights, opset);
  }

  evaluate(inputs: readonly Float64Array[]): Float64Array[] {
    const data = inputs.map((values, i) => ({ ...this.inputs[i]!.type, values }));
    return this.body.evaluate(data).map(({ values }) => values);
  }
}

/** Options of a program. */
export interface ProgramOptions {
  /** Names for the model's inputs where the caller has better ones than `input0`. */
  readonly inputs?: readonly string[];
  /** The same for its outputs, `output0` and so on. */
  readonly outputs?: readonly string[];
  /** As `Program.inPlace`. Default: none. */
  readonly inPlace?: InPlace;
}
