/** Losses. They are averaged over all examples unless `reduction` says otherwise. */
import { DTypeError, ShapeError } from "../errors.ts";
import {
  aFlag,
  aShare,
  aTensor,
  aWhole,
  expectArguments,
  fromZero,
  type Kind,
  oneOf,
  optional,
  options as record,
} from "../graph/arguments.ts";
import { unobserved, withName } from "../graph/scope.ts";
import type { Matches, Reduced, Show } from "../graph/shape-types.ts";
import { type DType, resolveAxis, type Shape, sameShape, showShape, showType } from "../graph/types.ts";
import { probabilityLoss } from "../ops/losses.ts";
import { where } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** How the losses of single elements or examples are combined. */
export type Reduction = "mean" | "sum" | "none";

/** Options that all losses share. */
export interface LossOptions<N extends Reduction = Reduction> {
  /** The mean of all losses, their sum, or the losses themselves ("none"). Default "mean". */
  readonly reduction?: N;
}

const aReduction = oneOf("mean", "sum", "none");

/** Checks the two tensors and the options of a loss. `kinds` are those of the options besides the reduction. */
function expectLossArguments(
  loss: string,
  [x, y, options]: readonly [unknown, unknown, unknown],
  kinds: Readonly<Record<string, Kind>> = {},
): void {
  expectArguments(loss, [aTensor, aTensor, record({ ...kinds, reduction: aReduction })], [x, y, options]);
}

function reduced(losses: Tensor, reduction: Reduction = "mean"): Tensor {
  if (reduction === "none") return losses;
  return reduction === "sum" ? losses.sum() : losses.mean();
}

// ── Classes ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Options of losses over classes. */
export interface ClassOptions<N extends Reduction = Reduction> extends LossOptions<N> {
  /** The label of examples that do not count, such as −1 or the label of padding. Default: every example counts. */
  readonly ignore?: number;
  /** A weight for each class, [classes]. The mean is then the weighted mean. Default: 1 for each class. */
  readonly weights?: Tensor;
}

const classKinds = { ignore: aWhole, weights: aTensor } as const;

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions<N extends Reduction = Reduction> extends ClassOptions<N> {
  /** The share of the probability that is spread over all classes (Szegedy et al. 2015). Default 0. */
  readonly labelSmoothing?: number;
}

/**
 * Computes −log softmax(logits)[label], averaged. Logits are [..., classes]; labels are int32 [...], below the number of classes. Throws
 * ShapeError when the shapes do not fit together, DTypeError when the labels are not int32, ConfigError for an option out of range.
 */
export function crossEntropy<
  L extends Shape,
  C extends number,
  R extends Shape,
  D extends DType,
  const N extends Reduction = "mean",
>(
  logits: Tensor<[...L, C], D>,
  labels: Tensor<R, "int32"> &
    Matches<R, L, `crossEntropy: logits ${Show<[...L, C]>} need labels ${Show<L>}, and got ${Show<R>}`>,
  options: CrossEntropyOptions<N> = {},
): Tensor<N extends "none" ? L : [], D> {
  expectLossArguments("crossEntropy", [logits, labels, options], { ...classKinds, labelSmoothing: aShare });
  const [x, y] = [logits as Tensor, labels as Tensor];
  expectLabels("crossEntropy", "logits", x, y);
  const { labelSmoothing = 0, weights } = options;
  return withName("crossEntropy", () => {
    const logProbabilities = x.logSoftmax();
    if (labelSmoothing === 0) return ofLabels(logProbabilities, y, options);
    const weighted = weights ? logProbabilities.mul(weights) : logProbabilities;
    const everywhere = weighted.sum(-1).mul(labelSmoothing / x.shape.at(-1)!);
    return ofLabels(logProbabilities, y, options, { share: 1 - labelSmoothing, everywhere });
  }) as Tensor<N extends "none" ? L : [], D>;
}

/** Computes −logProbabilities[label], averaged: the cross-entropy of log-probabilities. */
export function negativeLogLikelihood<
  L extends Shape,
  C extends number,
  R extends Shape,
  D extends DType,
  const N extends Reduction = "mean",
