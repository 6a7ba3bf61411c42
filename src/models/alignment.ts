/**
 * Attention of recurrent decoders: at each step, which of the encoder's outputs to look at. Each form is implemented twice: as the equations of
 * its paper for one query, and in the form that models run, for all queries at once. Tests check that both give equal results.
 */
import { ConfigError } from "../errors.ts";
import type { Shape } from "../graph/types.ts";
import type { Generator } from "../nn/generator.ts";
import { linear } from "../nn/layers/basic.ts";
import { type Module, method, module } from "../nn/module.ts";
import { stack, where } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** How a decoder attends: additively (Bahdanau, Cho and Bengio 2015), or by products (Luong, Pham and Manning 2015). */
export type AttentionKind = "bahdanau" | "luong";

/** Luong's scores: qᵀ·m, or qᵀ·W·m. */
export type AttentionScore = "dot" | "general";

export interface AlignmentSizes {
  /** The width of queries: the decoder's hidden units. */
  readonly query: number;
  /** The width of the memory: the encoder's outputs. */
  readonly memory: number;
}

export interface AlignmentOptions {
  readonly score: AttentionScore;
  readonly generator: Generator;
}

type Float = Tensor<Shape, "float32">;
/** Which steps of the memory are real, bool [batch, source]; undefined if all are. */
type Mask = Tensor<Shape, "bool"> | undefined;

/** What attention gives: contexts [batch, queries, memory], and weights [batch, queries, source], which sum to 1. */
export interface Attended {
  readonly context: Float;
  readonly weights: Float;
}

/** One kind of attention with its parameters. */
export interface Alignment extends Module {
  /** queries [batch, queries, query], keys from `keys`, memory [batch, source, memory]. */
  (queries: Float, keys: Float, memory: Float, mask: Mask): Attended;
  /** What scores need of the memory, [batch, source, …]: computed once for all queries. */
  keys(memory: Float): Float;
  /** The same as the paper's equations, from one query [batch, query]: the context [batch, memory]. */
  equations(query: Float, memory: Float, mask: Mask): Float;
}

/** Scores of padding. Its weight after the softmax is 0. */
const never = -1e9;

function attended(scores: Float, memory: Float, mask: Mask): Attended {
  const known = mask ? where(mask.unsqueeze(1) as Tensor<Shape, "bool">, scores, never) : scores;
  const weights = known.softmax() as Float;
  return { context: weights.matmul(memory as never) as Float, weights };
}

/** c = Σ_s a_s·m_s with a = softmax(scores), from the score of each step of the memory, [batch]. */
function weighted(scores: readonly Float[], memory: Float, mask: Mask): Float {
  const all = stack(scores as never, 1) as unknown as Float;
  const a = (mask ? where(mask, all, never) : all).softmax() as Float;
  return scores
    .map((_, s) => (a.slice(null, [s, s + 1]) as Float).mul(at(memory, s)) as Float)
    .reduce((sum, part) => sum.add(part) as Float);
}

/** Step s of a memory: [batch, memory]. */
const at = (memory: Float, s: number): Float => memory.slice(null, [s, s + 1]).squeeze(1) as Float;
const steps = (memory: Float): number[] => Array.from({ length: memory.shape[1]! }, (_, s) => s);

/** score(q, m) = vᵀ·tanh(W·q + U·m) */
export function bahdanau({ query, memory: width }: AlignmentSizes, { generator }: AlignmentOptions): Alignment {
  const given = { bias: false, generator } as const;
  const children = {
    query: linear(query, query, given),
    key: linear(width, query, given),
    score: linear(query, 1, given),
  };
  const self = module("BahdanauAttention", children, (queries: Float, keys: Float, memory: Float, mask: Mask) => {
    const sums = children.query(queries as never) as unknown as Float;
    const mixed = (sums.unsqueeze(2) as Float).add(keys.unsqueeze(1) as Float).tanh() as Float;
    return attended(children.score(mixed as never).squeeze(-1) as Float, memory, mask);
  });
  method(self, "keys", (memory: Float) => children.key(memory as never));
  method(self, "equations", (q: Float, memory: Float, mask: Mask) => {
    const score = (m: Float): Float => {
      const a = (children.query(q as never) as unknown as Float).add(children.key(m as never) as unknown as Float);
      return children.score(a.tanh() as never).squeeze(-1) as Float; //  vᵀ·tanh(W·q + U·m)
    };
    return weighted(
      steps(memory).map((s) => score(at(memory, s))),
      memory,
      mask,
    );
  });
  return self as unknown as Alignment;
}

/** score(q, m) = qᵀ·m, or qᵀ·W·m */
export function luong({ query, memory: width }: AlignmentSizes, { score, generator }: AlignmentOptions): Alignment {
  if (score === "dot" && query !== width)
    throw new ConfigError(
      "luong",
      `queries have ${query} features and the memory ${width}`,
      'give equal sizes, or the score "general"',
    );
  const key = score === "general" ? linear(width, query, { bias: false, generator }) : undefined;
  const keysOf = (memory: Float): Float => (key ? (key(memory as never) as unknown as Float) : memory);
  const self = module("LuongAttention", key ? { key } : {}, (queries: Float, keys: Float, memory: Float, mask: Mask) =>
    attended(queries.matmul(keys.mT() as never) as Float, memory, mask),
  );
  method(self, "keys", keysOf);
  method(self, "equations", (q: Float, memory: Float, mask: Mask) => {
    const scoreOf = (m: Float): Float => q.mul(keysOf(m)).sum(-1) as Float; //  qᵀ·W·m
    return weighted(
      steps(memory).map((s) => scoreOf(at(memory, s))),
      memory,
      mask,
    );
  });
  return self as unknown as Alignment;
}
