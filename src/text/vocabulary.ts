/** Vocabularies: convert symbols, such as letters, phones or separate words, to ids and back. */
import { ConfigError, DataError, quoted } from "../errors.ts";
import {
  aFlag,
  aRecord,
  aText,
  aWhole,
  described,
  expectArguments,
  type Kind,
  options as optionsOf,
} from "../graph/arguments.ts";
import { anIterable, someIds } from "./kinds.ts";
import { mostFrequent } from "./train.ts";

/** Special tokens by their role. The named tokens are in the vocabulary, at its front. */
export interface SpecialTokens {
  /** Pads sequences to one length. */
  readonly pad?: string;
  /** Represents symbols that are not in the vocabulary. */
  readonly unk?: string;
  /** Begins a sequence: the first input of a decoder. */
  readonly bos?: string;
  /** Ends a sequence. */
  readonly eos?: string;
}

/** Options of `vocabulary`. */
export interface VocabularyOptions {
  /** Default: none. All four: `{ pad: "<pad>", unk: "<unk>", bos: "<s>", eos: "</s>" }`. */
  readonly special?: SpecialTokens;
}

/** Options of `buildVocabulary`. */
export interface BuildVocabularyOptions extends VocabularyOptions {
  /** The total number of tokens, including special tokens; the most frequent symbols are kept. Default: all. */
  readonly size?: number;
  /** How often a symbol must occur to be a token. Default 1. */
  readonly minFrequency?: number;
}

/** The content of a vocabulary for a file. */
export interface VocabularyContent {
  readonly tokens: readonly string[];
  readonly special: SpecialTokens;
}

const roles = ["pad", "unk", "bos", "eos"] as const;

/** A vocabulary. Made by `vocabulary` or `buildVocabulary`. */
export class Vocabulary {
  /** The tokens by their ids. Added special tokens come first. */
  readonly tokens: readonly string[];
  /** The names of the special tokens. */
  readonly special: SpecialTokens;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #specialIds: ReadonlySet<number>;