>(
  logProbabilities: Tensor<[...L, C], D>,
  labels: Tensor<R, "int32"> &
    Matches<
      R,
      L,
      `negativeLogLikelihood: log-probabilities ${Show<[...L, C]>} need labels ${Show<L>}, and got ${Show<R>}`
    >,
  options: ClassOptions<N> = {},
): Tensor<N extends "none" ? L : [], D> {
  expectLossArguments("negativeLogLikelihood", [logProbabilities, labels, options], classKinds);
  const [x, y] = [logProbabilities as Tensor, labels as Tensor];
  expectLabels("negativeLogLikelihood", "log-probabilities", x, y);
  return withName("negativeLogLikelihood", () => ofLabels(x, y, options)) as Tensor<N extends "none" ? L : [], D>;
}

/** −x[label], with ignored labels and class weights; smoothed, it is −(share·x[label] + everywhere). */
function ofLabels(
  x: Tensor,
  labels: Tensor,
  { ignore, weights, reduction = "mean" }: ClassOptions,
  smoothed?: { readonly share: number; readonly everywhere: Tensor },
): Tensor {
  const counted = ignore === undefined ? undefined : labels.notEqual(ignore);
  const safe = (counted ? labels.mul(counted.cast("int32")) : labels) as Tensor<Shape, "int32">;
  const weight = weights && expectWeights(weights, x).take(safe);
  const picked = x.pick(safe);
  const weighted = weight ? picked.mul(weight) : picked;
  const all = smoothed ? weighted.mul(smoothed.share).add(smoothed.everywhere) : weighted;
  const losses = counted ? where(counted as Tensor<Shape, "bool">, all, 0) : all;
  if (reduction !== "mean" || (!weight && !counted)) return reduced(losses, reduction).neg();
  const share = counted ? counted.cast(x.dtype) : weight!;
  return losses
    .sum()
    .div((weight && counted ? share.mul(weight) : share).sum())
    .neg();
}

function expectWeights(weights: Tensor, x: Tensor): Tensor {
  if (weights.shape.length !== 1 || weights.shape[0] !== x.shape.at(-1))
    throw new ShapeError(
      "class weights",
      `${showType(weights)} for ${x.shape.at(-1)} classes`,
      "give a vector with one weight for each class",
    );
  return weights;
}

function expectLabels(loss: string, what: string, x: Tensor, labels: Tensor): void {
  const lead = x.shape.slice(0, -1);
  if (!sameShape(lead, labels.shape) || x.shape.length === 0)
    throw new ShapeError(
      loss,
      `${what} ${showShape(x.shape)} need labels ${showShape(lead)}, and got ${showShape(labels.shape)}`,
      "give one integer label for each row of logits; turn one-hot labels into integers with argmax()",
    );
  if (labels.dtype !== "int32")
    throw new DTypeError(
      loss,
      `labels are int32, and got ${showType(labels)}`,
      'make them with tensor(values, "int32"), or .cast("int32")',
    );
}

/** Computes −Σ p·log softmax(logits) over the last axis, averaged over examples. The labels are probabilities p of the logits' shape. */
export function softCrossEntropy<
  L extends Shape,
  C extends number,
  R extends Shape,
  D extends DType,
  const N extends Reduction = "mean",
>(
  logits: Tensor<[...L, C], D>,
  probabilities: Tensor<R, NoInfer<D>> &
    Matches<R, [...L, C], `softCrossEntropy: ${Show<[...L, C]>} against ${Show<R>}`>,
  options: LossOptions<N> = {},
): Tensor<N extends "none" ? L : [], D> {
  expectLossArguments("softCrossEntropy", [logits, probabilities, options]);
  const [x, p] = [logits as Tensor, probabilities as Tensor];
  expectSame("softCrossEntropy", x, p);
  return withName("softCrossEntropy", () => reduced(x.logSoftmax().mul(p).sum(-1).neg(), options.reduction)) as Tensor<
    N extends "none" ? L : [],
    D
  >;
}

// ── Element by element ──────────────────────────────────────────────────────────────────────────────────────────

/** A loss of two tensors of the same shape and dtype. Throws ShapeError when the shapes differ. */
export type PairLoss<Name extends string, O extends object = object> = <
  S extends Shape,
  R extends Shape,
  D extends DType,
  const N extends Reduction = "mean",
>(
  predictions: Tensor<S, D>,
  targets: Tensor<R, NoInfer<D>> & Matches<R, S, `${Name}: ${Show<S>} against ${Show<R>}`>,
  options?: LossOptions<N> & O,
) => Tensor<N extends "none" ? S : [], D>;

