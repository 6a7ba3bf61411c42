/** Training data as for BERT (Devlin et al. 2019): masked tokens and pairs of sentences. */
import { drawIndex, permutation, type RandomBits } from "../data/shuffle.ts";
import { ConfigError, DataError } from "../errors.ts";
import { aNumber, aWhole, expectArguments, type Kind, options as optionsOf } from "../graph/arguments.ts";
import { expectSeed, hostStream } from "../random/generator.ts";
import { aRandom, someIds, wholeIds } from "./kinds.ts";
import { aTokenizer, type Tokenizer } from "./tokenizer.ts";

/** Options of `maskTokens`. */
export interface MaskOptions {
  /** The tokenizer, which provides `[MASK]`, the special tokens, which are never masked, and the ids from which replacements are drawn. */
  readonly tokenizer: Tokenizer;
  /** The share of tokens to predict. Default 0.15. */
  readonly probability?: number;
  /**
   * The word of each token, such as an encoding's `words`: all tokens of a word are masked together (whole-word masking). Default: each
   * token is masked separately.
   */
  readonly words?: ArrayLike<number>;
  /** The label of tokens that are not to be predicted: `crossEntropy(…, { ignore: -100 })`. Default −100. */
  readonly ignore?: number;
  /**
   * The source of random bits, such as the one that a loader's `mapExample` gets. Default: made from the seed, the epoch and the example.
   */
  readonly random?: RandomBits;
  /** Default 0. */
  readonly seed?: number;
  /** The epoch. Each epoch has another choice of tokens (dynamic masking, Liu et al. 2019). Default 0. */
  readonly epoch?: number;
  /** The number of the example. Default 0. */
  readonly example?: number;
}

const maskOptions = optionsOf({
  tokenizer: aTokenizer,
  probability: aNumber,
  words: someIds,
  ignore: aWhole,
  random: aRandom,
  seed: aWhole,
  epoch: aWhole,
  example: aWhole,
});

/**
 * Masks tokens for a masked language model. Of 100 tokens to predict, 80 become `[MASK]`, 10 become another token, and 10 stay. Their
 * number is the share of the ordinary tokens, rounded, and at least 1; with whole words it is at most this number, unless a single word has
 * more tokens. `labels` has the original ids of the tokens to predict, and `ignore` elsewhere. The same seed, epoch and example give the
 * same result. Throws ConfigError when the tokenizer has no `[MASK]`, DataError for an id that is no int32.
 */
export function maskTokens(ids: ArrayLike<number>, options: MaskOptions): { inputs: Int32Array; labels: Int32Array } {
  expectArguments("maskTokens", [someIds, maskOptions], [ids, options ?? {}]);
  const { tokenizer, probability = 0.15, words, ignore = -100, seed = 0, epoch = 0, example = 0 } = options ?? {};
  const mask = tokenizer?.special.mask;
  if (mask === undefined)
    throw new ConfigError(
      "maskTokens",
      "the tokenizer has no [MASK]",
      'give a tokenizer with "[MASK]" among its special tokens',
    );
  if (!(probability > 0 && probability <= 1))
    throw new ConfigError("maskTokens", `probability is ${probability}`, "give a share above 0, up to 1");
  if (words !== undefined && words.length !== ids.length)
    throw new DataError(
      "maskTokens",
      `there are ${words.length} words for ${ids.length} ids`,
      "give the words of the same encoding",
    );
  expectSeed("maskTokens", seed);
  const random = options?.random ?? hostStream(seed, "masking", epoch, example);
  const inputs = Int32Array.from(wholeIds("maskTokens", ids));
  const labels = new Int32Array(ids.length).fill(ignore);
  // Groups of tokens that are masked together.
  const groups: number[][] = [];
  let count = 0;
  for (let i = 0; i < inputs.length; i++) {
    if (tokenizer.isSpecial(inputs[i]!)) continue;
    count++;
    const last = groups.at(-1);
    const goesOn = words !== undefined && last !== undefined && last.at(-1) === i - 1 && words[i] === words[i - 1];
    if (goesOn) last.push(i);
    else groups.push([i]);
  }
  const wanted = Math.max(1, Math.round(probability * count));
  const ordinary = ordinaryIds(tokenizer);
  let hidden = 0;
  for (const index of permutation(groups.length, random)) {
    const group = groups[index]!;
    if (hidden > 0 && hidden + group.length > wanted) continue;
    hidden += group.length;
    for (const i of group) {
      labels[i] = inputs[i]!;
      const kind = drawIndex(10, random);
      if (kind < 8) inputs[i] = mask;
      else if (kind === 8) inputs[i] = ordinary[drawIndex(ordinary.length, random)]!;
    }
    if (hidden >= wanted) break;
  }
  return { inputs, labels };
}

const ordinaryOf = new WeakMap<Tokenizer, Int32Array>();

