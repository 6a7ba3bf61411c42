/** Rules that let a matrix product do its neighbours' work: transposes, scales and additions cost it next to nothing. */

import { apply } from "../../graph/apply.ts";
import { isFloat, sameShape } from "../../graph/types.ts";
import * as arithmetic from "../../ops/arithmetic.ts";
import { widens } from "../../ops/arithmetic.ts";
import { gemm, matmul, type ProductParams, product } from "../../ops/matmul.ts";
import * as movement from "../../ops/movement.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type Match, paramsOf, type Rule, ruleFor } from "./rewrite.ts";
import { asFactor, constantOf, scaledBy, swapLast } from "./simplify.ts";

/**
 * A side of a product with its last two axes swapped, where that undoes a transpose or leaves one that keeps rows whole:
 * such a copy moves whole rows at a time, and often exists already.
 */
function untransposed(y: Tensor): Tensor | undefined {
  const order = paramsOf(y, movement.transpose)?.params.permutation;
  const last = y.shape.length - 1;
  return order && order[last] !== last && order[last - 1] === last ? swapLast(y) : undefined;
}

const toProduct: Rule = ruleFor("matmul to product", matmul, ([a, b]) =>
  isFloat(a!.dtype) ? apply(product, [a!, b!], { transposeA: false, transposeB: false, alpha: 1 }) : undefined,
);

const transposes: readonly Rule[] = [
  ruleFor("transpose into the product's left side", product, ([a, b], params) => {
    const inner = untransposed(a!);
    return inner && apply(product, [inner, b!], { ...params, transposeA: !params.transposeA });
  }),
  ruleFor("transpose into the product's right side", product, ([a, b], params) => {
    const inner = untransposed(b!);
    return inner && apply(product, [a!, inner], { ...params, transposeB: !params.transposeB });
  }),
  // (A·B)ᵀ = Bᵀ·Aᵀ, for each product of a batch too.
  ruleFor("transpose of a product", movement.transpose, ([y], { permutation }, match) => {
    const rank = permutation.length;
    if (!permutation.every((axis, at) => axis === (at < rank - 2 ? at : 2 * rank - 3 - at))) return undefined;
    const { inputs: [a, b] = [], params } = soleProduct(y!, match) ?? {};
    if (!a || !b || !params || !sameShape(a.shape.slice(0, -2), b.shape.slice(0, -2))) return undefined;
    const { transposeA, transposeB, alpha } = params;
    return apply(product, [b, a], { transposeA: !transposeB, transposeB: !transposeA, alpha });
  }),
];

/** The product behind a tensor, when nothing else uses it: it can be replaced by one that does more. */
function soleProduct(
  y: Tensor,
  { uses }: Match,
): { readonly params: ProductParams; readonly inputs: readonly Tensor[] } | undefined {
  return uses(y) === 1 ? paramsOf(y, product) : undefined;
}

/** The product times a factor. Not times 0: then nobody would look at the sides, which may hold NaN. */
function scaledProduct(inputs: readonly Tensor[], params: ProductParams, factor: number): Tensor | undefined {
  const alpha = asFactor(params.alpha * factor, inputs[0]!.dtype);
  return alpha === undefined ? undefined : apply(product, inputs, { ...params, alpha });
}

/** ONNX Runtime's code for a row times a matrix has no factor: with one, the product takes two to three times as long. */
const isRow = ({ shape }: Tensor): boolean => shape.length === 2 && shape[0] === 1;

/** The product of sides one of which had a factor. */
function scaledSide(inputs: readonly Tensor[], params: ProductParams, factor: number): Tensor | undefined {
  const scaled = scaledProduct(inputs, params, factor);
  return scaled && isRow(scaled) ? apply(product, inputs, params).mul(factor) : scaled;
}

