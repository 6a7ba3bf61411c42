/**
 * Matrix products: `matmul`, which users write, and the forms that the compiler makes of it, with transposes, a scale and a bias folded in.
 */
import { ShapeError } from "../errors.ts";
import { type Data, defineOp, type Lowering, type OnnxGraph, type OnnxValue, type Op } from "../graph/op.ts";
import { type DType, type Shape, sameShape, showShape, sizeOf, type TensorType } from "../graph/types.ts";
import { type AddedLayout, isOwn } from "../kernel/product.ts";
import { broadcastPositions, widens } from "./arithmetic.ts";
import { blockRow, blocksOf, lanes, longestRow, sliced, sumNodes } from "./sums.ts";

/** C = A·B over the last two axes. The leading axes are equal, or B's are widened to A's. */
export const matmul: Op<object> = defineOp<object>({
  name: "matmul",
  shape([a, b]) {
    const shapes = `${showShape(a!.shape)} @ ${showShape(b!.shape)}`;
    const [m, k] = a!.shape.slice(-2);
    const [j, n] = b!.shape.slice(-2);
    if (m === undefined || k === undefined || j === undefined || n === undefined)
      throw new ShapeError("matmul", `${shapes} — each side needs two axes`, "reshape a vector to [1, n] or [n, 1]");
    if (k !== j)
      throw new ShapeError(
        "matmul",
        `${shapes} — inner axes ${k} and ${j} differ`,
        k === n
          ? "transpose the right side: .mT()"
          : `make the left side end in ${j}, or the right side's second axis from the end ${k}`,
      );
    const lead = a!.shape.slice(0, -2);
    if (!widens(b!.shape.slice(0, -2), lead))
      throw new ShapeError("matmul", `${shapes} — leading axes differ`, "widen the smaller side first: .expand(shape)");
    return [...lead, m, n];
  },
  // C = A·B  ⇒  dA = dC·Bᵀ,  dB = Aᵀ·dC. If B is one matrix for all leading axes of A, these are joined into the rows of one long matrix.
  gradient([a, b], _c, dc) {
    const da = dc.matmul(b!.mT());
    if (b!.shape.length > 2) return [da, a!.mT().matmul(dc).sumTo(b!.shape)];
    const rows = sizeOf(a!.shape.slice(0, -1));
    const flatA = a!.reshape([rows, a!.shape.at(-1)!]);
    return [da, flatA.mT().matmul(dc.reshape([rows, dc.shape.at(-1)!]))];
  },
  onnx: (graph, [a, b], at) => emptyProduct(graph, at) ?? graph.node("MatMul", [a, b]),
  evaluate: ([a, b], c) => multiply(a!, b!, c, { transposeA: false, transposeB: false, alpha: 1 }),
  samples: (random) =>
    [
      [random.real(2, 3), random.real(3, 4)],
      [random.real(5, 2, 3), random.real(5, 3, 1)],
      [random.real(2, 4, 2, 3), random.real(2, 4, 3, 2)],
      [random.real(4, 2, 3), random.real(3, 5)],
      [random.real(2, 4, 2, 3), random.real(4, 3, 2)],
      [random.real(2, 0), random.real(0, 4)],
      [random.real(3, 64, 0), random.real(3, 0, 64)],
    ].map((inputs) => ({ inputs, params: {} })),
});

export interface ProductParams {
  /** Whether to swap A's last two axes first. */
  readonly transposeA: boolean;
  /** Whether to swap B's last two axes first. */
  readonly transposeB: boolean;
  /** The scale α of the product. */
  readonly alpha: number;
}

