/** Makes an ONNX model for any batch size from the models for two batch sizes. */
import type { ModelProto, NodeProto, TensorProto, ValueInfoProto } from "onnx-buf";

/** The batch sizes that are compared: primes that are too large to be the width of a layer. */
export const probes = [10007, 10009] as const;

/**
 * Returns the model of the first batch size, with that size left open, if the models of both batch sizes differ only in sizes that ONNX can
 * leave open; otherwise the reason why not. Changes `first`.
 */
export function openBatch(first: ModelProto, second: ModelProto): ModelProto | string {
  const [a, b] = [first.graph!, second.graph!];
  if (a.node.length !== b.node.length || a.initializer.length !== b.initializer.length)
    return "the graphs of two batch sizes have different nodes";
  const odd = a.node.find((node, i) => textOf(node) !== textOf(b.node[i]!));
  if (odd) return `${odd.opType} node "${odd.name}" holds the batch's size`;
  const shapes = new Set(a.node.filter(({ opType }) => opType === "Reshape").map(({ input }) => input[1]));
  for (const [i, constant] of a.initializer.entries()) {
    const other = b.initializer[i]!;
    const isSame = constant.name === other.name && `${constant.dims}` === `${other.dims}`;
    if (isSame && equalBytes(constant.rawData, other.rawData)) continue;
    if (isSame && shapes.has(constant.name) && openShape(constant, other)) continue;
    const user = a.node.find(({ input }) => input.includes(constant.name));
    return `a constant of ${user ? `${user.opType} node "${user.name}"` : "the model"} depends on the batch's size`;
  }
  for (const [side, otherSide] of [
    [a.input, b.input],
    [a.output, b.output],
  ] as const)
    for (const [i, info] of side.entries())
      if (!openInfo(info, otherSide[i]!)) return `the batch is not the first axis alone of ${info.name}`;
  return first;
}

/** Returns a node, with the graphs inside it, as text. */
function textOf({ opType, domain, input, output, attribute }: NodeProto): string {
  return JSON.stringify([opType, domain, input, output, attribute], (_, value: unknown) =>
    typeof value === "bigint" ? `${value}n` : value,
  );
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * Replaces the one size by which two shapes differ by −1, which means "whatever is left". Returns false if they do not differ in exactly
 * one size that depends on the batch size.
 */
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

/** Whether both sizes are the same multiple of their batch size. */
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