/** Returns the ids that are not special tokens. */
function ordinaryIds(tokenizer: Tokenizer): Int32Array {
  let ids = ordinaryOf.get(tokenizer);
  if (ids === undefined) {
    ids = Int32Array.from({ length: tokenizer.size }, (_, id) => id).filter(
      (id) => !tokenizer.isSpecial(id) && tokenizer.tokens[id] !== "",
    );
    ordinaryOf.set(tokenizer, ids);
  }
  return ids;
}

/** Two texts of `nextSentencePairs`, and whether they belong together. */
export interface SentencePair {
  readonly first: string;
  readonly second: string;
  /** Whether the second text follows the first in their document; otherwise it comes from another document. */
  readonly isNext: boolean;
}

/** Options of `nextSentencePairs`. */
export interface SentencePairOptions {
  /** The tokenizer that counts the lengths. */
  readonly tokenizer: Tokenizer;
  /** The most tokens of both texts including special tokens; pairs are to be cut to this length later. Default 128. */
  readonly maxLength?: number;
  /** The share of pairs that are shorter, with a random length. Default 0.1. */
  readonly shortShare?: number;
  /** Default 0. */
  readonly seed?: number;
  /** The epoch. Each epoch has other pairs. Default 0. */
  readonly epoch?: number;
}

/**
 * Makes pairs of texts for predicting whether one follows the other, from documents of sentences, as for BERT. Each pair takes as many
 * sentences as fit, divided in two at random. In half of the pairs the second part comes from another document; the sentences that it
 * replaces are used again. A pair may be slightly longer than `maxLength`: encode it with `{ pair, maxLength }`. Throws DataError for fewer
 * than two documents with sentences.
 */
export function nextSentencePairs(
  documents: readonly (readonly string[])[],
  options: SentencePairOptions,
): SentencePair[] {
  const known = { tokenizer: aTokenizer, maxLength: aWhole, shortShare: aNumber, seed: aWhole, epoch: aWhole };
  expectArguments("nextSentencePairs", [aDocumentList, optionsOf(known)], [documents, options ?? {}]);
  const { tokenizer, maxLength = 128, shortShare = 0.1, seed = 0, epoch = 0 } = options ?? {};
  if (tokenizer === undefined)
    throw new ConfigError(
      "nextSentencePairs",
      "there is no tokenizer",
      "give { tokenizer: tokenizers.trainWordPiece(texts) }",
    );
  if (maxLength < 8) throw new ConfigError("nextSentencePairs", `maxLength is ${maxLength}`, "give 8 at least");
  expectSeed("nextSentencePairs", seed);
  const texts = documents.filter((sentences) => sentences.length > 0);
  if (texts.length < 2)
    throw new DataError(
      "nextSentencePairs",
      `${texts.length} of ${documents.length} documents have sentences`,
      "give two documents at least: half of the pairs take their second text from another one",
    );
  const random = hostStream(seed, "sentencePairs", epoch);
  const lengths = texts.map((sentences) => sentences.map((sentence) => tokenizer.ids(sentence).length));
  const added = tokenizer.encode("", { pair: "" }).ids.length;
  const pairs: SentencePair[] = [];
  for (const [index, sentences] of texts.entries()) {
    const room = (): number => {
      const whole = maxLength - added;
      return random.uniform() < shortShare ? 2 + drawIndex(whole - 1, random) : whole;
    };
    let target = room();
    let from = 0;
    let length = 0;
    for (let i = 0; i < sentences.length; i++) {
      length += lengths[index]![i]!;
      if (i < sentences.length - 1 && length < target) continue;
      const cut = i > from ? from + 1 + drawIndex(i - from, random) : from + 1;
      const first = sentences.slice(from, cut).join(" ");
      const isNext = i > from && drawIndex(2, random) === 1;
      if (isNext) {
        pairs.push({ first, second: sentences.slice(cut, i + 1).join(" "), isNext });
        from = i + 1;
      } else {
        const other = (index + 1 + drawIndex(texts.length - 1, random)) % texts.length;
        const used = lengths[index]!.slice(from, cut).reduce((sum, each) => sum + each, 0);
        pairs.push({ first, second: someSentences(texts[other]!, lengths[other]!, target - used, random), isNext });
        from = cut;
        i = cut - 1;
      }
      length = 0;
      target = room();
    }
  }
  return pairs;
}

/** Returns sentences of a document from a random place on, until they have enough tokens. */
function someSentences(
  sentences: readonly string[],
  lengths: readonly number[],
  wanted: number,
  random: RandomBits,
): string {
  const start = drawIndex(sentences.length, random);
  let end = start;
  for (let length = 0; end < sentences.length && (end === start || length < wanted); end++) length += lengths[end]!;
  return sentences.slice(start, end).join(" ");
}

const aDocumentList: Kind = (value) =>
  Array.isArray(value) &&
  value.every((sentences) => Array.isArray(sentences) && sentences.every((each) => typeof each === "string"))
    ? undefined
    : 'give documents, each an array of sentences: [["It rains.", "It pours."], …]';
