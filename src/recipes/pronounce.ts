/** How English words are pronounced: an encoder reads the letters, a decoder with attention writes the phones. */
import { z } from "zod";
import { dataset } from "../data/dataset.ts";
import { type Sequences, sequences } from "../data/sequences.ts";
import { loader } from "../data/tensors.ts";
import { DataError, quoted } from "../errors.ts";
import { generate } from "../models/generate.ts";
import { type ScheduledSampling, type Seq2Seq, scheduledSampling, seq2seq } from "../models/seq2seq.ts";
import { crossEntropy } from "../nn/losses.ts";
import { inMode } from "../nn/module.ts";
import { adamW } from "../optim/adam.ts";
import { linear as falling, warmUp } from "../optim/schedules.ts";
import { fromValues, full } from "../tensor/create.ts";
import { scan } from "../tensor/scan.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { errorRate } from "../text/edit-distance.ts";
import { loadCmudict, type PronouncedWord } from "../text/node/cmudict.ts";
import { type Vocabulary, vocabulary } from "../text/vocabulary.ts";
import type { HostMetric } from "../train/metrics.ts";
import { losesFew } from "./batches.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

type Ids = Tensor<[number, number], "int32">;

/** The letters of words, and padding, which is 0. */
export const letters: Vocabulary = vocabulary("'abcdefghijklmnopqrstuvwxyz", { special: { pad: "<pad>" } });

/** The phones of ARPAbet without stress, padding, START and END. */
export const phones: Vocabulary = vocabulary(
  "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split(" "),
  { special: { pad: "<pad>", bos: "<s>", eos: "</s>" } },
);
const [padding, start, end] = [phones.idFor("pad")!, phones.idFor("bos")!, phones.idFor("eos")!];

/** What is trained in a given time. Hyperparameters that are given go before it. */
const settings = {
  full: { epochs: 13, hiddenSize: 256, layers: 1, batchSize: 128, learningRate: 0.003, dropout: 0.2 },
  minute: { epochs: 1, hiddenSize: 128, layers: 1, batchSize: 128, learningRate: 0.004, dropout: 0.1 },
  short: { epochs: 3, hiddenSize: 128, layers: 1, batchSize: 128, learningRate: 0.004, dropout: 0.1 },
} as const;

/** What of the hyperparameters has to do with the model. */
export interface PronounceSizes {
  readonly setting: keyof typeof settings;
  readonly hiddenSize?: number | undefined;
  readonly layers?: number | undefined;
  readonly embeddingSize: number;
  readonly dropout?: number | undefined;
  readonly attention: "luong" | "bahdanau" | "none";
  readonly inputFeeding: boolean;
}

/** Makes the recipe's model. */
export function pronounceModel({ setting, ...given }: PronounceSizes): Seq2Seq {
  const usual = settings[setting];
  return seq2seq({
    sourceSize: letters.size,
    targetSize: phones.size,
    startToken: start,
    hiddenSize: given.hiddenSize ?? usual.hiddenSize,
    layers: given.layers ?? usual.layers,
    decoderLayers: 1,
    embeddingSize: given.embeddingSize,
    dropout: given.dropout ?? usual.dropout,
    attention: given.attention,
    inputFeeding: given.inputFeeding,
  });
}

/** The number of letters of each word of a batch. */
const lengthsOf = (words: Ids): Tensor<[number], "int32"> =>
  words.notEqual(0).cast("int32").sum(1) as unknown as Tensor<[number], "int32">;

/** Phones that a word may have beyond its letters, where every step is made: "w" has seven. */
const beyond = 6;

/** The likeliest phone at each step, int32 [words, steps], in one graph. */
function greedy(model: Seq2Seq, words: Ids): Tensor<[number, number], "int32"> {
  const [count, time] = words.sizes();
  const begin = { token: full([count], start, "int32"), state: model.encode(words, { lengths: lengthsOf(words) }) };
  const { outputs } = scan(
    ({ token, state }: typeof begin) => {
      const { logits, state: next } = model.step(token, state);
      const best = logits.argmax(-1) as Tensor<[number], "int32">;
      return [{ token: best, state: next }, best] as const;
    },
    { init: begin, length: time + beyond },
  );
  return outputs.transpose(1, 0) as Tensor<[number, number], "int32">;
}

