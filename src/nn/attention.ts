/**
 * Attention (Vaswani et al. 2017) as functions of queries, keys and values. It is implemented twice: as the equation of the paper, and in
 * the form that layers run. Tests check that both give equal results.
 *
 * Masks are bool and have one meaning everywhere: **true where a query may attend to a key**.
 */
import { ConfigError, DTypeError, ShapeError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { aFlag, aNumber, aTensor, aWhole, expectArguments, options } from "../graph/arguments.ts";
import { currentPath } from "../graph/scope.ts";
import type { Agree, Broadcast, BroadcastsInto, Show } from "../graph/shape-types.ts";
import { type DType, isFloat, type Shape, sameShape, showShape, showType } from "../graph/types.ts";
import { scatter } from "../ops/indexing.ts";
import { commonShape, expanded } from "../tensor/broadcasting.ts";
import { arange, fromValues, where } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aGenerator, dropout } from "./dropout.ts";
import { defaultGenerator, type Generator } from "./generator.ts";
import { expectRate, expectSizes } from "./parameters.ts";

/** The options that say which keys a query attends to, and how its scores are made. */
export interface ScoreOptions<M extends Shape = Shape> {
  /**
   * Where a query may attend to a key: true where it may, as in PyTorch's `scaled_dot_product_attention`. It broadcasts with the scores
   * [..., queries, keys], both ways. A query that may attend to no key gets zeros.
   */
  readonly mask?: Tensor<M, "bool">;
  /** Whether each query attends only to keys at its own place and before. There must be as many queries as keys. Default false. */
  readonly causal?: boolean;
  /** Added to the scaled scores [..., queries, keys], to which it broadcasts: for relative positions, such as ALiBi's. */
  readonly bias?: Tensor;
  /** What the products q·k are multiplied by. Default 1/√size, with the size of a query. */
  readonly scale?: number;
}

