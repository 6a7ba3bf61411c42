/**
 * Rules that make convolutions, and the ops between them, work on packed tensors. `unpack` moves towards the results; where it meets the
 * `pack` of the next convolution, both are removed.
 */
import { apply } from "../../graph/apply.ts";
import { type Shape, sameShape, sizeOf } from "../../graph/types.ts";
import { convolution, convolutionInput, convolutionKernel } from "../../ops/convolution.ts";
import { relu } from "../../ops/elementwise.ts";
import { type PackParams, pack, tilesFor, tilesOf, unpack } from "../../ops/lowered/packed.ts";
import {
  packedConvolution,
  packedConvolutionInput,
  packedConvolutionKernel,
  suitsBlocks,
} from "../../ops/lowered/packed-convolution.ts";
import { full } from "../../ops/movement.ts";
import { maxPool, maxPoolInput } from "../../ops/pooling.ts";
import { sum } from "../../ops/reduce.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { isTiling, layAtMaxima, tileMaxima } from "./pooling.ts";
import { bySize, type Match, paramsOf, type RewriteRule, ruleFor } from "./rewrite.ts";

/** The packed tensor that a tensor was unpacked from. */
const packedSource = (x: Tensor): Tensor | undefined => paramsOf(x, unpack)?.inputs[0];

/** Returns x packed in certain tiles. If x was unpacked from such tiles, returns the packed tensor, without a new node. */
function packedIn({ images, channels }: PackParams, x: Tensor): Tensor {
  const source = packedSource(x);
  return source?.shape.at(-2) === images && source.shape.at(-1) === channels
    ? source
    : x.apply(pack, [], { images, channels });
}

/** Returns x packed in the usual tiles. Among many sizes of batches, only single images fit all; then steps take up to a third longer. */
function packed(match: Match, x: Tensor, block: number): Tensor {
  const { images, channels } = tilesFor(x.shape, block);
  return packedIn({ images: match.number(() => images, 1), channels }, x);
}

const unpacked = (z: Tensor): Tensor => z.apply(unpack, [], undefined);

/** With fewer images, reordering the weights into blocks costs as much as packing saves. */
const fewestImages = 4;

/** Whether packing pays. A convolution with one tap is a matrix product: for it, packing pays only if an input is packed already. */
const pays = (match: Match, kernel: Shape, ...inputs: readonly Tensor[]): boolean =>
  inputs.every(({ dtype, size }) => dtype === "float32" && size > 0) &&
  (sizeOf(kernel.slice(2)) > 1 || inputs.some(packedSource)) &&
  match.pays(() => inputs.every(({ shape }) => shape[0]! >= fewestImages));

const convolutions: readonly RewriteRule[] = [
  bySize("packed convolution", convolution, ([x, w, ...bias], params, match) => {
    const { target } = match;
    if (!suitsBlocks(target, w!.shape, params) || !pays(match, w!.shape, x!)) return undefined;
    const block = target.block!;
    return unpacked(
      apply(packedConvolution, [packed(match, x!, block), w!, ...bias], { ...params, block, relu: false }),
    );
  }),
  bySize("packed convolution's input", convolutionInput, ([dy, w], params, match) => {
    const { target } = match;
    if (!suitsBlocks(target, w!.shape, params) || !pays(match, w!.shape, dy!)) return undefined;
    const block = target.block!;
    if (w!.shape[1]! % block !== 0) return undefined;
    return unpacked(apply(packedConvolutionInput, [packed(match, dy!, block), w!], { ...params, block }));
  }),
  bySize("packed convolution's kernel", convolutionKernel, ([x, dy], params, match) => {
    const { node, target } = match;
    const { shape } = node.outputs[0]!;
    if (!suitsBlocks(target, shape, params) || !pays(match, shape, x!, dy!)) return undefined;
    const block = target.block!;
    const batch = x!.shape[0]!;
    // The images become channels, padded to whole blocks.
    if (params.dilation.at(-1) !== 1 || !match.pays(() => 2 * batch >= Math.ceil(batch / block) * block))
      return undefined;
    return apply(packedConvolutionKernel, [packed(match, x!, block), packed(match, dy!, block)], { ...params, block });
  }),
];

/**
 * Returns another input of an elementwise op in the form that fits the packed tensor z: packed too, or reshaped so that it widens along
 * the same channels. Returns undefined if there is no such form.
 */
function beside(x: Tensor, z: Tensor, shape: Shape): Tensor | undefined {
  if (x.dtype !== "float32") return undefined;
  if (sameShape(x.shape, shape)) return packedIn(tilesOf(z.shape), x);
  if (x.size === 1) return x.reshape([]);
  const channels = x.shape.at(-(shape.length - 1));
  if (channels !== x.size || channels !== shape[1]) return undefined;
  return x.reshape([z.shape[1]!, ...z.shape.slice(2, -1).map(() => 1), z.shape.at(-1)!]);
}

const elementwise: RewriteRule = {
  name: "elementwise ops on packed tensors",
  rewrite({ node: { op, params, outputs }, inputs }) {
    const z = inputs.map(packedSource).find(Boolean);
    const [{ shape, dtype }] = outputs as [Tensor];
    if (!op.elementwise || !z || dtype !== "float32" || !sameShape(inputs[0]!.shape, shape)) return undefined;
    const all = inputs.map((x) => beside(x, z, shape));
    return all.every((x) => x !== undefined) ? [unpacked(apply(op, all, params))] : undefined;
  },
};

const pools: readonly RewriteRule[] = [
  ruleFor("packed max pooling", maxPool, ([x], params) => {
    const z = packedSource(x!);
    return z && isTiling(x!.shape.slice(2), params) ? unpacked(tileMaxima(z, params.kernel)) : undefined;
  }),
  ruleFor("packed max pooling's input", maxPoolInput, ([x, dy], params) => {
    const z = packedSource(x!);
    if (!z || !isTiling(x!.shape.slice(2), params)) return undefined;
    return unpacked(layAtMaxima(z, packedIn(tilesOf(z.shape), dy!), params.kernel));
  }),
];

/** Sums of packed tensors. A sum over all axes does not depend on the order in memory; sums for each channel become products with ones. */
const sums: RewriteRule = ruleFor("sums of a packed tensor", sum, ([x], { axes }, { node }) => {
  const z = packedSource(x!);
  const { shape } = node.outputs[0]!;
  if (z && axes.length === x!.shape.length) return z.sum().reshape(shape);
  if (!z || axes.length !== x!.shape.length - 1 || axes.includes(1)) return undefined;
  const [groups, blocks] = z.shape as [number, number];
  const lanes = z.shape.at(-1)!;
  const rows = z.size / (groups * blocks * lanes);
  const ones = apply(full, [], { shape: [groups, blocks, 1, rows], value: 1, dtype: z.dtype });
  return ones
    .matmul(z.reshape([groups, blocks, rows, lanes]))
    .sum(0)
    .reshape(shape);
});

export const packing: readonly RewriteRule[] = [...convolutions, elementwise, ...pools, sums];

/** A packed convolution computes the relu that follows it. */
export const fusedRelu: RewriteRule = ruleFor("relu of a packed convolution", relu, ([y], _, { uses }) => {
  const inner = uses(y!) === 1 ? paramsOf(y!, packedConvolution) : undefined;
  return inner && apply(packedConvolution, inner.inputs, { ...inner.params, relu: true });
});
