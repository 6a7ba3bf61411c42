/** Attention of several heads over vectors that are projected already, as BERT and GPT-2 name their projections. */
import { attendWithWeights, pastOf, writtenTo } from "../nn/attention.ts";
import type { Generator } from "../nn/generator.ts";
import type { Tensor } from "../tensor/tensor.ts";

type Sequences = Tensor<[number, number, number], "float32">;
type Weights = Tensor<[number, number, number, number], "float32">;

/** Keys and values of the tokens so far, each [batch, heads, longest, size]. */
export interface KeyValueCache {
  readonly key: Tensor<[number, number, number, number], "float32">;
  readonly value: Tensor<[number, number, number, number], "float32">;
}

interface Heads {
  readonly heads: number;
  /** What the products q·k are multiplied by. Default 1/√size. */
  readonly scale?: number;
}

interface MultiHeadOptions extends Heads {
  /** True where a token may attend to another; broadcasts to [batch, heads, from, to]. */
  readonly mask?: Tensor | undefined;
  readonly causal?: boolean;
  readonly dropout: number;
  readonly generator: Generator;
  readonly needWeights: boolean;
}

/** [batch, tokens, heads · size] as [batch, heads, tokens, size]. */
function split(x: Sequences, heads: number): Tensor {
  const [batch, time, width] = x.sizes();
  return x.reshape([batch, time, heads, width / heads]).transpose(0, 2, 1, 3) as Tensor;
}

/** [batch, heads, tokens, size] as [batch, tokens, heads · size]. */
function joined(x: Tensor): Sequences {
  const [batch, heads, time, size] = x.shape as readonly [number, number, number, number];
  return x.transpose(0, 2, 1, 3).reshape([batch, time, heads * size]) as Sequences;
}

/** softmax(QKᵀ/√size)·V in each head (Vaswani et al. 2017, equation 1). q, k and v are [batch, tokens, heads · size]. */
export function multiHead(
  q: Sequences,
  k: Sequences,
  v: Sequences,
  { heads, needWeights, ...options }: MultiHeadOptions,
): { readonly y: Sequences; readonly weights?: Weights } {
  const parts = [q, k, v].map((x) => split(x, heads)) as [Tensor, Tensor, Tensor];
  const { output, weights } = attendWithWeights("attention", ...parts, options);
  return { y: joined(output), ...(needWeights && { weights: weights() as Weights }) };
}

/**
 * `multiHead` for the next tokens of each sequence, whose first is at `positions` [batch]: their keys and values are written into the
 * cache, and each token attends to those up to its own.
 */
export function multiHeadStep(
  q: Sequences,
  k: Sequences,
  v: Sequences,
  cache: KeyValueCache,
  positions: Tensor<[number], "int32">,
  places: Tensor<[number, number], "int32">,
  { heads, scale }: Heads,
): { readonly y: Sequences; readonly cache: KeyValueCache } {
  const [query, key, value] = [q, k, v].map((x) => split(x, heads)) as [Weights, Weights, Weights];
  const [batch, time] = places.sizes();
  const indices = places.reshape([batch, 1, time, 1]).expand(key.sizes());
  const written = (old: Tensor, now: Tensor): Weights => writtenTo(old, "attention", indices as Tensor, now) as Weights;
  const next = {
    key: written(cache.key as Tensor, key as Tensor),
    value: written(cache.value as Tensor, value as Tensor),
  };
  const { output } = attendWithWeights("attention", query as Tensor, next.key as Tensor, next.value as Tensor, {
    mask: pastOf(positions as Tensor, time, cache.key.sizes()[2]),
    everyQueryAttends: true,
    ...(scale !== undefined && { scale }),
  });
  return { y: joined(output), cache: next };
}
