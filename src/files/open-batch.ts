/** An ONNX model for any batch size, from the models of two sizes. */
import type { GraphProto, ModelProto, TensorProto, ValueInfoProto } from "onnx-buf";

/** The sizes that are compared: primes too large to be a layer's width. */
export const probes = [10007, 10009] as const;

/**
 * The model of the first probe size, with that size left open, when the models of both sizes differ in nothing but sizes that
 * ONNX can leave open; otherwise nothing. Changes `first`.
 */
export function openBatch(first: ModelProto, second: ModelProto): ModelProto | undefined {
  const [a, b] = [first.graph!, second.graph!];
  if (!sameNodes(a, b) || a.initializer.length !== b.initializer.length) return undefined;
  const shapes = new Set(a.node.filter(({ opType }) => opType === "Reshape").map(({ input }) => input[1]));
  for (const [i, constant] of a.initializer.entries()) {
    const other = b.initializer[i]!;
    if (constant.name !== other.name || `${constant.dims}` !== `${other.dims}`) return undefined;
    if (equalBytes(constant.rawData, other.rawData)) continue;
    if (!shapes.has(constant.name) || !openShape(constant, other)) return undefined;
  }
  for (const [side, otherSide] of [
    [a.input, b.input],
    [a.output, b.output],
  ] as const)
    for (const [i, info] of side.entries()) if (!openInfo(info, otherSide[i]!)) return undefined;
  return first;
}

function sameNodes(a: GraphProto, b: GraphProto): boolean {
  const text = ({ node }: GraphProto): string =>
    JSON.stringify(
      node.map(({ opType, domain, input, output, attribute }) => [opType, domain, input, output, attribute]),
      (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value),
    );
  return text(a) === text(b);
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Puts −1, "whatever is left", where two shapes differ by the batch; a shape can have one such place. */
function openShape(constant: TensorProto, other: TensorProto): boolean {
  const sizes = new BigInt64Array(constant.rawData.slice().buffer);
  const others = new BigInt64Array(other.rawData.slice().buffer);
  const open = [...sizes.keys()].filter((i) => sizes[i] !== others[i]);
  const [at] = open;
  if (open.length !== 1 || at === undefined || !byBatch(sizes[at]!, others[at]!)) return false;
  sizes[at] = -1n;
  constant.rawData = new Uint8Array(sizes.buffer);
  return true;
}

/** Whether both sizes are the same multiple of their batch. */
function byBatch(size: bigint, other: bigint): boolean {
  const [first, second] = probes.map(BigInt) as [bigint, bigint];
  return size % first === 0n && other % second === 0n && size / first === other / second;
}

function openInfo(info: ValueInfoProto, other: ValueInfoProto): boolean {
  if (info.type?.value.case !== "tensorType" || other.type?.value.case !== "tensorType") return false;
  const [dims, others] = [info.type.value.value.shape!.dim, other.type.value.value.shape!.dim];
  return dims.every((dim, i) => {
    const [size, otherSize] = [dim.value.value as bigint, others[i]!.value.value as bigint];
    if (size === otherSize) return true;
    if (i > 0 || size !== BigInt(probes[0]) || otherSize !== BigInt(probes[1])) return false;
    dim.value = { case: "dimParam", value: "batch" };
    return true;
  });
}
