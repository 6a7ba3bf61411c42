/** Vocabularies of symbols, rows and batches of ids. */
import { describe, expect, test } from "vitest";
import {
  buildVocabulary,
  ConfigError,
  DataError,
  languageModelBatches,
  packRows,
  vocabulary,
} from "../../src/index.ts";

const special = { pad: "<pad>", unk: "<unk>", bos: "<s>", eos: "</s>" };

describe("a vocabulary", () => {
  const letters = buildVocabulary(["banana", "bandana", "cab"], { special, size: 7 });

  test("has special tokens, then the most frequent symbols", () => {
    expect(letters.tokens).toEqual(["<pad>", "<unk>", "<s>", "</s>", "a", "n", "b"]);
    expect(letters.size).toBe(7);
    expect([letters.idFor("pad"), letters.idOf("a"), letters.idOf("z")]).toEqual([0, 4, 1]);
  });

  test("encodes, and decodes up to the end", () => {
    expect([...letters.encode("cab", { bos: true, eos: true })]).toEqual([2, 1, 4, 6, 3]);
    expect(letters.decode([2, 6, 4, 5, 3, 0, 4]).join("")).toBe("ban");
    expect(letters.decode([2, 6, 3, 0], { keepSpecial: true })).toEqual(["<s>", "b", "</s>", "<pad>"]);
  });

  test("of words, saved and made again", () => {
    const words = buildVocabulary(
      [
        ["to", "be", "or"],
        ["not", "to", "be"],
      ],
      { minFrequency: 2, special: { unk: "?" } },
    );
    const { tokens, special: names } = JSON.parse(JSON.stringify(words)) as ReturnType<typeof words.toJSON>;
    expect(tokens).toEqual(["?", "be", "to"]);
    expect([...vocabulary(tokens, { special: names }).encode(["to", "see"])]).toEqual([2, 0]);
  });

  test("refuses what it does not have", () => {
    expect(() => vocabulary(["a", "b"]).encode("abc")).toThrow('"c" is not in the vocabulary');
    expect(() => vocabulary(["a"]).encode("a", { eos: true })).toThrow("has no eos");
    expect(() => vocabulary(["a", "a"])).toThrow(ConfigError);
    expect(() => vocabulary(["a"]).decode([1])).toThrow(DataError);
    expect(() => buildVocabulary([])).toThrow("0 sequences have no symbols");
  });
});

describe("language-model batches", () => {
  test("are streams that go on from batch to batch, with the ids that follow", async () => {
    const ids = Int32Array.from({ length: 27 }, (_, i) => i);
    const batches = languageModelBatches(ids, { batchSize: 2, steps: 4 });
    expect(batches.batches).toBe(3);
    const seen: number[][][] = [];
    for (const [inputs, targets] of batches) {
      seen.push(await inputs.array());
      expect(await targets.array()).toEqual((await inputs.array()).map((row) => row.map((id) => id + 1)));
    }
    expect(seen).toEqual([
      [
        [0, 1, 2, 3],
        [12, 13, 14, 15],
      ],
      [
        [4, 5, 6, 7],
        [16, 17, 18, 19],
      ],
      [
        [8, 9, 10, 11],
        [20, 21, 22, 23],
      ],
    ]);
  });

  test("say when there is too little text", () => {
    expect(() => languageModelBatches([1, 2, 3], { batchSize: 1, steps: 3 })).toThrow("which takes 4");
    expect(() => languageModelBatches([1, 2, 3], { batchSize: 0, steps: 3 })).toThrow(ConfigError);
  });
});

test.each<[string, () => unknown, string]>([
  ["batches", () => languageModelBatches([1.7, 2.2, 3.9], { batchSize: 1, steps: 2 }), "id 1.7, at 0, is no int32"],
  ["batches", () => languageModelBatches([1, NaN, 3], { batchSize: 1, steps: 2 }), "id NaN, at 1, is no int32"],
  ["batches", () => languageModelBatches([1, 2, "3" as never], { batchSize: 1, steps: 2 }), "id "],
  ["rows", () => packRows([[1], [2, 2 ** 31]], { length: 1 }), "id 2147483648, at 1 of sequence 1, is no int32"],
])("%s refuse ids that are none", (_, make, sentence) => {
  expect(make).toThrow(sentence);
});

test("rows are packed with separators, the last one filled up or left out", () => {
  const sequences = [[1, 2, 3], [4, 5], [6]];
  expect(packRows(sequences, { length: 4, separator: 0 })).toEqual({
    shape: [2, 4],
    dtype: "int32",
    values: Int32Array.of(1, 2, 3, 0, 4, 5, 0, 6),
  });
  const filled = packRows(sequences, { length: 4, separator: 0, padding: 9 });
  expect([filled.shape[0], ...filled.values.subarray(8)]).toEqual([3, 0, 9, 9, 9]);
  expect(() => packRows([[1]], { length: 4 })).toThrow("1 ids fill no row of 4");
});
