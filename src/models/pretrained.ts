/** Pre-trained models in Hugging Face's form: a `config.json` and named weights, to a model and back. */
import { valuesOf } from "../compile/evaluate.ts";
import { ConfigError, FormatError, printable } from "../errors.ts";
import type { NamedValues } from "../files/safetensors.ts";
import { type LoadReport, loadValues } from "../files/weights.ts";
import { described, missing } from "../graph/arguments.ts";
import { sizeOf } from "../graph/types.ts";
import type { Module } from "../nn/module.ts";
import {
  type Architecture,
  type ConfigJson,
  completeConfig,
  configFromJson,
  configToJson,
  type Family,
  type ModelOptions,
  type PretrainedModel,
} from "./architecture.ts";
import {
  bert,
  bertForMaskedLM,
  bertForNextSentencePrediction,
  bertForPreTraining,
  bertForSequenceClassification,
  bertForTokenClassification,
} from "./bert.ts";
import { gpt2, gpt2LMHeadModel } from "./gpt.ts";

/** The options of `loadPretrained`. */
export interface PretrainedOptions<C extends object = object> extends ModelOptions {
  /** Fields of the configuration that replace those of the file, such as `{ numLabels: 3 }` or `{ hiddenDropoutProb: 0 }`. */
  readonly config?: Partial<C>;
  /**
   * Whether weights whose shape differs in the file keep their initial values, as those of a classifier with another number of labels.
   * Default false: such a file is an error.
   */
  readonly ignoreMismatchedSizes?: boolean;
}

/** A model with weights from files. */
export interface LoadedModel<C extends object, M extends Module> {
  readonly model: M & PretrainedModel<C>;
  /** What was loaded. `missing` are weights that are new, as those of a classifier that pre-training did not have. */
  readonly report: LoadReport;
}

/** The architectures, by their names in a `config.json`. */
export const architectures: readonly Architecture<never>[] = [
  bert,
  bertForPreTraining,
  bertForMaskedLM,
  bertForNextSentencePrediction,
  bertForSequenceClassification,
  bertForTokenClassification,
  gpt2,
  gpt2LMHeadModel,
] as unknown as readonly Architecture<never>[];

/** Returns the architecture that a `config.json` names. Throws FormatError for one that is not among ours. */
export function architectureOf(json: ConfigJson, source: string): Architecture {
  const names = Array.isArray(json.architectures) ? (json.architectures as readonly unknown[]) : [];
  const found = architectures.find(({ architecture }) => names.includes(architecture));
  if (found) return found as unknown as Architecture;
  throw new FormatError(
    source,
    `its architecture is ${names.length > 0 ? names.slice(0, 3).map(described).join(", ") : "not named"}`,
    `give a model that is one of ${architectures.map(({ architecture }) => architecture).join(", ")}`,
  );
}

/**
 * Makes a model from the content of a `config.json` and named weights. Weights may have the names of a model with or without a head, and
 * older names. Throws FormatError for weights of another architecture.
 */
export function modelFromFiles<C extends object, M extends Module>(
  architecture: Architecture<C, M>,
  json: ConfigJson,
  weights: ReadonlyMap<string, NamedValues>,
  { generator, config: given, ignoreMismatchedSizes = false }: PretrainedOptions<C>,
  source: { readonly config: string; readonly weights: string },
): LoadedModel<C, M> {
  const { family } = architecture;
  const config = { ...configFromJson(family, json, source.config), ...given } as Partial<C> & {
    id2label?: readonly string[];
    numLabels?: number;
  };
  // Another number of labels has other names.
  if (given && "numLabels" in given && !("id2label" in given) && config.id2label?.length !== config.numLabels)
    delete config.id2label;
  expectLikely(architecture, config, weights, source.config);
  const model = architecture(config, generator ? { generator } : {});
  const names = new Set(model.namedStates({ removeDuplicates: false }).keys());
  const report = loadValues(model, weights, source.weights, {
    partial: true,
    rename: (name) => nameInModel(name, names, family),
  });
  expectWhole(report, family, names, source.weights, ignoreMismatchedSizes);
  return { model, report };
}

/**
 * Throws FormatError for sizes of which the weights can have no model: a wrong `config.json` may ask for a billion layers, which take hours
 * to make. Sizes that are a little wrong are found later, and said with the names of the weights.
 */
