/** A word-level or character-level language model of the Brown corpus, beside Kneser–Ney trigrams of the same words. */
import { z } from "zod";
import { recurrentLanguageModel } from "../models/language-model.ts";
import { crossEntropy } from "../nn/losses.ts";
import { adam } from "../optim/adam.ts";
import { cosine } from "../optim/schedules.ts";
import { languageModelBatches } from "../text/language-model.ts";
import { kneserNey } from "../text/ngram.ts";
import { type BrownDocument, loadBrown } from "../text/node/brown.ts";
import { buildVocabulary, type Vocabulary } from "../text/vocabulary.ts";
import { carriedState } from "../train/carried.ts";
import { bitsPerCharacter, perplexity } from "../train/metrics.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

const special = { unk: "<unk>", eos: "</s>" } as const;

/** The sentences of documents as symbols: words, or the letters of words with a space between them. */
function sentencesOf(documents: readonly BrownDocument[], level: "word" | "character"): (readonly string[])[] {
  return documents.flatMap(({ sentences }) =>
    sentences.map(({ words }) => (level === "word" ? words : [...words.join(" ")])),
  );
}

/** Sentences as ids, each with the id of the end. */
const encoded = (sentences: readonly (readonly string[])[], vocabulary: Vocabulary): Int32Array[] =>
  sentences.map((sentence) => vocabulary.encode(sentence, { eos: true }));

function joined(sentences: readonly Int32Array[]): Int32Array {
  const all = new Int32Array(sentences.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const sentence of sentences) {
    all.set(sentence, at);
    at += sentence.length;
  }
  return all;
}

const brownLm: Recipe = defineRecipe({
  name: "brown-lm",
  description: "An LSTM learns to go on with English texts: a million words of the Brown corpus",
  hyperparameters: {
    epochs: z.int().min(1).default(5).describe("how often the text is read"),
    level: z.enum(["word", "character"]).default("word").describe("what the text is made of"),
    vocabularySize: z
      .int()
      .min(100)
      .max(60_000)
      .default(10_000)
      .describe("words that are known, the most frequent ones"),
    batchSize: z.int().min(1).max(1024).default(32).describe("streams of text that are read side by side"),
    steps: z.int().min(1).max(1024).default(35).describe("tokens through which gradients flow back"),
    learningRate: z.number().positive().max(10).default(0.003).describe("of Adam at the start; falls along a cosine"),
    kind: z.enum(["lstm", "gru", "rnn"]).default("lstm").describe("of the recurrent layers"),
    hiddenSize: z.int().min(1).max(4096).default(256).describe("the width of a layer"),
    layers: z.int().min(1).max(8).default(1).describe("recurrent layers"),
    embeddingSize: z.int().min(1).max(4096).default(128).describe("the width of a word's vector"),
    dropout: z.number().min(0).lt(1).default(0.3).describe("the share of features that a step leaves out"),
  },
  async setup(values) {
    const { epochs, level, batchSize, steps, learningRate, kind, hiddenSize, layers, embeddingSize, dropout } = values;
    const brown = await loadBrown();
    const train = sentencesOf(brown.train, level);
    const vocabulary = buildVocabulary(train, {
      special,
      ...(level === "word" && { size: values.vocabularySize + 2 }),
    });
    const [trainIds, validationIds, testIds] = [
      encoded(train, vocabulary),
      encoded(sentencesOf(brown.validation, level), vocabulary),
      encoded(sentencesOf(brown.test, level), vocabulary),
    ];
    const model = recurrentLanguageModel(vocabulary.size, { kind, hiddenSize, layers, embeddingSize, dropout });
    const carried = carriedState((batch) => model.startState(batch, steps), { batchSize });
    const batches = languageModelBatches(joined(trainIds), { batchSize, steps });
    // Fewer streams: less text is cut off at their ends.
    const held = (ids: readonly Int32Array[]) => languageModelBatches(joined(ids), { batchSize: 8, steps });
    const trigrams = kneserNey(trainIds, { vocabularySize: vocabulary.size, order: level === "word" ? 3 : 6 });
    const measured = (sentences: readonly Int32Array[]): Readonly<Record<string, number>> => {
      const value = trigrams.perplexity(sentences);
      return level === "word" ? { perplexity: value } : { bitsPerCharacter: Math.log2(value) };
    };
    const separator = level === "word" ? " " : "";
    return {
      setup: {
        model,
        loss: (inputs, targets) => {
          const { logits, state } = model(inputs, { state: carried.before(inputs.shape[0]!) });
          carried.after(state);
          return crossEntropy(logits, targets);
        },
        output: (inputs) => model(inputs).logits,
        weight: (inputs) => inputs.size,
        train: batches,
        validation: held(validationIds),
        optimizer: adam(model, { learningRate }),
        schedule: cosine(learningRate, { steps: epochs * batches.batches }),
        metrics: [level === "word" ? perplexity() : bitsPerCharacter()],
        carried,
      },
      options: { epochs, maxGradNorm: 1 },
      test: held(testIds),
      baselines: [
        {
          name: `Kneser–Ney ${level === "word" ? "trigrams" : "6-grams"}`,
          validation: measured(validationIds),
          test: measured(testIds),
        },
      ],
      generation: {
        model,
        encode: (text) => {
          const symbols = level === "word" ? text.split(/\s+/).filter(Boolean) : [...text];
          return [vocabulary.idFor("eos")!, ...vocabulary.encode(symbols)];
        },
        decode: (ids) =>
          vocabulary
            .decode(ids, { keepSpecial: true })
            .map((token) => (token === special.eos ? "\n" : separator + token))
            .join("")
            .replaceAll("\n ", "\n"),
        options: { maxNewTokens: level === "word" ? 60 : 300, temperature: 0.8 },
        samples: 1,
      },
    };
  },
});

export default brownLm;
