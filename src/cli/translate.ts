/** `glissade translate`: sentences in another language, by a model that the recipe `translate` has trained. */
import { ConfigError, printable } from "../errors.ts";
import type { Transformer } from "../models/transformer.ts";
import recipe, { translate } from "../recipes/translate.ts";
import { loadTrained, newestRun, type Which } from "./checkpoint.ts";
import { openRun } from "./origin.ts";

export interface TranslateCommandOptions {
  /** The folder of a run. Default: the newest one of the recipe in runs. */
  readonly run?: string;
  readonly checkpoint: Which;
  readonly beams: number;
  readonly json?: boolean;
}

const howToTrain = "train one: npx glissade train translate --file pairs.tsv, of lines with source, a tab, target";

/** Writes the translation of each text. Returns the process's exit code. */
export async function translateCommand(
  texts: readonly string[],
  { run, checkpoint, beams, json = false }: TranslateCommandOptions,
): Promise<number> {
  if (texts.some((text) => text.trim() === ""))
    throw new ConfigError("translate", "a text is empty", 'give some: glissade translate "Choose a file."');
  const folder = run ?? (await newestRun("translate", recipe.name, howToTrain));
  const { recipe: used } = await openRun(folder);
  if (used.name !== recipe.name)
    throw new ConfigError("translate", `${printable(folder)} is a run of ${printable(used.name)}`, howToTrain);
  const { prepared } = await loadTrained(folder, checkpoint);
  const model = prepared.setup.model as unknown as Transformer;
  const maxLength = prepared.hyperparameters.maxLength as number;
  const translations = await translate(model, prepared.prediction.tokenizer!, texts, { beams, maxLength });
  for (const [i, source] of texts.entries())
    console.log(
      json
        ? JSON.stringify({ source, translation: translations[i] })
        : printable(translations[i]!, Number.POSITIVE_INFINITY),
    );
  return 0;
}
