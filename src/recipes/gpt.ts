/** GPT-2's form learns to write on: the next token of any text. */
import { z } from "zod";
import { dataset } from "../data/dataset.ts";
import { loader } from "../data/tensors.ts";
import { DataError, printable } from "../errors.ts";
import { readFileChecked } from "../files/node/atomic.ts";
import { type Gpt2LMHeadModel, gpt2LMHeadModel } from "../models/gpt.ts";
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

/**
 * How a GPT-2 writes: with room for as many tokens as it has positions, of which half are for the beginning of a text. `empty` are the ids
 * that a text without a beginning is begun with.
 */
export function gptGeneration(
  model: Gpt2LMHeadModel,
  tokenizer: Tokenizer,
  { length, empty }: { readonly length: number; readonly empty: ArrayLike<number> },
): TextGeneration {
  return {
    model,
    // Of a long beginning, the end is what the model has room for.
    encode: (text) => (text === "" ? empty : tokenizer.ids(text).slice(-Math.ceil(length / 2))),
    decode: (ids) => tokenizer.decode(ids),
    options: { maxNewTokens: Math.floor(length / 2), temperature: 0.8, topK: 40 },
  };
}

const gpt: Recipe = defineRecipe({
  name: "gpt",
  description: "A small GPT-2 learns to write on, from any text file",
  hyperparameters: {
    file: z.string().min(1).optional().describe("a text file; its last tenth is held out; default: the Brown corpus"),
    epochs: z.int().min(1).default(6).describe("how often the text is seen"),
    batchSize: z.int().min(1).max(4096).default(16).describe("rows of tokens in a step"),
    learningRate: z.number().positive().max(1).default(0.001).describe("of AdamW after the warm-up; falls to 0"),
    warmUp: z.number().min(0).lt(1).default(0.05).describe("the share of steps in which the rate climbs"),
    weightDecay: z.number().min(0).default(0.1).describe("of AdamW, for matrices"),
    length: z.int().min(2).max(1024).default(128).describe("tokens in a row, the most that the model looks back"),
    layers: z.int().min(1).max(48).default(4).describe("layers of the decoder"),
    hiddenSize: z.int().min(4).max(1600).default(128).describe("the width of the vectors"),
    heads: z.int().min(1).max(64).default(4).describe("attention heads of a layer"),
    dropout: z.number().min(0).lt(1).default(0.1).describe("the share of features and attention weights left out"),
    vocabularySize: z.int().min(257).max(100_000).default(4000).describe("byte-level tokens, learnt from the text"),
  },
  async setup({ file, epochs, batchSize, learningRate, weightDecay, length, dropout, seed, ...given }, { fitted }) {
    const texts = await textsOf(file);
    const tokenizer = await fitted(
      "tokenizer",
      () => trainBpe([texts.train], { vocabularySize: given.vocabularySize }),
      decodeTokenizer,
    );
    const end = tokenizer.special.eos;
    const model = gpt2LMHeadModel({
      vocabSize: tokenizer.size,
      hiddenSize: given.hiddenSize,
      numHiddenLayers: given.layers,
      numAttentionHeads: given.heads,
      maxPositionEmbeddings: length,
      embdPdrop: dropout,
      residPdrop: dropout,
      attnPdrop: dropout,
      ...(end !== undefined && { bosTokenId: end, eosTokenId: end }),
    });
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
      generation: gptGeneration(model, tokenizer, { length, empty: tokenizer.ids("\n") }), //  as texts begin here
    };
  },
});

export default gpt;