function expectLikely<C extends object>(
  { architecture, family }: Pick<Architecture<C>, "architecture" | "family">,
  config: Partial<C>,
  weights: ReadonlyMap<string, NamedValues>,
  source: string,
): void {
  const complete = completeConfig(architecture, family, config);
  const { hiddenSize, intermediateSize, layers, embeddings } = family.sizesOf(complete);
  const numbers = hiddenSize * (embeddings + layers * (4 * hiddenSize + 2 * intermediateSize));
  const given = [...weights.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const labels = (complete as { readonly numLabels?: number }).numLabels ?? 0;
  const isLikely = numbers <= 4 * given && layers <= weights.size;
  if (isLikely && hiddenSize * labels <= mostNumbersOfHead) return;
  const names = isLikely ? ["numLabels"] : Object.keys(family.fields).filter((name) => sizeNames.test(name));
  const sizes = names.flatMap((name) => {
    const value = complete[name as keyof C];
    return value === undefined ? [] : [`${family.fields[name as keyof C].json} ${value}`];
  });
  throw new FormatError(
    source,
    `these sizes are of a model that is too large for the weights beside it: ${sizes.join(", ")}`,
    "give the weights that belong to the config.json beside them",
  );
}

const sizeNames = /^(vocabSize|hiddenSize|numHiddenLayers|intermediateSize|maxPositionEmbeddings|typeVocabSize)$/;
/** The most numbers of a classifier that may be new. */
const mostNumbersOfHead = 2 ** 28;

/** Returns a file's name in the model: the same, or with the body's prefix added or removed. */
function nameInModel<C extends object>(
  name: string,
  names: ReadonlySet<string>,
  { prefix, rename }: Family<C>,
): string | undefined {
  const present = rename(name);
  if (present === undefined || names.has(present)) return present;
  if (names.has(`${prefix}.${present}`)) return `${prefix}.${present}`;
  const inner = present.startsWith(`${prefix}.`) ? present.slice(prefix.length + 1) : present;
  return names.has(inner) ? inner : present;
}

/** Throws FormatError unless the file has the whole body, and values of the model's shapes. */
function expectWhole<C extends object>(
  { missing: lacking, mismatched }: LoadReport,
  { prefix, isOptional }: Family<C>,
  names: ReadonlySet<string>,
  source: string,
  ignoreMismatchedSizes: boolean,
): void {
  const hasHead = [...names].some((name) => name.startsWith(`${prefix}.`));
  const isOfBody = (name: string): boolean =>
    hasHead ? name.startsWith(`${prefix}.`) && !isOptional(name.slice(prefix.length + 1)) : !isOptional(name);
  const needed = lacking.filter(isOfBody);
  const shown = (list: readonly string[]): string =>
    `${list
      .slice(0, 3)
      .map((name) => printable(name))
      .join(", ")}${list.length > 3 ? ` and ${list.length - 3} more` : ""}`;
  if (needed.length > 0)
    throw new FormatError(
      source,
      `it lacks ${shown(needed)}`,
      "give the weights that belong to the config.json beside them",
    );
  const odd = mismatched.find(({ name }) => isOfBody(name)) ?? mismatched[0];
  if (odd && !(ignoreMismatchedSizes && !isOfBody(odd.name)))
    throw new FormatError(
      source,
      `${printable(odd.name)} is [${odd.file.shape.join(", ")}], and [${odd.model.shape.join(", ")}] in the model`,
      isOfBody(odd.name)
        ? "give the weights that belong to the config.json beside them"
        : "give `config` the number of labels of the file, or ignoreMismatchedSizes: true to begin with a new head",
    );
}

/** Returns the `config.json` of a model and its weights, each under one name. Throws ConfigError for a model of another kind. */
export async function filesOfModel(
  model: PretrainedModel,
  others: ConfigJson = {},
): Promise<{ readonly json: ConfigJson; readonly weights: ReadonlyMap<string, NamedValues> }> {
  const made = architectures.find(({ architecture }) => architecture === model.architecture);
  if (!made)
    throw new ConfigError(
      "savePretrained",
      `the model is ${"architecture" in model ? described(model.architecture) : "a module without an architecture"}`,
      missing(
        "",
        architectures.map(({ architecture }) => architecture),
      ).replace(/^.*; /, ""),
    );
  const states = [...model.namedStates()].filter(([, state]) => state.persistent);
  const values = await valuesOf(states.map(([, state]) => state));
  const weights = new Map(
    states.map(([name, { shape, dtype }], i) => [name, { shape, dtype, values: values[i]! }] as const),
  );
  return { json: configToJson(model, made.family as unknown as Family<object>, others), weights };
}
