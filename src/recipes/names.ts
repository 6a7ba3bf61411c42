/** Names of places, letter by letter: a recurrent language model learns to write names that could be on a map. */
import { z } from "zod";
import { dataset } from "../data/dataset.ts";
import { sequences } from "../data/sequences.ts";
import { loader } from "../data/tensors.ts";
import { recurrentLanguageModel } from "../models/language-model.ts";
import { crossEntropy } from "../nn/losses.ts";
import { adam } from "../optim/adam.ts";
import { cosine } from "../optim/schedules.ts";
import { hostStream } from "../random/generator.ts";
import { loadCities } from "../text/node/cities.ts";
import { buildVocabulary } from "../text/vocabulary.ts";
import { bitsPerCharacter } from "../train/metrics.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

/** Letters that occur less often are not learnt: names with them are left out. */
const leastOften = 50;
const longest = 24;

/** The names of the corpus, each once, of up to 24 letters that are not rare. */
async function placeNames(): Promise<string[]> {
  const names = [...new Set((await loadCities()).map(({ name }) => name))].filter(
    (name) => [...name].length <= longest,
  );
  const counts = new Map<string, number>();
  for (const name of names) for (const letter of name) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  return names.filter((name) => [...name].every((letter) => counts.get(letter)! >= leastOften));
}

/** Marks targets that are padding. */
const ignore = -1;

const names: Recipe = defineRecipe({
  name: "names",
  description: "An LSTM learns to write names of places, letter by letter: 116,000 names",
  hyperparameters: {
    epochs: z.int().min(1).default(3).describe("how often each name is seen"),
    batchSize: z.int().min(1).max(4096).default(128).describe("names in a step"),
    learningRate: z.number().positive().max(10).default(0.004).describe("of Adam at the start; falls along a cosine"),
    kind: z.enum(["lstm", "gru", "rnn"]).default("lstm").describe("of the recurrent layers"),
    hiddenSize: z.int().min(1).max(2048).default(256).describe("the width of a layer"),
    layers: z.int().min(1).max(8).default(1).describe("recurrent layers"),
    embeddingSize: z.int().min(1).max(2048).default(64).describe("the width of a letter's vector"),
    dropout: z.number().min(0).lt(1).default(0.1).describe("the share of features that a step leaves out"),
  },
  async setup({ epochs, batchSize, learningRate, kind, hiddenSize, layers, embeddingSize, dropout, seed }) {
    const all = await placeNames();
    const letters = buildVocabulary(all, { special: { pad: "<pad>", bos: "<s>", eos: "</s>" } });
    const ids = all.map((name) => letters.encode(name, { bos: true, eos: true }));
    // Every tenth of the names in an order drawn once is held out.
    const random = hostStream(0, "split");
    const held = ids.map(() => random.uniform() < 0.1);
    const data = (isHeld: boolean) => {
      const own = ids.filter((_, i) => held[i] === isHeld);
      return dataset(
        sequences(own.map((each) => each.slice(0, -1))),
        sequences(
          own.map((each) => each.slice(1)),
          { padding: ignore },
        ),
      );
    };
    const buckets = [7, 9, 12, 16, longest + 1];
    const model = recurrentLanguageModel(letters.size, { kind, hiddenSize, layers, embeddingSize, dropout });
    const batches = loader(data(false), { batchSize, shuffle: true, seed, buckets });
    return {
      setup: {
        model,
        loss: (inputs, targets) => crossEntropy(model(inputs).logits, targets, { ignore }),
        output: (inputs) => model(inputs).logits,
        weight: (_, targets) => targets.notEqual(ignore).cast("float32").sum(),
        train: batches,
        validation: loader(data(true), { batchSize: 512, buckets }),
        optimizer: adam(model, { learningRate }),
        schedule: cosine(learningRate, { steps: epochs * batches.batches }),
        metrics: [bitsPerCharacter()],
      },
      options: { epochs, maxGradNorm: 5 },
      prediction: { length: longest + 1 },
      generation: {
        model,
        encode: (text) => [...letters.encode(text, { bos: true })],
        decode: (tokens) => letters.decode(tokens).join(""),
        options: { maxNewTokens: longest, eosTokenId: letters.idFor("eos")!, temperature: 0.8 },
        samples: 10,
      },
    };
  },
});

export default names;
