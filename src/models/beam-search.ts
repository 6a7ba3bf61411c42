/** Beam search: the step inside the graph, and the record of finished sequences outside of it. */
import type { Values } from "../graph/types.ts";
import { arange, where } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Logits, noToken, type Rules } from "./sampling.ts";
import type { TokenIds } from "./step-model.ts";

/** What a step of a beam search takes besides its tokens. */
export interface BeamPlan extends Rules {
  readonly beams: number;
  /** How many continuations of a sequence are compared; the rest is left out. */
  readonly candidates: number;
}

/** The result of a step for B sequences with K beams, of which C continuations were compared. */
export interface BeamOutput {
  /** The best continuations, best first: their sums of log probabilities, [B, C]. */
  readonly values: Tensor<[number, number], "float32">;
  /** The beam of the sequence that each continues, [B, C]. */
  readonly parents: Tensor<[number, number], "int32">;
  /** The token that each appends, [B, C]. */
  readonly ids: Tensor<[number, number], "int32">;
  /** Which continuations are the next beams, [B, K]: the best ones that do not end. */
  readonly chosen: Tensor<[number, number], "int32">;
  /** The tokens of the next beams, [B · K]. */
  readonly tokens: TokenIds;
  /** The rows that the next beams continue, [B · K]. */
  readonly rows: TokenIds;
  /** The sums of log probabilities of the next beams, [B, K]. */
  readonly scores: Tensor<[number, number], "float32">;
}

/** Sequences begin with one beam; the others have this sum of log probabilities, so that nothing continues them. */
export const neverContinued = -1e9;

/** Compares all continuations: log probabilities [B · K, vocabulary], sums of the beams so far [B, K]. */
export function beamStep(
  logProbabilities: Logits,
  scores: Tensor<[number, number], "float32">,
  { beams, candidates }: BeamPlan,
  ends: TokenIds | undefined,
): BeamOutput {
  const [sequences] = scores.sizes();
  const [, vocabulary] = logProbabilities.sizes();
  const sums = logProbabilities.add(scores.reshape([sequences * beams, 1])).reshape([sequences, beams * vocabulary]);
  const [values, places] = sums.topK(Math.min(candidates, beams * vocabulary));
  const parents = places.floorDivide(vocabulary);
  const ids = places.remainder(vocabulary);
  let open = values;
  if (ends) {
    const isEnd = ids.unsqueeze(2).equal(ends).any(2);
    open = where(isEnd.not(), values, Number.NEGATIVE_INFINITY);
  }
  const [next, chosen] = open.topK(beams);
  const rows = parents
    .gather(chosen, 1)
    .add(arange(sequences).mul(beams).reshape([sequences, 1]))
    .reshape([sequences * beams]);
  const tokens = ids.gather(chosen, 1).reshape([sequences * beams]);
  return { values, parents, ids, chosen, tokens, rows, scores: next };
}

/** A sequence as a list of its tokens, the last one first. */
interface Link {
  readonly token: number;
  readonly before: Link | undefined;
}

/** A sequence that has ended. */
export interface Hypothesis {
  readonly tokens: readonly number[];
  /** The sum of log probabilities divided by length ^ lengthPenalty. The token of the end counts. */
  readonly score: number;
  /** Whether it ended by a token of the end, not by its length. */
  readonly isFinished: boolean;
}

export interface BeamRules {
  readonly beams: number;
  readonly ends: ReadonlySet<number>;
  readonly lengthPenalty: number;
  /** When a search ends that has as many finished sequences as beams: at once, or when no beam is likely to, or can, become better. */
  readonly earlyStopping: boolean | "never";
  /** The most new tokens. */
  readonly most: number;
  /** Whether n-grams that were there are excluded. */
  readonly excludes: boolean;
}

/** Whether a sum of log probabilities is that of a sequence which the model does not allow, or which continues a beam that is not there. */
const isImpossible = (sum: number): boolean => sum < neverContinued / 2;

/** The search for one sequence: its beams and what has ended. The rules are those of Hugging Face's `BeamSearchScorer`. */
export class Beams {
  readonly #rules: BeamRules;
  #links: readonly (Link | undefined)[];
  #scores: readonly number[] = [];
  /** The best that have ended, best first. */
  #ended: Hypothesis[] = [];
  #length = 0;
  isDone = false;

  constructor(rules: BeamRules) {
    this.#rules = rules;
    this.#links = Array.from({ length: rules.beams }, () => undefined);
  }

  /** Takes what a step has found for this sequence. Throws DataError if the model's logits are NaN, or −∞ for every token. */
  add(values: Values, parents: Values, ids: Values, chosen: Values): void {
    if (this.isDone) return;
    const { beams, ends, lengthPenalty, earlyStopping, most, excludes } = this.#rules;
    // NaN comes first. The log probabilities of a row of −∞ are NaN too.
    if (Number.isNaN(values[0])) throw noToken(excludes);
    this.#length++;
    for (let rank = 0; rank < Math.min(beams, values.length); rank++)
      if (ends.has(ids[rank]!)) this.#end(this.#links[parents[rank]!], values[rank]!, true);
    const before = this.#links;
    this.#links = Array.from(chosen, (at) => ({ token: ids[at]!, before: before[parents[at]!] }));
    // Where too few continuations are open, one that has ended is chosen too.
    this.#scores = Array.from(chosen, (at) => (ends.has(ids[at]!) ? Number.NEGATIVE_INFINITY : values[at]!));
    if (this.#ended.length < beams) return;
    if (earlyStopping === true) this.isDone = true;
    else {
      // The best score that a sequence can still reach. "never" also thinks of longer ones, whose scores a positive penalty raises.
      const length = earlyStopping === "never" && lengthPenalty > 0 ? most : this.#length;
      this.isDone = this.#ended.at(-1)!.score >= values[0]! / length ** lengthPenalty;
    }
  }

  /**
   * Returns the best sequences, best first; those that are still open, if the search is not done. If the model allows fewer, the rest are
   * empty, with the score −∞.
   */
  best(count: number): readonly Hypothesis[] {
    if (!this.isDone) for (const [beam, link] of this.#links.entries()) this.#end(link, this.#scores[beam]!, false);
    this.isDone = true;
    const found = this.#ended.slice(0, count);
    const none: Hypothesis = { tokens: [], score: Number.NEGATIVE_INFINITY, isFinished: false };
    return [...found, ...Array<Hypothesis>(count - found.length).fill(none)];
  }

  #end(last: Link | undefined, sum: number, isFinished: boolean): void {
    if (isImpossible(sum)) return;
    const tokens: number[] = [];
    for (let link = last; link; link = link.before) tokens.push(link.token);
    const score = sum / this.#length ** this.#rules.lengthPenalty;
    this.#ended.push({ tokens: tokens.reverse(), score, isFinished });
    this.#ended.sort((a, b) => b.score - a.score);
    this.#ended.length = Math.min(this.#ended.length, this.#rules.beams);
  }
}
