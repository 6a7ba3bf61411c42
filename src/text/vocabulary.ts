/** Vocabularies: symbols, such as letters, phones or words that are cut already, as ids and back. */
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

/** Special tokens by what they are for. Those that are named are in the vocabulary, at its front. */
export interface SpecialTokens {
  /** Fills sequences up to one length. */
  readonly pad?: string;
  /** Stands for symbols that are not in the vocabulary. */
  readonly unk?: string;
  /** Begins a sequence: the first thing a decoder reads. */
  readonly bos?: string;
  /** Ends a sequence. */
  readonly eos?: string;
}

export interface VocabularyOptions {
  /** Default: none. All four: `{ pad: "<pad>", unk: "<unk>", bos: "<s>", eos: "</s>" }`. */
  readonly special?: SpecialTokens;
}

export interface BuildVocabularyOptions extends VocabularyOptions {
  /** Tokens in all, special ones included: the most frequent are kept. Default: all. */
  readonly size?: number;
  /** How often a symbol must occur. Default 1. */
  readonly minFrequency?: number;
}

/** What a file holds of a vocabulary. */
export interface VocabularyContent {
  readonly tokens: readonly string[];
  readonly special: SpecialTokens;
}

const roles = ["pad", "unk", "bos", "eos"] as const;

/** Made by `vocabulary` or `buildVocabulary`. */
export class Vocabulary {
  /** By their ids, special ones first. */
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

  /** How many tokens there are: the rows of an embedding. */
  get size(): number {
    return this.tokens.length;
  }

  /** The id of a token, or of the one that stands for unknown symbols; undefined when there is neither. */
  idOf(token: string): number | undefined {
    return this.#ids.get(token) ?? this.idFor("unk");
  }

  /** The id of a special token by what it is for; undefined when there is none. */
  idFor(role: keyof SpecialTokens): number | undefined {
    const token = this.special[role];
    return token === undefined ? undefined : this.#ids.get(token);
  }

  /**
   * The ids of symbols: of a string's characters (code points), or of an array's elements. `bos` and `eos` put the special tokens around
   * them. Throws DataError for a symbol that is not in the vocabulary when nothing stands for unknown ones.
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
   * The symbols of ids up to the first `eos`, special ones left out unless `keepSpecial`, which keeps all. Throws DataError for an id that
   * there is not.
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

  /** For JSON.stringify; `vocabulary(content.tokens, { special: content.special })` is the way back. */
  toJSON(): VocabularyContent {
    return { tokens: this.tokens, special: this.special };
  }
}

const symbolsOf: Kind = (value) => (typeof value === "string" ? undefined : anIterable(value));

const specialTokens: Kind = (value) =>
  aRecord(value) ?? optionsOf(Object.fromEntries(roles.map((role) => [role, aText])))(value);

/**
 * A vocabulary of these tokens, in their order. Special tokens that are not among them come first, in the order pad, unk, bos, eos, so that
 * `pad` is 0. Throws ConfigError for a token that is there twice.
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
 * A vocabulary of the symbols of sequences, each a string, whose characters count, or an array: the most frequent first, those of one count
 * in the order of their characters. Throws DataError when there are no symbols.
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
