/** Recipes: a complete training, with its hyperparameters, as one typed object in one file. */
import type { BatchSource } from "../data/batches.ts";
import type { Column, Dataset } from "../data/dataset.ts";
import { ConfigError, quoted } from "../errors.ts";
import { aRecord, described, expectOptions } from "../graph/arguments.ts";
import type { GenerateOptions } from "../models/generate.ts";
import type { StepModel } from "../models/step-model.ts";
import { seed } from "../nn/generator.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { RunOptions } from "../train/node/options.ts";
import { completeSetup, type TrainingSetup } from "../train/setup.ts";
import {
  describeHyperparameter,
  expectSchemas,
  type GivenHyperparameters,
  type HyperparameterDescription,
  type HyperparameterSchema,
  type HyperparameterSchemas,
  type Hyperparameters,
  parseHyperparameters,
  seedSchema,
} from "./hyperparameters.ts";

/** How a trained model makes predictions for data from outside. */
export interface Prediction {
  /** The names of the classes, in the order of their labels. Default: their numbers. */
  readonly classes?: readonly string[];
  /** The names of the output's numbers, if the model predicts numbers instead of classes. */
  readonly targets?: readonly string[];
  /**
   * Makes the model's input, its first column, from rows from outside, such as `[{ age: 31, city: "Rome" }]`: use the preparation that was
   * fitted on the training data. Default: rows are the input's values, in the order of their fields.
   */
  rows?(rows: readonly Readonly<Record<string, unknown>>[]): Column;
  /** The size of the images in the first column. They are [channels, height, width], or the same values as one axis, from 0 to 1. */
  readonly image?: { readonly width: number; readonly height: number; readonly channels?: 1 | 3 };
  /**
   * The length of the sequences that the exported network takes, such as the most tokens of a text, where the model does not allow any
   * length; shorter ones end in padding. Default: the longest of the examples that the model is judged on.
   */
  readonly length?: number;
  /** The tokenizer of the model's texts. */
  readonly tokenizer?: Tokenizer;
  /** A command that shows what the model does, and what it shows, for recipes that have one: `["pronounce hello", "how it says a word"]`. */
  readonly command?: readonly [words: string, what: string];
}

/** How a trained model writes: for `glissade generate`. */
export interface TextGeneration {
  /** The model's step, as `generate` takes it. */
  readonly model: StepModel<unknown>;
  /** Returns the ids that the model is given first for the beginning of a text, which may be empty: with the ids that texts begin with. */
  encode(beginning: string): ArrayLike<number>;
  /** The most ids of a beginning that the model has room for: of a longer one the last ones are used. Default: all are used. */
  readonly longestBeginning?: number;
  /** Returns the text of ids that the model has written. */
  decode(ids: readonly number[]): string;
  /** How it is decoded unless the user says otherwise: `eosTokenId`, `maxNewTokens`, `temperature`. */
  readonly options?: Omit<GenerateOptions, "prompt" | "state">;
  /** How many texts are shown at the end of a training. Default 3. */
  readonly samples?: number;
}

/**
 * How a trained model translates texts: for `glissade translate`. Returns a text for each, by a search that keeps `beams` of them at each
 * step. Throws DataError for a text that the model cannot read.
 */
export type TextTranslation = (
  texts: readonly string[],
  options: { readonly beams: number },
) => Promise<readonly string[]>;

/** Another way to do what a recipe's model learns, measured on the same data: what the model has to beat. */
export interface Baseline {
  /** What it is: "Kneser–Ney trigrams". */
  readonly name: string;
  /** Its metrics on the validation data, under the names that the setup's metrics have. */
  readonly validation: Readonly<Record<string, number>>;
  /** Its metrics on the test data. */
  readonly test?: Readonly<Record<string, number>>;
}

/** The options of `fit` that a recipe may set: all but those about where and when a run is saved. */
export type RecipeOptions = Omit<
  RunOptions,
  | "outputDir"
  | "overwriteOutputDir"
  | "resumeFromCheckpoint"
  | "hyperparameters"
  | "runName"
  | "signal"
  | "onEvent"
  | "seed"
>;