export interface PronounceOptions {
  /** Pronunciations that are kept at each step. Default 5. */
  readonly beams?: number;
}

/**
 * Pronounces words of letters and apostrophes, by beam search. Throws DataError for a word with other characters and for one without
 * letters.
 */
export async function pronounce(
  model: Seq2Seq,
  words: readonly string[],
  { beams = 5 }: PronounceOptions = {},
): Promise<string[][]> {
  const spoken: string[][] = Array.from({ length: words.length }, () => []);
  const ids = words.map(lettersOf);
  const order = [...words.keys()].sort((a, b) => ids[a]!.length - ids[b]!.length);
  for (let at = 0; at < order.length; at += together) {
    const some = order.slice(at, at + together);
    const longest = ids[some.at(-1)!]!.length;
    const padded = new Int32Array(some.length * longest);
    for (const [row, i] of some.entries()) padded.set(ids[i]!, row * longest);
    const source: Ids = fromValues(padded, [some.length, longest]);
    const state = inMode(false, () => model.encode(source, { lengths: lengthsOf(source) }));
    const { sequences: found } = await inMode(false, () =>
      generate(model, {
        prompt: some.map(() => []),
        state,
        bosTokenId: start,
        eosTokenId: end,
        numBeams: beams,
        maxNewTokens: mostPhones(longest),
      }),
    );
    for (const [row, i] of some.entries()) spoken[i] = phones.decode(found[row]!.slice(0, mostPhones(ids[i]!.length)));
  }
  return spoken;
}

/** Phones of a word at which a search ends. */
const mostPhones = (letters: number): number => 2 * letters + beyond;

/** Words that are pronounced together. */
const together = 250;

function lettersOf(word: string): Int32Array {
  const small = typeof word === "string" ? word.toLowerCase() : "";
  if (/^[a-z']*[a-z][a-z']*$/.test(small) && small.length <= 100) return letters.encode(small);
  throw new DataError(
    "pronounce",
    `${quoted(String(word))} is no word of letters and apostrophes`,
    "give English words of at most 100 letters, one by one: glissade",
  );
}

/** The phoneme error rate, or the share of words that are wrong, of what `output` decodes; every listed pronunciation is right. */
function rateOf(name: string, part: "rate" | "wrong", words: readonly PronouncedWord[]): HostMetric {
  const known = new Map(words.map(({ word, pronunciations }) => [word, pronunciations]));
  return {
    name,
    greaterIsBetter: false,
    reads: ({ output, batch }) => ({ output, words: batch[0]! }),
    begin() {
      const guesses: string[][] = [];
      const references: (readonly (readonly string[])[])[] = [];
      return {
        add(values, shapes) {
          const rows = (of: "output" | "words"): Int32Array[] => {
            const [count, width] = shapes[of] as readonly [number, number];
            const all = Int32Array.from(values[of]!);
            return Array.from({ length: count }, (_, row) => all.subarray(row * width, (row + 1) * width));
          };
          const written = rows("words").map((row) => letters.decode(row).join(""));
          for (const [i, row] of rows("output").entries()) {
            guesses.push(phones.decode(row));
            references.push(known.get(written[i]!)!);
          }
        },
        value: () => errorRate(guesses, references)[part],
      };
    },
  };
}

const encoded = (
  pairs: readonly { readonly word: string; readonly spoken: readonly string[] }[],
): readonly [Sequences<readonly [], "int32">, Sequences<readonly [], "int32">] => [
  sequences(pairs.map(({ word }) => letters.encode(word))),
  sequences(pairs.map(({ spoken }) => phones.encode(spoken, { eos: true }))),
];

/** No word of the dictionary has more letters, nor more phones with END. */
const longestWord = 40;

/** Lengths to which words are padded: letters, or phones and END, whichever are more. */
const bounds = [4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 17, longestWord];