/** C = α·A·B, where either side may be transposed. The compiler makes it of a product with transposes and scales around it. */
export const product: Op<ProductParams> = defineOp<ProductParams>({
  name: "product",
  dtypes: ["float32", "float64"],
  shape: ([a, b], params) => productShape(a!, b!, params),
  onnx: (graph, [a, b], at) => emptyProduct(graph, at) ?? productNodes(graph, [a!, b!], at.inputTypes, at.params),
  evaluate: ([a, b], c, params) => multiply(a!, b!, c, params),
  samples: (random) => [
    {
      inputs: [random.real(3, 2), random.real(4, 3)],
      params: { transposeA: true, transposeB: true, alpha: 0.1 },
    },
    {
      inputs: [random.real(2, 5, 3), random.real(2, 4, 3)],
      params: { transposeA: false, transposeB: true, alpha: 0.3 },
    },
    {
      inputs: [random.real(2, 3, 5), random.real(3, 4)],
      params: { transposeA: true, transposeB: false, alpha: 1 },
    },
    {
      inputs: [random.real(3, 64, 0), random.real(3, 0, 64)],
      params: { transposeA: false, transposeB: false, alpha: 2 },
    },
    {
      inputs: [random.real(0, 3, 1), random.real(3, 1)],
      params: { transposeA: true, transposeB: false, alpha: 0.3 },
    },
    {
      inputs: [random.real(0, 2), random.real(0, 4)],
      params: { transposeA: true, transposeB: false, alpha: 1 },
    },
    {
      inputs: [random.real(3, 2), random.real(3, manyColumns)],
      params: { transposeA: true, transposeB: false, alpha: 0.4 },
    },
  ],
});

export interface GemmParams extends ProductParams {
  /** The scale β of C. */
  readonly beta: number;
}

/** D = α·A·B + β·C for matrices, where C is widened to the shape of the product. It adds a bias or another gradient in the same pass. */
export const gemm: Op<GemmParams> = defineOp<GemmParams>({
  name: "gemm",
  dtypes: ["float32", "float64"],
  shape([a, b, c], params) {
    const shape = productShape(a!, b!, params);
    if (!widens(c!.shape, shape))
      throw new ShapeError("gemm", `${showShape(c!.shape)} does not broadcast into ${showShape(shape)}`, "reshape it");
    return shape;
  },
  onnx(graph, [unscaled, b, added], { inputTypes, outputTypes, params }) {
    const { dtype } = inputTypes[0]!;
    const [c, beta] = attributeScale(graph, dtype, added!, params.beta);
    const whole = (inner: OnnxGraph): OnnxValue => {
      const [a, alpha] = attributeScale(inner, dtype, unscaled!, params.alpha);
      const stock = (inside: OnnxGraph): OnnxValue =>
        gemmNode(inside, [a, b!, c], inputTypes, { ...params, alpha, beta });
      const added = { value: c, type: inputTypes[2]!, beta };
      return withOwnProduct(inner, sidesOf([a, b!], inputTypes, params), alpha, stock, added);
    };
    if (dtype !== "float32") return whole(graph);
    const sides = sidesOf([unscaled!, b!], inputTypes, params);
    return graph.choose(Number(termsAtOnce(...sides) !== undefined), outputTypes[0]!, [
      whole,
      (inner) => {
        const plus = beta === 1 ? c : inner.node("Mul", [c, inner.constant(dtype, [], [beta])]);
        return inner.node("Add", [productInParts(inner, sides, params), plus]);
      },
    ]);
  },
  evaluate([a, b, c], d, params) {
    multiply(a!, b!, d, params);
    const at = broadcastPositions(c!.shape, d.shape);
    for (let i = 0; i < d.values.length; i++) d.values[i]! += params.beta * c!.values[at(i)]!;
  },
  samples: (random) => [
    {
      inputs: [random.real(2, 3), random.real(3, 4), random.real(4)],
      params: { transposeA: false, transposeB: false, alpha: 1, beta: 1 },
    },
    {
      inputs: [random.real(3, 2), random.real(4, 3), random.real(2, 4)],
      params: { transposeA: true, transposeB: true, alpha: 0.7, beta: -1.1 },
    },
    {
      inputs: [random.real(3, 2), random.real(manyColumns, 3), random.real(2, 1)],
      params: { transposeA: true, transposeB: true, alpha: 1, beta: 1 },
    },
  ],
});

/**
 * Returns the product if it is empty, or zeros if there are no terms to add up; undefined otherwise. ONNX Runtime refuses some of these
 * products, and for others leaves the memory of the result as it was.
 */
function emptyProduct<P>(graph: OnnxGraph, { inputTypes: [a], outputTypes: [c] }: Lowering<P>): OnnxValue | undefined {
  const { dtype, shape } = c!;
  if (sizeOf(shape) === 0) return graph.constant(dtype, shape, []);
  if (sizeOf(a!.shape) > 0) return undefined;
  return graph.node("Expand", [graph.constant(dtype, [], [0]), graph.integers(shape)]);
}

