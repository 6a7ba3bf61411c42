/** Estimates the largest and the smallest singular value of a matrix by power iteration, cheaply enough for every step. */

import { ConfigError, ShapeError } from "../errors.ts";
import { aRecord, aTensor, expectArguments, optional } from "../graph/arguments.ts";
import { expectType, floats } from "../graph/op.ts";
import { arrayTypes, type DType, showType } from "../graph/types.ts";
import { hostStream } from "../random/generator.ts";
import { concat, where } from "../tensor/create.ts";
import { State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Estimates of singular values, scalars. */
export type SpectralEstimate = {
  /** An estimate of σ₁, never above σ₁. Once the vector has converged, its gradient is that of σ₁: u·vᵀ. */
  readonly largest: Tensor<[]>;
  /** An estimate of the smallest singular value, never below it. */
  readonly smallest: Tensor<[]>;
  /** largest / smallest, never above the condition number; infinite when the smallest is 0. */
  readonly condition: Tensor<[]>;
};

/**
 * Makes a function that estimates the largest and the smallest singular value of a weight [m, n] in each run of the graph in which it is
 * called. Each run computes a few products of the matrix with vectors that are kept from run to run, so the estimates improve while the
 * weight changes slowly (power iteration, as in Miyato et al. 2018; for the smallest value, of σ₁² − WᵀW).
 *
 * The error of the largest value shrinks by (σ₂/σ₁)² in each iteration; the estimate is good after about ten. The smallest value converges
 * slowly when the smallest singular values are close to each other relative to σ₁; `singularValues` computes all of them exactly.
 * `iterations` is the number in each run, default 1. Throws ShapeError if the weight is not a matrix, DTypeError if it is not real,
 * ConfigError for iterations that are not a whole number from 1 on.
 */
export function spectralEstimate(
  weight: Tensor<[number, number]>,
  options: { readonly iterations?: number } = {},
): () => SpectralEstimate {
  expectArguments("spectralEstimate", [aTensor, optional(aRecord)], [weight, options]);
  expectType("spectralEstimate", weight, floats);
  const { iterations = 1 } = options;
  if (!(Number.isSafeInteger(iterations) && iterations >= 1))
    throw new ConfigError("spectralEstimate", `${iterations} iterations`, "give a whole number from 1 on");
  const [rows, columns] = (weight as Tensor).shape as readonly [number, number];
  if ((weight as Tensor).shape.length !== 2 || rows * columns === 0)
    throw new ShapeError("spectralEstimate", `${showType(weight)} is no matrix`, "reshape it to [rows, columns]");
  const kept = startFor(Math.min(rows, columns), weight.dtype);
  return () => {
    const a = (rows < columns ? weight.mT() : weight) as Tensor;
    const fixed = a.detach();
    let vectors: Tensor = kept.current();
    for (let i = 0; i < iterations; i++) vectors = improved(fixed, vectors);
    kept.assign(vectors);
    const [largest, smallest] = a
      .matmul(vectors)
      .norm(0)
      .split([1, 1], 0)
      .map((end) => end.reshape([])) as [Tensor<[]>, Tensor<[]>];
    return { largest, smallest, condition: largest.div(smallest) };
  };
}

/** Two unit vectors as columns, in arbitrary directions. */
function startFor(size: number, dtype: DType): State {
  const random = hostStream(0, "spectral");
  const values = new arrayTypes[dtype](2 * size);
  for (const which of [0, 1]) {
    const vector = Array.from({ length: size }, () => random.normal());
    const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
    vector.forEach((value, i) => (values[2 * i + which] = value / length));
  }
  return new State({ shape: [size, 2], dtype }, values, { name: "singular vectors", persistent: false });
}

/**
 * One iteration: v ← AᵀA·v for the largest value, w ← σ²·w − AᵀA·w with σ = |A·v| for the smallest; both are scaled to unit length again.
 */
function improved(a: Tensor, vectors: Tensor): Tensor {
  const images = a.matmul(vectors);
  const [back, backSmall] = a.mT().matmul(images).split([1, 1], 1) as [Tensor, Tensor];
  const [, small] = vectors.split([1, 1], 1) as [Tensor, Tensor];
  const square = images.slice(null, [0, 1]).square().sum();
  const moved = concat([back, small.mul(square).sub(backSmall)], 1);
  const length = moved.norm(0, { keepDims: true });
  // A vector that the matrix maps to 0 is kept.
  const stays = length.equal(0).expand(vectors.shape);
  return where(stays, vectors, moved.div(where(length.equal(0), length.add(1), length))) as Tensor;
}