  constructor(tokens: readonly string[], special: SpecialTokens) {
    this.#ids = new Map(tokens.map((token, id) => [token, id]));
    if (this.#ids.size !== tokens.length)
      throw new ConfigError(
        "vocabulary",
        `${quoted(tokens.find((token, id) => this.#ids.get(token) !== id)!)} is in it twice`,
        "give each token once",
      );
    this.tokens = [...tokens];
    this.special = special;
    this.#specialIds = new Set(roles.flatMap((role) => this.idFor(role) ?? []));
  }

  /** The number of tokens: the rows of an embedding. */
  get size(): number {
    return this.tokens.length;
  }

  /** Returns the id of a token, or that of the token for unknown symbols; undefined if there is neither. */
  idOf(token: string): number | undefined {
    return this.#ids.get(token) ?? this.idFor("unk");
  }

  /** Returns the id of a special token by its role; undefined if there is none. */
  idFor(role: keyof SpecialTokens): number | undefined {
    const token = this.special[role];
    return token === undefined ? undefined : this.#ids.get(token);
  }

  /**
   * Encodes symbols as ids: a string's characters (code points), or an array's elements. `bos` and `eos` add these special tokens at the
   * beginning and the end. Throws DataError for a symbol that is not in the vocabulary if there is no token for unknown symbols.
   */
  encode(symbols: Iterable<string>, options: { readonly bos?: boolean; readonly eos?: boolean } = {}): Int32Array {
    expectArguments("encode", [symbolsOf, optionsOf({ bos: aFlag, eos: aFlag })], [symbols, options]);
    const ids: number[] = [];
    const put = (role: "bos" | "eos"): void => {
      const id = this.idFor(role);
      if (id === undefined)
        throw new ConfigError("encode", `the vocabulary has no ${role}`, `name it: special: { ${role}: "<${role}>" }`);
      ids.push(id);
    };
    if (options.bos) put("bos");
    for (const symbol of symbols) {
      const id = this.idOf(symbol);
      if (id === undefined)
        throw new DataError(
          "encode",
          `${typeof symbol === "string" ? quoted(symbol) : described(symbol)} is not in the vocabulary, and nothing stands for what is unknown`,
          'add it, or name a token for unknown ones: special: { unk: "<unk>" }',
        );
      ids.push(id);
    }
    if (options.eos) put("eos");
    return Int32Array.from(ids);
  }

  /**
   * Decodes ids to symbols, up to the first `eos` and without special tokens; with `keepSpecial` all symbols are kept. Throws DataError for
   * an unknown id.
   */
  decode(ids: ArrayLike<number>, options: { readonly keepSpecial?: boolean } = {}): string[] {
    expectArguments("decode", [someIds, optionsOf({ keepSpecial: aFlag })], [ids, options]);
    const symbols: string[] = [];
    const end = this.idFor("eos");
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      const symbol = this.tokens[id];
      if (symbol === undefined)
        throw new DataError(
          "decode",
          `id ${described(id)}, at ${i}, of ${this.size} tokens`,
          `give ids from 0 to ${this.size - 1}`,
        );
      if (!options.keepSpecial && id === end) break;
      if (options.keepSpecial || !this.#specialIds.has(id)) symbols.push(symbol);
    }
    return symbols;
  }

  /** Returns the content for JSON.stringify. `vocabulary(content.tokens, { special: content.special })` restores the vocabulary. */
  toJSON(): VocabularyContent {
    return { tokens: this.tokens, special: this.special };
  }
}

const symbolsOf: Kind = (value) => (typeof value === "string" ? undefined : anIterable(value));

const specialTokens: Kind = (value) =>
  aRecord(value) ?? optionsOf(Object.fromEntries(roles.map((role) => [role, aText])))(value);

/**
 * Makes a vocabulary of these tokens, in their order. Special tokens that are not among them come first, in the order pad, unk, bos, eos,
 * so that `pad` is 0. Throws ConfigError for a token that occurs twice.
 */
export function vocabulary(tokens: Iterable<string>, options: VocabularyOptions = {}): Vocabulary {
  expectArguments("vocabulary", [symbolsOf, optionsOf({ special: specialTokens })], [tokens, options]);
  const { special = {} } = options;
  const listed = [...tokens];
  const odd = listed.find((token) => typeof token !== "string");
  if (odd !== undefined || listed.some((token) => token === undefined))
    throw new ConfigError("vocabulary", `a token is ${described(odd)}`, "give texts");
  const known = new Set(listed);
  const first = roles.flatMap((role) => special[role] ?? []).filter((token) => !known.has(token));
  return new Vocabulary([...new Set(first), ...listed], special);
}

/**
 * Makes a vocabulary of the symbols of sequences. Each sequence is a string, whose characters are the symbols, or an array of symbols. The
 * most frequent symbols come first, symbols with the same count in the order of their characters. Throws DataError when there are no
 * symbols.
 */
export function buildVocabulary(
  sequences: Iterable<Iterable<string>>,
  options: BuildVocabularyOptions = {},
): Vocabulary {
  const known = optionsOf({ special: specialTokens, size: aWhole, minFrequency: aWhole });
  expectArguments("buildVocabulary", [anIterable, known], [sequences, options]);
  const { special = {}, size = Infinity, minFrequency = 1 } = options;
  const counts = new Map<string, number>();
  let index = 0;
  for (const sequence of sequences) {
    if (symbolsOf(sequence) !== undefined)
      throw new DataError(
        "buildVocabulary",
        `sequence ${index} is ${described(sequence)}`,
        "give strings or arrays of symbols",
      );
    for (const symbol of sequence) counts.set(symbol, (counts.get(symbol) ?? 0) + 1);
    index++;
  }
  if (counts.size === 0)
    throw new DataError("buildVocabulary", `${index} sequences have no symbols`, "check where the sequences come from");
  const first = roles.flatMap((role) => special[role] ?? []);
  for (const token of first) counts.delete(token);
  return vocabulary(mostFrequent(counts, size - new Set(first).size, minFrequency), { special });
}
