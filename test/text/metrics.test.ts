/** Measures of texts, beside numbers from their definitions and from sacrebleu. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DataError } from "../../src/errors.ts";
import { bleu, tokenize13a } from "../../src/text/bleu.ts";
import { editDistance, errorRate } from "../../src/text/edit-distance.ts";
import { bitsPerCharacter, kneserNey, perplexity } from "../../src/text/ngram.ts";

describe("edit distance", () => {
  test("of words that are known", () => {
    expect(editDistance("kitten", "sitting")).toBe(3);
    expect(editDistance(["a", "b"], ["b"])).toBe(1);
    expect(editDistance("", "🙂🙂")).toBe(2);
  });

  test("is a metric", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 6 });
    fc.assert(
      fc.property(word, word, word, (a, b, c) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b) === 0).toBe(a === b);
        expect(editDistance(a, c)).toBeLessThanOrEqual(editDistance(a, b) + editDistance(b, c));
      }),
    );
  });

  test("as a rate takes the nearest reference", () => {
    const rate = errorRate(
      [
        ["T", "AH"],
        ["K", "AE"],
      ],
      [
        [
          ["T", "AA", "M"],
          ["T", "AH"],
        ],
        [["K", "AE", "T"]],
      ],
    );
    expect(rate).toEqual({ rate: 1 / 5, wrong: 1 / 2, edits: 1, symbols: 5 });
    expect(() => errorRate(["a"], [])).toThrow(DataError);
    expect(() => errorRate(["a"], [[]])).toThrow("at least one reference");
  });
});

describe("BLEU", () => {
  test("of sacrebleu's own example", () => {
    const hypotheses = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."];
    const references = [
      ["The dog bit the man.", "The dog had bit the man."],
      ["It was not unexpected.", "No one was surprised."],
      ["The man bit him first.", "The man had bitten the dog."],
    ];
    expect(bleu(hypotheses, references).score).toBeCloseTo(48.530827009929865, 10);
  });

  test("cuts words as mteval-v13a does", () => {
    expect(tokenize13a("Hello, world! It's 3.5 (or 3,500) -- 10-fold &amp; more.")).toBe(
      "Hello , world ! It's 3.5 ( or 3,500 ) -- 10 - fold & more .",
    );
  });

  test("by hand: precisions, brevity, smoothing", () => {
    // 4 of 4 words, 2 of 3 pairs, 0 of 2 triples → 1/4, 0 of 1 → 1/4; two words too short.
    const { score, precisions, brevityPenalty } = bleu(["a b x y"], ["a b z x y w"], { tokenize: "none" });
    expect(precisions).toEqual([100, (100 * 2) / 3, 100 / 4, 100 / 4]);
    expect(brevityPenalty).toBeCloseTo(Math.exp(1 - 6 / 4), 12);
    expect(score).toBeCloseTo(100 * Math.exp(-0.5) * ((1 * 2) / 3 / 4 / 4) ** (1 / 4), 10);
  });

  test("is 100 for the same, 0 for nothing right, and of a short text by its own orders", () => {
    expect(bleu(["a b c d e"], ["a b c d e"]).score).toBeCloseTo(100, 10);
    expect(bleu(["x"], ["a b c d e"]).score).toBe(0);
    expect(bleu([""], ["a"]).score).toBe(0);
    expect(bleu(["a b"], ["a b"]).score).toBe(0);
    expect(bleu(["a b"], ["A b"], { effectiveOrder: true, lowercase: true }).score).toBeCloseTo(100, 10);
    expect(() => bleu(["a"], [])).toThrow(DataError);
  });
});

describe("Kneser–Ney", () => {
  // a = 0, b = 1, end = 2: the sentences "a b" and "a a".
  const sentences = [
    [0, 1, 2],
    [0, 0, 2],
  ];

  test("by hand, of pairs with a discount of 0.5", () => {
    const model = kneserNey(sentences, { vocabularySize: 3, order: 2, discount: 0.5 });
    // Behind how many tokens: a 2 (start, a), b 1 (a), end 2 (b, a); 5 together.
    const uniform = 1 / 3;
    const one = (count: number): number => (count - 0.5) / 5 + ((3 * 0.5) / 5) * uniform;
    // Behind the start: a twice. Behind a: b, a, end once each.
    const start = (2 - 0.5) / 2 + (0.5 / 2) * one(2);
    const afterA = (p: number): number => (1 - 0.5) / 3 + ((3 * 0.5) / 3) * p;
    const [first, second, third] = model.logProbabilities([0, 1, 2]);
    expect(first).toBeCloseTo(Math.log(start), 12);
    expect(second).toBeCloseTo(Math.log(afterA(one(1))), 12);
    // Behind b: end once.
    expect(third).toBeCloseTo(Math.log((1 - 0.5) / 1 + (0.5 / 1) * one(2)), 12);
  });

  test("gives probabilities that add up to 1 in every context, seen or not", () => {
    let state = 1;
    const random = (bound: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * bound);
    };
    const vocabularySize = 12;
    const text = Array.from({ length: 60 }, () => Array.from({ length: 3 + random(8) }, () => random(1 + random(10))));
    for (const options of [{}, { discount: 0.75 }, { order: 1 }, { order: 4 }]) {
      const model = kneserNey(text, { vocabularySize, ...options });
      for (const context of [[], [0], [3, 1], [11, 11], [1, 2, 0]]) {
        let sum = 0;
        for (let id = 0; id < vocabularySize; id++) sum += Math.exp(model.logProbabilities([...context, id]).at(-1)!);
        expect(sum).toBeCloseTo(1, 10);
      }
    }
  });

  test("knows what it was made of better than a model of shorter contexts", () => {
    const text = Array.from({ length: 50 }, (_, i) => [i % 5, (i + 1) % 5, (i + 2) % 5, 5]);
    const of = (order: number): number => kneserNey(text, { vocabularySize: 6, order }).perplexity(text);
    expect(of(3)).toBeLessThan(of(2) + 1e-9);
    expect(of(2)).toBeLessThan(of(1));
    expect(() => kneserNey([], { vocabularySize: 3 })).toThrow(DataError);
    expect(() => kneserNey([[7]], { vocabularySize: 3 })).toThrow("id 7");
  });
});

test("perplexity and bits a character", () => {
  expect(perplexity(Math.log(50))).toBeCloseTo(50, 10);
  expect(perplexity(10 * Math.log(8), 10)).toBeCloseTo(8, 10);
  expect(bitsPerCharacter(3 * Math.LN2, 2)).toBeCloseTo(1.5, 12);
  expect(() => perplexity(1, 0)).toThrow(DataError);
});
