/** Makes an ONNX model for any batch size from the models for two batch sizes. */
import { create } from "@bufbuild/protobuf";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
} from "onnx-buf";

/** The batch sizes that are compared: primes that are too large to be the width of a layer. */
export const probes = [10007, 10009] as const;
const [firstProbe, secondProbe] = [BigInt(probes[0]), BigInt(probes[1])];

/**
 * Returns the model of the first batch size, with that size left open, if the models of both batch sizes differ only in sizes and in whole
 * numbers that follow from the batch's size; otherwise the reason why not. Changes `first`.
 */
export function openBatch(first: ModelProto, second: ModelProto): ModelProto | string {
  const [a, b] = [first.graph!, second.graph!];
  let measured: string | undefined;
  for (const [i, info] of a.input.entries()) {
    const open = openAxes(info, b.input[i]!);
    if (open.some((axis) => axis > 0)) return `the batch is not the first axis alone of ${info.name}`;
    if (open.length > 0) measured ??= info.name;
  }
  const open = new BatchOpening(a, measured);
  const reason = open.graph(a, b);
  if (reason !== undefined) return reason;
  a.node.unshift(...open.nodes);
  a.initializer.push(...open.constants);
  return first;
}

/** A number of the form `slope` · batch size + `offset`. */
interface Linear {
  readonly slope: bigint;
  readonly offset: bigint;
}

/** Opens a model's graph and the graphs inside its nodes. */
class BatchOpening {
  /** Nodes that compute, from the batch's size, what was constant; they come before all others. */
  readonly nodes: NodeProto[] = [];
  /** The constants of these nodes. */
  readonly constants: TensorProto[] = [];
  /** The input whose first axis is the batch. */
  readonly #measured: string | undefined;
  /** The names that are used as anything else than the shape of a Reshape. */
  readonly #values = new Set<string>();
  readonly #computed = new Set<string>();

  constructor(graph: GraphProto, measured: string | undefined) {
    this.#measured = measured;
    for (const node of nodesIn(graph))
      for (const [i, name] of node.input.entries()) if (node.opType !== "Reshape" || i !== 1) this.#values.add(name);
  }

  /** Opens one graph, or returns the reason why that is impossible. */
  graph(a: GraphProto, b: GraphProto): string | undefined {
    if (a.node.length !== b.node.length || a.initializer.length !== b.initializer.length)
      return "the graphs of two batch sizes have different nodes";
    for (const [i, node] of a.node.entries()) {
      const other = b.node[i]!;
      if (textOf(node) !== textOf(other)) return `${node.opType} node "${node.name}" holds the batch's size`;
      for (const [k, { g }] of node.attribute.entries()) {
        const reason = g && this.graph(g, other.attribute[k]!.g!);
        if (reason !== undefined) return reason;
      }
    }
    for (const [i, constant] of a.initializer.entries()) {
      if (this.#opens(constant, b.initializer[i]!)) continue;
      const user = nodesIn(a).find(({ input }) => input.includes(constant.name));
      return `a constant of ${user ? `${user.opType} node "${user.name}"` : "the model"} depends on the batch's size`;
    }
    a.initializer = a.initializer.filter(({ name }) => !this.#computed.has(name));
    for (const side of ["input", "output", "valueInfo"] as const)
      for (const [i, info] of a[side].entries()) openAxes(info, b[side][i]!);
    return undefined;
  }

  /** Whether a constant is the same for both sizes, or can be made to follow the batch's size. */
  #opens(constant: TensorProto, other: TensorProto): boolean {
    if (constant.name !== other.name || `${constant.dims}` !== `${other.dims}`) return false;
    if (equalBytes(constant.rawData, other.rawData)) return true;
    const numbers = numbersOf(constant);
    const others = numbersOf(other);
    if (!numbers || !others || this.#measured === undefined) return false;
    const all = numbers.map((number, i) => linear(number, others[i]!));
    const known = all.filter((each) => each !== undefined);
    if (known.length < all.length) return false;
    if (!this.#values.has(constant.name) && infer(constant, numbers, known)) return true;
    this.#compute(constant, this.#measured, known);
    return true;
  }

  /** Computes a constant from the batch's size: slopes · size + offsets. */
  #compute({ name, dims, dataType }: TensorProto, measured: string, all: readonly Linear[]): void {
    const node = (
      opType: string,
      input: readonly string[],
      output: string,
      attributes: Record<string, bigint> = {},
    ) => {
      const attribute = Object.entries(attributes).map(([name, i]) =>
        create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i }),
      );
      this.nodes.push(
        create(NodeProtoSchema, { opType, name: output, input: [...input], output: [output], attribute }),
      );
      return output;
    };
    const constant = (suffix: string, values: readonly bigint[]): string => {
      const rawData = new Uint8Array(BigInt64Array.from(values).buffer);
      const made = { name: `${name}_${suffix}`, dims, dataType: TensorProto_DataType.INT64, rawData };
      this.constants.push(create(TensorProtoSchema, made));
      return made.name;
    };
    const size = `${measured}_batch_size`;
    if (this.nodes.length === 0) node("Shape", [measured], size, { start: 0n, end: 1n });
    const scalar = dims.length > 0 ? size : node("Squeeze", [size], `${name}_size`);
    const product = node(
      "Mul",
      [
        scalar,
        constant(
          "slopes",
          all.map(({ slope }) => slope),
        ),
      ],
      `${name}_product`,
    );
    const offsets = constant(
      "offsets",
      all.map(({ offset }) => offset),
    );
    const isLong = dataType === TensorProto_DataType.INT64;
    const sum = node("Add", [product, offsets], isLong ? name : `${name}_sum`);
    if (!isLong) node("Cast", [sum], name, { to: BigInt(dataType) });
    this.#computed.add(name);
  }
}

