/** What pre-trained models have in common: a configuration with Hugging Face's fields, and names of weights as in its files. */
import { ConfigError, FormatError, quoted } from "../errors.ts";
import { aRecord, described, expectOptions, type Kind, missing } from "../graph/arguments.ts";
import type { Shape } from "../graph/types.ts";
import { defaultGenerator, Generator } from "../nn/generator.ts";
import type { Module } from "../nn/module.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** The content of a `config.json`. */
export type ConfigJson = Readonly<Record<string, unknown>>;

/** A field of a configuration: its name in `config.json`, the values it may have, and its default. */
export interface ConfigField<T = unknown> {
  /** The name in `config.json`. */
  readonly json: string;
  /** Other names that older or other files use. */
  readonly aliases?: readonly string[];
  /** Returns what should be given in place of a value, or undefined if the value may be given. */
  readonly kind: (value: unknown) => string | undefined;
  /** Undefined for a field that may be absent. */
  readonly default: T;
}

/** The fields of a configuration by their names. */
export type ConfigFields<C> = { readonly [K in keyof C]-?: ConfigField<C[K]> };

/** What all architectures of one family share, such as those of BERT. */
export interface Family<C extends object> {
  /** The `model_type` of a `config.json`: "bert". */
  readonly modelType: string;
  /** The name that comes before the body's weights in files of models with a head: "bert". */
  readonly prefix: string;
  readonly fields: ConfigFields<C>;
  /** Values in a `config.json` that ask for something that these models do not compute, and the values that are allowed. */
  readonly fixed: Readonly<Record<string, readonly unknown[]>>;
  /** Throws ConfigError for values that do not fit together. */
  expect(config: C): void;
  /** The sizes of the body; `embeddings` are the rows of all its tables. */
  sizesOf(config: C): {
    readonly hiddenSize: number;
    readonly intermediateSize: number;
    readonly layers: number;
    readonly embeddings: number;
  };
  /** Returns the present name of a weight in an old file, or undefined for a value that is not a weight. */
  rename(name: string): string | undefined;
  /** Whether a file may lack a part of the body, as a pooler that pre-training did not use. */
  isOptional(name: string): boolean;
}

/** A model of a known architecture with its configuration. */
export interface PretrainedModel<C extends object = object> extends Module {
  readonly config: C;
  /** The name of the architecture in a `config.json`: "BertForMaskedLM". */
  readonly architecture: string;
}

