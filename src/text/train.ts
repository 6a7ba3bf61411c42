/** Trains tokenizers on texts. */
import { Tokenizer as Reader } from "@huggingface/tokenizers";
import { ConfigError, DataError, quoted } from "../errors.ts";
import {
  aFlag,
  aText,
  aWhole,
  described,
  expectArguments,
  type Kind,
  options as optionsOf,
} from "../graph/arguments.ts";
import { characterOfByte } from "./byte-level.ts";
import { anIterable, someTokens } from "./kinds.ts";
import { learnMerges } from "./learn-merges.ts";
import { characterPattern, cutFor } from "./pieces.ts";
import { templateFrom } from "./template.ts";
import { Tokenizer } from "./tokenizer.ts";
import type { AddedToken, TokenizerComponent, TokenizerJson } from "./tokenizer-json.ts";

/** The options of all trained tokenizers. */
export interface TrainTokenizerOptions {
  /** Tokens that are not text. They come first: the first has id 0. */
  readonly specialTokens?: readonly string[];
  /** The template of a text, with `$A` in the text's place: `[CLS] $A [SEP]`. */
  readonly template?: string;
  /** The template of a pair; `:1` marks the second segment: `[CLS] $A [SEP] $B:1 [SEP]:1`. */
  readonly pairTemplate?: string;
}

/** Options of `tokenizers.trainBpe`. */
export interface TrainBpeOptions extends TrainTokenizerOptions {
  /** The total number of tokens. Training ends earlier when no pair is left. Default 8,000. */
  readonly vocabularySize?: number;
  /** How often a pair must occur to be merged. Default 2. */
  readonly minFrequency?: number;
  /**
   * Whether tokens consist of bytes, as in GPT-2: any text can be encoded and decodes to exactly the same text. Default true. Otherwise
   * tokens consist of characters, words are divided by white space, and the last token of a word ends in `</w>` (Sennrich et al. 2016).
   */
  readonly byteLevel?: boolean;
  /** The number of characters that are kept, the most frequent ones; only for tokens of characters. Default: all. */
  readonly alphabetSize?: number;
}

/** Options of `tokenizers.trainWordPiece`. */
export interface TrainWordPieceOptions extends TrainTokenizerOptions {
  /** The total number of tokens. Default 8,000. BERT has 30,522. */
  readonly vocabularySize?: number;
  /** How often a pair must occur to be merged. Default 2. */
  readonly minFrequency?: number;
  /** Whether capitals and accents are dropped, as in BERT's uncased models. Default true. */
  readonly lowercase?: boolean;
  /** The number of characters that are kept, the most frequent ones. Default 1,000. */
  readonly alphabetSize?: number;
}

/** Options of `tokenizers.trainWordLevel`. */
export interface TrainWordLevelOptions extends TrainTokenizerOptions {
  /** The total number of tokens; the most frequent words are kept. Default: all words. */
  readonly vocabularySize?: number;
  /** How often a word must occur to be a token. Default 1. */
  readonly minFrequency?: number;
  /** Whether texts are lowercased. Default false. */
  readonly lowercase?: boolean;
  /** Whether punctuation is separated from words. Default false: only white space divides words. */
  readonly splitPunctuation?: boolean;
}

/** Options of `tokenizers.trainCharacterLevel`. */
export interface TrainCharacterLevelOptions extends TrainTokenizerOptions {
  /** The total number of tokens; the most frequent characters are kept. Default: all characters. */
  readonly vocabularySize?: number;
  /** How often a character must occur to be a token. Default 1. */
  readonly minFrequency?: number;
  /** Whether texts are lowercased. Default false. */
  readonly lowercase?: boolean;
}

/** How texts are divided into words before words become tokens, and how tokens become a text again. */
type Form = Pick<TokenizerJson, "normalizer" | "pre_tokenizer" | "decoder">;

const byteLevelPart = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const bertTokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const bertTemplate = { template: "[CLS] $A [SEP]", pairTemplate: "[CLS] $A [SEP] $B:1 [SEP]:1" };
const unknownToken = "<unk>";

/**
 * Trains a byte-pair encoding: the most frequent pair of tokens becomes a token, until there are enough tokens. Merges and their order are
 * those of Hugging Face's `tokenizers`. Throws ConfigError for a size below that of the alphabet, DataError when the texts have no words.
 */
