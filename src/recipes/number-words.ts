/** Numbers and their English names, both ways: a small Transformer, trained in minutes, that can be judged exactly. */
import { z } from "zod";
import { dataset } from "../data/dataset.ts";
import { type Sequences, sequences } from "../data/sequences.ts";
import { loader } from "../data/tensors.ts";
import { DataError, quoted } from "../errors.ts";
import { transformer } from "../models/transformer.ts";
import { full } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { loadNumberWords, type NamedNumber } from "../text/node/number-words.ts";
import { type Vocabulary, vocabulary } from "../text/vocabulary.ts";
import type { SummedMetric } from "../train/metrics.ts";
import { losesFew } from "./batches.ts";
import { type Ids, transformerHyperparameters, transformerTraining, translationBy } from "./encoder-decoder.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

/** What is translated into what. */
interface Pair {
  readonly source: readonly string[];
  readonly target: readonly string[];
}

/** Each number as two pairs: its digits to its name, and its name to its digits. */
const bothWays = (numbers: readonly NamedNumber[]): Pair[] =>
  numbers.flatMap(({ digits, words }) => [
    { source: digits, target: words },
    { source: words, target: digits },
  ]);

const encoded = (
  symbols: Vocabulary,
  pairs: readonly Pair[],
): readonly [Sequences<readonly [], "int32">, Sequences<readonly [], "int32">] => [
  sequences(pairs.map(({ source }) => symbols.encode(source))),
  sequences(pairs.map(({ target }) => symbols.encode(target, { eos: true }))),
];

/** The symbols of a number as a user writes it: "42", or "forty two". */
function symbolsOf(text: string, symbols: Vocabulary): readonly string[] {
  const found = /^\d+$/.test(text)
    ? [...text]
    : text
        .toLowerCase()
        .split(/[\s-]+/)
        .filter(Boolean);
  const unknown = found.find((symbol) => symbols.idOf(symbol) === undefined);
  if (unknown === undefined) return found;
  throw new DataError(
    "translate",
    `${quoted(unknown)} is no number, and no word of a number's name that the model has learnt`,
    'give a number below a million, in digits or in words: 42, or "forty two"',
  );
}

/** The share of targets that `output` is, without any mistake, END included. Outputs are at least as long as targets. */
export function exactMatch(padding: number): SummedMetric {
  return {
    name: "exactMatch",
    greaterIsBetter: true,
    sums({ output, batch }) {
      const targets = batch[1] as unknown as Ids;
      const [count, time] = targets.sizes();
      const written = (output as unknown as Ids).slice(null, [0, time]) as unknown as Ids;
      const isRight = written.equal(targets).or(targets.equal(padding)) as Tensor<[number, number], "bool">;
      return { right: isRight.all(-1).cast("float32").sum() as Tensor, count: full([], count) as Tensor };
    },
    value: ({ right, count }) => right![0]! / count![0]!,
  };
}

/** "nine hundred ninety nine thousand nine hundred ninety nine", END, and some to spare. */
const longestTarget = 12;

/** The positions that the model has. */
const longestSource = 32;

const recipe: Recipe = defineRecipe({
  name: "number-words",
  description: "A Transformer learns to write numbers as English words, and back: exact pairs, for a first try",
  hyperparameters: {
    epochs: z.int().min(1).default(6).describe("how often each pair is seen"),
    batchSize: z.int().min(1).max(8192).default(128).describe("pairs in a step"),
    ...transformerHyperparameters({
      symbol: "symbol",
      warmUpSteps: 300,
      width: 64,
      layers: 2,
      dropout: 0,
      labelSmoothing: 0.05,
    }),
    trainNumbers: z.int().min(1).max(400_000).default(20_000).describe("numbers to learn from, each both ways"),
    testNumbers: z.int().min(1).max(50_000).default(2_000).describe("numbers held out, each both ways"),
  },
  async setup(given) {
    const { epochs, batchSize, trainNumbers, testNumbers, seed } = given;
    const { train, test, words } = await loadNumberWords({ trainNumbers, testNumbers });
    const symbols = vocabulary([..."0123456789", ...words], {
      special: { pad: "<pad>", bos: "<s>", eos: "</s>" },
    });
    const padding = symbols.idFor("pad")!;
    const [start, end] = [symbols.idFor("bos")!, symbols.idFor("eos")!];
    const model = transformer({
      vocabularySize: symbols.size,
      startToken: start,
      paddingToken: padding,
      width: given.width,
      heads: given.heads,
      layers: given.layers,
      dropout: given.dropout,
      longest: longestSource,
    });
    const pairs = bothWays(train);
    const together = Math.min(batchSize, pairs.length);
    const batches = loader(dataset(...encoded(symbols, pairs)), {
      batchSize: together,
      shuffle: true,
      seed,
      dropLast: losesFew(pairs.length, together),
    });
    return {
      setup: {
        model,
        ...transformerTraining(model, padding, given),
        output: (source: Ids) => model.greedy(source, longestTarget),
        train: batches,
        validation: loader(dataset(...encoded(symbols, bothWays(test))), { batchSize: Math.min(500, 2 * testNumbers) }),
        metrics: [exactMatch(padding)],
      },
      options: { epochs, metricForBestModel: "exactMatch" },
      translation: translationBy(model, {
        encode: (text) => symbols.encode(symbolsOf(text, symbols)),
        decode(ids) {
          const written = symbols.decode(ids);
          return written.join(written.every((symbol) => /^\d$/.test(symbol)) ? "" : " ");
        },
        start,
        end,
        longest: longestSource,
        longestTarget,
      }),
      // Each number is learnt both ways, so sources are no longer than targets.
      prediction: { length: longestTarget, command: ["translate 421907", "a number in words; words as a number"] },
    };
  },
});

export default recipe;
