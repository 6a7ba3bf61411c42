/** Writes an ONNX model: nodes in order, constants shared, encoded by the protobuf library. */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "onnx-buf";
import type { Node } from "../graph/node.ts";
import {
  elementsOf,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxSubgraph,
  type OnnxTensorType,
  type OnnxType,
  type OnnxValue,
} from "../graph/op.ts";
import type { Hole, Port, Target } from "../graph/target.ts";
import { paramsKey } from "../graph/text.ts";
import type { Shape, Values } from "../graph/types.ts";
import {
  type AnyKernelOp,
  type GuardOp,
  isFlat,
  type Kernel,
  kernelDomain,
  type LengthsOp,
  type RandomOp,
} from "../kernel/kernel.ts";
import type { ProductOp } from "../kernel/product.ts";
import { dataTypes } from "./data-types.ts";
import { NodeWriter } from "./writer.ts";

/** The operator set that every lowering is written for. Gelu is new in 20, int4 and float8 are new in 21. */
const latestOpset = 21;
/** The operator sets that exported models may ask for. No lowering uses what is new in 21. */
export const opsets: readonly number[] = [20, latestOpset];
const irVersion = 10n;

/** Values that are stored in a model in place of inputs, by port; "elsewhere" for those that come with the loading of the model. */
export type Weights = ReadonlyMap<Port, Values | "elsewhere">;

/** What an exported model with open axes knows of the graph's nodes. */
export interface OpenNodes {
  /** The nodes that have a size that is open, with the open axes of their first input. */
  readonly axes: ReadonlyMap<Node, ReadonlySet<number>>;
  /** Filled by the builder: the node that each node of the model comes from. */
  readonly origins: Map<NodeProto, Node>;
}

/** Collects the nodes and constants of one model. */
export class OnnxBuilder extends NodeWriter implements OnnxGraph {
  readonly target: Target;
  /** The beginning of all names: names in a subgraph must differ from those outside of it. */
  readonly #prefix: string;
  #subgraphs = 0;
  readonly #nodes: NodeProto[] = [];
  readonly #constants = new Map<string, TensorProto>();
  readonly #domains = new Set<string>();
  /** Custom ops by what they compute. A subgraph shares them with the graph around it. */
  readonly #kernels: Map<string, AnyKernelOp>;
  /** Constants that each run fills. */
  readonly #holes: readonly Hole[];
  /** The types of values that ONNX Runtime cannot infer. */
  readonly #known: Described[] = [];
  /** The outputs of nodes by what the nodes compute, so that equal nodes become one. */
  readonly #made = new Map<string, OnnxValue[]>();
  readonly #openNodes: OpenNodes | undefined;
  /** The node that is being lowered. */
  #node: Node | undefined;

  constructor(
    target: Target,
    holes: readonly Hole[] = [],
    prefix: string = "",
    kernels: Map<string, AnyKernelOp> = new Map(),
    openNodes?: OpenNodes,
  ) {
    super();
    this.target = target;
    this.#holes = holes;
    this.#prefix = prefix;
    this.#kernels = kernels;
    this.#openNodes = openNodes;
  }

  note(node: Node): void {
    this.#node = node;
  }

  get open(): ReadonlySet<number> | undefined {
    return this.#node && this.#openNodes?.axes.get(this.#node);
  }

