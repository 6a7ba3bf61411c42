/** Learned merges and encodings beside those of Hugging Face's own library (test/fixtures/generate_tokenizers.mjs). */
import { readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { learnMerges } from "../../src/text/learn-merges.ts";
import { loadBrown } from "../../src/text/node/brown.ts";
import { decodeTokenizer, type Encoding, type Tokenizer } from "../../src/text/tokenizer.ts";
import { trainBpe, trainWordPiece } from "../../src/text/train.ts";

interface Encodings {
  readonly json: unknown;
  readonly each: readonly {
    readonly text: string;
    readonly ids: number[];
    readonly typeIds: number[];
    readonly offsets: number[];
    readonly special: number[];
    readonly decoded: string;
  }[];
  readonly cut: readonly {
    readonly strategy: "LongestFirst" | "OnlyFirst" | "OnlySecond";
    readonly length: number;
    readonly a: string;
    readonly b: string;
    readonly ids: number[];
    readonly typeIds: number[];
  }[];
}

const fixture = JSON.parse(readFileSync(path.join(import.meta.dirname, "../fixtures/tokenizers.json"), "utf8")) as {
  readonly byteLevelMerges: string[];
  readonly plainMerges: string[];
  readonly wordPieceTokens: string[];
  readonly encodings: Readonly<Record<"gpt" | "bert", Encodings>>;
};

const mergesOf = (tokenizer: Tokenizer): string[] =>
  (tokenizer.toJSON().model.merges as string[][]).map((merge) => merge.join(" "));

describe("training on the Brown corpus", () => {
  let texts: string[];
  beforeAll(async () => {
    texts = (await loadBrown()).documents.flatMap(({ sentences }) => sentences.map(({ words }) => words.join(" ")));
  });

  test("byte-level merges come in Hugging Face's order", () => {
    const started = process.cpuUsage();
    const tokenizer = trainBpe(texts, { vocabularySize: 8000 });
    const { user, system } = process.cpuUsage(started);
    expect((user + system) / 1e6).toBeLessThan(10);
    expect(tokenizer.size).toBe(8000);
    expect(mergesOf(tokenizer).slice(0, 1500)).toEqual(fixture.byteLevelMerges);
  });

  test("merges of characters too", () => {
    const words = new Map<string, number>();
    for (const text of texts) for (const word of text.split(" ")) words.set(word, (words.get(word) ?? 0) + 1);
    const { merges } = learnMerges(words, {
      size: 1700,
      first: [],
      alphabet: [],
      alphabetSize: Infinity,
      minFrequency: 1,
      prefix: "",
      suffix: "",
    });
    expect(merges.slice(0, 1500).map((merge) => merge.join(" "))).toEqual(fixture.plainMerges);
  });

  test("WordPiece has Hugging Face's tokens", () => {
    const tokenizer = trainWordPiece(texts, { vocabularySize: 1505 });
    const own = new Set(tokenizer.tokens.slice(5));
    const shared = fixture.wordPieceTokens.filter((token) => own.has(token)).length;
    expect(shared).toBe(1500);
  });
});

describe.each(["gpt", "bert"] as const)("the form of %s", (name) => {
  const { json, each, cut } = fixture.encodings[name];
  const tokenizer = decodeTokenizer(json);

  test.each(each)("encodes $text", ({ text, ids, typeIds, offsets, special, decoded }) => {
    const encoding: Encoding = tokenizer.encode(text);
    expect([...encoding.ids]).toEqual(ids);
    expect([...encoding.typeIds]).toEqual(typeIds);
    expect([...encoding.special]).toEqual(special);
    expect(tokenizer.decode(ids)).toBe(decoded);
    // The library counts code points, we count UTF-16 units as JavaScript does.
    const units = [0];
    for (const character of text) units.push(units.at(-1)! + character.length);
    expect(encoding.offsets!.flat()).toEqual(offsets.map((at) => units[at]));
  });

  test("cuts pairs as the library does", () => {
    let same = 0;
    for (const { strategy, length, a, b, ids, typeIds } of cut) {
      const truncation = (strategy[0]!.toLowerCase() + strategy.slice(1)) as "longestFirst";
      const encoding = tokenizer.encode(a, { pair: b, maxLength: length, truncation });
      // Which of two halves keeps an odd token is not the same from call to call of the library.
      const firsts = (types: Iterable<number>): number => [...types].filter((type) => type === 0).length;
      const odd = firsts(encoding.typeIds) - firsts(typeIds);
      if (strategy === "LongestFirst" && Math.abs(odd) === 1) {
        expect(encoding.ids.length).toBe(ids.length);
        continue;
      }
      same++;
      expect([strategy, length, ...encoding.ids]).toEqual([strategy, length, ...ids]);
      expect([...encoding.typeIds]).toEqual(typeIds);
    }
    expect(same).toBeGreaterThan(20);
  });
});
