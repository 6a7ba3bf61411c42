/** The language model that a verb asks: that of a run, or of a folder in Hugging Face's form. */
import { ConfigError, printable } from "../errors.ts";
import type { Architecture, PretrainedModel } from "../models/architecture.ts";
import { isPretrainedFolder, loadPretrained, readConfig } from "../models/node/pretrained.ts";
import { architectureOf } from "../models/pretrained.ts";
import type { Module } from "../nn/module.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { loadTrained, type Which } from "./checkpoint.ts";

export interface LanguageOptions {
  /** The folder of a run, or of a pre-trained model. */
  readonly run?: string;
  readonly checkpoint: Which;
  readonly json?: boolean;
}

/** A model with its tokenizer. */
export interface LanguageModel {
  readonly model: Module & PretrainedModel;
  readonly tokenizer: Tokenizer;
}

/**
 * Opens the model that a verb asks. `fits` says whether an architecture can answer, `recipe` names one that makes such a model. Throws
 * ConfigError without a run, and for a model that cannot answer.
 */
export async function openLanguageModel(
  verb: string,
  { run, checkpoint }: LanguageOptions,
  fits: (architecture: string) => boolean,
  recipe: string,
): Promise<LanguageModel> {
  if (run === undefined)
    throw new ConfigError(
      verb,
      "no run is named",
      `give one, or the folder of a pre-trained model: --run runs/${recipe}-…; glissade train ${recipe} makes one`,
    );
  const { model, tokenizer } = (await isPretrainedFolder(run)) ? await fromFolder(run) : await fromRun(run, checkpoint);
  const architecture = "architecture" in model ? String(model.architecture) : "";
  if (!fits(architecture))
    throw new ConfigError(
      printable(run),
      `its model is ${architecture === "" ? `a ${model.kind}` : architecture}, which cannot answer \`${verb}\``,
      `give a run of ${recipe}, or a pre-trained model of that kind`,
    );
  if (!tokenizer)
    throw new ConfigError(
      printable(run),
      "there is no tokenizer",
      "put tokenizer.json into the folder, or give the recipe's prediction a tokenizer",
    );
  return { model: model as Module & PretrainedModel, tokenizer };
}

async function fromFolder(folder: string) {
  const architecture = architectureOf(await readConfig(folder), folder);
  return loadPretrained(architecture as Architecture<object, Module>, folder);
}

async function fromRun(folder: string, checkpoint: Which) {
  const { prepared } = await loadTrained(folder, checkpoint);
  return { model: prepared.setup.model, tokenizer: prepared.prediction.tokenizer };
}

/** Refuses an empty text. */
export function expectText(verb: string, text: string, example: string): string {
  if (text.trim() !== "") return text;
  throw new ConfigError(
    verb,
    "the text is empty",
    `give a text: glissade ${verb} ${JSON.stringify(example)} --run RUN`,
  );
}