/** What a recipe's setup returns. */
export interface RecipeParts<C extends readonly Column[] = readonly Column[]> {
  readonly setup: TrainingSetup<C>;
  readonly options?: RecipeOptions;
  readonly prediction?: Prediction;
  /** How the model writes, if it is one that does. */
  readonly generation?: TextGeneration;
  /** How the model translates, if it is one that does. */
  readonly translation?: TextTranslation;
  /** Data with the columns of `validation` that nothing of the training has seen, not even the choice of its best step. */
  readonly test?: Dataset<C> | BatchSource;
  /** What the model has to beat. */
  readonly baselines?: readonly Baseline[];
}

/** What a recipe's setup is given beside its hyperparameters. */
export interface SetupContext {
  /**
   * Returns what `fit` makes from the training data, such as a tokenizer or a preparation, and saves it with the run, as the JSON that it
   * turns into. When that run is resumed, evaluated or asked, `restore` makes it from what was saved, and `fit` is not called: the model goes
   * on with the vocabulary and the scales that it was trained with, even if the data have changed since. Also a new one is what `restore`
   * returns. Throws ConfigError for a name that is used twice, and for what is no JSON.
   *
   *     const words = await fitted("tokenizer", () => tokenizers.trainBpe(texts), decodeTokenizer);
   */
  fitted<T>(name: string, fit: () => unknown, restore: (saved: unknown) => T): Promise<T>;
}

/** A recipe as its author writes it. */
export interface RecipeDefinition<S extends HyperparameterSchemas, C extends readonly Column[]> {
  /** The name, of small letters, digits and hyphens. Runs are named after it. */
  readonly name: string;
  /** What is learnt from what, in one line. */
  readonly description: string;
  /** Zod schemas, by name. `seed` need not be among them: every recipe has it. */
  readonly hyperparameters: S;
  /** Makes a new model and everything needed to train it. The initial weights depend on the seed. */
  setup(hyperparameters: Hyperparameters<S>, context: SetupContext): RecipeParts<C> | Promise<RecipeParts<C>>;
}

/** What a setup has fitted to its training data, by name, as values of JSON. */
export type FittedValues = Readonly<Record<string, unknown>>;

/** A recipe that is ready to be trained with `fit(setup, options)`. */
export interface PreparedRecipe<S extends HyperparameterSchemas = HyperparameterSchemas> {
  /** The values of all hyperparameters. */
  readonly hyperparameters: Hyperparameters<S>;
  readonly setup: TrainingSetup;
  readonly options: RunOptions;
  readonly prediction: Prediction;
  readonly generation?: TextGeneration;
  readonly translation?: TextTranslation;
  readonly test?: Dataset | BatchSource;
  readonly baselines: readonly Baseline[];
  /** What the setup has fitted to its training data: `prepare(hyperparameters, fitted)` makes the same model on other data. */
  readonly fitted: FittedValues;
}

/** A recipe. Made by `defineRecipe`. */
export interface Recipe<S extends HyperparameterSchemas = HyperparameterSchemas> {
  readonly name: string;
  readonly description: string;
  readonly schemas: S & { readonly seed: HyperparameterSchema<number> };
  /** The description of each hyperparameter. */
  readonly hyperparameters: readonly HyperparameterDescription[];
  /**
   * Sets the default generator's seed and makes everything that `fit` needs, with the given hyperparameters and defaults for the others.
   * `fitted` is what an earlier call has fitted to its training data; nothing is fitted anew then. Throws ConfigError for a hyperparameter
   * that is unknown or out of bounds, and for an invalid setup.
   */
  prepare(given?: GivenHyperparameters<S>, fitted?: FittedValues): Promise<PreparedRecipe<S>>;
}

const partNames = ["setup", "options", "prediction", "generation", "translation", "test", "baselines"] as const;

/**
 * Defines a recipe:
 *
 *     export default defineRecipe({
 *       name: "line",
 *       description: "a line through points",
 *       hyperparameters: { learningRate: z.number().positive().default(0.1).describe("of SGD") },
 *       async setup({ learningRate }) {
 *         …
 *         return { setup: { model, loss, train, validation, optimizer: sgd(model, { learningRate }) }, options: { epochs: 10 } };
 *       },
 *     });
 *
 * `glissade train FILE` trains it. Throws ConfigError for an invalid name, description or schema.
 */
