/** Singular values, without singular vectors. */
import { ShapeError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { Body } from "../graph/body.ts";
import { type Data, defineOp, floats, type Op } from "../graph/op.ts";
import { newScope, withScope } from "../graph/scope.ts";
import { showType, sizeOf, type TensorType } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { where } from "./arithmetic.ts";
import { bodyLeaf, loop } from "./control.ts";
import { gemm, product } from "./matmul.ts";
import { arange, concat } from "./movement.ts";

/**
 * All singular values of a matrix, the largest first. Their derivative needs singular vectors, which are not computed: the op
 * has no gradient.
 */
export const singularValues: Op<undefined> = defineOp<undefined>({
  name: "singularValues",
  dtypes: floats,
  shape([x]) {
    if (x!.shape.length !== 2)
      throw new ShapeError(
        "singularValues",
        `${showType(x!)} is no matrix`,
        "reshape it to [rows, columns]; a convolution's weight to [outputs, everything else]",
      );
    return [Math.min(...x!.shape)];
  },
  onnx(graph, inputs, { inputTypes: [type] }) {
    if (sizeOf(type!.shape) === 0) return graph.constant(type!.dtype, [0], []);
    return bodyFor(type!).lower(graph, inputs)[0]!;
  },
  evaluate: ([x], y) => y.values.set(byRotations(x!)),
  samples: (random) =>
    [
      random.real(4, 3),
      random.real(2, 5),
      random.real(3, 1),
      random.real(40, 4), //                                                        tall enough for its Gram matrix
      random.real(40, 33), //                                                       more than one block
      diagonal(random.real(4, 4), [2, 1, 2, 0]),
      diagonal(random.real(3, 2), [0, 0]),
      random.real(0, 3),
    ].map((x) => ({ inputs: [x], params: undefined })),
});

function diagonal({ shape, dtype }: Data, entries: readonly number[]): Data {
  const values = new Float64Array(sizeOf(shape));
  entries.forEach((entry, i) => (values[i * (shape[1]! + 1)] = entry));
  return { shape, dtype, values };
}

/**
 * One-sided Jacobi (Hestenes 1958): pairs of columns, or of rows if these are fewer, are rotated until all are orthogonal. Their lengths
 * are then the singular values.
 */
function byRotations({ shape, values }: Data): Float64Array {
  const [rows, columns] = shape as [number, number];
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const scaled = values.map((value) => value / largest);
  const vectors =
    rows < columns
      ? Array.from({ length: rows }, (_, i) => scaled.slice(i * columns, (i + 1) * columns))
      : Array.from({ length: columns }, (_, j) => scaled.filter((_, at) => at % columns === j));
  const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  for (let sweep = 0, turned = true; turned && sweep < 60; sweep++) {
    turned = false;
    for (const [i, a] of vectors.entries())
      for (const b of vectors.slice(0, i)) {
        const [alpha, beta, gamma] = [dot(a, a), dot(b, b), dot(a, b)];
        if (Math.abs(gamma) <= 1e-15 * Math.sqrt(alpha * beta)) continue;
        turned = true;
        const zeta = (beta - alpha) / (2 * gamma);
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const cosine = 1 / Math.hypot(1, tangent);
        for (const [k, value] of a.entries()) {
          a[k] = cosine * (value - tangent * b[k]!);
          b[k] = cosine * (tangent * value + b[k]!);
        }
      }
  }
  return Float64Array.from(vectors, (vector) => largest * Math.sqrt(dot(vector, vector)))
    .sort()
    .reverse();
}

function bodyFor(type: TensorType): Body {
  return withScope(newScope(undefined), () => {
    const x = bodyLeaf(type, 0);
    return new Body([x.node], [ofMatrix(x)]);
  });
}

/**
 * Golub and Kahan's method (1965): reflections from both sides leave a matrix with two diagonals. Its singular values are then enclosed in
 * smaller and smaller intervals. The method is backward stable: every value is right to a few units in the last place of the largest.
 */
function ofMatrix(x: Tensor): Tensor {
  const [rows, columns] = x.shape as [number, number];
  const largest = x.abs().max();
  const scaled = x.div(orOne(largest));
  const values = ofTall(rows < columns ? scaled.mT() : scaled).mul(largest);
  return values.add(x.mul(0).sum()); //  a matrix with NaN or infinities gives NaN, not what the search would find
}

/** Replaces 0 by 1, so that the result can be a divisor. */
const orOne = (x: Tensor): Tensor => x.add(x.equal(0).cast(x.dtype));

/**
 * From this ratio of rows to columns on, the Gram matrix of a float32 matrix is used. It is computed in float64, whose precision is enough
 * for the squares.
 */
const tallEnough = 8;

function ofTall(x: Tensor): Tensor {
  const [rows, columns] = x.shape as [number, number];
  if (x.dtype === "float64" || rows < tallEnough * columns) return ofTwoDiagonals(...twoDiagonals(x));
  const wide = x.cast("float64");
  const gram = apply(product, [wide, wide], { transposeA: true, transposeB: false, alpha: 1 });
  return ofTall(gram).sqrt().cast("float32");
}

/**
 * The matrices below have elements of about 1, so a length of 10⁻¹⁸ counts as 0. This is its square: in either dtype, it and its inverse
 * are in range.
 */
const tiny = 1e-36;

/**
 * Returns the squares of both diagonals; the upper one has a 0 at its end. After every `steps` columns and rows, the rest of the matrix is
 * cut out, so that the work gets less.
 */
function twoDiagonals(x: Tensor): [main: Tensor, upper: Tensor] {
  const steps = Math.max(32, Math.ceil(x.shape[1]! / 6));
  const blocks: Tensor[][] = [];
  let rest = x;
  while (rest.shape[1]! > steps) {
    const [left, ...squares] = eliminated(rest, steps);
    blocks.push(squares);
    rest = left.slice([steps], [steps]);
  }
  const [, main, upper] = eliminated(rest, rest.shape[1]!);
  const joined = (last: Tensor, which: number): Tensor => {
    const all = [...blocks.map((squares) => squares[which]!), last];
    return apply(concat, all, { axis: 0 });
  };
  return [joined(main, 0), joined(upper, 1)];
}

/**
 * Reflects the first `steps` columns and rows of a matrix, one after the other, so that one element of each is left. Returns the matrix
 * after that, and the squares of the elements on both diagonals.
 */
function eliminated(x: Tensor, steps: number): [rest: Tensor, main: Tensor, upper: Tensor] {
  const [rows, columns] = x.shape as [number, number];
  const at = apply(arange, [], { length: steps });
  // For each step a mask over the rows or columns.
  const masks = (count: number, compare: (place: Tensor, at: Tensor) => Tensor): Tensor =>
    compare(apply(arange, [], { length: count }).expand([steps, count]), at.reshape([steps, 1])).cast(x.dtype);
  const sequences = [
    at,
    masks(rows, (row, k) => row.greaterEqual(k)),
    masks(rows, (row, k) => row.equal(k)),
    masks(columns, (column, k) => column.greater(k)),
    masks(columns, (column, k) => column.equal(k.add(1))),
  ];
  const step = ([a, k, below, corner, behind, beside]: readonly Tensor[]): Tensor[] => {
    const fromLeft = reflection(a!.take(k!, 1).mul(below!), corner!);
    const v = fromLeft.v.reshape([rows, 1]);
    const vA = v.reshape([1, rows]).matmul(a!).mul(fromLeft.factor);
    const row = a!.take(k!, 0).sub(vA.reshape([columns]).mul(fromLeft.first));
    const fromRight = reflection(row.mul(behind!), beside!);
    const w = fromRight.v.reshape([columns, 1]);
    const aw = a!
      .matmul(w)
      .sub(v.mul(vA.matmul(w)))
      .mul(fromRight.factor);
    // A − v·(vᵀA) − ((A − v·(vᵀA))·w)·wᵀ, written without the factors: both reflections in one pass over A.
    const left = apply(concat, [v, aw], { axis: 1 });
    const right = apply(concat, [vA, w.reshape([1, columns])], { axis: 0 });
    const next = apply(gemm, [left, right, a!], { transposeA: false, transposeB: false, alpha: -1, beta: 1 });
    return [next, fromLeft.square, fromRight.square];
  };
  return loop([x], sequences, { length: steps }, step) as [Tensor, Tensor, Tensor];
}

interface Reflection {
  readonly v: Tensor;
  /** The element of v where the mask is 1. */
  readonly first: Tensor;
  /** 2 / |v|² */
  readonly factor: Tensor;
  /** |x|² */
  readonly square: Tensor;
}

/**
 * Returns the reflection I − factor·v·vᵀ that maps x to ∓|x| in the element where the mask is 1, and to 0 elsewhere (Householder 1958). If
 * x is 0, the factor is 0, and the reflection changes nothing.
 */
function reflection(x: Tensor, mask: Tensor): Reflection {
  const square = x.mul(x).sum();
  const length = square.sqrt();
  const element = x.mul(mask).sum();
  const moved = apply(where, [element.less(0), length.neg(), length], undefined);
  const factor = square.add(element.abs().mul(length)).reciprocal();
  return {
    v: x.add(mask.mul(moved)),
    first: element.add(moved),
    factor: apply(where, [square.greater(tiny), factor, x.scalar(0)], undefined),
    square,
  };
}

/** How many parts an interval is cut into at once, and how often this is done, until its width is far below the precision of its ends. */
const parts = 8;
const cuts = { float32: 10, float64: 19 } as const;

/**
 * Returns all singular values of a matrix B with two diagonals, by counting. The number of singular values that are at least x is the
 * number of positive pivots of BᵀB − x² (Sylvester's law of inertia). The pivots are computed from the entries of B, without forming BᵀB
 * (the stationary qd transform of Rutishauser, as Dhillon and Parlett 2004 write it). Each value has its own interval, which is cut at
 * several points at once (Lo, Philippe and Sameh 1987).
 */
function ofTwoDiagonals(main: Tensor, upper: Tensor): Tensor {
  const [count] = main.shape as [number];
  const bound = main.max().sqrt().add(upper.max().sqrt()); //  Gershgorin's bound for [0 Bᵀ; B 0]
  const square = orOne(bound.mul(bound));
  const [q, e] = [main.div(square), upper.div(square)];
  const shares = apply(arange, [], { length: parts - 1 })
    .cast(main.dtype)
    .add(1);
  const rank = apply(arange, [], { length: count }).cast(main.dtype).reshape([count, 1]);
  const cut = ([low, width]: readonly Tensor[]): Tensor[] => {
    const part = width!.mul(1 / parts);
    const x = shares
      .mul(part)
      .expand([count, parts - 1])
      .add(low!);
    const x2 = x.mul(x);
    const [, signs] = loop([x2.neg(), x2.mul(0)], [q, e], { length: count }, ([s, sum, qi, ei]) => {
      const pivot = s!.add(qi!).add(tiny); //  never 0
      return [s!.div(pivot).mul(ei!).sub(x2), sum!.add(pivot.sign())];
    });
    const atLeast = signs!.add(count).mul(0.5);
    const below = atLeast.greater(rank).cast(main.dtype).sum(1, { keepDims: true });
    return [low!.add(below.mul(part)), part];
  };
  const length = cuts[main.dtype as keyof typeof cuts];
  const everyTime = apply(arange, [], { length });
  const [low] = loop([rank.mul(0), main.scalar(1)], [everyTime], { length }, cut) as [Tensor];
  return low.mul(bound).reshape([count]);
}
