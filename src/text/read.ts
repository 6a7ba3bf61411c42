/**
 * Reads tokenizers from the files of older models: BERT's `vocab.txt`, GPT-2's `vocab.json` and `merges.txt`, and ranks as OpenAI writes
 * them.
 */
import { FormatError, quoted } from "../errors.ts";
import { aFlag, aText, expectArguments, type Kind, options as optionsOf } from "../graph/arguments.ts";
import { charactersOfBytes } from "./byte-level.ts";
import { someTokens } from "./kinds.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { decodeTokenizer, readJson } from "./tokenizer.ts";
import { bertForm, recordOf, tokenizerOf, wordPieceTokenizer } from "./train.ts";

/** The content of a file: its bytes or its text. */
export type FileContent = Uint8Array | string;

const aFile: Kind = (value) =>
  typeof value === "string" || value instanceof Uint8Array ? undefined : "give the bytes or the text of the file";

const textOf = (content: FileContent): string =>
  typeof content === "string" ? content : new TextDecoder().decode(content);

const mostTokens = 2 ** 22;

/** Options of `tokenizers.bert`. */
export interface BertOptions {
  /** Whether the model is uncased: capitals and accents are dropped. Default true. */
  readonly lowercase?: boolean;
  /** The file's name in messages. Default `vocab.txt`. */
  readonly source?: string;
}

/**
 * Makes BERT's tokenizer from its `vocab.txt`, with one token per line. Throws FormatError for a file that lacks [UNK], [CLS] or [SEP], or
 * has a token twice.
 */
export function bert(vocabulary: FileContent, options: BertOptions = {}): Tokenizer {
  expectArguments("tokenizers.bert", [aFile, optionsOf({ lowercase: aFlag, source: aText })], [vocabulary, options]);
  const { lowercase = true, source = "vocab.txt" } = options;
  const tokens = textOf(vocabulary).split(/\r?\n/);
  if (tokens.at(-1) === "") tokens.pop();
  const seen = new Set<string>();
  for (const [line, token] of tokens.entries()) {
    if (token === "" || token.length > 1000 || seen.has(token))
      throw new FormatError(
        source,
        `line ${line + 1} is ${token === "" ? "empty" : seen.has(token) ? `${quoted(token)} for the second time` : "too long for a token"}`,
        "give the vocab.txt of a model, whole and unchanged",
      );
    seen.add(token);
  }
  const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].filter((token) => seen.has(token));
  for (const token of ["[UNK]", "[CLS]", "[SEP]"])
    if (!seen.has(token))
      throw new FormatError(
        source,
        `${token} is not among its ${tokens.length} tokens`,
        "give the vocab.txt of a BERT model",
      );
  return wordPieceTokenizer(source, tokens, bertForm(lowercase), {
    specialTokens: special,
    template: "[CLS] $A [SEP]",
    pairTemplate: "[CLS] $A [SEP] $B:1 [SEP]:1",
  });
}

const byteLevelPart = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const endOfText = "<|endoftext|>";

/**
 * Makes GPT-2's tokenizer from its `vocab.json` and `merges.txt`. Throws FormatError for invalid files, or files that do not fit together.
 */
export function gpt2(vocabulary: FileContent, merges: FileContent): Tokenizer {
  expectArguments("tokenizers.gpt2", [aFile, aFile], [vocabulary, merges]);
  const vocab = readJson(vocabulary, "vocab.json");
  const lines = textOf(merges)
    .split(/\r?\n/)
    .filter((line) => line !== "" && !line.startsWith("#version"));
  const id = typeof vocab === "object" && vocab !== null ? (vocab as Record<string, unknown>)[endOfText] : undefined;
  return decodeTokenizer(
    {
      added_tokens: typeof id === "number" ? [{ id, content: endOfText, special: true }] : [],
      pre_tokenizer: byteLevelPart,
      decoder: byteLevelPart,
      model: { type: "BPE", vocab, merges: lines },
    },
    { source: "vocab.json, merges.txt" },
  );
}

/** Options of `tokenizers.tiktoken`. */
export interface TiktokenOptions {
  /** Special tokens, which come after the tokens of the file. Default: GPT-2's `<|endoftext|>`. */
  readonly specialTokens?: readonly string[];
  /** The file's name in messages. */
  readonly source?: string;
}

/**
 * Makes a byte-level tokenizer from a file of ranks, as used by OpenAI's `tiktoken`: each line has a token in base 64 and its rank. Texts
 * are divided as in GPT-2, which is right for `r50k_base` and `gpt2`. Throws FormatError for an invalid file, and for ranks that no
 * sequence of merges produces.
 */
export function tiktoken(ranks: FileContent, options: TiktokenOptions = {}): Tokenizer {
  expectArguments(
    "tokenizers.tiktoken",
    [aFile, optionsOf({ specialTokens: someTokens, source: aText })],
    [ranks, options],
  );
  const { specialTokens = [endOfText], source = "ranks" } = options;
  const tokens = readRanks(textOf(ranks), source);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges = tokens.flatMap((token, id): [string, string][] => {
    if (token.length === 1) return [];
    const parts = partsBefore(token, id, ids);
    if (parts.length !== 2)
      throw new FormatError(
        source,
        `token ${id} is not made of two tokens that come before it`,
        "give the file of ranks whole and unchanged",
      );
    return [parts as [string, string]];
  });
  const model = {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: recordOf([...tokens, ...specialTokens.filter((token) => !ids.has(token))]),
    merges,
  };
  const form = { normalizer: null, pre_tokenizer: byteLevelPart, decoder: byteLevelPart };
  return tokenizerOf(source, model, form, { specialTokens });
}

/** Returns the tokens, as characters that represent bytes, in the order of their ranks. */
function readRanks(text: string, source: string): string[] {
  const fail = (line: number, problem: string): never => {
    throw new FormatError(source, `line ${line + 1} ${problem}`, "give a file of lines such as `IQ== 0`");
  };
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  if (lines.length < 256 || lines.length > mostTokens)
    fail(lines.length - 1, `is the last one, and the 256 bytes alone take 256`);
  const seen = new Set<string>();
  return lines.map((line, index) => {
    const [, code = "", rank] = /^([A-Za-z0-9+/]{2,2000}={0,2}) (\d{1,8})$/.exec(line) ?? [];
    if (Number(rank) !== index) fail(index, `is ${quoted(line)}, and a token with the rank ${index} was expected`);
    let bytes: Uint8Array;
    try {
      bytes = Uint8Array.from(atob(code), (character) => character.charCodeAt(0));
    } catch {
      return fail(index, `has ${quoted(code)}, which is no base 64`);
    }
    const token = charactersOfBytes(bytes);
    if (token === "" || seen.has(token)) fail(index, `has a token that is ${token === "" ? "empty" : "there already"}`);
    seen.add(token);
    return token;
  });
}

/** Returns the parts of a token after all earlier merges: two parts, which the token's merge joins. */
function partsBefore(token: string, rank: number, ids: ReadonlyMap<string, number>): string[] {
  const parts = [...token];
  while (parts.length > 2) {
    let best = rank;
    let at = -1;
    for (let i = 0; i + 1 < parts.length; i++) {
      const id = ids.get(parts[i]! + parts[i + 1]!);
      if (id !== undefined && id < best) {
        best = id;
        at = i;
      }
    }
    if (at < 0) break;
    parts.splice(at, 2, parts[at]! + parts[at + 1]!);
  }
  return parts.every((part) => ids.has(part)) ? parts : [];
}