export function defineRecipe<const S extends HyperparameterSchemas, C extends readonly Column[]>(
  definition: RecipeDefinition<S, C>,
): Recipe<S> {
  const subject = "defineRecipe";
  expectOptions(subject, definition, ["name", "description", "hyperparameters", "setup"]);
  if (aRecord(definition)) throw new ConfigError(subject, `it got ${described(definition)}`, "give a record");
  const { name, description, hyperparameters: own } = definition;
  if (typeof name !== "string" || !/^[a-z][a-z0-9-]{0,59}$/.test(name))
    throw new ConfigError(
      subject,
      `the name is ${described(name)}`,
      "give small letters, digits and hyphens: my-recipe",
    );
  if (typeof description !== "string" || description.trim() === "")
    throw new ConfigError(subject, `the description is ${described(description)}`, "say in one line what is learnt");
  if (typeof definition.setup !== "function")
    throw new ConfigError(subject, `\`setup\` is ${described(definition.setup)}`, "give a function");
  expectSchemas(name, own);
  const schemas = { ...own, seed: own.seed ?? seedSchema } as Recipe<S>["schemas"];
  return {
    name,
    description,
    schemas,
    hyperparameters: Object.entries(schemas).map(([each, schema]) => describeHyperparameter(each, schema)),
    async prepare(given = {} as GivenHyperparameters<S>, saved = {}) {
      const hyperparameters = parseHyperparameters(name, schemas, given) as Hyperparameters<S>;
      const { seed: seedValue } = hyperparameters;
      seed(seedValue);
      if (aRecord(saved))
        throw new ConfigError(name, `\`fitted\` is ${described(saved)}`, "give the `fitted` of a prepared recipe");
      const { fitted, context } = fitting(name, saved);
      const parts = await definition.setup(hyperparameters, context);
      expectParts(name, parts);
      return {
        hyperparameters,
        setup: parts.setup as unknown as TrainingSetup,
        options: { ...parts.options, seed: seedValue },
        prediction: parts.prediction ?? {},
        ...(parts.generation && { generation: parts.generation }),
        ...(parts.translation && { translation: parts.translation }),
        ...(parts.test && { test: parts.test as unknown as Dataset | BatchSource }),
        baselines: parts.baselines ?? [],
        fitted,
      };
    },
  };
}

/** The context of a setup, and the record that what it fits is put into. */
function fitting(
  recipe: string,
  saved: FittedValues,
): { readonly fitted: FittedValues; readonly context: SetupContext } {
  const fitted: Record<string, unknown> = Object.create(null);
  const context: SetupContext = {
    async fitted(name, fit, restore) {
      const subject = `${recipe}: fitted`;
      if (typeof name !== "string" || name === "" || Object.hasOwn(fitted, name))
        throw new ConfigError(
          subject,
          `the name is ${described(name)}${fitted[name] === undefined ? "" : ", a second time"}`,
          'name each fitted value: fitted("tokenizer", fit, restore)',
        );
      for (const [role, given] of [["fit", fit] as const, ["restore", restore] as const])
        if (typeof given !== "function")
          throw new ConfigError(subject, `\`${role}\` of ${quoted(name)} is ${described(given)}`, "give a function");
      const value = Object.hasOwn(saved, name) ? saved[name] : asJson(subject, name, await fit());
      fitted[name] = value;
      return restore(value);
    },
  };
  return { fitted, context };
}

/** What a fitted value becomes when it is saved and read again. */
function asJson(subject: string, name: string, value: unknown): unknown {
  let text: string | undefined;
  let cause: unknown;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    cause = error;
  }
  if (text === undefined)
    throw new ConfigError(
      subject,
      `${quoted(name)} is ${described(value)}, which is no JSON`,
      "return plain values, or something with a method toJSON, such as a tokenizer or a preparation",
      "",
      { cause },
    );
  return JSON.parse(text);
}

function expectParts(subject: string, parts: unknown): asserts parts is RecipeParts {
  if (aRecord(parts) || !("setup" in (parts as object)))
    throw new ConfigError(
      subject,
      `its setup returns ${described(parts)}`,
      "return { setup: { model, loss, train }, options: { epochs: 10 } }",
    );
  expectOptions(subject, parts, partNames);
  completeSetup(subject, (parts as RecipeParts).setup);
}

/** Returns whether a value is a recipe, made by this copy of the package or by another. */
export function isRecipe(value: unknown): value is Recipe {
  return (
    typeof value === "object" &&
    value !== null &&
    "prepare" in value &&
    typeof value.prepare === "function" &&
    "hyperparameters" in value &&
    Array.isArray(value.hyperparameters)
  );
}