export function trainBpe(texts: Iterable<string>, options: TrainBpeOptions = {}): Tokenizer {
  expectTraining("trainBpe", texts, options, { ...sizes, byteLevel: aFlag, alphabetSize: aWhole });
  const { byteLevel = true, vocabularySize = 8_000, minFrequency = 2, alphabetSize = Infinity } = options;
  const specialTokens = options.specialTokens ?? (byteLevel ? ["<|endoftext|>"] : [unknownToken]);
  const suffix = byteLevel ? "" : "</w>";
  const form: Form = byteLevel
    ? { normalizer: null, pre_tokenizer: byteLevelPart, decoder: byteLevelPart }
    : { normalizer: null, pre_tokenizer: { type: "WhitespaceSplit" }, decoder: { type: "BPEDecoder", suffix } };
  const words = countWords("trainBpe", texts, form);
  const { tokens, merges } = learnMerges(words, {
    size: vocabularySize,
    first: specialTokens,
    alphabet: byteLevel ? characterOfByte : [],
    alphabetSize,
    minFrequency,
    prefix: "",
    suffix,
  });
  expectRoom("trainBpe", vocabularySize, tokens.length - merges.length, byteLevel);
  const model = {
    type: "BPE",
    dropout: null,
    unk_token: specialTokens.includes(unknownToken) ? unknownToken : null,
    continuing_subword_prefix: null,
    end_of_word_suffix: suffix === "" ? null : suffix,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: recordOf(tokens),
    merges,
  };
  return tokenizerOf("trainBpe", model, form, { ...options, specialTokens });
}

/**
 * Trains WordPiece, the tokens of BERT: the start of a word, then parts that begin with `##`. Pairs are merged by their frequency, as in
 * Hugging Face's trainer; Google's own was never published. Throws as `trainBpe` does.
 */
export function trainWordPiece(texts: Iterable<string>, options: TrainWordPieceOptions = {}): Tokenizer {
  expectTraining("trainWordPiece", texts, options, { ...sizes, lowercase: aFlag, alphabetSize: aWhole });
  const { vocabularySize = 8_000, minFrequency = 2, lowercase = true, alphabetSize = 1_000 } = options;
  const specialTokens = options.specialTokens ?? bertTokens;
  const form = bertForm(lowercase);
  const { tokens, merges } = learnMerges(countWords("trainWordPiece", texts, form), {
    size: vocabularySize,
    first: specialTokens,
    alphabet: [],
    alphabetSize,
    minFrequency,
    prefix: "##",
    suffix: "",
  });
  expectRoom("trainWordPiece", vocabularySize, tokens.length - merges.length, false);
  return wordPieceTokenizer("trainWordPiece", tokens, form, {
    ...(options.specialTokens ? {} : bertTemplate),
    ...options,
    specialTokens,
  });
}

/**
 * Trains a tokenizer in which every word is a token. Words that are too rare, or that the texts do not have, are `<unk>`. Throws DataError
 * when the texts have no words.
 */
export function trainWordLevel(texts: Iterable<string>, options: TrainWordLevelOptions = {}): Tokenizer {
  expectTraining("trainWordLevel", texts, options, { ...sizes, lowercase: aFlag, splitPunctuation: aFlag });
  const { lowercase = false, splitPunctuation = false } = options;
  const form: Form = {
    normalizer: lowercase ? { type: "Lowercase" } : null,
    pre_tokenizer: { type: splitPunctuation ? "BertPreTokenizer" : "WhitespaceSplit" },
    decoder: null,
  };
  return wordLevelTokenizer("trainWordLevel", texts, form, options);
}

/**
 * Trains a tokenizer in which every character (code point) is a token. Characters that the texts do not have are `<unk>`. Throws DataError
 * when the texts have no characters.
 */
export function trainCharacterLevel(texts: Iterable<string>, options: TrainCharacterLevelOptions = {}): Tokenizer {
  expectTraining("trainCharacterLevel", texts, options, { ...sizes, lowercase: aFlag });
  const { lowercase = false } = options;
  const form: Form = {
    normalizer: lowercase ? { type: "Lowercase" } : null,
    pre_tokenizer: { type: "Split", pattern: { Regex: characterPattern }, behavior: "Isolated", invert: false },
    decoder: { type: "Fuse" },
  };
  return wordLevelTokenizer("trainCharacterLevel", texts, form, options);
}

// Shared by all trained tokenizers

const sizes: Readonly<Record<string, Kind>> = { vocabularySize: aWhole, minFrequency: aWhole };
const shared: Readonly<Record<string, Kind>> = { specialTokens: someTokens, template: aText, pairTemplate: aText };

function expectTraining(subject: string, texts: unknown, given: object, known: Readonly<Record<string, Kind>>): void {
  expectArguments(subject, [anIterable, optionsOf({ ...shared, ...known })], [texts, given]);
  for (const [name, value] of Object.entries(given))
    if (typeof value === "number" && !(value >= 1))
      throw new ConfigError(subject, `${name} is ${value}`, "give a whole number from 1 on");
}

function expectRoom(subject: string, size: number, alphabet: number, byteLevel: boolean): void {
  if (size < alphabet)
    throw new ConfigError(
      subject,
      `vocabularySize is ${size}, and special tokens and single ${byteLevel ? "bytes" : "characters"} alone are ${alphabet}`,
      `raise vocabularySize to more than ${alphabet}${byteLevel ? "" : ", or set alphabetSize to keep fewer characters"}`,
    );
}

export function bertForm(lowercase: boolean): Form {
  return {
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  };
}

