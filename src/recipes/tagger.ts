/** Parts of speech of words in their sentence, with ELMo's vectors of a run of the recipe `elmo`, or without. */
import { join } from "node:path";
import { z } from "zod";
import { type Dataset, dataset } from "../data/dataset.ts";
import { sequenceLengths, sequences } from "../data/sequences.ts";
import { loader } from "../data/tensors.ts";
import { ConfigError, printable } from "../errors.ts";
import { readFileChecked } from "../files/node/atomic.ts";
import { decodeWeights } from "../files/weights.ts";
import { scalarMix } from "../models/elmo.ts";
import { uniform } from "../nn/initializers.ts";
import { dropout as dropoutLayer, embedding, linear } from "../nn/layers/basic.ts";
import { lstm } from "../nn/layers/recurrent.ts";
import { crossEntropy } from "../nn/losses.ts";
import { module } from "../nn/module.ts";
import { adam } from "../optim/adam.ts";
import { cosine } from "../optim/schedules.ts";
import { hostStream } from "../random/generator.ts";
import { concat } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type BrownSentence, loadBrown } from "../text/node/brown.ts";
import { buildVocabulary } from "../text/vocabulary.ts";
import { accuracy } from "../train/metrics.ts";
import { readRun } from "../train/node/read.ts";
import { type ElmoOfCorpus, type ElmoSizes, elmoOf, sentencesIn } from "./brown-sentences.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

/** Marks places without a tag: padding, and the ends of a sentence. */
const ignore = -1;
const longest = 60;
/** Every sixth sentence of the validation documents is enough to see how the model comes on. */
const sixth = 6;

const sizesOfElmo = z.object({
  input: z.enum(["words", "characters"]),
  vocabularySize: z.int(),
  hiddenSize: z.int(),
  layers: z.int(),
  dropout: z.number(),
});

/** ELMo with the weights of the last checkpoint of a run, as it is from then on. */
async function trainedElmo(folder: string, train: readonly BrownSentence[]): Promise<ElmoOfCorpus> {
  const { config, last, checkpoints } = await readRun(folder);
  const sizes = sizesOfElmo.safeParse(config.hyperparameters);
  const path = checkpoints.find(({ step }) => step === last)?.path;
  if (config.name !== "elmo" || !sizes.success || path === undefined)
    throw new ConfigError(
      "tagger",
      `${printable(folder)} holds no trained run of the recipe elmo`,
      "train one: npx glissade train elmo",
    );
  const made = elmoOf(train, sizes.data satisfies ElmoSizes);
  const file = join(path, "model.safetensors");
  decodeWeights(made.model, await readFileChecked(file), file);
  made.model.freeze();
  return made;
}