const scales: readonly Rule[] = [
  ruleFor("scale of a product", arithmetic.mul, ([y, c], _, match) => {
    const factor = constantOf(c!);
    const inner = factor === undefined ? undefined : soleProduct(y!, match);
    return inner && !isRow(y!) ? scaledProduct(inner.inputs, inner.params, factor!) : undefined;
  }),
  ruleFor("scale of a gemm", arithmetic.mul, ([y, c], _, match) => {
    const factor = constantOf(c!);
    const reshaped = match.uses(y!) === 1 ? paramsOf(y!, movement.reshape)?.inputs[0] : undefined;
    const flat = reshaped ?? y!;
    const inner = factor !== undefined && match.uses(flat) === 1 ? paramsOf(flat, gemm) : undefined;
    if (!inner || factor === undefined) return undefined;
    const { params, inputs } = inner;
    const [alpha, beta] = [params.alpha, params.beta].map((scale) => asFactor(scale * factor, y!.dtype));
    if (alpha === undefined || beta === undefined) return undefined;
    const scaled = apply(gemm, inputs, { ...params, alpha, beta });
    return reshaped ? scaled.reshape(y!.shape) : scaled;
  }),
  // (y + b)·c = y·c + b·c, where y is a product that can take c and b is much smaller.
  ruleFor("scale of a sum with a product", arithmetic.mul, ([x, c], _, match) => {
    const sum = paramsOf(x!, movement.reshape)?.inputs[0] ?? x!;
    const factor = constantOf(c!);
    if (factor === undefined || match.uses(x!) !== 1 || match.uses(sum) !== 1) return undefined;
    const [y, b] = paramsOf(sum, arithmetic.add)?.inputs ?? [];
    const inner = y && soleProduct(y, match);
    if (!inner || !b || b.size * 16 > sum.size) return undefined;
    const scaled = scaledProduct(inner.inputs, inner.params, factor);
    return scaled?.add(b.mul(c!)).reshape(x!.shape);
  }),
  ruleFor("scale of the product's left side", product, ([a, b], params) => {
    const scaled = scaledBy(a!);
    return scaled && scaledSide([scaled.x, b!], params, scaled.factor);
  }),
  ruleFor("scale of the product's right side", product, ([a, b], params) => {
    const scaled = scaledBy(b!);
    return scaled && scaledSide([a!, scaled.x], params, scaled.factor);
  }),
];

/**
 * From so many elements on what is added comes cheaper as a node of its own: Gemm first fills the whole output with it, on one
 * thread, and that is then no longer in any cache when the product is added to it.
 */
const largeSum = 2 ** 20;

/** a·b + c in one Gemm, when the product is of two matrices and nothing else uses it. */
function withAddend(y: Tensor, c: Tensor, match: Match): Tensor | undefined {
  if (y.shape.length !== 2 || y.size >= largeSum || !widens(c.shape, y.shape)) return undefined;
  const inner = soleProduct(y, match);
  // Sums of columns stay what they are: a packed matrix has them too.
  if (!inner || y.size === 0 || constantOf(inner.inputs[0]!) !== undefined) return undefined;
  return apply(gemm, [...inner.inputs, c], { ...inner.params, beta: 1 });
}

/** The same through the reshape that gives a flattened product its leading axes back. */
function withAddendReshaped(y: Tensor, c: Tensor, match: Match): Tensor | undefined {
  const inner = match.uses(y) === 1 ? paramsOf(y, movement.reshape) : undefined;
  const flat = inner?.inputs[0];
  if (flat?.shape.length !== 2 || c.size !== flat.size) return undefined;
  return withAddend(flat, c.reshape(flat.shape), match)?.reshape(y.shape);
}

const additions: readonly Rule[] = [
  ruleFor("product + c", arithmetic.add, ([y, c], _, match) => withAddend(y!, c!, match)),
  ruleFor("c + product", arithmetic.add, ([c, y], _, match) =>
    `${c!.shape}` === `${y!.shape}` ? withAddend(y!, c!, match) : undefined,
  ),
  ruleFor("reshaped product + c", arithmetic.add, ([y, c], _, match) => withAddendReshaped(y!, c!, match)),
  ruleFor("c + reshaped product", arithmetic.add, ([c, y], _, match) =>
    `${c!.shape}` === `${y!.shape}` ? withAddendReshaped(y!, c!, match) : undefined,
  ),
];

export const products: readonly Rule[] = [toProduct, ...transposes, ...scales, ...additions];