/**
 * Returns a matrix and a scale that an attribute can hold. ONNX keeps attributes in float32: if a float64 scale does not fit, the matrix is
 * multiplied by it, and the attribute is 1.
 */
function attributeScale(graph: OnnxGraph, dtype: DType, x: OnnxValue, scale: number): [OnnxValue, number] {
  if (dtype !== "float64" || Math.fround(scale) === scale) return [x, scale];
  return [graph.node("Mul", [x, graph.constant(dtype, [], [scale])]), 1];
}

/** A side of a float32 product. */
interface Side {
  readonly value: OnnxValue;
  readonly type: TensorType;
  /** Whether the terms of the sums lie along the last axis; if not, along the one before it. */
  readonly isLast: boolean;
}

function sidesOf(
  [a, b]: readonly OnnxValue[],
  [typeA, typeB]: readonly TensorType[],
  { transposeA, transposeB }: ProductParams,
): readonly [Side, Side] {
  return [
    { value: a!, type: typeA!, isLast: !transposeA },
    { value: b!, type: typeB!, isLast: transposeB },
  ];
}

/** How many terms the sums of a product have. */
const termsOf = ({ type: { shape }, isLast }: Side): number => shape.at(isLast ? -1 : -2)!;

/** The most terms that a product of large matrices adds up at once. With fewer it would take noticeably longer. */
const mostTerms = 4096;

/**
 * Returns how many terms a product should add up at once to be as exact as sums are; undefined if it may add up all of them. Gemm itself
 * adds up 128 to 1024 terms in a row, fewer where the result has many columns.
 */
function termsAtOnce(a: Side, b: Side): number | undefined {
  if (a.type.dtype !== "float32") return undefined;
  const [m, n] = [a.type.shape.at(a.isLast ? -2 : -1)!, b.type.shape.at(b.isLast ? -2 : -1)!];
  const k = termsOf(a);
  if (m === 1 || n === 1) return k > lanes.product * longestRow ? lanes.product * blockRow : undefined;
  if (4 * m * n <= k) return k > 2 * longestRow ? longestRow : undefined; //  more a sum than a matrix product
  return k > mostTerms ? mostTerms : undefined;
}

/**
 * Writes nodes for α·A·B, where neither side is empty. Long sums are cut into parts of up to `most` terms, and the results of the parts are
 * added up.
 */
export function productNodes(
  graph: OnnxGraph,
  inputs: readonly OnnxValue[],
  types: readonly TensorType[],
  params: ProductParams,
  most?: number,
): OnnxValue {
  const sides = sidesOf(inputs, types, params);
  const [{ type: a }, { type: b }] = sides;
  if (a.dtype !== "float32") return productNode(graph, sides, params.alpha);
  const atOnce = most ?? termsAtOnce(...sides);
  const isLong = atOnce !== undefined && termsOf(sides[0]) > atOnce;
  return graph.choose(Number(isLong), { dtype: a.dtype, shape: productShape(a, b, params) }, [
    (inner) => productNode(inner, sides, params.alpha),
    (inner) => productInParts(inner, sides, params, atOnce),
  ]);
}

/** Writes nodes for α·A·B in parts of up to `most` terms. Sums that are not longer are one part. */
function productInParts(
  graph: OnnxGraph,
  sides: readonly [Side, Side],
  params: ProductParams,
  most: number = termsAtOnce(...sides) ?? mostTerms,
): OnnxValue {
  const all = termsOf(sides[0]);
  const { block, count, rest } = blocksOf(all, most);
  const type = { dtype: sides[0].type.dtype, shape: productShape(sides[0].type, sides[1].type, params) };
  const main = (inner: OnnxGraph, whole: readonly [Side, Side]): OnnxValue => {
    const [a, b] = whole.map((side) => inParts(inner, side, count)) as [Side, Side];
    const shape = productShape(a.type, b.type, params);
    return sumNodes(
      inner,
      productNode(inner, [a, b], params.alpha),
      { ...type, shape },
      {
        axes: [shape.length - 3],
        keepDims: false,
      },
    );
  };
  return graph.choose(Number(rest > 0), type, [
    (inner) => main(inner, sides),
    (inner) => {
      const whole = sides.map((side) => terms(inner, side, 0, block * count)) as [Side, Side];
      const left = sides.map((side) => terms(inner, side, block * count, all)) as [Side, Side];
      return inner.node("Add", [main(inner, whole), productNode(inner, left, params.alpha)]);
    },
  ]);
}

