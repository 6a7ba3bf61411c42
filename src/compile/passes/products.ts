/**
 * Rules that move transposes and additions into a matrix product, where they cost almost nothing. Scales are not moved into a product:
 * a scale such as 1 / n would be an attribute of the node, so each batch size would need another model; and a neighbouring elementwise op
 * can do the scaling as well.
 */

import { apply } from "../../graph/apply.ts";
import { isFloat, sameShape } from "../../graph/types.ts";
import * as arithmetic from "../../ops/arithmetic.ts";
import { widens } from "../../ops/arithmetic.ts";
import { gemm, matmul, type ProductParams, product } from "../../ops/matmul.ts";
import * as movement from "../../ops/movement.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { bySize, type Match, paramsOf, type RewriteRule, ruleFor } from "./rewrite.ts";
import { constantOf, swapLast } from "./simplify.ts";

/**
 * Returns a side of a product with its last two axes swapped, if that removes a transpose, or leaves one that keeps rows whole. A
 * transpose that keeps rows whole copies whole rows at a time, and often exists already. Returns undefined otherwise.
 */
function untransposed(y: Tensor): Tensor | undefined {
  const order = paramsOf(y, movement.transpose)?.params.permutation;
  const last = y.shape.length - 1;
  return order && order[last] !== last && order[last - 1] === last ? swapLast(y) : undefined;
}

const toProduct: RewriteRule = ruleFor("matmul to product", matmul, ([a, b]) =>
  isFloat(a!.dtype) ? apply(product, [a!, b!], { transposeA: false, transposeB: false, alpha: 1 }) : undefined,
);

const transposes: readonly RewriteRule[] = [
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

/** The product that computes a tensor, if the tensor has only one use: then another product can take its place. */
function soleProduct(
  y: Tensor,
  { uses }: Match,
): { readonly params: ProductParams; readonly inputs: readonly Tensor[] } | undefined {
  return uses(y) === 1 ? paramsOf(y, product) : undefined;
}

/**
 * For outputs of at least this many elements, a separate addition is faster than ONNX Runtime's Gemm, which first fills the whole output with the addend,
 * on one thread, and the output is no longer in any cache when the product is added to it.
 */
const largeSum = 2 ** 20;

/** a·b + c in one Gemm, when the product is of two matrices and nothing else uses it. */
function withAddend(y: Tensor, c: Tensor, match: Match): Tensor | undefined {
  const { manySizes, kernels } = match.target;
  const isLarge = y.size >= largeSum && !manySizes && !kernels?.products;
  if (y.shape.length !== 2 || isLarge || !widens(c.shape, y.shape)) return undefined;
  const inner = soleProduct(y, match);
  // A sum of columns stays a product, because there is a rule for it on packed matrices.
  if (!inner || y.size === 0 || constantOf(inner.inputs[0]!) !== undefined) return undefined;
  return apply(gemm, [...inner.inputs, c], { ...inner.params, beta: 1 });
}

/** Does what `withAddend` does for a flattened product behind the reshape that restores its leading axes. */
function withAddendReshaped(y: Tensor, c: Tensor, match: Match): Tensor | undefined {
  const inner = match.uses(y) === 1 ? paramsOf(y, movement.reshape) : undefined;
  const flat = inner?.inputs[0];
  if (flat?.shape.length !== 2 || c.size !== flat.size) return undefined;
  return withAddend(flat, c.reshape(flat.shape), match)?.reshape(y.shape);
}

const additions: readonly RewriteRule[] = [
  bySize("product + c", arithmetic.add, ([y, c], _, match) => withAddend(y!, c!, match)),
  bySize("c + product", arithmetic.add, ([c, y], _, match) =>
    `${c!.shape}` === `${y!.shape}` ? withAddend(y!, c!, match) : undefined,
  ),
  bySize("reshaped product + c", arithmetic.add, ([y, c], _, match) => withAddendReshaped(y!, c!, match)),
  bySize("c + reshaped product", arithmetic.add, ([c, y], _, match) =>
    `${c!.shape}` === `${y!.shape}` ? withAddendReshaped(y!, c!, match) : undefined,
  ),
];

export const products: readonly RewriteRule[] = [toProduct, ...transposes, ...additions];