/** The options of `functional.attention`. */
export interface AttentionOptions<M extends Shape = Shape> extends ScoreOptions<M> {
  /** The rate of dropout on the weights. It is applied whenever it is given: layers give it in training only. Default 0. */
  readonly dropout?: number;
  /** Draws the masks of dropout. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/** The options without the types of shapes, as the functions below use them. */
export interface Scoring {
  readonly mask?: Tensor | undefined;
  readonly causal?: boolean | undefined;
  readonly bias?: Tensor | undefined;
  readonly scale?: number | undefined;
  readonly dropout?: number | undefined;
  readonly generator?: Generator | undefined;
  /** Whether it is known that the mask leaves every query a key. */
  readonly everyQueryAttends?: boolean | undefined;
}

const scoreKinds = { mask: aTensor, causal: aFlag, bias: aTensor, scale: aNumber } as const;
const scoreOptions = options(scoreKinds);
const attentionOptions = options({ ...scoreKinds, dropout: aNumber, generator: aGenerator });

/** The leading axes of the result, where a mask widens those of the queries. */
type Widened<L extends Shape, M extends Shape> = Broadcast<L, LeadOf<M>>;
type LeadOf<M extends Shape> = number extends M["length"]
  ? Shape
  : M extends readonly [...infer L extends Shape, number, number]
    ? L
    : [];

type KeyMessage<Q extends Shape, K extends Shape> = `attention: queries ${Show<Q>} and keys ${Show<K>} do not fit`;

/**
 * Computes softmax(q·kᵀ/√size + bias)·v, scaled dot-product attention (Vaswani et al. 2017): q [..., queries, size], k [..., keys, size]
 * and v [..., keys, values] give [..., queries, values]. Leading axes of k and v broadcast to those of q, so queries of several heads can
 * share keys. Throws ShapeError when the shapes do not fit together, DTypeError when they are not of one float dtype.
 */
export function attention<
  L extends Shape,
  T extends number,
  K extends number,
  R extends Shape,
  S extends number,
  J extends number,
  V extends Shape,
  C extends number,
  E extends number,
  D extends DType,
  M extends Shape = [],
>(
  q: Tensor<[...L, T, K], D>,
  k: Tensor<[...R, S, J], NoInfer<D>> &
    Agree<K, J, KeyMessage<[...L, T, K], [...R, S, J]>> &
    BroadcastsInto<R, L, KeyMessage<[...L, T, K], [...R, S, J]>>,
  v: Tensor<[...V, C, E], NoInfer<D>> &
    Agree<S, C, `attention: ${S} keys, and values ${Show<[...V, C, E]>}`> &
    BroadcastsInto<V, L, `attention: queries ${Show<[...L, T, K]>} and values ${Show<[...V, C, E]>} do not fit`>,
  options: AttentionOptions<M> = {},
): Tensor<[...Widened<L, M>, T, E], D> {
  expectArguments("attention", [aTensor, aTensor, aTensor, attentionOptions], [q, k, v, options]);
  expectFit("attention", q as Tensor, k as Tensor, v as Tensor);
  return attend("attention", q as Tensor, k as Tensor, v as Tensor, options as Scoring) as never;
}

/**
 * Computes the weights of `attention`, softmax(q·kᵀ/√size + bias): [..., queries, keys]. Each row adds up to 1; a query that may attend to
 * no key has a row of zeros.
 */
export function attentionWeights<
  L extends Shape,
  T extends number,
  K extends number,
  R extends Shape,
  S extends number,
  J extends number,
  D extends DType,
  M extends Shape = [],
>(
  q: Tensor<[...L, T, K], D>,
  k: Tensor<[...R, S, J], NoInfer<D>> &
    Agree<K, J, KeyMessage<[...L, T, K], [...R, S, J]>> &
    BroadcastsInto<R, L, KeyMessage<[...L, T, K], [...R, S, J]>>,
  options: ScoreOptions<M> = {},
): Tensor<[...Widened<L, M>, T, S], D> {
  expectArguments("attentionWeights", [aTensor, aTensor, scoreOptions], [q, k, options]);
  expectFit("attentionWeights", q as Tensor, k as Tensor);
  const { weights, attends } = weighed("attentionWeights", q as Tensor, k as Tensor, options as Scoring);
  return withoutLost(weights, attends) as never;
}

/**
 * `attention` as its equation is written, Z = softmax(Q·Kᵀ/√d)·V, where the scores of other keys than a query may attend to are −∞: the
 * same result with more passes over memory. It has no answer for a query that may attend to no key, whose row is NaN.
 */
export function attentionEquation<
  L extends Shape,
  T extends number,
  K extends number,
  R extends Shape,
  S extends number,
  J extends number,
  V extends Shape,
  C extends number,
  E extends number,
  D extends DType,
  M extends Shape = [],
>(
  q: Tensor<[...L, T, K], D>,
  k: Tensor<[...R, S, J], NoInfer<D>> &
    Agree<K, J, KeyMessage<[...L, T, K], [...R, S, J]>> &
    BroadcastsInto<R, L, KeyMessage<[...L, T, K], [...R, S, J]>>,
  v: Tensor<[...V, C, E], NoInfer<D>> &
    Agree<S, C, `attention: ${S} keys, and values ${Show<[...V, C, E]>}`> &
    BroadcastsInto<V, L, `attention: queries ${Show<[...L, T, K]>} and values ${Show<[...V, C, E]>} do not fit`>,
  options: ScoreOptions<M> = {},
): Tensor<[...Widened<L, M>, T, E], D> {
  expectArguments("attentionEquation", [aTensor, aTensor, aTensor, scoreOptions], [q, k, v, options]);
  expectFit("attentionEquation", q as Tensor, k as Tensor, v as Tensor);
  const [Q, K, V] = [q, k, v] as readonly Tensor[] as [Tensor, Tensor, Tensor];
  const d = Q.shape.at(-1)!;
  const scaled = options.scale === undefined ? Q.matmul(K.mT()).div(Math.sqrt(d)) : Q.matmul(K.mT()).mul(options.scale);
  const biased = options.bias ? scaled.add(options.bias) : scaled;
  const may = allowed("attentionEquation", biased.shape, options as Scoring);
  const scores = (may ? where(may as Bool, biased as Float, Number.NEGATIVE_INFINITY) : biased) as Tensor;
  const lead = scores.shape.slice(0, -2);
  const values = V.shape.length > lead.length + 2 ? V : expanded(V, [...lead, ...V.shape.slice(-2)]);
  return scores.softmax().matmul(values) as never; //  Z = softmax(Q·Kᵀ/√d)·V
}

type Bool = Tensor<Shape, "bool">;
type Float = Tensor<Shape, "float32">;

/** Throws unless queries, keys and values are of one float dtype and fit together. */
function expectFit(subject: string, q: Tensor, k: Tensor, v?: Tensor): void {
  const all = v ? [q, k, v] : [q, k];
  const names = all.map(showType).join(", ");
  if (!isFloat(q.dtype) || all.some(({ dtype }) => dtype !== q.dtype))
    throw new DTypeError(subject, `the dtypes of ${names} differ or are not float`, "cast them to one float dtype");
  const [queries, size] = q.shape.slice(-2);
  const [keys, sizeOfKeys] = k.shape.slice(-2);
  const fits = q.shape.length >= 2 && k.shape.length >= 2 && size === sizeOfKeys && queries !== undefined;
  if (!fits || (v && (v.shape.length < 2 || v.shape.at(-2) !== keys)))
    throw new ShapeError(
      subject,
      `${names} do not fit`,
      "give queries [..., queries, size], keys [..., keys, size] and values [..., keys, values]",
      currentPath(),
    );
  const lead = q.shape.slice(0, -2);
  for (const other of all.slice(1))
    if (!sameShape(commonShape(subject, other.shape.slice(0, -2), lead), lead))
      throw new ShapeError(
        subject,
        `the leading axes of ${showType(other)} are more than those of the queries ${showType(q)}`,
        "repeat the queries first: q.expand(shape)",
        currentPath(),
      );
}

/** Returns where queries may attend to keys, bool, for scores of a shape; undefined if everywhere. */
function allowed(subject: string, scores: Shape, { mask, causal = false }: Scoring): Tensor | undefined {
  const [queries, keys] = scores.slice(-2) as [number, number];
  if (mask && mask.dtype !== "bool")
    throw new DTypeError(
      subject,
      `the mask is ${showType(mask)}`,
      "give bool, true where a query may attend to a key; numbers to add to the scores are the option bias",
    );
  if (mask && mask.shape.length > 1 && ![1, keys].includes(mask.shape.at(-1)!))
    throw new ShapeError(
      subject,
      `the mask ${showShape(mask.shape)} is for ${mask.shape.at(-1)} keys, and there are ${keys}`,
      "give [queries, keys], with leading axes such as [batch, heads, queries, keys]",
      currentPath(),
    );
  if (!causal) return mask;
  if (queries !== keys)
    throw new ShapeError(
      subject,
      `a causal mask for ${queries} queries and ${keys} keys`,
      "give as many queries as keys, or a mask that says which keys each query sees",
      currentPath(),
    );
  const past = arange(queries).reshape([queries, 1]).greaterEqual(arange(keys)) as Tensor;
  return mask ? (mask as Bool).and(past as Bool) : past;
}

/**
 * Returns the weights, and which queries attend to any key, bool [..., queries, 1]; undefined if all do. A query that attends to no key
 * has equal weights here, which `withoutLost` makes 0.
 */
function weighed(
  subject: string,
  q: Tensor,
  k: Tensor,
  { scale = 1 / Math.sqrt(q.shape.at(-1)!), ...options }: Scoring,
): { readonly weights: Tensor; readonly attends: Tensor | undefined } {
  const [queries, keys] = [q.shape.at(-2)!, k.shape.at(-2)!];
  const { mask, bias } = options;
  const may = allowed(subject, [queries, keys], options);
  const lead = q.shape.slice(0, -2);
  const wide = commonShape(subject, [...lead, queries, keys], may?.shape ?? []);
  const all = sameShape(wide.slice(0, -2), lead) ? q : expanded(q, [...wide.slice(0, -2), ...q.shape.slice(-2)]);
  let scores: Tensor = all.matmul(k.mT()).mul(scale);
  if (bias) scores = scores.add(bias);
  // Under a causal mask alone, each query attends to itself at least.
  const attends = mask && may && !options.everyQueryAttends ? (may as Bool).any(-1, { keepDims: true }) : undefined;
  if (may) {
    // A row of −∞ alone would become NaN.
    const never = attends
      ? where(attends as Bool, q.scalar(Number.NEGATIVE_INFINITY), q.scalar(0))
      : q.scalar(Number.NEGATIVE_INFINITY);
    scores = where(may as Bool, scores as Float, never as Float) as Tensor;
  }
  return { weights: scores.softmax(), attends: attends as Tensor | undefined };
}

const withoutLost = (x: Tensor, attends: Tensor | undefined): Tensor =>
  attends ? (where(attends as Bool, x as Float, 0) as Tensor) : x;

/** `attention` for tensors that are known to fit, in the form that layers run. */
export function attend(subject: string, q: Tensor, k: Tensor, v: Tensor, options: Scoring): Tensor {
  return attendWithWeights(subject, q, k, v, options).output;
}

/** `attend`, and a function that gives the weights, before dropout. */
export function attendWithWeights(
  subject: string,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { dropout: rate = 0, generator = defaultGenerator, ...options }: Scoring,
): { readonly output: Tensor; readonly weights: () => Tensor } {
  expectRate(rate);
  if (rate > 0 && q.dtype !== "float32")
    throw new DTypeError(subject, `dropout for ${showType(q)}`, "dropout is for float32");
  const { weights, attends } = weighed(subject, q, k, options);
  const kept = rate > 0 ? (dropout(weights as Float, rate, generator) as Tensor) : weights;
  // The result is cleared of queries without keys, not the weights, which are more numbers.
  return { output: withoutLost(kept.matmul(v), attends), weights: () => withoutLost(weights, attends) };
}

/** Returns a cache of keys or values [batch, heads, longest, size] with those of other tokens at some places. */
export function writtenTo(cache: Tensor, subject: string, places: Tensor, now: Tensor): Tensor {
  const words = { subject, one: "token's place", all: "places", most: "for which the cache has room" };
  return apply(scatter, [cache, places, now], { axis: 2, reduction: "none", words });
}

/** Where queries attend to keys of a cache, when query t of each example is at `positions` + t: bool [batch, 1, queries, keys]. */
export function pastOf(positions: Tensor, queries: number, keys: number): Tensor {
  const batch = positions.shape[0]!;
  const own = positions.reshape([batch, 1, 1, 1]).add(arange(queries).reshape([1, 1, queries, 1])) as Tensor;
  return own.greaterEqual(arange(keys)) as Tensor;
}

/**
 * Returns sinusoidal positions (Vaswani et al. 2017), float32 [length, width], for use with values added to them: even columns 2i are
 * sin(position / 10000^(2i/width)), and the odd columns after them the cosine of the same angle.
 */
export function sinusoidalTable<const T extends number, const W extends number>(
  length: T,
  width: W,
): Tensor<[T, W], "float32"> {
  expectArguments("sinusoidalTable", [aWhole, aWhole], [length, width]);
  expectSizes("sinusoidalTable", [length, width]);
  if (length * width > 2 ** 28)
    throw new ConfigError("sinusoidalTable", `${length} positions of ${width} numbers`, "give at most 2^28 numbers");
  const values = new Float32Array(length * width);
  for (let position = 0; position < length; position++)
    for (let column = 0; column < width; column++) {
      const angle = position / 10000 ** ((column - (column % 2)) / width);
      values[position * width + column] = column % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    }
  return fromValues(values, [length, width]) as Tensor<[T, W], "float32">;
}