/** Returns a side with the terms from `start` to just before `end` only. */
function terms(graph: OnnxGraph, side: Side, start: number, end: number): Side {
  const { value, type, isLast } = side;
  const axis = type.shape.length - (isLast ? 1 : 2);
  const shape = type.shape.with(axis, end - start);
  return { value: sliced(graph, value, axis, start, end), type: { ...type, shape }, isLast };
}

/** Returns a side with its terms cut into `count` parts, along a new axis that becomes the last of the leading axes. */
function inParts(graph: OnnxGraph, { value, type, isLast }: Side, count: number): Side {
  const lead = type.shape.slice(0, -2);
  const [rows, columns] = type.shape.slice(-2) as [number, number];
  const part = Math.floor((isLast ? columns : rows) / count); //  in a way that is not taken, the division may leave a rest
  const shape = isLast ? [...lead, count, rows, part] : [...lead, count, part, columns];
  // Also where one row makes it needless: the nodes must not depend on sizes.
  const split = isLast ? [...lead, rows, count, part] : shape;
  const parts = graph.node("Reshape", [value, graph.integers(split)]);
  const perm = [...lead.keys(), lead.length + 1, lead.length, lead.length + 2];
  return { value: isLast ? graph.node("Transpose", [parts], { perm }) : parts, type: { ...type, shape }, isLast };
}

function productNode(graph: OnnxGraph, [a, b]: readonly [Side, Side], scale: number): OnnxValue {
  const { dtype } = a.type;
  const [left, alpha] = attributeScale(graph, dtype, a.value, scale);
  const sides = [{ ...a, value: left }, b] as const;
  return withOwnProduct(graph, sides, alpha, (inner) => stockNode(inner, sides, alpha));
}

/** C of a product to which β·C is added. */
interface Added {
  readonly value: OnnxValue;
  readonly type: TensorType;
  readonly beta: number;
}

/**
 * Writes α·A·B + β·C as one product of the engine's own, if it has products and the sizes are large enough; `stock` writes it as ONNX
 * Runtime's ops otherwise.
 */
function withOwnProduct(
  graph: OnnxGraph,
  [a, b]: readonly [Side, Side],
  alpha: number,
  stock: (graph: OnnxGraph) => OnnxValue,
  added?: Added,
): OnnxValue {
  const { dtype } = a.type;
  const limits = graph.target.kernels?.products;
  if (dtype !== "float32" || !limits) return stock(graph);
  const params = { transposeA: !a.isLast, transposeB: b.isLast, alpha };
  const shape = productShape(a.type, b.type, params);
  const [m, n] = shape.slice(-2) as [number, number];
  const [k, lead] = [termsOf(a), shape.slice(0, -2)];
  const sharesB = b.type.shape.length === 2 && lead.length > 0;
  const fits = sharesB || sameShape(b.type.shape.slice(0, -2), lead);
  const count = sizeOf(lead);
  // With one B for all of A, the leading axes are more rows.
  const of = sharesB && a.isLast ? { count: 1, m: m * count, n, k, sharesB: false } : { count, m, n, k, sharesB };
  return graph.choose(Number(fits && isOwn(limits, of, params)), { dtype, shape }, [
    stock,
    (inner) => {
      const form = { ...params, added: added && { layout: layoutOf(added.type.shape, m, n), beta: added.beta } };
      return inner.product([a.value, b.value, ...(added ? [added.value] : [])], { form, of, shape });
    },
  ]);
}

/** How the elements of a tensor that widens to [m, n] lie beside its elements. */
function layoutOf(shape: Shape, m: number, n: number): AddedLayout {
  const [columns = 1, rows = 1] = shape.toReversed();
  if (rows === m) return columns === n ? "full" : "column";
  return columns === n ? "row" : "scalar";
}