/** Returns the count of each word of the texts. */
function countWords(subject: string, texts: Iterable<string>, form: Form): Map<string, number> {
  const json = { ...form, ...rest, added_tokens: [], model: { type: "WordLevel", vocab: {}, unk_token: unknownToken } };
  const { normalizer, pre_tokenizer: preTokenizer } = new Reader(json, {});
  const { pieces } = cutFor(json);
  const counts = new Map<string, number>();
  let index = 0;
  for (const text of texts) {
    if (typeof text !== "string")
      throw new DataError(subject, `text ${index} is ${described(text)}`, "give texts, such as the lines of a file");
    for (const piece of pieces(text)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
    index++;
  }
  // Texts repeat their pieces, so each different piece is divided into words only once.
  const words = new Map<string, number>();
  for (const [piece, count] of counts) {
    const normalized = normalizer ? normalizer(piece) : piece;
    if (normalized === "") continue;
    for (const word of preTokenizer!(normalized)) words.set(word, (words.get(word) ?? 0) + count);
  }
  if (words.size === 0)
    throw new DataError(
      subject,
      `${index} texts have no words`,
      "check where the texts come from: a filter may have dropped all",
    );
  return words;
}

function wordLevelTokenizer(
  subject: string,
  texts: Iterable<string>,
  form: Form,
  options: TrainWordLevelOptions,
): Tokenizer {
  const { vocabularySize = Infinity, minFrequency = 1, specialTokens = [unknownToken] } = options;
  const counts = countWords(subject, texts, form);
  for (const token of specialTokens) counts.delete(token);
  const words = mostFrequent(counts, vocabularySize - specialTokens.length, minFrequency);
  const unknown = specialTokens.find((token) => /^[[<](unk|oov)[\]>]$/i.test(token));
  if (unknown === undefined)
    throw new ConfigError(
      subject,
      `no special token of [${specialTokens.slice(0, 8).map(quoted).join(", ")}] stands for what is unknown`,
      `put ${quoted(unknownToken)} among them`,
    );
  const vocab = recordOf([...specialTokens, ...words]);
  return tokenizerOf(subject, { type: "WordLevel", vocab, unk_token: unknown }, form, { ...options, specialTokens });
}

/** Returns the most frequent texts; texts with the same count are in the order of their UTF-16 units. */
export function mostFrequent(counts: ReadonlyMap<string, number>, size: number, minFrequency: number): string[] {
  return [...counts]
    .filter(([, count]) => count >= minFrequency)
    .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    .slice(0, Math.max(0, size))
    .map(([token]) => token);
}

export function recordOf(tokens: readonly string[]): Record<string, number> {
  // The record has no prototype, so that `__proto__` is a token like any other.
  const record = Object.create(null) as Record<string, number>;
  for (const [id, token] of tokens.entries()) record[token] = id;
  return record;
}

/** Makes a WordPiece tokenizer from its tokens, which include `specialTokens`. */
export function wordPieceTokenizer(
  subject: string,
  tokens: readonly string[],
  form: Form,
  options: TrainTokenizerOptions,
): Tokenizer {
  const unknown = "[UNK]";
  if (!tokens.includes(unknown))
    throw new ConfigError(
      subject,
      `the tokens have no ${quoted(unknown)}`,
      `put ${quoted(unknown)} among the special tokens`,
    );
  const model = {
    type: "WordPiece",
    unk_token: unknown,
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: recordOf(tokens),
  };
  return tokenizerOf(subject, model, form, options);
}

const rest = { version: "1.0", truncation: null, padding: null, post_processor: null };

/** Makes a tokenizer from parts that this library has made. */
export function tokenizerOf(
  subject: string,
  model: TokenizerComponent & { readonly vocab: Readonly<Record<string, number>> },
  form: Form,
  { specialTokens = [], template, pairTemplate }: TrainTokenizerOptions,
): Tokenizer {
  const ids = new Map(Object.entries(model.vocab));
  const added = specialTokens.map(
    (content): AddedToken => ({
      id: ids.get(content)!,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    }),
  );
  const single = template ?? "$A";
  const pair = pairTemplate ?? `${single} $B:1`;
  for (const [line, needed] of [
    [single, ["$A"]],
    [pair, ["$A", "$B"]],
  ] as const) {
    const names = line.split(" ").map((name) => name.replace(/:[01]$/, ""));
    const odd = names.find((name) => name !== "$A" && name !== "$B" && !ids.has(name));
    if (odd !== undefined || needed.some((name) => names.filter((each) => each === name).length !== 1))
      throw new ConfigError(
        subject,
        odd === undefined
          ? `the template ${quoted(line)} does not have ${needed.join(" and ")} once`
          : `the template has ${quoted(odd)}, which is no token`,
        'give a template such as "[CLS] $A [SEP]", of special tokens and texts with one space between',
      );
  }
  const isBare = template === undefined && pairTemplate === undefined;
  const json = { ...rest, ...form, added_tokens: added, model };
  return new Tokenizer({ ...json, post_processor: isBare ? null : templateFrom(single, pair, ids) }, subject);
}
