/** Sentences of one language in another: the Transformer, with one vocabulary of byte pairs for both. */
import { z } from "zod";
import { dataset } from "../data/dataset.ts";
import { sequences } from "../data/sequences.ts";
import { permutation } from "../data/shuffle.ts";
import { loader } from "../data/tensors.ts";
import { DataError, printable } from "../errors.ts";
import { transformer } from "../models/transformer.ts";
import { hostStream } from "../random/generator.ts";
import { bleu } from "../text/bleu.ts";
import { readTranslationPairs } from "../text/node/translation-pairs.ts";
import { decodeTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { trainBpe } from "../text/tokenizers.ts";
import type { HostMetric } from "../train/metrics.ts";
import { losesFew } from "./batches.ts";
import { type Ids, transformerHyperparameters, transformerTraining, translationBy } from "./encoder-decoder.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

/** The first tokens of the vocabulary. */
const specialTokens = ["<pad>", "<s>", "</s>"] as const;
const [padding, start, end] = [0, 1, 2] as const;

/** A pair as token ids; the target ends in END. */
interface Encoded {
  readonly source: Int32Array;
  readonly target: Int32Array;
}

const columns = (pairs: readonly Encoded[]) =>
  dataset(sequences(pairs.map(({ source }) => source)), sequences(pairs.map(({ target }) => target)));

/** The ids of a target with END. */
function ended(ids: ArrayLike<number>): Int32Array {
  const all = new Int32Array(ids.length + 1).fill(end);
  all.set(ids);
  return all;
}

/** The ids of a target up to END. */
const written = (ids: Int32Array): Int32Array => {
  const length = ids.indexOf(end);
  return length < 0 ? ids : ids.subarray(0, length);
};

/** BLEU of what `output` decodes, as sacrebleu counts it. */
export function bleuMetric(tokenizer: Tokenizer): HostMetric {
  return {
    name: "bleu",
    greaterIsBetter: true,
    reads: ({ output, batch }) => ({ output, targets: batch[1]! }),
    begin() {
      const texts = { output: [] as string[], targets: [] as string[] };
      return {
        add(values, shapes) {
          for (const of of ["output", "targets"] as const) {
            const [count, width] = shapes[of] as readonly [number, number];
            const all = Int32Array.from(values[of]!);
            for (let row = 0; row < count; row++)
              texts[of].push(tokenizer.decode(written(all.subarray(row * width, (row + 1) * width))));
          }
        },
        value: () => bleu(texts.output, texts.targets).score,
      };
    },
  };
}

const recipe: Recipe = defineRecipe({
  name: "translate",
  description: "A Transformer learns to translate, from a file of sentence pairs",
  hyperparameters: {
    file: z.string().min(1).describe("lines of pairs: source, a tab, target"),
    epochs: z.int().min(1).default(12).describe("how often each pair is seen"),
    batchSize: z.int().min(1).max(8192).default(64).describe("pairs in a step, about of one length"),
    ...transformerHyperparameters({
      symbol: "token",
      warmUpSteps: 400,
      width: 128,
      layers: 3,
      dropout: 0.1,
      labelSmoothing: 0.1,
    }),
    vocabularySize: z.int().min(260).max(100_000).default(4000).describe("byte pairs, of both languages together"),
    maxLength: z.int().min(2).max(512).default(64).describe("tokens; pairs with a longer text are left out"),
    validationPairs: z.int().min(1).default(500).describe("held out, for the evaluations while it trains"),
    testPairs: z.int().min(1).default(2000).describe("held out besides, for glissade evaluate --test"),
  },
  async setup({ file, epochs, batchSize, maxLength, seed, ...given }, { fitted }) {
    const pairs = await readTranslationPairs(file);
    const heldOut = given.validationPairs + given.testPairs;
    if (pairs.length <= heldOut)
      throw new DataError(
        printable(file),
        `it has ${pairs.length} pairs, and ${heldOut} are to be held out`,
        "give more pairs, or set validationPairs and testPairs lower",
      );
    // The cut does not depend on the seed of a training, so that all are judged on the same pairs.
    const order = Array.from(permutation(pairs.length, hostStream(0, "split")), (i) => pairs[i]!);
    // Texts that are held out are not trained on with another translation either.
    const [sources, targets] = (["source", "target"] as const).map(
      (side) => new Set(order.slice(0, heldOut).map((pair) => pair[side])),
    ) as [Set<string>, Set<string>];
    const trained = order.slice(heldOut).filter(({ source, target }) => !sources.has(source) && !targets.has(target));
    if (trained.length === 0)
      throw new DataError(printable(file), "all its texts are held out, too", "give pairs that differ from each other");
    const tokenizer = await fitted(
      "tokenizer",
      () =>
        trainBpe(
          trained.flatMap(({ source, target }) => [source, target]),
          { vocabularySize: given.vocabularySize, specialTokens },
        ),
      decodeTokenizer,
    );
    const encoded = (some: typeof pairs, what: string): Encoded[] => {
      const kept = some
        .map(({ source, target }) => ({ source: tokenizer.ids(source), target: ended(tokenizer.ids(target)) }))
        .filter(({ source, target }) => source.length <= maxLength && target.length <= maxLength);
      if (kept.length === 0)
        throw new DataError(
          printable(file),
          `all ${some.length} pairs ${what} have more than ${maxLength} tokens`,
          "raise maxLength",
        );
      return kept;
    };
    const train = encoded(trained, "to learn from");
    const together = Math.min(batchSize, train.length);
    // A bucket of a small corpus has several batches, too, rather than a few pairs.
    const buckets = Math.min(mostBuckets, Math.ceil(train.length / (4 * together)));
    const model = transformer({
      vocabularySize: tokenizer.size,
      startToken: start,
      paddingToken: padding,
      width: given.width,
      heads: given.heads,
      layers: given.layers,
      dropout: given.dropout,
      longest: maxLength,
    });
    const held = (from: number, to: number, what: string) => {
      const some = encoded(order.slice(from, to), what);
      return loader(columns(some), { batchSize: Math.min(100, some.length), buckets: 4 });
    };
    return {
      setup: {
        model,
        ...transformerTraining(model, padding, given),
        output: (source: Ids) => model.greedy(source, maxLength),
        train: loader(columns(train), {
          batchSize: together,
          buckets,
          shuffle: true,
          seed,
          dropLast: losesFew(train.length, together, buckets),
        }),
        validation: held(0, given.validationPairs, "to validate with"),
        metrics: [bleuMetric(tokenizer)],
      },
      options: { epochs, maxGradNorm: 1, metricForBestModel: "bleu" },
      translation: translationBy(model, {
        encode: (text) => tokenizer.ids(text),
        decode: (ids) => tokenizer.decode(ids),
        start,
        end,
        longest: maxLength,
        longestTarget: maxLength,
      }),
      prediction: {
        tokenizer,
        length: maxLength,
        command: ['translate "Choose a file."', "what it makes of a sentence"],
      },
      test: held(given.validationPairs, heldOut, "to test with"),
    };
  },
});

/** Batches of about one length come in at most so many lengths. */
const mostBuckets = 8;

export default recipe;