/** Writes α·A·B as one of ONNX Runtime's ops. */
function stockNode(graph: OnnxGraph, [a, b]: readonly [Side, Side], alpha: number): OnnxValue {
  const [transposeA, transposeB] = [!a.isLast, b.isLast];
  const { dtype } = a.type;
  const left = a.value;
  if (a.type.shape.length === 2 && b.type.shape.length === 2)
    return gemmNode(graph, [left, b.value], [a.type, b.type], { transposeA, transposeB, alpha, beta: 1 });
  if (graph.target.contrib)
    return graph.node(
      "FusedMatMul",
      [left, b.value],
      { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: alpha } },
      "com.microsoft",
    );
  const right = transposeB ? swapLast(graph, b.value, b.type.shape.length) : b.value;
  const c = graph.node("MatMul", [transposeA ? swapLast(graph, left, a.type.shape.length) : left, right]);
  return alpha === 1 ? c : graph.node("Mul", [c, graph.constant(dtype, [], [alpha])]);
}

/** With so many columns of the result, a transposed left side is transposed before the product. */
const manyColumns = 128;

/**
 * Gemm reads a transposed left side once for every few columns of the result, against the order of memory. Where there are many columns, it
 * is faster to transpose it once, as in the gradients of weights.
 */
function gemmNode(
  graph: OnnxGraph,
  [left, ...others]: readonly OnnxValue[],
  [a, b]: readonly TensorType[],
  { transposeA, transposeB, alpha, beta }: GemmParams,
): OnnxValue {
  const isMoved =
    transposeA && a!.dtype === "float32" && b!.shape.at(transposeB ? 0 : 1)! >= manyColumns && !graph.open;
  return graph.node("Gemm", [isMoved ? swapLast(graph, left!, 2) : left!, ...others], {
    transA: Number(transposeA && !isMoved),
    transB: Number(transposeB),
    alpha: { float: alpha },
    beta: { float: beta },
  });
}

function swapLast(graph: OnnxGraph, x: OnnxValue, rank: number): OnnxValue {
  return graph.node("Transpose", [x], { perm: [...Array(rank - 2).keys(), rank - 1, rank - 2] });
}

function productShape(a: TensorType, b: TensorType, { transposeA, transposeB }: ProductParams): Shape {
  const [m, k] = oriented(a.shape, transposeA);
  const [j, n] = oriented(b.shape, transposeB);
  const lead = a.shape.slice(0, -2);
  if (k !== j || !widens(b.shape.slice(0, -2), lead))
    throw new ShapeError(
      "product",
      `${showShape(a.shape)}${transposeA ? "ᵀ" : ""} @ ${showShape(b.shape)}${transposeB ? "ᵀ" : ""}`,
      "use matmul",
    );
  return [...lead, m, n];
}

function oriented(shape: Shape, transpose: boolean): readonly [number, number] {
  const [rows = 1, columns = 1] = shape.slice(-2);
  return transpose ? [columns, rows] : [rows, columns];
}

function multiply(a: Data, b: Data, c: Data, { transposeA, transposeB, alpha }: ProductParams): void {
  const [m, k] = oriented(a.shape, transposeA);
  const [, n] = oriented(b.shape, transposeB);
  const lead = a.shape.slice(0, -2);
  const leadB = b.shape.slice(0, -2);
  const batchB = sameShape(lead, leadB) ? (batch: number) => batch : broadcastPositions(leadB, lead);
  const plus =
    a.dtype === "int32"
      ? (sum: number, x: number, y: number) => (sum + Math.imul(x, y)) | 0
      : (sum: number, x: number, y: number) => sum + x * y;
  for (let i = 0; i < c.values.length; i++) {
    const batch = Math.floor(i / (m * n));
    const row = Math.floor(i / n) % m;
    const column = i % n;
    const offsetA = batch * m * k;
    const offsetB = batchB(batch) * k * n;
    let sum = 0;
    for (let x = 0; x < k; x++)
      sum = plus(
        sum,
        a.values[offsetA + (transposeA ? x * m + row : row * k + x)]!,
        b.values[offsetB + (transposeB ? column * k + x : x * n + column)]!,
      );
    c.values[i] = alpha * sum;
  }
}
