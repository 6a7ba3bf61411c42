/** `glissade translate`: sentences in another language, by a model of the recipe `translate`, `number-words`, or another that translates. */
import { ConfigError, printable } from "../errors.ts";
import recipe from "../recipes/translate.ts";
import { cannotBeAsked } from "./asking.ts";
import { loadTrained, newestRun, type Which } from "./checkpoint.ts";

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
  const opened = await loadTrained(folder, checkpoint);
  const { translation } = opened.prepared;
  if (!translation)
    throw cannotBeAsked(opened, {
      verb: "translate",
      why: "whose model does not translate",
      own: "give it a part `translation`: (texts, { beams }) => translations",
      other: howToTrain,
    });
  const translations = await translation(texts, { beams });
  for (const [i, source] of texts.entries())
    console.log(
      json
        ? JSON.stringify({ source, translation: translations[i] })
        : printable(translations[i]!, Number.POSITIVE_INFINITY),
    );
  return 0;
}
