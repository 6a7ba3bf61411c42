/** ELMo's language model in both directions, on the Brown corpus: what the recipe `tagger` builds on. */
import { z } from "zod";
import { type Dataset, dataset } from "../data/dataset.ts";
import { sequenceLengths, sequences } from "../data/sequences.ts";
import { loader } from "../data/tensors.ts";
import { adam } from "../optim/adam.ts";
import { cosine } from "../optim/schedules.ts";
import { type BrownSentence, loadBrown } from "../text/node/brown.ts";
import { perplexity } from "../train/metrics.ts";
import { elmoOf, sentencesIn } from "./brown-sentences.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

/** Every sixth sentence of the validation documents is enough to see how the model comes on: it is measured with the whole softmax. */
const sixth = 6;
/** Longer sentences are left out: few, and a batch would be padded to them. */
const longest = 60;

const elmo: Recipe = defineRecipe({
  name: "elmo",
  description: "ELMo's language model learns to read sentences in both directions: a million words of the Brown corpus",
  hyperparameters: {
    epochs: z.int().min(1).default(1).describe("how often each sentence is read"),
    batchSize: z.int().min(1).max(4096).default(64).describe("sentences in a step"),
    learningRate: z.number().positive().max(10).default(0.004).describe("of Adam at the start; falls along a cosine"),
    input: z.enum(["words", "characters"]).default("words").describe("what a word is: an id, or its characters"),
    vocabularySize: z
      .int()
      .min(100)
      .max(60_000)
      .default(10_000)
      .describe("words that are predicted, the most frequent"),
    hiddenSize: z.int().min(1).max(4096).default(128).describe("the width of a direction"),
    layers: z.int().min(1).max(8).default(2).describe("recurrent layers in each direction"),
    dropout: z.number().min(0).lt(1).default(0.1).describe("the share of features that a step leaves out"),
    samples: z.int().min(1).max(60_000).default(512).describe("words with which each word is compared in training"),
  },
  async setup({ epochs, batchSize, learningRate, samples, seed, ...sizes }) {
    const brown = await loadBrown();
    const train = sentencesIn(brown.train);
    const { model, idsOf, inputOf } = elmoOf(train, sizes);
    const dataOf = (all: readonly BrownSentence[]): Dataset => {
      const sentences = all.map(({ words }) => words).filter(({ length }) => length <= longest);
      const ids = sequences(sentences.map(idsOf));
      return dataset(inputOf(sentences), sequenceLengths(ids), ids) as unknown as Dataset;
    };
    const buckets = [10, 16, 22, 28, 36, longest + 2];
    const batches = loader(dataOf(train), { batchSize, shuffle: true, seed, buckets });
    return {
      setup: {
        model,
        loss: (input, lengths, ids) =>
          model.loss(input as never, ids as never, lengths as never, model.training ? { samples } : {}),
        output: (input, lengths) => model(input as never, lengths as never).at(-1)!,
        weight: (_, lengths) => lengths!.sub(1).sum().mul(2),
        train: batches,
        validation: loader(dataOf(sentencesIn(brown.validation).filter((_, i) => i % sixth === 0)), {
          batchSize: 64,
          buckets,
        }),
        optimizer: adam(model, { learningRate }),
        schedule: cosine(learningRate, { steps: epochs * batches.batches }),
        metrics: [perplexity()],
      },
      options: { epochs, maxGradNorm: 1 },
      prediction: { length: longest + 2 },
    };
  },
});

export default elmo;
