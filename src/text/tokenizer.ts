/** Tokenizers: convert texts to ids of tokens and back. */
import { Tokenizer as Reader } from "@huggingface/tokenizers";
import { type Sequences, sequenceMask, sequences } from "../data/sequences.ts";
import { ConfigError, DataError, FormatError, quoted } from "../errors.ts";
import { aFlag, aText, aWhole, described, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import { someIds } from "./kinds.ts";
import { type Align, type Cut, cutFor } from "./pieces.ts";
import { type Template, type TemplatePart, type Truncation, templateOf, truncated } from "./template.ts";
import { expectTokenizerJson, type TokenizerJson } from "./tokenizer-json.ts";

/** The ids of special tokens by their role; roles that a tokenizer does not have are absent. */
export interface SpecialIds {
  /** Pads rows. */
  readonly pad?: number;
  /** Represents text that has no token. */
  readonly unk?: number;
  /** Begins a text in BERT's format; its output represents the whole text. */
  readonly cls?: number;
  /** Ends a segment. */
  readonly sep?: number;
  /** Replaces tokens that a model is to predict. */
  readonly mask?: number;
  /** Begins a text. */
  readonly bos?: number;
  /** Ends a text. */
  readonly eos?: number;
}

/** Options of a tokenizer's `encode`. */
export interface EncodeOptions {
  /** A second text, for example the answer to a question. */
  readonly pair?: string;
  /** Whether the tokens of the tokenizer's template, such as `[CLS]`, are inserted. Default true. */
  readonly addSpecialTokens?: boolean;
  /** The most tokens, including special tokens. Default: no limit. */
  readonly maxLength?: number;
  /** Which text is cut if there are more: the longer text first, the default, or only one of them. Always the end is cut. */
  readonly truncation?: Truncation;
}

/** Options of a tokenizer's `decode`. */
export interface DecodeOptions {
  /** Whether special tokens are left out. Default true. */
  readonly skipSpecialTokens?: boolean;
}

/** A text as input of a model. All arrays have one element for each token. */
export interface Encoding {
  readonly ids: Int32Array;
  /** The segment of each token: 0 for the first text, 1 for the second. BERT's `token_type_ids`. */
  readonly typeIds: Int32Array;
  /** The number of each token's word in its text; −1 for special tokens. For masking whole words. */
  readonly words: Int32Array;
  /** 1 for tokens that the template has inserted, 0 for others. */
  readonly special: Uint8Array;
  readonly tokens: readonly string[];
  /**
   * The place of each token in its text, [from, to) in UTF-16 units; [0, 0] for special tokens. Undefined if the tokenizer changes texts in
   * a way that cannot be traced back.
   */
  readonly offsets: readonly (readonly [from: number, to: number])[] | undefined;
}

/**
 * Many texts as columns of a dataset: sequences that a loader pads to one length in each batch, also in buckets, and that `toTensor` pads
 * to the longest.
 */
export interface EncodedBatch {
  /** The ids, padded with the id of the padding token, or 0. */
  readonly ids: Sequences;
  /** The segment of each token, padded with 0. */
  readonly typeIds: Sequences;
  /** The attention mask: 1 for tokens, 0 for padding. */
  readonly mask: Sequences<readonly [], "bool">;
  /** The word of each token, padded with −1. */
  readonly words: Sequences;
}

/** The tokens of a text without special tokens. */
interface Plain {
  readonly ids: readonly number[];
  readonly words: readonly number[];
  /** Two numbers for each token; undefined if the places cannot be determined or are not needed. */
  readonly offsets: readonly number[] | undefined;
}

/** A piece of text that is encoded separately: its ids, and the word of each token. */
interface Piece {
  readonly ids: readonly number[];
  /** The word of each token, counted within the piece. */
  readonly words: readonly number[];
  readonly wordCount: number;
}

/** The most pieces in the cache. Texts repeat their words: a thousand words make up nine tenths of a text. */
const mostPieces = 1 << 16;
const longestPiece = 128;

/** The usual names of special tokens, for files that do not give roles. */
const roleNames: Readonly<Record<keyof SpecialIds, readonly string[]>> = {
  pad: ["[PAD]", "<pad>", "<|pad|>", "<|padding|>"],
  unk: ["[UNK]", "<unk>"],
  cls: ["[CLS]", "<cls>"],
  sep: ["[SEP]", "<sep>"],
  mask: ["[MASK]", "<mask>"],
  bos: ["[BOS]", "<s>", "<bos>", "<|startoftext|>", "<|begin_of_text|>"],
  eos: ["[EOS]", "</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>"],
};

/** A tokenizer. Made by the functions that train or read one; see `tokenizers` and `decodeTokenizer`. */
export class Tokenizer {
  /** The tokens by their ids, including special tokens; the texts of unused ids are empty. */
  readonly tokens: readonly string[];
  readonly special: SpecialIds;
  readonly #json: TokenizerJson;
  readonly #source: string;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #specialIds: ReadonlySet<number>;
  readonly #reader: Reader;
  readonly #template: Template;
  readonly #added: RegExp | undefined;
  /** Whether some added tokens must be searched for in another way than literally. */
  readonly #addedAreIntricate: boolean;
  readonly #cut: Cut;
  readonly #unknown: number | undefined;
  readonly #pieces = new Map<string, Piece>();

  /** `json` must have been checked. `roles` are the names of special tokens by role, for tokens without a usual name. */
  constructor(json: TokenizerJson, source: string, roles: Readonly<Partial<Record<keyof SpecialIds, string>>> = {}) {
    this.#json = json;
    this.#source = source;
    const { vocab, unk_token: unknown, unk_id: unknownId } = json.model;
    const entries: (readonly [string, number])[] = Array.isArray(vocab)
      ? vocab.map(([token]: [string, number], id) => [token, id] as const)
      : Object.entries(vocab as Readonly<Record<string, number>>);
    const ids = new Map<string, number>(entries);
    for (const { content, id } of json.added_tokens) ids.set(content, id);
    this.#ids = ids;
    let size = 0;
    for (const id of ids.values()) size = Math.max(size, id + 1);
    const tokens = new Array<string>(size).fill("");
    for (const [token, id] of ids) tokens[id] = token;
    this.tokens = tokens;
    this.#specialIds = new Set(json.added_tokens.filter(({ special }) => special).map(({ id }) => id));
    this.#template = templateOf(json.post_processor, ids);
    this.#unknown =
      typeof unknownId === "number" ? unknownId : typeof unknown === "string" ? ids.get(unknown) : undefined;
    this.special = specialIds(ids, roles, this.#unknown);
    this.#reader = this.#trying("be read", () => new Reader(json, { unk_token: unknown }));
    this.#cut = cutFor(json);
    const contents = json.added_tokens.map(({ content }) => content).sort((a, b) => b.length - a.length);
    this.#added =
      contents.length > 0
        ? new RegExp(contents.map((content) => content.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|"), "g")
        : undefined;
    this.#addedAreIntricate = json.added_tokens.some(
      ({ lstrip, rstrip, single_word: whole, normalized }) =>
        lstrip || rstrip || whole || (normalized && json.normalizer !== null),
    );
  }

  /** The number of ids: the rows that an embedding and a model's last layer need. */
  get size(): number {
    return this.tokens.length;
  }

  /** Returns the id of a token; undefined if there is no such token. */
  idOf(token: string): number | undefined {
    return this.#ids.get(token);
  }

  /** Returns whether an id is that of a special token, such as `[CLS]`. */
  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
  }

  /**
   * Encodes a text, or a pair of texts, as tokens. Throws DataError when the texts cannot be cut to `maxLength`, FormatError when the
   * tokenizer fails because of its file.
   */
  encode(text: string, options: EncodeOptions = {}): Encoding {
    expectArguments("encode", [aText, encodeOptions], [text, options]);
    const { pair, addSpecialTokens = true, maxLength = Infinity, truncation = "longestFirst" } = options;
    if (!["longestFirst", "onlyFirst", "onlySecond"].includes(truncation))
      throw new ConfigError(
        "encode",
        `truncation is ${described(truncation)}`,
        'give "longestFirst", "onlyFirst" or "onlySecond"',
      );
    const given = pair === undefined ? [text] : [text, pair];
    const texts = given.map((each) => this.#encodePlain(each));
    const whole = pair === undefined ? this.#template.single : this.#template.pair;
    const parts = addSpecialTokens ? whole : whole.filter((part) => "text" in part);
    const added = parts.reduce((count, part) => count + Number("token" in part), 0);
    const lengths = [texts[0]!.ids.length, texts[1]?.ids.length ?? 0] as const;
    const kept = truncated(lengths, maxLength - added, truncation);
    if (kept === undefined || maxLength < 1)
      throw new DataError(
        "encode",
        `${lengths[0] + lengths[1]} tokens and ${added} special ones cannot be cut to ${maxLength} with "${truncation}"`,
        truncation === "longestFirst" ? "raise maxLength" : 'raise maxLength, or use truncation: "longestFirst"',
      );
    return assembled(this, texts, parts, kept, () => given.map((each) => this.#encodePlain(each, true).offsets));
  }

  /**
   * Encodes many texts, or pairs of texts, as columns: `dataset(batch.ids, batch.typeIds, batch.mask, labels)`. Throws as `encode` does,
   * and DataError when there are no texts.
   */
  encodeBatch(
    texts: readonly (string | readonly [text: string, pair: string])[],
    options: Omit<EncodeOptions, "pair"> = {},
  ): EncodedBatch {
    expectArguments("encodeBatch", [textList, batchOptions], [texts, options]);
    const encodings = texts.map((text) =>
      typeof text === "string" ? this.encode(text, options) : this.encode(text[0], { ...options, pair: text[1] }),
    );
    const column = (field: "ids" | "typeIds" | "words", padding: number): Sequences =>
      sequences(
        encodings.map((encoding) => encoding[field]),
        { padding },
      );
    const ids = column("ids", this.special.pad ?? 0);
    return { ids, typeIds: column("typeIds", 0), mask: sequenceMask(ids), words: column("words", -1) };
  }

  /** Returns the ids of one text without special tokens, for training language models. */
  ids(text: string): Int32Array {
    expectArguments("ids", [aText], [text]);
    return Int32Array.from(this.#encodePlain(text).ids);
  }

  /**
   * Decodes ids to text. A byte-level tokenizer returns exactly the encoded text; with other tokenizers, white space and whatever their
   * normalizer changes may differ. Throws DataError for an unknown id.
   */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    expectArguments("decode", [someIds, decodeOptions], [ids, options]);
    const { skipSpecialTokens = true } = options;
    const kept: number[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (!Number.isInteger(id) || id < 0 || id >= this.size)
        throw new DataError(
          "decode",
          `id ${described(id)}, at ${i}, of ${this.size} tokens`,
          `give ids from 0 to ${this.size - 1}`,
        );
      if (!skipSpecialTokens || !this.#specialIds.has(id)) kept.push(id);
    }
    if (kept.length === 0) return "";
    return this.#trying("decode", () => this.#reader.decode(kept, { clean_up_tokenization_spaces: false }));
  }

  /** Returns the content of a `tokenizer.json`, for JSON.stringify. */
  toJSON(): TokenizerJson {
    return this.#json;
  }

  /** Runs a part of the reading library. Errors that it throws are due to the file. */
  #trying<T>(doing: string, run: () => T): T {
    try {
      return run();
    } catch (cause) {
      throw new FormatError(
        this.#source,
        `the tokenizer cannot ${doing}: ${cause instanceof Error ? cause.message : String(cause)}`,
        "give the tokenizer.json of a model, whole and unchanged",
        "",
        { cause },
      );
    }
  }

  #encodePlain(text: string, locating: boolean = false): Plain {
    const found = this.#added === undefined ? [] : [...text.matchAll(this.#added)];
    if (found.length > 0 && this.#addedAreIntricate) {
      const tokens: string[] = this.#trying("encode", () => this.#reader.tokenize(text));
      const ids = tokens.flatMap((token) => this.#idsOf(token));
      return { ids, words: ids.map((_, i) => i), offsets: undefined };
    }
    const ids: number[] = [];
    const words: number[] = [];
    const align = locating ? this.#cut.align : undefined;
    const offsets: number[] | undefined = align ? [] : undefined;
    let word = 0;
    let from = 0;
    const plain = (to: number): void => {
      if (to === from) return;
      const part = from === 0 && to === text.length ? text : text.slice(from, to);
      let at = 0;
      for (const piece of this.#cut.pieces(part)) {
        const encoded = this.#piece(piece);
        for (let i = 0; i < encoded.ids.length; i++) {
          ids.push(encoded.ids[i]!);
          words.push(word + encoded.words[i]!);
        }
        word += encoded.wordCount;
        if (align === undefined) continue;
        at = part.indexOf(piece, at);
        this.#place(align, piece, encoded, from + at, offsets!);
        at += piece.length;
      }
    };
    for (const match of found) {
      plain(match.index);
      from = match.index + match[0].length;
      ids.push(this.#ids.get(match[0])!);
      words.push(word++);
      offsets?.push(match.index, from);
    }
    plain(text.length);
    return { ids, words, offsets };
  }

  #piece(piece: string): Piece {
    const known = this.#pieces.get(piece);
    if (known !== undefined) return known;
    const encoded = this.#trying("encode", () => this.#encodePiece(piece));
    if (piece.length <= longestPiece) {
      if (this.#pieces.size >= mostPieces) this.#pieces.clear();
      this.#pieces.set(piece, encoded);
    }
    return encoded;
  }

  #encodePiece(piece: string): Piece {
    const { normalizer, pre_tokenizer: preTokenizer, model } = this.#reader;
    const normalized = normalizer ? normalizer(piece) : piece;
    const parts = normalized === "" ? [] : preTokenizer ? preTokenizer(normalized, { section_index: 0 }) : [normalized];
    const ids: number[] = [];
    const words: number[] = [];
    for (const [word, part] of parts.entries())
      for (const id of model!([part]).flatMap((token: string) => this.#idsOf(token))) {
        ids.push(id);
        words.push(word);
      }
    return { ids, words, wordCount: parts.length };
  }

  /** Returns the id of one of the library's tokens; an empty array for text without a token if there is no token for unknown text. */
  #idsOf(token: string): number[] {
    const id = this.#ids.get(token) ?? this.#unknown;
    return id === undefined ? [] : [id];
  }

  /** Adds the places of a piece's tokens to `offsets`. */
  #place(align: Align, piece: string, { ids, words }: Piece, start: number, offsets: number[]): void {
    const isOne = ids.length === 1 && this.tokens[ids[0]!]!.length === piece.length;
    const spans = isOne ? undefined : align(piece, this.#reader, ids, words, this.tokens, this.#unknown);
    for (let i = 0; i < ids.length; i++)
      offsets.push(start + (spans?.[2 * i] ?? 0), start + (spans?.[2 * i + 1] ?? piece.length));
  }
}

const encodeOptions = optionsOf({ pair: aText, addSpecialTokens: aFlag, maxLength: aWhole, truncation: aText });
const batchOptions = optionsOf({ addSpecialTokens: aFlag, maxLength: aWhole, truncation: aText });
const textList = (value: unknown): string | undefined =>
  Array.isArray(value) &&
  value.every(
    (text) =>
      typeof text === "string" ||
      (Array.isArray(text) && text.length === 2 && text.every((part) => typeof part === "string")),
  )
    ? undefined
    : 'give an array of texts, or of pairs: ["a text", ["a question", "its answer"]]';
const decodeOptions = optionsOf({ skipSpecialTokens: aFlag });

function specialIds(
  ids: ReadonlyMap<string, number>,
  roles: Readonly<Partial<Record<keyof SpecialIds, string>>>,
  unknown: number | undefined,
): SpecialIds {
  const found: { -readonly [K in keyof SpecialIds]: SpecialIds[K] } = unknown === undefined ? {} : { unk: unknown };
  for (const role of Object.keys(roleNames) as (keyof SpecialIds)[]) {
    const named = roles[role];
    const name = named ?? roleNames[role].find((each) => ids.has(each));
    const id = name === undefined ? undefined : ids.get(name);
    if (named !== undefined && id === undefined)
      throw new ConfigError(
        "tokenizer",
        `${role} is to be ${quoted(named)}, which is no token`,
        "name a token that there is",
      );
    if (id !== undefined && (role !== "unk" || found.unk === undefined)) found[role] = id;
  }
  return found;
}

/** Inserts texts into their template. */
function assembled(
  { tokens }: Tokenizer,
  texts: readonly Plain[],
  parts: readonly TemplatePart[],
  kept: readonly [number, number],
  locate: () => readonly (readonly number[] | undefined)[],
): Encoding {
  const length = parts.reduce((sum, part) => sum + ("text" in part ? kept[part.text] : 1), 0);
  const ids = new Int32Array(length);
  const typeIds = new Int32Array(length);
  const words = new Int32Array(length).fill(-1);
  const special = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    const begin = at;
    if ("token" in part) {
      ids[at] = part.token;
      special[at++] = 1;
    } else {
      const text = texts[part.text]!;
      for (let i = 0; i < kept[part.text]; i++, at++) {
        ids[at] = text.ids[i]!;
        words[at] = text.words[i]!;
      }
    }
    typeIds.fill(part.segment, begin, at);
  }
  return {
    ids,
    typeIds,
    words,
    special,
    // Read rarely, so made only when it is read.
    get tokens() {
      return Array.from(ids, (id) => tokens[id]!);
    },
    get offsets() {
      const places = locate();
      if (places.includes(undefined)) return undefined;
      return parts.flatMap((part): (readonly [number, number])[] => {
        if ("token" in part) return [[0, 0]];
        const own = places[part.text]!;
        return Array.from({ length: kept[part.text] }, (_, i) => [own[2 * i]!, own[2 * i + 1]!] as const);
      });
    },
  };
}

/** Returns the roles that a `tokenizer_config.json` gives to tokens. */
function rolesOf(config: unknown, source: string): Partial<Record<keyof SpecialIds, string>> {
  if (typeof config !== "object" || config === null)
    throw new FormatError(source, `the config is ${described(config)}`, "give the tokenizer_config.json of the model");
  const roles: Partial<Record<keyof SpecialIds, string>> = {};
  for (const role of Object.keys(roleNames) as (keyof SpecialIds)[]) {
    const value = (config as Record<string, unknown>)[`${role}_token`];
    const name = typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
    if (typeof name === "string") roles[role] = name;
    else if (name !== undefined && name !== null)
      throw new FormatError(
        source,
        `${role}_token is ${described(value)}`,
        "give the tokenizer_config.json of the model",
      );
  }
  return roles;
}

/** Returns the value of JSON given as bytes, as text, or already parsed. Throws FormatError for text that is not JSON. */
export function readJson(content: unknown, source: string): unknown {
  const text = content instanceof Uint8Array ? new TextDecoder().decode(content) : content;
  if (typeof text !== "string") return text;
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(source, `it is no JSON: ${reason}`, "give the file whole and unchanged", "", { cause });
  }
}

/** Options of `decodeTokenizer`. */
export interface DecodeTokenizerOptions {
  /** A `tokenizer_config.json`, which gives the roles of special tokens: its bytes, its text or its content. */
  readonly config?: unknown;
  /** The file's name in messages. */
  readonly source?: string;
}

/**
 * Makes the tokenizer of a `tokenizer.json`, such as those of published models: give its bytes, its text or its content. Throws FormatError
 * for an invalid file, with the place in the file and what was expected there.
 */
export function decodeTokenizer(content: unknown, options: DecodeTokenizerOptions = {}): Tokenizer {
  expectArguments("decodeTokenizer", [isContent, optionsOf({ config: isContent, source: aText })], [content, options]);
  const { config, source = "tokenizer.json" } = options;
  const json = expectTokenizerJson(readJson(content, source), source);
  const besides = source.replace(/[^/\\]*$/, "tokenizer_config.json");
  return new Tokenizer(json, source, config === undefined ? {} : rolesOf(readJson(config, besides), source));
}

const isContent = (value: unknown): string | undefined =>
  typeof value === "string" || (typeof value === "object" && value !== null)
    ? undefined
    : "give the bytes, the text or the content of a tokenizer.json";

/**
 * Returns a tokenizer as the text of a `tokenizer.json`, which Hugging Face's libraries read. Throws ConfigError if the argument is not a
 * tokenizer.
 */
export function encodeTokenizer(tokenizer: Tokenizer): string {
  expectArguments("encodeTokenizer", [aTokenizer], [tokenizer]);
  return JSON.stringify(tokenizer.toJSON());
}

export const aTokenizer = (value: unknown): string | undefined =>
  value instanceof Tokenizer ? undefined : "give a tokenizer: tokenizers.trainBpe(texts)";