  /** The custom ops that the model calls: kernels, guards, draws, lengths and products. */
  get kernels(): readonly AnyKernelOp[] {
    return [...this.#kernels.values()];
  }

  kernel(kernel: Kernel, shapes: readonly Shape[], inputs: readonly OnnxValue[]): OnnxValue[] {
    const name = this.#custom("kernel", (name) => ({ name, kernel, shapes }));
    const outputs = this.append(name, inputs, shapes.length, {}, kernelDomain);
    this.#known.push(...outputs.map((name, i) => ({ name, type: { dtype: "float32" as const, shape: shapes[i]! } })));
    return outputs;
  }

  /** Adds a kernel whose sizes each run gives: `sizes` is a hole with the numbers of `sizesOf`. */
  openKernel(
    kernel: Kernel,
    types: readonly OpenType[],
    inputs: readonly OnnxValue[],
    sizes: OnnxValue,
    widthIsOpen: boolean,
  ): OnnxValue[] {
    const shapes = types.map(({ shape }) => shape.map(() => 0)); //  only the number of axes counts
    const width = widthIsOpen || isFlat(kernel) ? 1 : kernel.width;
    const size = kernel.size === kernel.width ? width : 2 * width;
    const form = { ...kernel, size, width };
    const name = this.#custom("kernel", (name) => ({ name, kernel: form, shapes, open: { widthIsOpen } }));
    const outputs = this.append(name, [...inputs, sizes], shapes.length, {}, kernelDomain);
    this.#known.push(...outputs.map((name, i) => ({ name, type: types[i]! })));
    return outputs;
  }

  /** Adds a guard whose sizes each run gives, as for `openKernel`. */
  openGuard(values: readonly OnnxValue[], sizes: OnnxValue): OnnxValue {
    return this.#guard([...values, sizes], { sizes: values.map(() => 0), isOpen: true });
  }

  guard(values: readonly OnnxValue[], sizes: readonly number[]): OnnxValue {
    return this.#guard(values, { sizes });
  }

  #guard(inputs: readonly OnnxValue[], op: Omit<GuardOp, "name">): OnnxValue {
    const name = this.#custom("guard", (name) => ({ name, ...op }));
    const [passed] = this.append(name, inputs, 1, {}, kernelDomain) as [OnnxValue];
    this.#known.push({ name: passed, type: { dtype: "float32", shape: [] } });
    return passed;
  }

  random(state: OnnxValue, draw: Omit<RandomOp, "name">): OnnxValue {
    return this.#random([state], draw, draw);
  }

  /** Adds a draw whose sizes each run gives. */
  openRandom(state: OnnxValue, draw: Omit<RandomOp, "name">, type: OpenType, sizes: OnnxValue): OnnxValue {
    const shape = type.shape.map(() => 0); //  only its length counts
    return this.#random([state, sizes], { ...draw, shape, size: 0, isOpen: true }, type);
  }