function pairLoss<Name extends string, O extends object = object>(
  name: Name,
  f: (x: Tensor, y: Tensor, options: O) => Tensor,
  kinds?: Readonly<Record<keyof O, Kind>>,
): PairLoss<Name, O> {
  const loss = (x: Tensor, y: Tensor, options: LossOptions & O = {} as O): Tensor => {
    expectLossArguments(name, [x, y, options], kinds);
    expectSame(name, x, y);
    return withName(name, () => reduced(f(x, y, options), options.reduction));
  };
  return loss as PairLoss<Name, O>;
}

function expectSame(loss: string, a: Tensor, b: Tensor): void {
  if (!sameShape(a.shape, b.shape))
    throw new ShapeError(
      loss,
      `${showShape(a.shape)} against ${showShape(b.shape)}`,
      "both sides have the same shape; reshape one of them",
    );
}

/** (x − y)² */
export const meanSquaredError: PairLoss<"meanSquaredError"> = pairLoss("meanSquaredError", (x, y) => x.sub(y).square());

/** |x − y| */
export const meanAbsoluteError: PairLoss<"meanAbsoluteError"> = pairLoss("meanAbsoluteError", (x, y) => x.sub(y).abs());

const aBend: Kind = (value) => (typeof value === "number" && value > 0 ? undefined : "give a number above 0");

/** The largest finite number of a tensor's dtype. */
const largestOf = ({ dtype }: Tensor): number => (dtype === "float64" ? Number.MAX_VALUE : (2 - 2 ** -23) * 2 ** 127);

/** Returns ½d², with |d| capped at c, and the part of |d| beyond c. Both have a finite slope for every d, also at infinity. */
function bent(d: Tensor, c: number): readonly [Tensor, Tensor] {
  const inner = d.clip(-c, c);
  return [inner.square().mul(0.5), unobserved(() => d.abs().sub(c).relu())];
}

/** Options of `huber`. */
export interface HuberOptions {
  /** The |d| at which the parabola ends and the straight line begins. Default 1. */
  readonly delta?: number;
}

/** ½d² for |d| ≤ δ, δ·(|d| − ½δ) beyond, with d = x − y (Huber 1964). For δ = ∞ it is ½d² everywhere. */
export const huber: PairLoss<"huber", HuberOptions> = pairLoss(
  "huber",
  (x, y, { delta = 1 }: HuberOptions) => {
    const d = x.sub(y);
    if (delta > largestOf(d)) return d.square().mul(0.5);
    const [parabola, line] = bent(d, delta);
    return parabola.add(line.mul(delta));
  },
  { delta: aBend },
);

/** Options of `smoothL1`. */
export interface SmoothL1Options {
  /** The |d| at which the parabola ends and the straight line begins. Default 1. */
  readonly beta?: number;
}

/** ½d²/β for |d| < β, |d| − ½β beyond, with d = x − y (Girshick 2015). For β = 0 it is |d|. */
export const smoothL1: PairLoss<"smoothL1", SmoothL1Options> = pairLoss(
  "smoothL1",
  (x, y, { beta = 1 }: SmoothL1Options) => {
    const d = x.sub(y);
    // A β whose reciprocal overflows is 0 for all other numbers.
    if (1 / beta > largestOf(d)) return d.abs();
    const [parabola, line] = bent(d, beta);
    return parabola.mul(1 / beta).add(line);
  },
  { beta: fromZero },
);

/** Options of `binaryCrossEntropy`. */
export interface BinaryCrossEntropyOptions {
  /** The weight w of positive labels; a tensor is broadcast to the logits. Default 1. */
  readonly positiveWeight?: Tensor | number;
}

const aWeight: Kind = (value) =>
  typeof value === "number" ? fromZero(value) : aTensor(value) && "give a tensor or a finite number of at least 0";

/**
 * −w·y·log σ(x) − (1 − y)·log(1 − σ(x)) for logits x and labels y of the same dtype: in the form
 * (1 − y)·log(1 + eˣ) + w·y·log(1 + e⁻ˣ), whose parts are never negative, so that nothing overflows or loses digits.
 */