/** Returns the nodes of a graph, and of the graphs inside its nodes. */
function nodesIn({ node }: GraphProto): NodeProto[] {
  return node.flatMap((each) => [each, ...each.attribute.flatMap(({ g }) => (g ? nodesIn(g) : []))]);
}

/** Returns a node as text, without the graphs inside it. */
function textOf({ opType, domain, input, output, attribute }: NodeProto): string {
  const attributes = attribute.map(({ g, ...own }) => (g ? own.name : own));
  return JSON.stringify([opType, domain, input, output, attributes], (_, value: unknown) =>
    typeof value === "bigint" ? `${value}n` : value,
  );
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The whole numbers of a constant; undefined for a constant of another type. */
function numbersOf({ dataType, rawData }: TensorProto): bigint[] | undefined {
  const { buffer } = rawData.slice();
  if (dataType === TensorProto_DataType.INT64) return [...new BigInt64Array(buffer)];
  return dataType === TensorProto_DataType.INT32 ? Array.from(new Int32Array(buffer), BigInt) : undefined;
}

/**
 * Returns how a number follows from the batch's size, of which two values are known. A number that is negative for a small batch, or that
 * is large for an empty one, follows in another way.
 */
function linear(number: bigint, other: bigint): Linear | undefined {
  if (number === other) return { slope: 0n, offset: number };
  const [rise, run] = [other - number, secondProbe - firstProbe];
  const slope = rise / run;
  const offset = number - slope * firstProbe;
  return rise > 0n && rise % run === 0n && offset >= 0n && offset < firstProbe / 2n ? { slope, offset } : undefined;
}

/**
 * Replaces the one size of a Reshape that depends on the batch's by −1, which means "whatever is left". Returns false where that is not
 * possible.
 */
function infer(constant: TensorProto, sizes: readonly bigint[], all: readonly Linear[]): boolean {
  const open = all.filter(({ slope }) => slope > 0n);
  if (open.length !== 1 || open[0]!.offset > 0n || sizes.some((size) => size <= 0n)) return false;
  const inferred = sizes.map((size, i) => (all[i]!.slope > 0n ? -1n : size));
  constant.rawData = new Uint8Array(BigInt64Array.from(inferred).buffer);
  return true;
}

/** Opens the axes whose sizes differ and returns them. An axis as long as the batch gets its name. */
function openAxes(info: ValueInfoProto, other: ValueInfoProto): number[] {
  if (info.type?.value.case !== "tensorType" || other.type?.value.case !== "tensorType") return [];
  const [dims, others] = [info.type.value.value.shape!.dim, other.type.value.value.shape!.dim];
  return dims.flatMap((dim, axis) => {
    const [size, otherSize] = [dim.value, others[axis]!.value];
    if (size.case !== "dimValue" || otherSize.case !== "dimValue" || size.value === otherSize.value) return [];
    const isBatch = size.value === firstProbe && otherSize.value === secondProbe;
    dim.value = isBatch ? { case: "dimParam", value: "batch" } : { case: undefined };
    return [axis];
  });
}
