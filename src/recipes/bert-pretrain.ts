/** BERT's pre-training: masked tokens are to be found, and whether a text follows another (Devlin et al. 2019, section 3.1). */
import { z } from "zod";
import { permutation } from "../data/shuffle.ts";
import { type Stream, stream } from "../data/stream.ts";
import { DataError } from "../errors.ts";
import { type BertForPreTraining, bertForPreTraining } from "../models/bert.ts";
import { crossEntropy } from "../nn/losses.ts";
import type { Module } from "../nn/module.ts";
import { adamW } from "../optim/adam.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { linear as falling, warmUp } from "../optim/schedules.ts";
import { hostStream } from "../random/generator.ts";
import { tensor } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { maskTokens, nextSentencePairs } from "../text/masking.ts";
import { loadBrown } from "../text/node/brown.ts";
import { readDocuments } from "../text/node/documents.ts";
import { decodeTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { trainWordPiece } from "../text/tokenizers.ts";
import type { Measured, SummedMetric } from "../train/metrics.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

type Ids = Tensor<[number, number], "int32">;
type Labels = Tensor<[number], "int32">;

/** Documents of sentences, to train on and to be judged on. */
interface Corpus {
  readonly train: readonly (readonly string[])[];
  readonly validation: readonly (readonly string[])[];
}

/** The Brown corpus with its own split, or a folder of texts, of which every tenth is held out. */
async function corpusOf(folder: string | undefined): Promise<Corpus> {
  if (folder === undefined) {
    const brown = await loadBrown();
    const texts = (documents: typeof brown.train): string[][] =>
      documents.map(({ sentences }) => sentences.map(({ words }) => words.join(" ")));
    return { train: texts(brown.train), validation: texts(brown.validation) };
  }
  const documents = (await readDocuments(folder)).map(({ sentences }) => sentences);
  if (documents.length < 4)
    throw new DataError(
      folder,
      `there are ${documents.length} text files, each a document`,
      "give four at least: half of the pairs are of two documents, and some documents are held out",
    );
  const every = Math.min(10, Math.floor(documents.length / 2));
  const isHeldOut = (i: number): boolean => i % every === every - 1;
  return {
    train: documents.filter((_, i) => !isHeldOut(i)),
    validation: documents.filter((_, i) => isHeldOut(i)),
  };
}

const ignored = -100;

/**
 * Batches of pairs, new in each epoch: ids, segments, the positions of the tokens to predict and their ids, and 0 for pairs of which the
 * second text follows the first, else 1. Rows are `length` tokens long.
 */
function pairsOf(
  documents: Corpus["train"],
  tokenizer: Tokenizer,
  { length, maskProbability, wholeWords, batchSize, seed, isFixed }: PairOptions,
): Stream<[Ids, Ids, Ids, Ids, Labels]> {
  const most = Math.max(1, Math.round(maskProbability * length));
  const row = { shape: [length], dtype: "int32" } as const;
  const some = { shape: [most], dtype: "int32" } as const;
  const types = [row, row, some, some, { shape: [], dtype: "int32" }] as const;
  function* source(turn: number) {
    const epoch = isFixed ? 0 : turn;
    const pairs = nextSentencePairs(documents, { tokenizer, maxLength: length, seed, epoch });
    const random = hostStream(seed, "order", epoch);
    for (const example of permutation(pairs.length, random)) {
      const { first, second, isNext } = pairs[example]!;
      const { ids, typeIds, words } = tokenizer.encode(first, { pair: second, maxLength: length });
      const masked = maskTokens(ids, {
        tokenizer,
        probability: maskProbability,
        ...(wholeWords && { words }),
        ignore: ignored,
        seed,
        epoch,
        example,
      });
      const at = [...masked.labels.keys()].filter((i) => masked.labels[i] !== ignored).slice(0, most);
      yield [
        filled(masked.inputs, length, tokenizer.special.pad ?? 0),
        filled(typeIds, length, 0),
        filled(at, most, 0),
        filled(
          at.map((i) => masked.labels[i]!),
          most,
          ignored,
        ),
        isNext ? 0 : 1,
      ];
    }
  }
  return stream(types, source, { batchSize }) as unknown as Stream<[Ids, Ids, Ids, Ids, Labels]>;
}

interface PairOptions {
  readonly length: number;
  readonly maskProbability: number;
  readonly wholeWords: boolean;
  readonly batchSize: number;
  readonly seed: number;
  /** Whether all epochs have the same pairs and masks. */
  readonly isFixed: boolean;
}

/** Values, and a filling behind them. */
function filled(values: ArrayLike<number>, length: number, filling: number): Int32Array {
  const row = new Int32Array(length).fill(filling);
  row.set(Array.from(values).slice(0, length));
  return row;
}

/** AdamW, with weight decay for matrices only, as in the paper's code: not for biases and normalisations. */
export function adamWForTransformers(
  model: Module,
  options: { readonly learningRate: number; readonly weightDecay: number },
): Optimizer {
  const parameters = model.parameters();
  const groups = [
    { parameters: parameters.filter(({ shape }) => shape.length > 1) },
    { parameters: parameters.filter(({ shape }) => shape.length <= 1), weightDecay: 0 },
  ];
  return adamW(groups, options);
}

/** The share of labels that equal a guess, where there are labels. */
function share(
  name: string,
  guess: (batch: Measured) => { readonly guesses: Tensor; readonly labels: Tensor },
): SummedMetric {
  return {
    name,
    greaterIsBetter: true,
    sums(batch) {
      const { guesses, labels } = guess(batch);
      const counted = labels.notEqual(ignored).cast("float32") as Tensor;
      return {
        right: labels.equal(guesses).cast("float32").mul(counted).sum() as Tensor,
        count: counted.sum() as Tensor,
      };
    },
    value: ({ right, count }) => right![0]! / count![0]!,
  };
}

const bertPretrain: Recipe = defineRecipe({
  name: "bert-pretrain",
  description: "BERT learns from texts alone: it finds masked words, and tells whether a text follows another",
  hyperparameters: {
    epochs: z.int().min(1).default(12).describe("how often each text is seen, with other masks and pairs each time"),
    batchSize: z.int().min(1).max(4096).default(32).describe("pairs in a step"),
    learningRate: z.number().positive().max(1).default(0.001).describe("of AdamW after the warm-up; falls to 0"),
    warmUp: z.number().min(0).lt(1).default(0.06).describe("the share of steps in which the rate climbs"),
    weightDecay: z.number().min(0).default(0.01).describe("of AdamW, for matrices"),
    length: z.int().min(8).max(512).default(128).describe("tokens of a pair, special tokens included"),
    layers: z.int().min(1).max(24).default(4).describe("layers of the encoder"),
    hiddenSize: z.int().min(4).max(1024).default(128).describe("the width of the vectors"),
    heads: z.int().min(1).max(64).default(4).describe("attention heads of a layer"),
    dropout: z.number().min(0).lt(1).default(0.1).describe("the share of features and attention weights left out"),
    vocabularySize: z.int().min(50).max(100_000).default(8000).describe("tokens that WordPiece learns from the texts"),
    maskProbability: z.number().positive().max(0.5).default(0.15).describe("the share of tokens to be found"),
    wholeWords: z.boolean().default(false).describe("masks all tokens of a word together"),
    folder: z.string().min(1).optional().describe("a folder of text files, each a document; default: the Brown corpus"),
  },
  async setup({ epochs, batchSize, learningRate, weightDecay, length, dropout, seed, ...given }, { fitted }) {
    const { train, validation } = await corpusOf(given.folder);
    const tokenizer = await fitted(
      "tokenizer",
      () => trainWordPiece(train.flat(), { vocabularySize: given.vocabularySize }),
      decodeTokenizer,
    );
    const model: BertForPreTraining = bertForPreTraining({
      vocabSize: tokenizer.size,
      hiddenSize: given.hiddenSize,
      numHiddenLayers: given.layers,
      numAttentionHeads: given.heads,
      intermediateSize: 4 * given.hiddenSize,
      maxPositionEmbeddings: length,
      hiddenDropoutProb: dropout,
      attentionProbsDropoutProb: dropout,
      padTokenId: tokenizer.special.pad ?? 0,
    });
    const padding = tokenizer.special.pad ?? 0;
    const forward = (ids: Ids, segments: Ids, positions: Ids) =>
      model(ids, {
        tokenTypeIds: segments,
        attentionMask: ids.notEqual(padding),
        predictionPositions: positions,
      });
    const options = { length, batchSize, seed, maskProbability: given.maskProbability, wholeWords: given.wholeWords };
    const pairs = nextSentencePairs(train, { tokenizer, maxLength: length, seed }).length;
    const steps = epochs * Math.ceil(pairs / batchSize);
    const climb = Math.floor(given.warmUp * steps);
    const commonest = commonestToken(train, tokenizer);
    const outputs = ({ batch }: Measured) => forward(batch[0] as Ids, batch[1] as Ids, batch[2] as Ids);
    return {
      setup: {
        model,
        loss(...[ids, segments, positions, masked, order]: readonly [Ids, Ids, Ids, Ids, Labels]) {
          const { predictionLogits, seqRelationshipLogits } = forward(ids, segments, positions);
          const masks = crossEntropy(predictionLogits as Tensor<[number, number, number], "float32">, masked, {
            ignore: ignored,
          });
          return masks.add(crossEntropy(seqRelationshipLogits, order));
        },
        output: (ids: Ids, segments: Ids, positions: Ids) => forward(ids, segments, positions).seqRelationshipLogits,
        train: pairsOf(train, tokenizer, { ...options, isFixed: false }),
        validation: pairsOf(validation, tokenizer, { ...options, isFixed: true }),
        optimizer: adamWForTransformers(model, { learningRate, weightDecay }),
        schedule: warmUp(falling(learningRate, { steps: Math.max(1, steps - climb) }), { steps: climb }),
        metrics: [
          share("maskedAccuracy", (batch) => ({
            guesses: outputs(batch).predictionLogits.argmax(-1) as Tensor,
            labels: batch.batch[3]!,
          })),
          share("unigramAccuracy", ({ batch }) => ({
            guesses: tensor(commonest, "int32") as Tensor,
            labels: batch[3]!,
          })),
          share("nextSentenceAccuracy", (batch) => ({
            guesses: batch.output.argmax(-1) as Tensor,
            labels: batch.target,
          })),
          share("majorityAccuracy", ({ target }) => ({ guesses: tensor(1, "int32") as Tensor, labels: target })),
        ],
      },
      options: { epochs, maxGradNorm: 1, metricForBestModel: "maskedAccuracy" },
      prediction: {
        tokenizer,
        classes: ["follows", "another text"],
        command: ['fill "the [MASK] sat"', "the most likely words for a mask"],
      },
    };
  },
});

/** The token that occurs most often in texts. */
function commonestToken(documents: Corpus["train"], tokenizer: Tokenizer): number {
  const counts = new Int32Array(tokenizer.size);
  for (const sentences of documents)
    for (const sentence of sentences) for (const id of tokenizer.ids(sentence)) counts[id]!++;
  return counts.indexOf(Math.max(...counts));
}

export default bertPretrain;