export const binaryCrossEntropy: PairLoss<"binaryCrossEntropy", BinaryCrossEntropyOptions> = pairLoss(
  "binaryCrossEntropy",
  (x, y, { positiveWeight }: BinaryCrossEntropyOptions) => {
    const weight = positiveWeight === undefined ? y : y.mul(positiveWeight);
    return y.neg().add(1).mul(x.softplus()).add(weight.mul(x.neg().softplus()));
  },
  { positiveWeight: aWeight },
);

/**
 * −y·log p − (1 − y)·log(1 − p) for probabilities p. Logarithms are at least −100 and slopes at most ±1e12, so the loss stays finite at 0
 * and 1.
 */
export const binaryCrossEntropyOfProbabilities: PairLoss<"binaryCrossEntropyOfProbabilities"> = pairLoss(
  "binaryCrossEntropyOfProbabilities",
  (p, y) => p.apply(probabilityLoss, [y], undefined),
);

/** Options of `klDivergence`. */
export interface KlDivergenceOptions {
  /** Whether the targets are log-probabilities too. Default false. */
  readonly logTargets?: boolean;
}

/**
 * y·(log y − x) for log-probabilities x and probabilities y (Kullback and Leibler 1951), 0 where y is 0. The divergence of a
 * distribution is the *sum* over its elements: `.sum(-1).mean()` of the reduction "none" is its mean over examples.
 */
export const klDivergence: PairLoss<"klDivergence", KlDivergenceOptions> = pairLoss(
  "klDivergence",
  (x, y, { logTargets = false }: KlDivergenceOptions) => {
    // Elements whose probability y is 0 contribute 0, also where x is −∞: 0·∞ would be NaN.
    const isZero = logTargets ? y.equal(Number.NEGATIVE_INFINITY) : y.equal(0);
    const own = where(isZero.and(x.equal(Number.NEGATIVE_INFINITY)), x.scalar(0).expand(x.shape), x);
    if (logTargets) return y.exp().mul(where(isZero, y.scalar(0).expand(y.shape), y).sub(own));
    return y.mul(where(isZero, y.add(1), y).log().sub(own));
  },
  { logTargets: aFlag },
);

/** Computes 1 − x·y / (|x|·|y|) along the last axis, averaged: 0 for vectors of the same direction, 2 for opposite ones. */
export function cosineDistance<
  L extends Shape,
  W extends number,
  R extends Shape,
  D extends DType,
  const N extends Reduction = "mean",
>(
  x: Tensor<[...L, W], D>,
  y: Tensor<R, NoInfer<D>> & Matches<R, [...L, W], `cosineDistance: ${Show<[...L, W]>} against ${Show<R>}`>,
  options: LossOptions<N> = {},
): Tensor<N extends "none" ? L : [], D> {
  const [a, b] = [x as Tensor, y as Tensor];
  expectLossArguments("cosineDistance", [x, y, options]);
  expectSame("cosineDistance", a, b);
  return withName("cosineDistance", () => reduced(cosineSimilarity(a, b).neg().add(1), options.reduction)) as Tensor<
    N extends "none" ? L : [],
    D
  >;
}

/** Computes x·y / (max(|x|, ε)·max(|y|, ε)) along an axis, by default the last: the cosine of the angle between vectors, from −1 to 1. */
export function cosineSimilarity<S extends Shape, R extends Shape, D extends DType, const A extends number = -1>(
  x: Tensor<S, D>,
  y: Tensor<R, NoInfer<D>> & Matches<R, S, `cosineSimilarity: ${Show<S>} against ${Show<R>}`>,
  axis?: A,
  epsilon: number = 1e-8,
): Tensor<Reduced<S, A, false>, D> {
  expectArguments("cosineSimilarity", [aTensor, aTensor, optional(aWhole), optional(fromZero)], [x, y, axis, epsilon]);
  const [a, b] = [x as Tensor, y as Tensor];
  expectSame("cosineSimilarity", a, b);
  const at = resolveAxis("cosineSimilarity", axis ?? -1, a.shape.length);
  // Both vectors are scaled to length 1 first: products of very long or very short vectors might overflow or underflow.
  const unit = (v: Tensor): Tensor => v.div(v.norm(at, { keepDims: true }).clip(epsilon));
  return unit(a).mul(unit(b)).sum(at) as Tensor<Reduced<S, A, false>, D>;
}
