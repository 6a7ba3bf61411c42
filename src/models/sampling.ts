/** The choice of the next token from logits, inside the graph. */
import { DataError } from "../errors.ts";
import { gumbelFrom } from "../nn/generator.ts";
import { arange, concat, where, zeros } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { TokenIds } from "./step-model.ts";

/** Logits or log probabilities of all tokens, [batch, vocabulary]. */
export type Logits = Tensor<[number, number], "float32">;

/** The error for a row of logits in which no token is the best. `excludes` says whether n-grams that were there are excluded. */
export const noToken = (excludes: boolean): DataError =>
  new DataError(
    "generate",
    `the model's logits are NaN, or −∞ for every token${excludes ? " that noRepeatNgramSize allows" : ""}`,
    `look at its weights, and at what masks its logits${excludes ? "; or give a larger noRepeatNgramSize" : ""}`,
  );

/** How logits, or log probabilities, are changed before a token is chosen. Part of the graph. */
export interface Rules {
  /** Whether the repetition penalty is not 1. */
  readonly penalizes: boolean;
  /** How long the n-grams are that occur once at most; 0 if they may occur often. */
  readonly noRepeatNgramSize: number;
}

/** What is part of the graph: a call with another plan is another graph. */
export interface SamplingPlan extends Rules {
  /** Whether tokens are drawn; otherwise the most likely one is taken. */
  readonly doSample: boolean;
  /** The number of most likely tokens to draw from. */
  readonly topK: number | undefined;
  /** Whether `SamplingNumbers.topP` is used. */
  readonly hasTopP: boolean;
}

/** What is an argument of the graph. */
export interface SamplingNumbers {
  readonly temperature: Tensor<[], "float32">;
  readonly topP: Tensor<[], "float32">;
}

/** A choice and the next state of its random numbers. */
export interface Choice {
  /** −1 in rows in which no token is the best: the logits have a NaN, or are −∞ for every token. */
  readonly tokens: TokenIds;
  readonly random: Tensor<[4], "int32">;
}

/**
 * Chooses a token for each row: the temperature first, then top-k (Fan et al. 2018), then top-p (Holtzman et al. 2019), as Hugging Face's
 * `generate`. A draw is the argmax of the logits plus Gumbel noise.
 */
export function choose(
  logits: Logits,
  random: Tensor<[4], "int32">,
  plan: SamplingPlan,
  numbers: SamplingNumbers,
): Choice {
  if (!plan.doSample) return { tokens: best(logits), random };
  const [batch, vocabulary] = logits.sizes();
  const warm = logits.div(numbers.temperature);
  const draw = (from: Logits): Choice => {
    const { noise, state } = gumbelFrom(random, from.shape);
    return { tokens: best(from.add(noise as Logits)), random: state };
  };
  if (plan.topK === undefined && !plan.hasTopP) return draw(warm);
  const [likely, ids] = warm.topK(Math.min(plan.topK ?? vocabulary, vocabulary));
  let kept: Logits = likely;
  if (plan.hasTopP) {
    // The fewest tokens whose probabilities sum up to p: those before which the sum is less than p. The most likely one is always kept.
    const probabilities = kept.softmax(-1);
    const before = probabilities.cumsum(1).sub(probabilities);
    kept = where(before.less(numbers.topP), kept, Number.NEGATIVE_INFINITY);
  }
  const { tokens: places, random: next } = draw(kept);
  const chosen = ids.gather(places.maximum(0).reshape([batch, 1]), 1).reshape([batch]);
  return { tokens: where(places.less(0), places, chosen), random: next };
}

/** The place of the largest element of each row; −1 if an element is NaN, and if all are −∞. */
function best(logits: Logits): TokenIds {
  const places = logits.argmax(-1); //  of a NaN, if there is one
  const largest = logits.gather(places.unsqueeze(1), 1).squeeze(1);
  return where(largest.greater(Number.NEGATIVE_INFINITY), places, -1) as TokenIds;
}

/** What stands in a history where there was no token yet: before the first one of its row. */
export const noTokenYet = -1;

/**
 * Makes the tokens of the history less likely (Keskar et al. 2019): their logits are divided by the penalty where they are positive, and
 * multiplied by it where they are negative. `history` is [batch, length]; a token may occur several times, and the last one is real.
 */
export function penalized(
  logits: Logits,
  history: Tensor<[number, number], "int32">,
  penalty: Tensor<[], "float32">,
): Logits {
  const [, length] = history.sizes();
  const tokens = where(history.less(0), history.slice(null, [length - 1, length]), history) as typeof history;
  const seen = logits.gather(tokens, 1);
  return logits.scatter(tokens, where(seen.less(0), seen.mul(penalty), seen.div(penalty)), 1);
}

/**
 * Excludes tokens that would end an n-gram which the history has already, as Hugging Face's `NoRepeatNGramLogitsProcessor`: those that
 * followed the last n − 1 tokens before.
 */
export function withoutRepeats(logits: Logits, history: Tensor<[number, number], "int32">, n: number): Logits {
  const [, length] = history.sizes();
  const windows = length - n + 1;
  if (windows < 1) return logits;
  const from = (at: number, count: number): Tensor<[number, number], "int32"> => history.slice(null, [at, at + count]);
  // A window whose first token is real is real as a whole.
  let isRepeat: Tensor = from(0, windows).greaterEqual(0);
  for (let i = 0; i < n - 1; i++) isRepeat = isRepeat.and(from(i, windows).equal(from(windows + i, 1)));
  const excluded = zeros(logits.sizes(), "int32").scatter(
    from(n - 1, windows).maximum(0) as Tensor<[number, number], "int32">,
    isRepeat.cast("int32") as Tensor<[number, number], "int32">,
    1,
    { reduction: "max" },
  );
  return logits.maskedFill(excluded.greater(0), Number.NEGATIVE_INFINITY);
}

/**
 * Excludes the tokens at which a sequence ends while fewer tokens are there than wanted, as Hugging Face's
 * `MinNewTokensLengthLogitsProcessor`: while `missing`, [1], is above 0.
 */
export function withoutEnds(logits: Logits, ends: TokenIds, missing: Tensor<[1], "int32">): Logits {
  const [, vocabulary] = logits.sizes();
  const isEnd = arange(vocabulary).unsqueeze(1).equal(ends).any(1);
  return logits.maskedFill(isEnd.and(missing.greater(0)), Number.NEGATIVE_INFINITY) as Logits;
}

/** Appends a token to each row of a history of fixed length; the oldest one is dropped. */
export function remembered(
  history: Tensor<[number, number], "int32">,
  tokens: TokenIds,
): Tensor<[number, number], "int32"> {
  const [batch, length] = history.sizes();
  return concat([history.slice(null, [1, length]), tokens.reshape([batch, 1])], 1);
}
