/**
 * Rules that keep large matrices packed (ops/packed-matrix.ts) from one product to the next, where that pays: in the hidden layer of a
 * transformer's feed-forward network, forward and backward. Engines with products of their own are faster without.
 *
 * A region is the result of a product and everything that elementwise ops compute from it. Either all of a region is packed, or none of it.
 */
import { apply } from "../../graph/apply.ts";
import type { Node, Value } from "../../graph/node.ts";
import type { Target } from "../../graph/target.ts";
import { type Shape, sameShape, sizeOf, type TensorType } from "../../graph/types.ts";
import { add } from "../../ops/arithmetic.ts";
import {
  matrixOf,
  packColumns,
  packedProduct,
  packRows,
  unpackColumns,
  unpackRows,
} from "../../ops/lowered/packed-matrix.ts";
import { type GemmParams, gemm, type ProductParams, product } from "../../ops/matmul.ts";
import { full, reshape } from "../../ops/movement.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type Analysis, type Match, paramsOf, type RewriteRule, type RuleSet, ruleFor } from "./rewrite.ts";

/** The fewest elements of a region: products of smaller matrices take so little time that packing gains nothing. */
const fewestElements = 2 ** 18;

/**
 * Costs in nanoseconds, on one thread of a processor with AVX-512. Only their proportions matter, and these are about the same with more
 * threads.
 */
const cost = {
  /** A multiplication and an addition in a product, by the form of the product. */
  packed: 1 / 122,
  plain: 1 / 112,
  transposedLeft: 1 / 92,
  /** Packing or unpacking one element, by columns and by rows. */
  columns: 0.4,
  rows: 0.22,
  /** Filling one element of a result with the bias, before Gemm adds the product to it. */
  bias: 0.15,
};

const typeOf = ({ node, index }: Value): TensorType => node.outputs[index]!;
const isOp = (node: Node, op: unknown): boolean => (node.op as unknown) === op;

/** A product of two float32 matrices, with or without something added. */
interface Product {
  readonly node: Node;
  readonly params: ProductParams;
  /** Rows and columns of the result, and the length of the sums. */
  readonly size: readonly [m: number, n: number, k: number];
}

function productOf(node: Node): Product | undefined {
  if (!isOp(node, product) && !isOp(node, gemm)) return undefined;
  const { shape, dtype } = node.outputs[0]!;
  if (shape.length !== 2 || dtype !== "float32") return undefined;
  const params = node.params as ProductParams;
  const [m, n] = shape as readonly [number, number];
  return { node, params, size: [m, n, typeOf(node.inputs[0]!).shape[params.transposeA ? 0 : 1]!] };
}

interface Region {
  readonly isPacked: boolean;
}

/** The regions found so far. */
const regions: Analysis<Map<Node, Region>> = { start: () => new Map() };

const plainRegion: Region = { isPacked: false };

/** The region of a value, in the graph as it was before the pass. */
function regionOf(value: Value, block: number, match: Match): Region {
  const { shape, dtype } = typeOf(value);
  const [rows, columns] = shape.length < 2 ? [0, 0] : matrixOf(shape);
  if (dtype !== "float32" || rows * columns < fewestElements || columns % block !== 0) return plainRegion;
  const known = match.known(regions);
  return known.get(value.node) ?? explore(value.node, { rows, columns, block }, match.usersOf, known);
}

interface Measures {
  readonly rows: number;
  readonly columns: number;
  readonly block: number;
}

/** Visits all nodes of a region and adds up the time that packing would save. It is never packed if a node needs a part of it unpacked. */
function explore(start: Node, measures: Measures, usersOf: Match["usersOf"], known: Map<Node, Region>): Region {
  const { rows, columns } = measures;
  const isWhole = (value: Value): boolean => {
    const { shape, dtype } = typeOf(value);
    return dtype === "float32" && shape.at(-1) === columns && sizeOf(shape) === rows * columns;
  };
  const members = new Set<Node>();
  const waiting = [start];
  let win = 0;
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    if (members.has(node)) continue;
    members.add(node);
    const made = productOf(node);
    const beside = made ? [] : node.inputs.filter(isWhole).map((input) => input.node);
    const users = usersOf({ node, index: 0 });
    if (!belongs(node, isWhole)) win = never;
    if (made) win += winOf(made, "result", measures);
    for (const other of [...beside, ...users]) {
      const taker = users.includes(other) ? productOf(other) : undefined;
      if (taker) win += winOfTaker(taker, node, measures);
      else if (belongs(other, isWhole)) waiting.push(other);
      else win = never;
    }
  }
  const region: Region = { isPacked: win > 0 };
  for (const node of members) known.set(node, region);
  return region;
}

