/** Recipes: a complete training, with its hyperparameters, as one typed object in one file. */
import type { z } from "zod";
import type { Column } from "../data/dataset.ts";
import { ConfigError } from "../errors.ts";
import { aRecord, described, expectOptions } from "../graph/arguments.ts";
import { seed } from "../nn/generator.ts";
import type { RunOptions } from "../train/node/options.ts";
import { completeSetup, type TrainingSetup } from "../train/setup.ts";
import {
  describeHyperparameter,
  expectSchemas,
  type GivenHyperparameters,
  type HyperparameterDescription,
  type HyperparameterSchemas,
  type Hyperparameters,
  parseHyperparameters,
  seedSchema,
} from "./hyperparameters.ts";

/** How a trained model is asked about data from outside. */
export interface Prediction {
  /** What the classes are called, in the order of their labels. Default: their numbers. */
  readonly classes?: readonly string[];
  /** What the numbers of the output are called, where the model predicts numbers and no classes. */
  readonly targets?: readonly string[];
  /**
   * Makes the model's input, its first column, of rows from outside, such as `[{ age: 31, city: "Rome" }]`: with the preparation that was
   * fitted on the training data. Default: rows are the input's values, in the order of their fields.
   */
  rows?(rows: readonly Readonly<Record<string, unknown>>[]): Column;
  /** The size of images in the first column, which are [channels, height, width] or those values in a row, from 0 to 1. */
  readonly image?: { readonly width: number; readonly height: number; readonly channels?: 1 | 3 };
}

/** Options of `fit` that a recipe may set: not where and when a run is kept. */
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
}

/** A recipe as its author writes it. */
export interface RecipeDefinition<S extends HyperparameterSchemas, C extends readonly Column[]> {
  /** Small letters, digits and hyphens. Runs are called by it. */
  readonly name: string;
  /** What is learnt from what, in one line. */
  readonly description: string;
  /** Zod schemas, by name. `seed` need not be among them: every recipe has it. */
  readonly hyperparameters: S;
  /** Makes a new model and everything that it is trained with. Initial weights follow from the seed. */
  setup(hyperparameters: Hyperparameters<S>): RecipeParts<C> | Promise<RecipeParts<C>>;
}

/** A recipe that is ready to be trained with `fit(setup, options)`. */
export interface PreparedRecipe<S extends HyperparameterSchemas = HyperparameterSchemas> {
  /** The values of all hyperparameters. */
  readonly hyperparameters: Hyperparameters<S>;
  readonly setup: TrainingSetup;
  readonly options: RunOptions;
  readonly prediction: Prediction;
}

/** A recipe. Made by `defineRecipe`. */
export interface Recipe<S extends HyperparameterSchemas = HyperparameterSchemas> {
  readonly name: string;
  readonly description: string;
  readonly schemas: S & { readonly seed: z.ZodType<number, number | undefined> };
  /** What can be said of each hyperparameter. */
  readonly hyperparameters: readonly HyperparameterDescription[];
  /**
   * Sets the default generator's seed and makes everything that `fit` needs, with the hyperparameters that are given and defaults for the
   * others. Throws ConfigError for a hyperparameter that there is not or that is out of bounds, and for a setup that cannot be.
   */
  prepare(given?: GivenHyperparameters<S>): Promise<PreparedRecipe<S>>;
}

const partNames = ["setup", "options", "prediction"] as const;

/**
 * A recipe of its parts:
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
 * `glissade train FILE` trains it. Throws ConfigError for a name, a description or a schema that cannot be.
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
    async prepare(given = {} as GivenHyperparameters<S>) {
      const hyperparameters = parseHyperparameters(name, schemas, given) as Hyperparameters<S>;
      const { seed: seedValue } = hyperparameters;
      seed(seedValue);
      const parts = await definition.setup(hyperparameters);
      expectParts(name, parts);
      return {
        hyperparameters,
        setup: parts.setup as unknown as TrainingSetup,
        options: { ...parts.options, seed: seedValue },
        prediction: parts.prediction ?? {},
      };
    },
  };
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

/** Whether something is a recipe, of this copy of the package or of another. */
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
