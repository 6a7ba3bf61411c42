/** Rules that save passes over memory: they compute the same numbers with fewer or shorter reads and writes. */

import { apply, tensorOf } from "../../graph/apply.ts";
import type { Node } from "../../graph/node.ts";
import { isFloat, sameShape, sizeOf } from "../../graph/types.ts";
import * as arithmetic from "../../ops/arithmetic.ts";
import { gelu, neg } from "../../ops/elementwise.ts";
import { addAt, scatter, unpick } from "../../ops/indexing.ts";
import { putRows } from "../../ops/lowered/rows.ts";
import { matmul } from "../../ops/matmul.ts";
import * as movement from "../../ops/movement.ts";
import { softmax } from "../../ops/normalize.ts";
import { sum, sumOfSquares } from "../../ops/reduce.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { bySize, type Match, paramsOf, type RewriteRule, ruleFor } from "./rewrite.ts";
import { asFactor, constantOf, scaledBy, swapLast } from "./simplify.ts";

/**
 * gelu(x) = √2·s·½(1 + erf s) with s = x/√2. The rule applies where the gradient needs s and erf s anyway. Then no node needs x itself:
 * the product that computes x can compute s instead, and the next product can include the factor √2.
 */
const geluFromErf: RewriteRule = ruleFor("gelu from erf", gelu, ([x], _, { usersOf, original }) => {
  const isHalved = ({ op, inputs }: Node): boolean =>
    (op as unknown) === arithmetic.mul && constantOf(tensorOf(inputs[1]!.node, inputs[1]!.index)) === Math.SQRT1_2;
  if (!usersOf(original.inputs[0]!).some(isHalved)) return undefined;
  const s = x!.mul(Math.SQRT1_2);
  return s.mul(s.halfErf()).mul(Math.SQRT2);
});

/** A tensor with something added at picked places. */
interface Picked {
  /** What is added to; undefined for zeros. */
  readonly y: Tensor | undefined;
  readonly x: Tensor;
  readonly indices: Tensor;
}

function pickedOf(tensor: Tensor, { uses }: Match): Picked | undefined {
  const [value, places] = paramsOf(tensor, unpick)?.inputs ?? [];
  if (value && places) return { y: undefined, x: value, indices: places };
  const [y, x, indices] = paramsOf(tensor, addAt)?.inputs ?? [];
  // Rows that are repeated take no pass of their own, wherever they are added.
  const isFree = y && (uses(tensor) === 1 || paramsOf(y, movement.expand));
  return isFree && x && indices ? { y, x, indices } : undefined;
}

/** The other side of a sum or difference with a picked tensor, in the shape of the result; undefined if that is larger than the picked one. */
function besides(z: Tensor, picked: Tensor, { node }: Match): Tensor | undefined {
  const { shape } = node.outputs[0]!;
  if (!sameShape(picked.shape, shape)) return undefined;
  return sameShape(z.shape, shape) ? z : z.expand(shape);
}

/**
 * y ± unpick(x) changes only the picked places of y. The gradient of cross-entropy has this form. What is added at places is added last: then
 * the rest is one pass over memory, and a few places of its result are changed.
 */
const addPicked: readonly RewriteRule[] = [
  ruleFor("picked + z", arithmetic.add, ([u, other], _, match) => {
    const picked = pickedOf(u!, match);
    const z = picked && besides(other!, u!, match);
    return z && apply(addAt, [picked.y ? picked.y.add(z) : z, picked.x, picked.indices], undefined);
  }),
  ruleFor("z + picked", arithmetic.add, ([other, u], _, match) => {
    const picked = pickedOf(u!, match);
    const z = picked && besides(other!, u!, match);
    return z && apply(addAt, [picked.y ? z.add(picked.y) : z, picked.x, picked.indices], undefined);
  }),
  ruleFor("picked − z", arithmetic.sub, ([u, other], _, match) => {
    const picked = pickedOf(u!, match);
    const z = picked && besides(other!, u!, match);
    if (!z) return undefined;
    const scaled = scaledBy(z);
    const rest = picked.y ? picked.y.sub(z) : scaled ? scaled.x.mul(-scaled.factor) : z.neg();
    return apply(addAt, [rest, picked.x, picked.indices], undefined);
  }),
  ruleFor("z − picked", arithmetic.sub, ([other, u], _, match) => {
    const picked = pickedOf(u!, match);
    const z = picked && besides(other!, u!, match);
    return z && apply(addAt, [picked.y ? z.sub(picked.y) : z, picked.x.neg(), picked.indices], undefined);
  }),
  ruleFor("sum of picked along their axis", sum, ([u], { axes, keepDims }) => {
    const last = u!.shape.length - 1;
    if (axes.length !== 1 || axes[0] !== last) return undefined;
    const [y, x] = paramsOf(u!, addAt)?.inputs ?? [undefined, paramsOf(u!, unpick)?.inputs[0]];
    if (!x) return undefined;
    const column = [...x.shape, 1];
    const added: Tensor = keepDims ? x.reshape(column) : x;
    if (!y) return added;
    const row = paramsOf(y, movement.expand)?.inputs[0];
    const isColumn = row && sameShape(row.shape, column);
    const rest = isColumn ? row.mul(u!.shape[last]!) : y.sum(last, { keepDims: true });
    return (keepDims ? rest : rest.reshape(x.shape)).add(added);
  }),
  ruleFor("y·c with d added at places", addAt, ([y, x, indices]) => {
    const scaled = scaledBy(y!);
    const added = constantOf(x!);
    const value = scaled && added !== undefined ? asFactor(added / scaled.factor, x!.dtype) : undefined;
    if (!scaled || value === undefined) return undefined;
    const inner = apply(movement.full, [], { shape: x!.shape, value, dtype: x!.dtype });
    return apply(addAt, [scaled.x, inner, indices!], undefined).mul(scaled.factor);
  }),
];

