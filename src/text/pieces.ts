/**
 * Divides a text into pieces that can be encoded separately and cached, and finds the places of a piece's tokens. The allowed divisions
 * depend on the parts of the tokenizer.
 */
import type { Tokenizer as Reader } from "@huggingface/tokenizers";
import { bytesOfToken, gpt2Pieces } from "./byte-level.ts";
import { componentsOf, type TokenizerComponent, type TokenizerJson } from "./tokenizer-json.ts";

/** Returns the places of the tokens in a piece, two numbers for each token; undefined if they cannot be determined. */
export type Align = (
  piece: string,
  reader: Reader,
  ids: readonly number[],
  words: readonly number[],
  tokens: readonly string[],
  unknown: number | undefined,
) => Int32Array | undefined;

export interface Cut {
  /** Returns the pieces in their order. The text between them is only what the tokenizer drops. */
  pieces(text: string): readonly string[];
  readonly align?: Align;
}

/** The pattern of every single character, in the notation of Hugging Face's libraries. */
export const characterPattern = "[\\s\\S]";

/** Words between white space. Only characters that every normalizer treats as white space count, not all that JavaScript does. */
const words = /[^ \t\n\r\p{Zs}]+/gu;

/** Normalizers whose result for a word does not depend on neighbouring words. */
const wordwise = new Set(["BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD"]);

export function cutFor({ normalizer, pre_tokenizer: preTokenizer }: TokenizerJson): Cut {
  if (
    preTokenizer?.type === "ByteLevel" &&
    normalizer === null &&
    preTokenizer.use_regex !== false &&
    !preTokenizer.add_prefix_space
  )
    return { pieces: (text) => text.match(gpt2Pieces) ?? [], align: alignBytes };
  const isWordwise = componentsOf(normalizer).every(({ type }) => wordwise.has(type));
  if (isWordwise && ["BertPreTokenizer", "Whitespace", "WhitespaceSplit"].includes(preTokenizer?.type ?? ""))
    return { pieces: (text) => text.match(words) ?? [], align: alignWords };
  if (normalizer === null && isCharacterwise(preTokenizer)) return { pieces: (text) => [...text], align: alignWords };
  return { pieces: (text) => [text] };
}

function isCharacterwise(part: TokenizerComponent | null): boolean {
  return (
    part?.type === "Split" &&
    (part.pattern as { Regex?: string }).Regex === characterPattern &&
    part.behavior === "Isolated"
  );
}

/** Places of tokens that are sequences of bytes. A token that begins or ends inside a character gets the whole character. */
const alignBytes: Align = (piece, _reader, ids, _words, tokens) => {
  /** The begin and the end of each byte's character. */
  const begins: number[] = [];
  const ends: number[] = [];
  let at = 0;
  for (const character of piece) {
    const code = character.codePointAt(0)!;
    const bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (let i = 0; i < bytes; i++) {
      begins.push(at);
      ends.push(at + character.length);
    }
    at += character.length;
  }
  const spans = new Int32Array(2 * ids.length);
  let byte = 0;
  for (const [i, id] of ids.entries()) {
    const count = bytesOfToken(tokens[id]!)?.length ?? 0;
    if (count === 0 || byte + count > begins.length) return undefined;
    spans[2 * i] = begins[byte]!;
    byte += count;
    spans[2 * i + 1] = ends[byte - 1]!;
  }
  return spans;
};

/** Characters are normalized one by one. Words are then found in the normalized text, and tokens in words, by their lengths. */
const alignWords: Align = (piece, reader, ids, words, tokens, unknown) => {
  const { normalizer, pre_tokenizer: preTokenizer, model } = reader;
  let normalized = "";
  const begins: number[] = [];
  const ends: number[] = [];
  let at = 0;
  for (const character of piece) {
    const own = normalizer ? normalizer(character) : character;
    for (let i = 0; i < own.length; i++) {
      begins.push(at);
      ends.push(at + character.length);
    }
    normalized += own;
    at += character.length;
  }
  if (normalizer && normalizer(piece) !== normalized) return undefined;
  const spans = new Int32Array(2 * ids.length);
  const set = (i: number, from: number, to: number): void => {
    spans[2 * i] = begins[from]!;
    spans[2 * i + 1] = ends[to - 1]!;
  };
  const { continuing_subword_prefix: prefix } = model!.config as { continuing_subword_prefix?: string | null };
  const suffix = model!.end_of_word_suffix ?? "";
  let from = 0;
  let next = 0;
  for (const [word, part] of (preTokenizer ? preTokenizer(normalized) : [normalized]).entries()) {
    from = normalized.indexOf(part, from);
    if (from < 0) return undefined;
    const end = from + part.length;
    let to = from;
    for (; words[next] === word; next++) {
      const token = tokens[ids[next]!]!;
      const inner = to > from && prefix && token.startsWith(prefix) ? token.slice(prefix.length) : token;
      const shown = suffix && inner.endsWith(suffix) ? inner.slice(0, -suffix.length) : inner;
      const isWhole = words[next - 1] !== word && words[next + 1] !== word;
      // The token for unknown text differs in length from the text that it represents: a whole word or one character.
      const length = isWhole
        ? end - to
        : ids[next] === unknown
          ? String.fromCodePoint(part.codePointAt(to - from) ?? 0).length
          : shown.length;
      if (to + length > end || length === 0) return undefined;
      set(next, to, to + length);
      to += length;
    }
    from = end;
  }
  return spans;
};
