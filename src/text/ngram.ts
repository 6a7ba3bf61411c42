/** A language model of counts: n-grams with Kneser–Ney smoothing, a baseline for neural networks. */
import { ConfigError, DataError } from "../errors.ts";
import { aNumber, aWhole, described, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import { anIterable, someIds } from "./kinds.ts";

/** Options of `kneserNey`. */
export interface KneserNeyOptions {
  /** The number of ids: every id is below it. */
  readonly vocabularySize: number;
  /** The number of tokens of an n-gram. Default 3. */
  readonly order?: number;
  /**
   * The discount that is subtracted from every count. Default: three discounts for each order, for counts of 1, of 2 and of more, estimated
   * from the number of n-grams with each count (Chen and Goodman 1998).
   */
  readonly discount?: number;
}

/** The n-grams as a tree: each is a child of the n-gram without its last token. The root is the empty n-gram. */
class Tree {
  /** The node of each n-gram, by the node of the n-gram without its last token and that token. */
  readonly children: Map<number, number> = new Map<number, number>();
  /** The number of tokens of each n-gram. */
  readonly lengths: number[] = [0];
  /** The count of each n-gram of the longest length; for shorter n-grams, the number of different tokens seen before it. */
  readonly counts: number[] = [0];
  readonly #width: number;

  constructor(vocabularySize: number) {
    // One more id, for the token before a sentence.
    this.#width = vocabularySize + 1;
  }

  find(node: number, id: number): number | undefined {
    return this.children.get(node * this.#width + id);
  }

  add(node: number, id: number): number {
    this.children.set(node * this.#width + id, this.lengths.length);
    this.counts.push(0);
    return this.lengths.push(this.lengths[node]! + 1) - 1;
  }

  parentOf(key: number): number {
    return Math.floor(key / this.#width);
  }
}

type Discounts = readonly [ofOne: number, ofTwo: number, ofMore: number];

/** An n-gram model with Kneser–Ney smoothing. Made by `kneserNey`. */
export class KneserNeyModel {
  readonly order: number;
  readonly vocabularySize: number;
  readonly #tree: Tree;
  /** The discounts of each order. */
  readonly #discounts: readonly Discounts[];
  /** For each node, the sum of its children's counts, and the sum of the discounts subtracted from them. */
  readonly #totals: Float64Array;
  readonly #freed: Float64Array;

  /** The tree holds the counts. Without a discount, discounts are estimated. */
  constructor(vocabularySize: number, order: number, tree: Tree, discount: number | undefined) {
    this.order = order;
    this.vocabularySize = vocabularySize;
    this.#tree = tree;
    const { lengths, counts, children } = tree;
    this.#discounts = Array.from(
      { length: order },
      (_, k): Discounts =>
        discount === undefined
          ? estimated(counts.filter((_, node) => lengths[node] === k + 1))
          : [discount, discount, discount],
    );
    this.#totals = new Float64Array(lengths.length);
    this.#freed = new Float64Array(lengths.length);
    for (const [key, node] of children) {
      const parent = tree.parentOf(key);
      this.#totals[parent]! += counts[node]!;
      this.#freed[parent]! += this.#discountOf(lengths[node]!, counts[node]!);
    }
  }

  #discountOf(length: number, count: number): number {
    return count === 0 ? 0 : this.#discounts[length - 1]![Math.min(count, 3) - 1]!;
  }

  /**
   * Returns the natural logarithm of the probability of each id of a sentence, given the ids before it in the sentence. The end of the
   * sentence counts only if it is an id of the sentence, as in the training sentences.
   */
  logProbabilities(sentence: ArrayLike<number>): Float64Array {
    expectArguments("logProbabilities", [someIds], [sentence]);
    let contexts = this.#begin();
    return Float64Array.from({ length: sentence.length }, (_, i) => {
      const id = expectId(sentence[i]!, i, this.vocabularySize);
      const probability = this.#probability(contexts, id);
      contexts = this.#next(contexts, id);
      return Math.log(probability);
    });
  }

  /** Returns exp of the mean negative logarithm of the probabilities of all ids. Throws DataError when there are no ids. */
  perplexity(sentences: Iterable<ArrayLike<number>>): number {
    expectArguments("perplexity", [anIterable], [sentences]);
    let sum = 0;
    let count = 0;
    for (const sentence of sentences) {
      sum -= this.logProbabilities(sentence).reduce((all, each) => all + each, 0);
      count += sentence.length;
    }
    return perplexity(sum, count);
  }

  /** Returns the nodes of the context before a sentence; undefined where no sentence has such a node. */
  #begin(): readonly (number | undefined)[] {
    return beginning(this.order, (node, id) => this.#child(node, id), this.vocabularySize);
  }

  /** Returns the nodes of the last 0, 1, 2 … tokens after one more token. */
  #next(contexts: readonly (number | undefined)[], id: number): readonly (number | undefined)[] {
    return contexts.map((_, k) => (k === 0 ? 0 : this.#child(contexts[k - 1], id)));
  }

  #child(node: number | undefined, id: number): number | undefined {
    return node === undefined ? undefined : this.#tree.find(node, id);
  }

  #probability(contexts: readonly (number | undefined)[], id: number): number {
    let probability = 1 / this.vocabularySize;
    for (const context of contexts) {
      const total = context === undefined ? 0 : this.#totals[context]!;
      if (context === undefined || total === 0) break; //  this context was never seen, so longer ones were not either
      const node = this.#tree.find(context, id);
      const count = node === undefined ? 0 : this.#tree.counts[node]!;
      const kept = count - this.#discountOf(this.#tree.lengths[context]! + 1, count);
      //  p(w | u v) = (c(u v w) − D) / c(u v ·) + γ(u v) · p(w | v),  γ(u v) = Σ D / c(u v ·)
      probability = kept / total + (this.#freed[context]! / total) * probability;
    }
    return probability;
  }
}

/** Returns the nodes of 0, 1, 2 … repetitions of the id before a sentence, up to the length of a context. */
function beginning<N>(order: number, child: (node: N | 0, id: number) => N, id: number): (N | 0)[] {
  const nodes: (N | 0)[] = [0];
  while (nodes.length < order) nodes.push(child(nodes.at(-1)!, id));
  return nodes;
}

/**
 * Makes an interpolated Kneser–Ney model (Kneser and Ney 1995; Chen and Goodman 1998) of sentences of ids. A sentence must contain the id
 * of its end if the end is to be predicted. An n-gram's probability is interpolated with that of the n-gram without its first token.
 * Shorter n-grams are counted by the number of different tokens before them, not by their occurrences. Throws DataError for an id beyond
 * the vocabulary, and when there are no ids.
 */
export function kneserNey(sentences: Iterable<ArrayLike<number>>, options: KneserNeyOptions): KneserNeyModel {
  const known = optionsOf({ vocabularySize: aWhole, order: aWhole, discount: aNumber });
  expectArguments("kneserNey", [anIterable, known], [sentences, options ?? {}]);
  const { vocabularySize, order = 3, discount } = options ?? {};
  if (!(vocabularySize >= 1 && vocabularySize <= 2 ** 22))
    throw new ConfigError(
      "kneserNey",
      `vocabularySize is ${described(vocabularySize)}`,
      "give a whole number from 1 to 4,194,304",
    );
  if (order < 1 || order > 8)
    throw new ConfigError("kneserNey", `order is ${order}`, "give a whole number from 1 to 8");
  if (discount !== undefined && !(discount > 0 && discount < 1))
    throw new ConfigError("kneserNey", `discount is ${discount}`, "give a number between 0 and 1");
  const tree = new Tree(vocabularySize);
  const child = (node: number, id: number): number => tree.find(node, id) ?? tree.add(node, id);
  let tokens = 0;
  for (const sentence of sentences) {
    if (someIds(sentence) !== undefined)
      throw new DataError("kneserNey", `a sentence is ${described(sentence)}`, "give arrays of ids");
    let contexts = beginning(order, child, vocabularySize);
    for (let i = 0; i < sentence.length; i++, tokens++) {
      const id = expectId(sentence[i]!, i, vocabularySize);
      let isNew = true;
      // From the longest n-gram that ends here to the shortest: each new n-gram means one more different token before the next shorter
      // n-gram.
      const ended = contexts.map(() => 0);
      for (let k = order - 1; k >= 0; k--) {
        const before = tree.find(contexts[k]!, id);
        const node = before ?? tree.add(contexts[k]!, id);
        if (k === order - 1 || isNew) tree.counts[node]!++;
        isNew = before === undefined;
        ended[k] = node;
      }
      contexts = [0, ...ended.slice(0, -1)];
    }
  }
  if (tokens === 0)
    throw new DataError("kneserNey", "the sentences have no ids", "check where the sentences come from");
  return new KneserNeyModel(vocabularySize, order, tree, discount);
}

/**
 * Estimates the discounts D = n − (n + 1) · Y · Nₙ₊₁ / Nₙ with Y = N₁ / (N₁ + 2 N₂), from the numbers Nₙ of n-grams with counts of 1 to 4.
 */
function estimated(counts: readonly number[]): Discounts {
  const n = [0, 0, 0, 0, 0];
  for (const count of counts) if (count >= 1 && count <= 4) n[count]!++;
  const y = n[1]! / (n[1]! + 2 * n[2]! || 1);
  const discountOf = (count: number): number => {
    const estimate = count - ((count + 1) * y * n[count + 1]!) / (n[count] || 1);
    // With too few n-grams for an estimate, the usual value is used.
    return n[count]! > 0 && n[count + 1]! > 0 && estimate > 0 && estimate < count ? estimate : 0.75;
  };
  return [discountOf(1), discountOf(2), discountOf(3)];
}

function expectId(id: number, index: number, size: number): number {
  if (Number.isInteger(id) && id >= 0 && id < size) return id;
  throw new DataError(
    "n-grams",
    `id ${described(id)}, at ${index}, of ${size} tokens`,
    `give ids from 0 to ${size - 1}`,
  );
}

/**
 * Returns the perplexity, exp of a mean negative logarithm: the number of equally likely tokens with the same uncertainty. Give a mean loss
 * in nats, or a sum and its number of tokens. Throws DataError when there are no tokens.
 */
export function perplexity(loss: number, tokens: number = 1): number {
  expectArguments("perplexity", [aNumber, aNumber], [loss, tokens]);
  if (!(tokens > 0)) throw new DataError("perplexity", `there are ${tokens} tokens`, "give texts with tokens");
  return Math.exp(loss / tokens);
}

/**
 * Converts nats to bits per character: give a sum of losses and the number of characters, not of tokens. Throws DataError when there are no
 * characters.
 */
export function bitsPerCharacter(loss: number, characters: number = 1): number {
  expectArguments("bitsPerCharacter", [aNumber, aNumber], [loss, characters]);
  if (!(characters > 0))
    throw new DataError("bitsPerCharacter", `there are ${characters} characters`, "give texts with characters");
  return loss / characters / Math.LN2;
}