/** Whether a node's result belongs to the region of its full-size inputs, or starts a region. */
function belongs(node: Node, isWhole: (value: Value) => boolean): boolean {
  if (node.outputs.length !== 1 || !isWhole({ node, index: 0 })) return false;
  if (isOp(node, reshape)) return isWhole(node.inputs[0]!);
  if (node.op.elementwise) {
    const { shape } = node.outputs[0]!;
    const [first, ...others] = node.inputs.map(typeOf);
    return sameShape(first!.shape, shape) && others.every((other) => shapeBeside(other, shape, 1) !== undefined);
  }
  const made = productOf(node);
  return made !== undefined && !made.params.transposeA;
}

const never = Number.NEGATIVE_INFINITY;

/** The time saved, or lost if negative, when a product becomes a packed one; `place` says which of its matrices is in the region. */
function winOf(
  { params, size: [m, n, k], node }: Product,
  place: "result" | "left" | "right",
  { block }: Measures,
): number {
  const work = m * n * k;
  if (params.transposeA) {
    // The product sums over the rows of the region, so the other side has to be packed by rows.
    if (params.transposeB || k % block !== 0 || (place === "left" ? m : n) % block !== 0) return never;
    const other = place === "left" ? n : m;
    return work * (cost.transposedLeft - cost.packed) - cost.rows * (k * other + m * n);
  }
  if (place === "right" || k % block !== 0 || n % block !== 0) return never;
  const bias = isOp(node, gemm) ? cost.bias * m * n : 0;
  const ends = place === "result" ? m * k : m * n;
  return work * (cost.plain - cost.packed) + bias - cost.rows * k * n - cost.columns * ends;
}

/** The time saved at a product that takes a value of the region. */
function winOfTaker(taker: Product, member: Node, measures: Measures): number {
  if (isColumnSum(taker)) return 0;
  const places = taker.node.inputs.map(({ node }) => node === member);
  return places[2] ? never : winOf(taker, places[0] ? "left" : "right", measures);
}

/**
 * Whether a product with a transposed left side gets clearly faster when both sides are packed for this product alone. The cost of packing
 * the right side is shared by all such products that use it.
 */
function winsAlone({ size: [m, n, k] }: Product, right: Value, usersOf: Match["usersOf"]): boolean {
  const sharing = usersOf(right).filter(
    (user) => productOf(user)?.params.transposeA && user.inputs[1]!.node === right.node,
  );
  const packing = cost.rows * k * m + cost.columns * ((k * n) / sharing.length + m * n);
  return m * n * k * (cost.transposedLeft - cost.packed) > 1.25 * packing;
}

/** Whether a product sums the columns of its right side. */
function isColumnSum({ node, params: { transposeA, transposeB }, size: [m] }: Product): boolean {
  return m === 1 && !transposeA && !transposeB && isOp(node, product) && isOp(node.inputs[0]!.node, full);
}

/**
 * Returns the shape in which another input of an elementwise op widens to a packed matrix; `whole` is the shape of the matrix when it is
 * not packed. An input with the shape `whole` keeps it. Returns undefined if no such shape exists.
 */
function shapeBeside({ shape }: TensorType, whole: Shape, lanes: number): Shape | undefined {
  const [rows, columns] = matrixOf(whole);
  const size = sizeOf(shape);
  if (sameShape(shape, whole)) return whole;
  if (size === 1) return [];
  if (size === columns && shape.at(-1) === columns) return [columns / lanes, 1, lanes];
  if (size === rows && sameShape(shape, [...whole.slice(0, -1), 1])) return [1, rows, 1];
  return undefined;
}

const packedSource = (x: Tensor): Tensor | undefined => paramsOf(x, unpackColumns)?.inputs[0];

const byColumns = (x: Tensor, lanes: number): Tensor => packedSource(x) ?? x.apply(packColumns, [], { lanes });

const scaled = (x: Tensor, factor: number): Tensor => (factor === 1 ? x : x.mul(factor));

/** Whether one of a product's three matrices is as large as a region. */
const isLarge = ({ size: [m, n, k] }: Product): boolean => Math.max(m * n, m * k, n * k) >= fewestElements;