const recipe: Recipe = defineRecipe({
  name: "pronounce",
  description: "An encoder and a decoder learn to pronounce English words: 112,906 words of CMUdict",
  hyperparameters: {
    setting: z
      .enum(["full", "short", "minute"])
      .default("full")
      .describe("what others default to, so that the training takes an hour, three minutes (short) or one"),
    epochs: z.int().min(1).optional().describe("how often each pronunciation is seen; full 13, short 3, minute 1"),
    batchSize: z.int().min(1).max(8192).optional().describe("words in a step, about of one length; 128"),
    learningRate: z
      .number()
      .positive()
      .max(1)
      .optional()
      .describe("of AdamW, after a climb; falls along a line; full 0.003, others 0.004"),
    weightDecay: z.number().min(0).default(0.01).describe("of AdamW"),
    hiddenSize: z
      .int()
      .min(1)
      .max(8192)
      .optional()
      .describe("LSTM units in each direction of the encoder; full 256, others 128"),
    layers: z.int().min(1).max(8).optional().describe("of the encoder; 1"),
    embeddingSize: z.int().min(1).max(4096).default(64).describe("numbers that stand for a letter or a phone"),
    dropout: z
      .number()
      .min(0)
      .lt(1)
      .optional()
      .describe("the share of features that a step leaves out; full 0.2, others 0.1"),
    labelSmoothing: z
      .number()
      .min(0)
      .lt(1)
      .default(0.1)
      .describe("the share of the probability that is spread over all phones"),
    attention: z.enum(["luong", "bahdanau", "none"]).default("luong").describe("how the decoder looks at the letters"),
    inputFeeding: z.boolean().default(false).describe("whether the decoder is told where it has looked before"),
    teacherForcing: z
      .number()
      .min(0)
      .max(1)
      .default(1)
      .describe("how likely a step is told the right phone before it at the end; 1 at the beginning"),
  },
  async setup(given) {
    const { weightDecay, labelSmoothing, teacherForcing, seed } = given;
    const usual = settings[given.setting];
    const { epochs = usual.epochs, batchSize = usual.batchSize, learningRate = usual.learningRate } = given;
    const { train, test } = await loadCmudict();
    const model = pronounceModel(given);
    const pairs = train.flatMap(({ word, pronunciations }) => pronunciations.map((spoken) => ({ word, spoken })));
    const batches = loader(dataset(...encoded(pairs)), {
      batchSize,
      buckets: bounds,
      shuffle: true,
      seed,
      dropLast: losesFew(pairs.length, batchSize, bounds.length),
    });
    const heldOut = dataset(...encoded(test.map(({ word, pronunciations }) => ({ word, spoken: pronunciations[0]! }))));
    const steps = epochs * batches.batches;
    const sampling: ScheduledSampling | undefined =
      teacherForcing < 1 ? scheduledSampling({ end: teacherForcing, steps }) : undefined;
    const climb = Math.min(400, Math.ceil(steps / 20));
    return {
      setup: {
        model,
        loss(words: Ids, spoken: Ids) {
          const rate = sampling && model.training ? sampling.rate() : 1;
          const logits = model(words, spoken, { lengths: lengthsOf(words), teacherForcing: rate });
          return crossEntropy(logits, spoken, { ignore: padding, labelSmoothing });
        },
        output: (words: Ids) => greedy(model, words),
        weight: (_, spoken) => spoken.notEqual(padding).countNonZero(),
        train: batches,
        validation: loader(heldOut, { batchSize: 250, buckets: [6, 8, 10, 13, longestWord] }),
        optimizer: adamW(model, { learningRate, weightDecay }),
        schedule: warmUp(falling(learningRate, { steps: Math.max(1, steps - climb) }), { steps: climb }),
        metrics: [rateOf("phonemeErrorRate", "rate", test), rateOf("wordErrorRate", "wrong", test)],
        ...(sampling && { afterUpdate: () => sampling.update(), state: { sampling } }),
      },
      options: {
        epochs,
        maxGradNorm: 1,
        metricForBestModel: "wordErrorRate",
        ...(given.setting === "minute" && { evalStrategy: "no" as const }),
      },
      prediction: { length: longestWord, command: ["pronounce glissade", "how it says a word"] },
    };
  },
});

export default recipe;