/**
 * Σ dP·P along the keys, for dP = dO·Vᵀ and O = P·V, is Σ dO·O along the values, which are mostly fewer
 * (Dao et al. 2022, the rowsum of FlashAttention's backward pass).
 */
const attentionRowSum: RewriteRule = ruleFor(
  "row sums of attention's gradient",
  sum,
  ([y], { axes, keepDims }, match) => {
    const last = y!.shape.length - 1;
    if (axes.length !== 1 || axes[0] !== last || !keepDims) return undefined;
    const factors = paramsOf(y!, arithmetic.mul)?.inputs;
    if (!factors) return undefined;
    for (const [dP, p] of [factors, [...factors].reverse()] as [Tensor, Tensor][]) {
      if (!paramsOf(p, softmax)) continue;
      const o = outputOf(dP, p, match);
      if (o) return o.dO.mul(o.o).sum(last, { keepDims: true });
    }
    return undefined;
  },
);

function outputOf(
  dP: Tensor,
  p: Tensor,
  { readersOf }: Match,
): { readonly dO: Tensor; readonly o: Tensor } | undefined {
  const back = paramsOf(dP, matmul)?.inputs;
  if (!back || back[1]!.shape.length < 2) return undefined;
  const [dO, vT] = back as [Tensor, Tensor];
  const v = swapLast(vT);
  const o = readersOf(p).find((reader) => {
    const [left, right] = paramsOf(reader, matmul)?.inputs ?? [];
    return left?.node === p.node && right?.node === v.node;
  });
  if (!o || !sameShape(o.shape, dO.shape)) return undefined;
  return { dO, o };
}

/** Rows of fewer elements are scattered element by element. */
const shortestRow = 8;

/** A scatter whose indices are repeated along the axes behind puts whole rows, such as the keys of a token into a cache. */
const wholeRows: RewriteRule = bySize("scatter of whole rows", scatter, ([x, indices, rows], { axis, reduction }) => {
  const places = reduction === "none" ? paramsOf(indices!, movement.expand)?.inputs[0] : undefined;
  const outer = indices!.shape.slice(0, axis);
  const behind = indices!.shape.slice(axis + 1);
  if (!places || sizeOf(behind) < shortestRow || sizeOf(indices!.shape) === 0) return undefined;
  const own = places.shape.slice(places.shape.length - behind.length);
  const fits = sameShape(outer, x!.shape.slice(0, axis)) && sameShape(behind, x!.shape.slice(axis + 1));
  if (!fits || places.shape.length < behind.length || own.some((size) => size !== 1)) return undefined;
  const listed = places
    .reshape(places.shape.slice(0, places.shape.length - behind.length))
    .expand(indices!.shape.slice(0, axis + 1));
  return apply(putRows, [x!, listed, rows!], { axis });
});

/**
 * Σ over the first axis of a matrix as a product with a row of ones, which uses every thread and vector unit. Very long sums of few columns
 * would be a little faster otherwise, but then batches of different sizes would need different sessions.
 */
const columnSums: RewriteRule = ruleFor("column sums as a product", sum, ([x], { axes }, { node, target }) => {
  if (!target.contrib || !isFloat(x!.dtype) || x!.shape.length !== 2 || axes.length !== 1 || axes[0] !== 0)
    return undefined;
  const [rows, columns] = x!.shape as readonly [number, number];
  if (rows === 0 || columns < 2) return undefined;
  const ones = apply(movement.full, [], { shape: [1, rows], value: 1, dtype: x!.dtype });
  return ones.matmul(x!).reshape(node.outputs[0]!.shape);
});

/** Σ x·x over all axes, computed without writing the products to memory. */
const squares: RewriteRule = ruleFor("sum of squares", sum, ([x], { keepDims, axes }, { uses }) => {
  const factors = uses(x!) === 1 ? paramsOf(x!, arithmetic.mul)?.inputs : undefined;
  if (!factors || keepDims || axes.length !== x!.shape.length || !isFloat(x!.dtype)) return undefined;
  const [a, b] = factors as [Tensor, Tensor];
  return a.node === b.node && a.index === b.index ? apply(sumOfSquares, [a], undefined) : undefined;
});

/** −(a − b) = b − a. */
const negatedProduct: RewriteRule = ruleFor("−(a − b)", neg, ([x], _, { uses }) => {
  const difference = uses(x!) === 1 ? paramsOf(x!, arithmetic.sub)?.inputs : undefined;
  return difference && sameShape(difference[0]!.shape, difference[1]!.shape)
    ? difference[1]!.sub(difference[0]!)
    : undefined;
});

export const fuse: readonly RewriteRule[] = [
  geluFromErf,
  ...addPicked,
  attentionRowSum,
  columnSums,
  wholeRows,
  squares,
  negatedProduct,
];
