/** What the recipes that train a Transformer, encoder and decoder, have in common: hyperparameters, loss and optimizer of Vaswani et al. 2017. */
import { z } from "zod";
import { DataError, quoted } from "../errors.ts";
import { generate } from "../models/generate.ts";
import type { Transformer } from "../models/transformer.ts";
import { crossEntropy } from "../nn/losses.ts";
import { inMode } from "../nn/module.ts";
import { adam } from "../optim/adam.ts";
import { type Ema, ema } from "../optim/ema.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { inverseSquareRoot, type Schedule } from "../optim/schedules.ts";
import { fromValues } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { TextTranslation } from "./recipe.ts";

/** Token ids, [batch, tokens]. */
export type Ids = Tensor<[number, number], "int32">;

/** What a recipe's hyperparameters are unless they are given. */
export interface TransformerDefaults {
  /** What sequences are made of: "token". */
  readonly symbol: string;
  readonly warmUpSteps: number;
  readonly width: number;
  readonly layers: number;
  readonly dropout: number;
  readonly labelSmoothing: number;
}

type Whole = z.ZodDefault<z.ZodInt>;
type Real = z.ZodDefault<z.ZodNumber>;

/** Schemas of hyperparameters. */
export interface TransformerSchemas {
  readonly learningRate: Real;
  readonly warmUpSteps: Whole;
  readonly width: Whole;
  readonly heads: Whole;
  readonly layers: Whole;
  readonly dropout: Real;
  readonly labelSmoothing: Real;
  readonly averageDecay: Real;
}

/** Returns the schemas of the hyperparameters. */
export function transformerHyperparameters(defaults: TransformerDefaults): TransformerSchemas {
  const { symbol } = defaults;
  const share = (value: number): Real => z.number().min(0).lt(1).default(value);
  return {
    learningRate: z
      .number()
      .positive()
      .max(1)
      .default(0.002)
      .describe("the highest, of Adam; then it falls with 1/√step"),
    warmUpSteps: z.int().min(1).default(defaults.warmUpSteps).describe("steps until the highest rate"),
    width: z.int().min(4).max(4096).default(defaults.width).describe(`numbers that stand for a ${symbol}`),
    heads: z.int().min(1).max(64).default(4).describe("of attention"),
    layers: z.int().min(1).max(24).default(defaults.layers).describe("of the encoder, and of the decoder"),
    dropout: share(defaults.dropout).describe("the share of features that a step leaves out"),
    labelSmoothing: share(defaults.labelSmoothing).describe(`the share of the probability spread over all ${symbol}s`),
    averageDecay: share(0.995).describe(
      "of the average of weights over steps, which the model has in the end; 0: none",
    ),
  };
}

/** Parts of a setup. */
export interface TransformerTraining {
  loss(source: Ids, targets: Ids): Tensor<[], "float32">;
  weight(loss: unknown, targets: Ids): Tensor<[], "int32">;
  readonly optimizer: Optimizer;
  readonly schedule: Schedule;
  readonly average?: Ema;
}

/** Returns the parts of a setup that are the same in each recipe. `padding` is the token that fills targets up. */
export function transformerTraining(
  model: Transformer,
  padding: number,
  given: Readonly<Record<"learningRate" | "warmUpSteps" | "labelSmoothing" | "averageDecay", number>>,
): TransformerTraining {
  const { learningRate, warmUpSteps, labelSmoothing, averageDecay } = given;
  return {
    loss: (source, targets) => crossEntropy(model(source, targets), targets, { ignore: padding, labelSmoothing }),
    weight: (_, targets) => targets.notEqual(padding).countNonZero(),
    optimizer: adam(model, { learningRate, betas: [0.9, 0.98], epsilon: 1e-9 }),
    schedule: inverseSquareRoot(learningRate, { warmUpSteps }),
    ...(averageDecay > 0 && { average: ema(model, { decay: averageDecay, warmUp: true }) }),
  };
}

/** What a Transformer needs to translate texts. */
export interface TranslationParts {
  /** Returns the ids of a text. */
  encode(text: string): ArrayLike<number>;
  /** Returns the text of ids, without END. */
  decode(ids: Int32Array): string;
  /** The ids that a target begins and ends with. */
  readonly start: number;
  readonly end: number;
  /** The most tokens of a text, and of its translation. */
  readonly longest: number;
  readonly longestTarget: number;
}

/** Translates texts, one after the other, by beam search. Throws DataError for a text that is empty or too long. */
export function translationBy(model: Transformer, parts: TranslationParts): TextTranslation {
  const { start, end, longest, longestTarget } = parts;
  return async (texts, { beams }) => {
    const encoded = texts.map((text) => {
      const ids = parts.encode(text.trim());
      if (ids.length === 0) throw new DataError("translate", "a text is empty", "give a sentence");
      if (ids.length > longest)
        throw new DataError(
          "translate",
          `${quoted(text)} has ${ids.length} tokens, and the model was trained with up to ${longest}`,
          "give it sentence by sentence",
        );
      return ids;
    });
    const translations: string[] = [];
    for (const ids of encoded) {
      const source: Ids = fromValues(Int32Array.from(ids), [1, ids.length]);
      const { sequences } = await inMode(false, () =>
        generate(model, {
          prompt: [[]],
          state: model.encode(source, longestTarget),
          bosTokenId: start,
          eosTokenId: end,
          numBeams: beams,
          maxNewTokens: longestTarget,
        }),
      );
      const written = Int32Array.from(sequences[0]!);
      const length = written.indexOf(end);
      translations.push(parts.decode(length < 0 ? written : written.subarray(0, length)));
    }
    return translations;
  };
}