/** The options of functions that make models. */
export interface ModelOptions {
  /** Draws the initial weights, and the masks of dropout. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/** A function that makes a model of one architecture with new weights. `loadPretrained` makes one with the weights of a folder. */
export interface Architecture<C extends object = object, M extends Module = Module> {
  (config?: Partial<C>, options?: ModelOptions): M & PretrainedModel<C>;
  /** The name of the architecture in a `config.json`: "BertForMaskedLM". */
  readonly architecture: string;
  readonly family: Family<C>;
}

/** Makes an architecture. `build` gets a complete configuration. */
export function defineArchitecture<C extends object, M extends Module>(
  name: string,
  family: Family<C>,
  build: (config: C, generator: Generator) => M,
): Architecture<C, M> {
  const make = (given: Partial<C> = {}, options: ModelOptions = {}): M & PretrainedModel<C> => {
    const subject = `${name[0]!.toLowerCase()}${name.slice(1)}`;
    expectOptions(subject, options, ["generator"]);
    const { generator = defaultGenerator } = options;
    if (!(generator instanceof Generator))
      throw new ConfigError(subject, `the generator is ${described(generator)}`, "give randomGenerator(seed)");
    const config = completeConfig(subject, family, given);
    const model = build(config, generator);
    Object.defineProperties(model, {
      config: { value: config, enumerable: true },
      architecture: { value: name, enumerable: true },
    });
    return model as M & PretrainedModel<C>;
  };
  return Object.assign(make, { architecture: name, family });
}

/** Fills in defaults. Throws ConfigError for an unknown field, and for a value that a field cannot have. */
export function completeConfig<C extends object>(subject: string, family: Family<C>, given: Partial<C>): C {
  const { fields } = family;
  const names = Object.keys(fields) as (keyof C & string)[];
  if (aRecord(given)) throw new ConfigError(subject, `the configuration is ${described(given)}`, "give a record");
  const unknown = Object.keys(given).find((name) => !(names as string[]).includes(name));
  if (unknown !== undefined)
    throw new ConfigError(subject, "the configuration has an unknown field", missing(unknown, names));
  const { id2label, numLabels } = given as { id2label?: readonly string[]; numLabels?: number };
  const counted = Array.isArray(id2label) && numLabels === undefined ? { numLabels: id2label.length } : {};
  const values: Readonly<Record<string, unknown>> = { ...given, ...counted };
  const complete = Object.fromEntries(
    names.flatMap((name) => {
      const field = fields[name];
      const value = values[name] ?? field.default;
      const instead = value === undefined ? undefined : field.kind(value);
      if (instead) throw new ConfigError(subject, `\`${name}\` is ${described(value)}`, instead);
      return value === undefined ? [] : [[name, value]];
    }),
  ) as C;
  family.expect(complete);
  return Object.freeze(complete);
}

/** Returns the configuration in a `config.json`. Throws FormatError for a field with another kind of value, or of another model. */
export function configFromJson<C extends object>(family: Family<C>, json: ConfigJson, source: string): Partial<C> {
  const { fields, fixed, modelType } = family;
  if (json.model_type !== modelType)
    throw new FormatError(
      source,
      `its model_type is ${described(json.model_type)}`,
      `give the folder of a model of type "${modelType}"`,
    );
  for (const [name, allowed] of Object.entries(fixed))
    if (json[name] !== undefined && !allowed.includes(json[name]))
      throw new FormatError(
        source,
        `${name} is ${described(json[name])}`,
        `give a model with ${name} ${allowed.map((value) => JSON.stringify(value)).join(" or ")}: others are not computed here`,
      );
  const config: Record<string, unknown> = {};
  for (const name of Object.keys(fields) as (keyof C & string)[]) {
    const { json: own, aliases = [], kind } = fields[name];
    const found = [own, ...aliases].find((each) => json[each] !== undefined && json[each] !== null);
    if (found === undefined) continue;
    const value = name === "id2label" ? labelsFromJson(json[found], source) : json[found];
    const instead = kind(value);
    if (instead) throw new FormatError(source, `${found} is ${described(value)}`, instead);
    config[name] = value;
  }
  return config as Partial<C>;
}

/** Returns the `config.json` of a model. `others` are fields of the file that the model came from. */
export function configToJson<C extends object>(
  { architecture, config }: PretrainedModel<C>,
  family: Family<C>,
  others: ConfigJson = {},
): ConfigJson {
  const { fields, modelType } = family;
  const own: Record<string, unknown> = {};
  for (const name of Object.keys(fields) as (keyof C & string)[]) {
    if (name === "numLabels" || config[name] === undefined) continue; //  the file has the names of the labels instead
    own[fields[name].json] = name === "id2label" ? { ...(config[name] as readonly string[]) } : config[name];
    if (name === "id2label")
      own.label2id = Object.fromEntries((config[name] as readonly string[]).map((label, id) => [label, id]));
  }
  const kept = Object.entries(others).filter(([name]) => !(name in own) && name !== "label2id");
  return { ...Object.fromEntries(kept), ...own, architectures: [architecture], model_type: modelType };
}

/** Labels in a `config.json` are a record from numbers to names. */
function labelsFromJson(value: unknown, source: string): readonly string[] {
  const names = aRecord(value) ? undefined : Object.entries(value as object);
  const byId = new Map<number, unknown>(names?.map(([id, name]) => [Number(id), name]));
  const labels = names?.map((_, i) => byId.get(i));
  if (!labels?.every((label) => typeof label === "string"))
    throw new FormatError(source, `id2label is ${described(value)}`, 'give names by number: { "0": "no", "1": "yes" }');
  return labels as string[];
}

// Kinds of values

const aSize: Kind = (value) =>
  Number.isSafeInteger(value) && (value as number) > 0 ? undefined : "give a whole number from 1 on";
const aRate: Kind = (value) =>
  typeof value === "number" && value >= 0 && value < 1 ? undefined : "give a number from 0 to below 1";
const aPositive: Kind = (value) =>
  typeof value === "number" && value > 0 && Number.isFinite(value) ? undefined : "give a number above 0";
const anId: Kind = (value) =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? undefined : "give a whole number from 0 on";
const labels: Kind = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string")
    ? undefined
    : 'give the names of the labels: ["negative", "positive"]';

/**
 * The name of an activation, as in a `config.json`: "gelu" with the error function, as in BERT; "gelu_new" with tanh in its place, as in
 * GPT-2.
 */
export type HiddenActivation =
  | "gelu"
  | "gelu_new"
  | "gelu_pytorch_tanh"
  | "gelu_fast"
  | "quick_gelu"
  | "relu"
  | "silu"
  | "swish"
  | "tanh";

const activations: Readonly<Record<HiddenActivation, (x: Tensor) => Tensor>> = {
  gelu: (x) => x.gelu(),
  gelu_new: (x) => x.geluTanh(),
  gelu_pytorch_tanh: (x) => x.geluTanh(),
  gelu_fast: (x) => x.geluTanh(),
  quick_gelu: (x) => x.quickGelu(),
  relu: (x) => x.relu(),
  silu: (x) => x.silu(),
  swish: (x) => x.silu(),
  tanh: (x) => x.tanh(),
};

const anActivation: Kind = (value) =>
  typeof value === "string" && Object.hasOwn(activations, value)
    ? undefined
    : `give one of ${Object.keys(activations).map(quoted).join(", ")}`;

/** Applies the activation of a name. */
export function activate<S extends Shape>(name: HiddenActivation, x: Tensor<S, "float32">): Tensor<S, "float32"> {
  return activations[name](x as Tensor) as Tensor<S, "float32">;
}

/** The kinds of values of fields. */
export const kinds: {
  readonly aSize: Kind;
  readonly aRate: Kind;
  readonly aPositive: Kind;
  readonly anId: Kind;
  readonly labels: Kind;
  readonly anActivation: Kind;
} = { aSize, aRate, aPositive, anId, labels, anActivation };

/** Throws ConfigError unless the heads divide the width. */
export function expectHeads(subject: string, hiddenSize: number, numAttentionHeads: number): void {
  if (hiddenSize % numAttentionHeads !== 0)
    throw new ConfigError(
      subject,
      `${numAttentionHeads} attention heads share a hidden size of ${hiddenSize}`,
      "give a hiddenSize that numAttentionHeads divides",
    );
}

/** Throws ConfigError unless there is a name for each label. */
export function expectLabels(
  subject: string,
  { numLabels, id2label }: { readonly numLabels: number; readonly id2label?: readonly string[] },
): void {
  if (id2label !== undefined && id2label.length !== numLabels)
    throw new ConfigError(
      subject,
      `there are ${id2label.length} names in id2label for ${numLabels} labels`,
      "give a name for each label, or leave one of the two fields out",
    );
}