const tagger: Recipe = defineRecipe({
  name: "tagger",
  description: "An LSTM in both directions names the part of speech of words of the Brown corpus",
  hyperparameters: {
    elmo: z.string().default("").describe("the folder of a run of the recipe elmo; empty: without ELMo"),
    sentences: z.int().min(1).max(45_000).default(1000).describe("sentences to learn from"),
    epochs: z.int().min(1).default(10).describe("how often each sentence is seen"),
    batchSize: z.int().min(1).max(4096).default(16).describe("sentences in a step"),
    learningRate: z.number().positive().max(10).default(0.01).describe("of Adam at the start; falls along a cosine"),
    embeddingSize: z.int().min(1).max(4096).default(64).describe("the width of a word's own vector"),
    hiddenSize: z.int().min(1).max(4096).default(96).describe("the width of each direction"),
    dropout: z.number().min(0).lt(1).default(0.3).describe("the share of features that a step leaves out"),
    unknown: z.number().min(0).lt(1).default(0.1).describe("the share of words that a step takes for unknown"),
  },
  async setup(values) {
    const { elmo: folder, sentences: count, epochs, batchSize, learningRate, seed } = values;
    const { embeddingSize, hiddenSize, dropout: rate, unknown } = values;
    const brown = await loadBrown();
    const all = sentencesIn(brown.train);
    // The sentences of smaller sets are among those of larger ones.
    const random = hostStream(0, "split");
    const order = all.map(() => random.next());
    const own = [...all.keys()]
      .sort((a, b) => order[a]! - order[b]!)
      .map((i) => all[i]!)
      .filter(({ words }) => words.length <= longest)
      .slice(0, count);
    const words = buildVocabulary(
      own.map((sentence) => sentence.words),
      { special: { unk: "<unk>", bos: "<s>", eos: "</s>" } },
    );
    const tags = [...new Set(all.flatMap((sentence) => sentence.tags))].sort();
    const tagIds = new Map(tags.map((tag, id) => [tag, id]));
    const pretrained = folder === "" ? undefined : await trainedElmo(folder, all);

    const dataOf = (given: readonly BrownSentence[]): Dataset => {
      const some = given.filter((sentence) => sentence.words.length <= longest);
      const ids = sequences(some.map((sentence) => words.encode(sentence.words, { bos: true, eos: true })));
      const labels = sequences(
        some.map((sentence) => [ignore, ...sentence.tags.map((tag) => tagIds.get(tag) ?? ignore), ignore]),
        { padding: ignore },
      );
      const input = pretrained ? pretrained.inputOf(some.map((sentence) => sentence.words)) : ids;
      return dataset(ids, input, sequenceLengths(ids), labels) as unknown as Dataset;
    };

    const table = embedding(words.size, embeddingSize, { weight: uniform(0.1) });
    const mix = pretrained && scalarMix(pretrained.model.layerCount);
    const width = embeddingSize + (pretrained ? 2 * pretrained.model.hiddenSize : 0);
    const body = lstm(width, hiddenSize, { bidirectional: true });
    const head = linear(2 * hiddenSize, tags.length);
    const dropped = dropoutLayer(rate);
    const model = module(
      "Tagger",
      {
        embedding: table,
        dropout: dropped,
        ...(pretrained && { elmo: pretrained.model, mix: mix! }),
        lstm: body,
        head,
      },
      (ids: Tensor<[number, number], "int32">, input: never, lengths: Tensor<[number], "int32">) => {
        const vectors = table(ids);
        const x = pretrained
          ? (concat(
              [vectors, mix!(pretrained.model(input, lengths).map((layer) => layer.detach()))],
              2,
            ) as typeof vectors)
          : vectors;
        return head(dropped(body(dropped(x), { lengths }).outputs));
      },
    );
    const buckets = [10, 16, 22, 28, 36, longest + 2];
    const unknownId = words.idFor("unk")!;
    const batches = loader(dataOf(own), {
      batchSize,
      shuffle: true,
      seed,
      buckets,
      mapExample: ([ids], bits) => {
        for (let i = 1; i < ids!.length - 1; i++) if (bits.uniform() < unknown) ids![i] = unknownId;
      },
    });
    const answer = (...[ids, input, lengths]: readonly Tensor[]): Tensor =>
      model(ids as never, input as never, lengths as never);
    return {
      setup: {
        model,
        loss: (ids, input, lengths, labels) =>
          crossEntropy(answer(ids!, input!, lengths!) as never, labels as never, { ignore }),
        output: (ids, input, lengths) => answer(ids!, input!, lengths!),
        weight: (...batch) => batch[3]!.notEqual(ignore).cast("float32").sum(),
        train: batches,
        validation: loader(dataOf(sentencesIn(brown.validation).filter((_, i) => i % sixth === 0)), {
          batchSize: 128,
          buckets,
        }),
        optimizer: adam(model, { learningRate }),
        schedule: cosine(learningRate, { steps: epochs * batches.batches }),
        metrics: [accuracy({ ignore })],
      },
      options: { epochs, maxGradNorm: 5, evalSteps: epochs * batches.batches },
      prediction: { length: longest + 2 },
      test: loader(dataOf(sentencesIn(brown.test)), { batchSize: 128, buckets }),
    };
  },
});

export default tagger;