  #random(
    inputs: readonly OnnxValue[],
    op: Omit<RandomOp, "name">,
    type: Pick<OpenType, "shape" | "names">,
  ): OnnxValue {
    const name = this.#custom("random", (name) => ({ name, ...op }));
    const [drawn] = this.append(name, inputs, 1, {}, kernelDomain) as [OnnxValue];
    this.#known.push({ name: drawn, type: { dtype: op.dtype, shape: type.shape, names: type.names } });
    return drawn;
  }

  product(inputs: readonly OnnxValue[], product: Omit<ProductOp, "name">): OnnxValue {
    return this.#product(inputs, product, product);
  }

  /** Adds matrix products whose sizes each run gives. */
  openProduct(
    inputs: readonly OnnxValue[],
    { form }: Pick<ProductOp, "form">,
    type: OpenType,
    sizes: OnnxValue,
  ): OnnxValue {
    const shape = type.shape.map(() => 0); //  only its length counts
    const of = { count: 0, m: 0, n: 0, k: 0, sharesB: false };
    return this.#product([...inputs, sizes], { form, of, shape, isOpen: true }, type);
  }

  #product(
    inputs: readonly OnnxValue[],
    op: Omit<ProductOp, "name">,
    type: Pick<OpenType, "shape" | "names">,
  ): OnnxValue {
    const name = this.#custom("product", (name) => ({ name, ...op }));
    const [result] = this.append(name, inputs, 2, {}, kernelDomain) as [OnnxValue, OnnxValue];
    this.#known.push({ name: result, type: { dtype: "float32", shape: type.shape, names: type.names } });
    return result;
  }

  lengths(x: OnnxValue, width: number, shape: Shape): OnnxValue {
    return this.#lengths([x], { width, shape }, { shape });
  }

  /** Adds an op for lengths, whose sizes each run gives. */
  openLengths(x: OnnxValue, type: OpenType, sizes: OnnxValue): OnnxValue {
    const shape = type.shape.map(() => 0); //  only its length counts
    return this.#lengths([x, sizes], { width: 0, shape, isOpen: true }, type);
  }

  #lengths(
    inputs: readonly OnnxValue[],
    op: Omit<LengthsOp, "name">,
    type: Pick<OpenType, "shape" | "names">,
  ): OnnxValue {
    const name = this.#custom("lengths", (name) => ({ name, ...op }));
    const [result] = this.append(name, inputs, 1, {}, kernelDomain) as [OnnxValue];
    this.#known.push({ name: result, type: { dtype: "float32", shape: type.shape, names: type.names } });
    return result;
  }

  /** Returns the name of a custom op. If there is an equal op with another name already, its name is returned. */
  #custom(kind: string, make: (name: string) => AnyKernelOp): string {
    const key = paramsKey(make(""));
    const op = this.#kernels.get(key) ?? make(`${kind}${this.#kernels.size}`);
    this.#kernels.set(key, op);
    return op.name;
  }

  constant(dtype: OnnxType, shape: Shape, values: readonly number[] | Float64Array): OnnxValue {
    const key = `${dtype}[${shape.join()}]${Array.from(values, (value) => (Object.is(value, -0) ? "-0" : value)).join()}`;
    let tensor = this.#constants.get(key);
    if (!tensor) {
      tensor = tensorProto(`${this.#prefix}c${this.#constants.size}`, dtype, shape, rawBytes(dtype, values));
      this.#constants.set(key, tensor);
    }
    return tensor.name as OnnxValue;
  }

  choose(chosen: number, _type: OnnxTensorType, ways: readonly ((graph: OnnxGraph) => OnnxValue)[]): OnnxValue {
    return ways[this.open ? 0 : chosen]!(this);
  }

  subgraph(
    inputTypes: readonly OpenType[],
    outputTypes: readonly OpenType[],
    build: (graph: OnnxGraph, inputs: readonly OnnxValue[]) => readonly OnnxValue[],
  ): OnnxSubgraph {
    const prefix = `${this.#prefix}b${this.#subgraphs++}_`;
    const inner = new OnnxBuilder(this.target, [], prefix, this.#kernels, this.#openNodes);
    inner.#node = this.#node;
    const ports = (types: readonly OpenType[], kind: string): Described[] =>
      types.map((type, i) => ({ name: `${prefix}${kind}${i}`, type }));
    const inputs = ports(inputTypes, "input");
    const results = build(
      inner,
      inputs.map(({ name }) => name as OnnxValue),
    );
    const graph = inner.#graph(inputs, ports(outputTypes, "output"), results);
    for (const domain of inner.#domains) this.#domains.add(domain);
    return { graph, toJSON: () => prefix };
  }

  /**
   * Returns the finished model. `weights` become initializers under their own names: values in the model, not inputs of it. Those of
   * "elsewhere" have no values in the model: whoever loads it gives them.
   */
  model(
    inputs: readonly Port[],
    outputs: readonly Port[],
    results: readonly OnnxValue[],
    weights: Weights = new Map(),
    opset: number = latestOpset,
  ): ModelProto {
    const graph = this.#graph(inputs, outputs, results, weights);
    return create(ModelProtoSchema, {
      irVersion,
      producerName: "glissade",
      opsetImport: [
        create(OperatorSetIdProtoSchema, { domain: "", version: BigInt(opset) }),
        ...[...this.#domains].map((domain) => create(OperatorSetIdProtoSchema, { domain, version: 1n })),
      ],
      graph,
    });
  }

  #graph(
    inputs: readonly Described[],
    outputs: readonly Described[],
    results: readonly OnnxValue[],
    weights: ReadonlyMap<Described, Values | "elsewhere"> = new Map(),
  ): GraphProto {
    const initializers = [...weights].map(([{ name, type }, values]) =>
      values === "elsewhere"
        ? tensorElsewhere(name, type)
        : tensorProto(name, type.dtype, type.shape, new Uint8Array(values.slice().buffer)),
    );
    const named = results.map((value, i) =>
      create(NodeProtoSchema, { opType: "Identity", input: [value], output: [outputs[i]!.name] }),
    );
    return create(GraphProtoSchema, {
      name: `${this.#prefix}glissade`,
      node: withOutputsNamed([...this.#nodes, ...named], new Set(outputs.map(({ name }) => name))),
      input: [...inputs.filter((port) => !weights.has(port)), ...this.#holes.map(portOf)].map(valueInfo),
      output: outputs.map(valueInfo),
      valueInfo: this.#known.filter(({ name }) => !results.includes(name as OnnxValue)).map(valueInfo),
      initializer: [...this.#constants.values(), ...initializers],
    });
  }

  protected append(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    outputs: number,
    attributes: Readonly<Record<string, OnnxAttribute>>,
    domain: string,
  ): OnnxValue[] {
    const key = `${domain}.${type}(${inputs.join()})${outputs}${paramsKey(attributes)}`;
    const known = this.#made.get(key);
    if (known) return known;
    const names = Array.from(
      { length: outputs },
      (_, i) => `${this.#prefix}n${this.#nodes.length}${i ? `_${i}` : ""}` as OnnxValue,
    );
    if (domain) this.#domains.add(domain);
    const proto = create(NodeProtoSchema, {
      opType: type,
      name: `${type}_${this.#nodes.length}`,
      domain,
      input: inputs.map((value) => value ?? ""),
      output: names,
      attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    });
    this.#nodes.push(proto);
    if (this.#node) this.#openNodes?.origins.set(proto, this.#node);
    this.#made.set(key, names);
    return names;
  }
}

/**
 * Renames the results of nodes, so that the node that makes an output writes it under the output's name. Where this is impossible, an
 * Identity stays.
 */
function withOutputsNamed(nodes: readonly NodeProto[], outputs: ReadonlySet<string>): NodeProto[] {
  const makers = new Map<string, NodeProto>();
  for (const node of nodes) for (const output of node.output) makers.set(output, node);
  const renamed = new Map<string, string>();
  const kept = nodes.filter((node) => {
    const [from] = node.input;
    const [to] = node.output;
    if (node.name !== "" || from === undefined || to === undefined || !outputs.has(to)) return true;
    if (!makers.has(from) || renamed.has(from)) return true;
    renamed.set(from, to);
    return false;
  });
  rename(kept, renamed);
  return kept;
}

/** Renames values, also in the graphs inside of nodes. */
function rename(nodes: readonly NodeProto[], names: ReadonlyMap<string, string>): void {
  if (names.size === 0) return;
  for (const node of nodes) {
    node.input = node.input.map((name) => names.get(name) ?? name);
    node.output = node.output.map((name) => names.get(name) ?? name);
    for (const { g } of node.attribute) if (g) rename(g.node, names);
  }
}

/** A model as the bytes of an .onnx file. */
export function encodeModel(model: ModelProto): Uint8Array<ArrayBuffer> {
  return toBinary(ModelProtoSchema, model);
}

function tensorProto(name: string, dtype: OnnxType, shape: Shape, rawData: Uint8Array<ArrayBuffer>): TensorProto {
  return create(TensorProtoSchema, { name, dataType: dataTypes[dtype], dims: shape.map(BigInt), rawData });
}

function tensorElsewhere(name: string, { dtype, shape }: OnnxTensorType): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: dataTypes[dtype],
    dims: shape.map(BigInt),
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [create(StringStringEntryProtoSchema, { key: "location", value: name })],
  });
}

/** Little-endian bytes, as ONNX wants them; every platform with a JavaScript engine is little-endian. */
function rawBytes(dtype: OnnxType, values: readonly number[] | Float64Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(elementsOf(dtype, values).buffer);
}

function attribute(name: string, value: OnnxAttribute): ReturnType<typeof create<typeof AttributeProtoSchema>> {
  if (typeof value === "number")
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(value) });
  if (typeof value === "string")
    return create(AttributeProtoSchema, {
      name,
      type: AttributeProto_AttributeType.STRING,
      s: new TextEncoder().encode(value),
    });
  if ("graph" in value)
    return create(AttributeProtoSchema, {
      name,
      type: AttributeProto_AttributeType.GRAPH,
      g: value.graph as GraphProto,
    });
  if ("float" in value)
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: value.float });
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INTS, ints: value.map(BigInt) });
}

/** The type of a value whose axes may be open. */
export interface OpenType extends OnnxTensorType {
  /** Names for the sizes of open axes: equal names are equal sizes. */
  readonly names?: readonly (string | undefined)[] | undefined;
}

/** The name and type of an input, of an output, or of a value whose type ONNX Runtime cannot infer. */
interface Described {
  readonly name: string;
  readonly type: OpenType;
}

const portOf = ({ name, dtype, rank }: Hole): Described => ({
  name,
  type: { dtype, shape: Array<number>(rank).fill(0), names: Array.from({ length: rank }, (_, i) => `${name}_${i}`) },
});

function valueInfo({ name, type }: Described): ValueInfoProto {
  const dim = type.shape.map((size, axis) => {
    const open = type.names?.[axis];
    return {
      value:
        open === undefined
          ? { case: "dimValue" as const, value: BigInt(size) }
          : { case: "dimParam" as const, value: open },
    };
  });
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: { elemType: dataTypes[type.dtype], shape: { dim } } } },
  });
}