/** Products with a region on any side. */
const products: RewriteRule = {
  name: "packed product",
  looksAtSizes: true,
  rewrite(match) {
    const { node, inputs, original, usersOf, target } = match;
    const made = productOf(node);
    if (!made || !isLarge(made)) return undefined;
    const { block } = target; //  read only now, because an engine may have to measure it
    if (!block) return undefined;
    const { params, size } = made;
    const [m, n, k] = size;
    const [a, b, c] = inputs as [Tensor, Tensor, Tensor?];
    const isPacked = (value: Value | undefined): boolean =>
      value !== undefined && regionOf(value, block, match).isPacked;
    const [left, right] = original.inputs.map(isPacked);
    const { alpha } = params;
    const plus = (y: Tensor): Tensor => (c ? y.add(scaled(c, (node.params as GemmParams).beta)) : y);

    if (params.transposeA) {
      if (params.transposeB || k % block !== 0) return undefined;
      const rowsOf = (x: Tensor): Tensor => x.apply(packRows, [], { lanes: block });
      if (left && m % block === 0) {
        const y = apply(packedProduct, [rowsOf(b), byColumns(a, block)], undefined);
        return [plus(scaled(y.apply(unpackRows, [], undefined), alpha))];
      }
      if (n % block !== 0 || !(right || winsAlone(made, original.inputs[1]!, usersOf))) return undefined;
      const y = apply(packedProduct, [rowsOf(a), byColumns(b, block)], undefined);
      return [plus(scaled(unpacked(y, [m]), alpha))];
    }
    if ((!left && !isPacked({ node: original, index: 0 })) || k % block !== 0 || n % block !== 0) return undefined;
    const weights = scaled(b, alpha).apply(params.transposeB ? packRows : packColumns, [], { lanes: block });
    const isBias = c !== undefined && c.size === n && c.shape.at(-1) === n;
    const bias = isBias ? [scaled(c, (node.params as GemmParams).beta).reshape([n])] : [];
    const y = unpacked(apply(packedProduct, [byColumns(a, block), weights, ...bias], undefined), [m]);
    return [isBias ? y : plus(y)];
  },
};

const unpacked = (z: Tensor, lead: Shape): Tensor => z.apply(unpackColumns, [], { lead });

/** Elementwise ops inside of a region. */
const elementwise: RewriteRule = {
  name: "elementwise ops on packed matrices",
  looksAtSizes: true,
  rewrite(match) {
    const {
      node: { op, params, outputs },
      inputs,
      original,
    } = match;
    const z = inputs.map(packedSource).find(Boolean);
    if (!op.elementwise || !z) return undefined;
    const block = z.shape.at(-1)!;
    if (!regionOf({ node: original, index: 0 }, block, match).isPacked) return undefined;
    const { shape } = outputs[0]!;
    const all = inputs.map((x) => {
      const beside = shapeBeside(x, shape, block);
      if (!beside) return undefined;
      return sameShape(x.shape, shape) ? byColumns(x, block) : x.reshape(beside);
    });
    return all.every((x) => x !== undefined) ? [unpacked(apply(op, all, params), shape.slice(0, -1))] : undefined;
  },
};

const moves: readonly RewriteRule[] = [
  ruleFor("reshape of an unpacked matrix", reshape, ([x], { shape }) => {
    const z = packedSource(x!);
    return z && shape.length > 1 && shape.at(-1) === x!.shape.at(-1) ? unpacked(z, shape.slice(0, -1)) : undefined;
  }),
  ruleFor("column sums of an unpacked matrix", product, ([ones, x], { alpha }, { node }) => {
    const z = packedSource(x!);
    const made = productOf(node);
    if (!z || !made || !isColumnSum(made)) return undefined;
    return scaled(ones!.reshape([1, 1, -1]).expand([z.shape[0]!, 1, z.shape[1]!]).matmul(z), alpha).reshape(
      node.outputs[0]!.shape,
    );
  }),
];

/** A packed product adds the bias that follows it. */
export const packedBias: RewriteRule = ruleFor("bias of a packed product", add, ([y, b], _, { uses }) => {
  const { inputs: [x, w, none] = [] } = (uses(y!) === 1 && paramsOf(y!, packedProduct)) || {};
  const [groups, , lanes] = y!.shape;
  if (!x || !w || none || !sameShape(b!.shape, [groups!, 1, lanes!])) return undefined;
  return apply(packedProduct, [x, w, b!.reshape([groups! * lanes!])], undefined);
});

/** Whether large matrices may be packed: products of the engine's own are faster without. */
export const packsMatrices = ({ kernels }: Target): boolean => !kernels?.products;

export const matrices: RuleSet = {
  rules: [...moves, products, elementwise],
  insideBodies: false,
  isFor: packsMatrices,
};
