/** Masked tokens and pairs of sentences: shares, reproducibility, whole words. */
import { describe, expect, test } from "vitest";
import { ConfigError, DataError } from "../../src/errors.ts";
import { maskTokens, nextSentencePairs } from "../../src/text/masking.ts";
import * as tokenizers from "../../src/text/tokenizers.ts";

const text = "unbelievable stories of seven clever cats and one sleepy dog under a table by the window";
const tokenizer = tokenizers.trainWordPiece([text], { vocabularySize: 60, minFrequency: 1 });
const { ids, words } = tokenizer.encode(`${text} ${text} ${text}`, { pair: text });

describe("masking", () => {
  test("hides 15 of 100 tokens, of which 80 become [MASK], 10 another one, 10 stay", () => {
    let [guessed, masked, kept, changed, all] = [0, 0, 0, 0, 0];
    for (let example = 0; example < 400; example++) {
      const { inputs, labels } = maskTokens(ids, { tokenizer, seed: 3, example });
      for (const [i, id] of ids.entries()) {
        if (!tokenizer.isSpecial(id)) all++;
        if (labels[i] === -100) {
          expect(inputs[i]).toBe(id);
          continue;
        }
        expect(labels[i]).toBe(id);
        expect(tokenizer.isSpecial(id)).toBe(false);
        guessed++;
        if (inputs[i] === tokenizer.special.mask) masked++;
        else if (inputs[i] === id) kept++;
        else changed++;
        if (inputs[i] !== tokenizer.special.mask) expect(tokenizer.isSpecial(inputs[i]!)).toBe(false);
      }
    }
    expect(guessed / all).toBeCloseTo(0.15, 2);
    expect(Math.abs(masked / guessed - 0.8)).toBeLessThan(0.01);
    expect(Math.abs(kept / guessed - 0.1)).toBeLessThan(0.01);
    expect(Math.abs(changed / guessed - 0.1)).toBeLessThan(0.01);
  });

  test("follows from seed, epoch and example", () => {
    const of = (seed: number, epoch: number, example: number): string =>
      maskTokens(ids, { tokenizer, seed, epoch, example }).inputs.join();
    expect(of(1, 2, 3)).toBe(of(1, 2, 3));
    expect(new Set([of(1, 2, 3), of(2, 2, 3), of(1, 3, 3), of(1, 2, 4)]).size).toBe(4);
  });

  test("of whole words hides all their tokens or none", () => {
    let several = 0;
    for (let example = 0; example < 100; example++) {
      const { labels } = maskTokens(ids, { tokenizer, words, example });
      let count = 0;
      for (let i = 1; i < ids.length; i++) {
        if (labels[i] !== -100) count++;
        if (words[i]! < 0 || words[i] !== words[i - 1]) continue;
        expect(labels[i] === -100).toBe(labels[i - 1] === -100);
        if (labels[i] !== -100) several++;
      }
      expect(count).toBeLessThanOrEqual(Math.round(0.15 * ids.length));
      expect(count).toBeGreaterThan(0);
    }
    expect(several).toBeGreaterThan(20);
  });

  test("hides one token at least, and none where all are special", () => {
    const short = tokenizer.encode("cats").ids;
    expect(maskTokens(short, { tokenizer }).labels.filter((label) => label !== -100).length).toBeGreaterThan(0);
    expect(maskTokens(tokenizer.encode("").ids, { tokenizer, ignore: -1 }).labels).toEqual(Int32Array.of(-1, -1));
    expect(() => maskTokens(ids, { tokenizer: tokenizers.trainBpe([text], { vocabularySize: 300 }) })).toThrow(
      "has no [MASK]",
    );
    expect(() => maskTokens([...ids, 2.5], { tokenizer })).toThrow("id 2.5");
    expect(() => maskTokens(ids, { tokenizer, probability: 0 })).toThrow(ConfigError);
    expect(() => maskTokens(ids, { tokenizer, words: [1] })).toThrow(DataError);
  });
});

describe("pairs of sentences", () => {
  const documents = Array.from({ length: 30 }, (_, d) =>
    Array.from({ length: 20 }, (_, s) => `doc${d} line${s} ${"cats and one dog ".repeat(1 + ((d + s) % 3))}`.trim()),
  );
  const pairs = nextSentencePairs(documents, { tokenizer, maxLength: 80, seed: 5 });
  const place = (sentence: string): readonly [string, number] => [
    sentence.split(" ")[0]!,
    Number(/line(\d+)/.exec(sentence)![1]),
  ];
  const lastOf = (joined: string): string => `doc${joined.split("doc").at(-1)!}`;

  test("follow each other, or come from two documents, half and half", () => {
    expect(pairs.length).toBeGreaterThan(60);
    const next = pairs.filter(({ isNext }) => isNext);
    // A document's last sentence alone has no next, so somewhat fewer than half.
    expect(Math.abs(next.length / pairs.length - 0.5)).toBeLessThan(0.15);
    for (const { first, second, isNext } of pairs) {
      const [document, line] = place(lastOf(first));
      const [other, start] = place(second);
      expect(document === other && start === line + 1).toBe(isNext);
      if (!isNext) expect(other).not.toBe(document);
    }
  });

  test("use all sentences of every document as first or second text", () => {
    const used = new Set(
      pairs.flatMap(({ first, second, isNext }) => (isNext ? `${first} ${second}` : first).match(/doc\d+ line\d+/g)!),
    );
    expect(used.size).toBe(600);
  });

  test("follow from the seed and the epoch", () => {
    expect(nextSentencePairs(documents, { tokenizer, maxLength: 80, seed: 5 })).toEqual(pairs);
    expect(nextSentencePairs(documents, { tokenizer, maxLength: 80, seed: 5, epoch: 1 })).not.toEqual(pairs);
  });

  test("need two documents", () => {
    expect(() => nextSentencePairs([["a"], []], { tokenizer })).toThrow("1 of 2 documents have sentences");
    expect(() => nextSentencePairs([["a"], ["b"]], { tokenizer, maxLength: 4 })).toThrow(ConfigError);
  });
});
