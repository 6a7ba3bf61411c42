/** GPT-2's form learns to write on: the next token of any text. */
import { z } from "zod";
import { dataset } from "../data/dataset.ts";
import { loader } from "../data/tensors.ts";
import { DataError, printable } from "../errors.ts";
import { readFileChecked } from "../files/node/atomic.ts";
import { type Gpt2Config, type Gpt2LMHeadModel, gpt2LMHeadModel } from "../models/gpt.ts";
import { loadPretrained } from "../models/node/pretrained.ts";
import { crossEntropy } from "../nn/losses.ts";
import { linear as falling, warmUp } from "../optim/schedules.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { loadBrown } from "../text/node/brown.ts";
import { decodeTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { trainBpe } from "../text/tokenizers.ts";
import { accuracy, perplexity } from "../train/metrics.ts";
import { adamWForTransformers } from "./bert-pretrain.ts";
import { defineRecipe, type Recipe, type TextGeneration } from "./recipe.ts";

type Ids = Tensor<[number, number], "int32">;

/** A text to learn from, and one to be judged on: the Brown corpus's own sets, or the last tenth of a file. */
async function textsOf(file: string | undefined): Promise<{ readonly train: string; readonly validation: string }> {
  if (file === undefined) {
    const brown = await loadBrown();
    const text = (documents: typeof brown.train): string =>
      documents.map(({ sentences }) => sentences.map(({ words }) => words.join(" ")).join("\n")).join("\n\n");
    return { train: text(brown.train), validation: text(brown.validation) };
  }
  const text = new TextDecoder().decode(await readFileChecked(file));
  // The cut is at the end of a line.
  const cut = text.lastIndexOf("\n", Math.floor(0.9 * text.length)) + 1;
  if (cut === 0 || cut >= text.length)
    throw new DataError(printable(file), `it has ${text.length} characters on one line`, "give a longer text of lines");
  return { train: text.slice(0, cut), validation: text.slice(cut) };
}

/** A GPT-2 with its configuration. */
type Writer = Gpt2LMHeadModel & { readonly config: Gpt2Config };

/**
 * The model and the tokenizer of a folder in Hugging Face's form. Throws DataError for one without a tokenizer, or with one that has more
 * tokens than the model.
 */
export async function pretrainedGpt(
  folder: string,
  config: Partial<Gpt2Config> = {},
): Promise<{ readonly model: Writer; readonly tokenizer: Tokenizer }> {
  const { model, tokenizer } = await loadPretrained(gpt2LMHeadModel, folder, { config });
  if (!tokenizer)
    throw new DataError(
      printable(folder),
      "there is no tokenizer in the folder",
      "put tokenizer.json, or vocab.json and merges.txt, beside the weights",
    );
  if (tokenizer.size > model.config.vocabSize)
    throw new DataError(
      printable(folder),
      `its tokenizer has ${tokenizer.size} tokens, and its model ${model.config.vocabSize}`,
      "give the tokenizer with which the model was trained",
    );
  return { model, tokenizer };
}

/** The most tokens that a pre-trained model writes unless the user says otherwise. */
const usualTokens = 100;

/** How a pre-trained GPT-2 writes: up to the token that ends a text. */
export function pretrainedGeneration(model: Writer, tokenizer: Tokenizer): TextGeneration {
  const { maxPositionEmbeddings: length } = model.config;
  const { eos: end, bos: first = end } = tokenizer.special;
  // Texts begin with the token that ends them, or with a line break where there is none.
  const empty = first === undefined ? tokenizer.ids("\n") : [first];
  const generation = gptGeneration(model, tokenizer, { length, empty });
  const maxNewTokens = Math.min(usualTokens, Math.floor(length / 2));
  return {
    ...generation,
    options: { ...generation.options, maxNewTokens, ...(end !== undefined && { eosTokenId: end }) },
  };
}

/**
 * How a GPT-2 writes: with room for as many tokens as it has positions, of which half are for the beginning of a text. `empty` are the ids
 * that a text without a beginning is begun with.
 */
function gptGeneration(
  model: Gpt2LMHeadModel,
  tokenizer: Tokenizer,
  { length, empty }: { readonly length: number; readonly empty: ArrayLike<number> },
): TextGeneration {
  return {
    model,
    encode: (text) => (text === "" ? empty : tokenizer.ids(text)),
    longestBeginning: Math.ceil(length / 2),
    decode: (ids) => tokenizer.decode(ids),
    options: { maxNewTokens: Math.floor(length / 2), temperature: 0.8, topK: 40 },
  };
}

const gpt: Recipe = defineRecipe({
  name: "gpt",
  description: "A small GPT-2, or a pre-trained one, learns to write on, from any text file",
  hyperparameters: {
    file: z.string().min(1).optional().describe("a text file; its last tenth is held out; default: the Brown corpus"),
    pretrained: z
      .string()
      .min(1)
      .optional()
      .describe("the folder of a GPT-2 to begin with, of `glissade export --format pretrained` or from the hub"),
    epochs: z.int().min(1).default(6).describe("how often the text is seen"),
    batchSize: z.int().min(1).max(4096).default(16).describe("rows of tokens in a step"),
    learningRate: z.number().positive().max(1).default(0.001).describe("of AdamW after the warm-up; falls to 0"),
    warmUp: z.number().min(0).lt(1).default(0.05).describe("the share of steps in which the rate climbs"),
    weightDecay: z.number().min(0).default(0.1).describe("of AdamW, for matrices"),
    length: z
      .int()
      .min(2)
      .max(1024)
      .default(128)
      .describe("tokens in a row; without pre-training the most that the model looks back"),
    layers: z.int().min(1).max(48).default(4).describe("layers of a model without pre-training"),
    hiddenSize: z.int().min(4).max(1600).default(128).describe("the width of its vectors, without pre-training"),
    heads: z.int().min(1).max(64).default(4).describe("attention heads of a layer, without pre-training"),
    dropout: z.number().min(0).lt(1).default(0.1).describe("the share of features and attention weights left out"),
    vocabularySize: z
      .int()
      .min(257)
      .max(100_000)
      .default(4000)
      .describe("byte-level tokens learnt from the text, without pre-training"),
  },
  async setup({ file, epochs, batchSize, learningRate, weightDecay, dropout, seed, ...given }, { fitted }) {
    const texts = await textsOf(file);
    const rates = { embdPdrop: dropout, residPdrop: dropout, attnPdrop: dropout };
    const pretrained = given.pretrained === undefined ? undefined : await pretrainedGpt(given.pretrained, rates);
    const tokenizer = await fitted(
      "tokenizer",
      () => pretrained?.tokenizer ?? trainBpe([texts.train], { vocabularySize: given.vocabularySize }),
      decodeTokenizer,
    );
    const end = tokenizer.special.eos;
    const scratch = (): Writer =>
      gpt2LMHeadModel({
        vocabSize: tokenizer.size,
        hiddenSize: given.hiddenSize,
        numHiddenLayers: given.layers,
        numAttentionHeads: given.heads,
        maxPositionEmbeddings: given.length,
        ...rates,
        ...(end !== undefined && { bosTokenId: end, eosTokenId: end }),
      });
    const model = pretrained?.model ?? scratch();
    const length = Math.min(given.length, model.config.maxPositionEmbeddings);
    const columns = (text: string) => {
      const ids = tokenizer.ids(text);
      const rows = Math.floor((ids.length - 1) / length);
      if (rows === 0)
        throw new DataError(
          file ?? "the text",
          `${ids.length} tokens fill no row of ${length}`,
          "give a longer text, or a shorter length",
        );
      const column = (from: number) =>
        ({
          shape: [rows, length] as const,
          dtype: "int32" as const,
          values: ids.slice(from, from + rows * length),
        }) as const;
      return dataset(column(0), column(1));
    };
    const train = columns(texts.train);
    const batches = loader(train, { batchSize: Math.min(batchSize, train.length), shuffle: true, seed });
    const steps = epochs * batches.batches;
    const climb = Math.floor(given.warmUp * steps);
    const forward = (ids: Ids) => model(ids).logits;
    return {
      setup: {
        model,
        loss: (ids: Ids, next: Ids) => crossEntropy(forward(ids), next),
        output: forward,
        train: batches,
        validation: columns(texts.validation),
        optimizer: adamWForTransformers(model, { learningRate, weightDecay }),
        schedule: warmUp(falling(learningRate, { steps: Math.max(1, steps - climb) }), { steps: climb }),
        metrics: [perplexity(), accuracy()],
      },
      options: { epochs, maxGradNorm: 1 },
      prediction: { tokenizer },
      generation: pretrained
        ? pretrainedGeneration(model, tokenizer)
        : gptGeneration(model, tokenizer, { length, empty: tokenizer.ids("\n") }), //  as texts begin here
    };
  },
});

export default gpt;
