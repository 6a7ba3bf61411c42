/** `glissade pronounce`: words as phones, by a model that the recipe `pronounce` has trained. */
import { ConfigError, printable } from "../errors.ts";
import { decodeWeights } from "../files/weights.ts";
import type { Seq2Seq } from "../models/seq2seq.ts";
import { parseHyperparameters } from "../recipes/hyperparameters.ts";
import recipe, { type PronounceSizes, pronounce, pronounceModel } from "../recipes/pronounce.ts";
import { errorRate } from "../text/edit-distance.ts";
import { loadCmudict } from "../text/node/cmudict.ts";
import { Checkpoints } from "../train/node/checkpoints.ts";
import { newestRun, stepOfCheckpoint, type Which } from "./checkpoint.ts";
import { openRun } from "./origin.ts";
import { bold, dim } from "./pictures.ts";
import { duration } from "./view.ts";

export interface PronounceCommandOptions {
  /** The folder of a run. Default: the newest one of the recipe in runs. */
  readonly run?: string;
  readonly checkpoint: Which;
  readonly beams: number;
  /** Pronounces the words that are held out, and counts errors, instead of words that are given. */
  readonly heldOut?: boolean;
  readonly json?: boolean;
}

const howToTrain =
  "train one: npx glissade train pronounce --setting minute, or short (three minutes), or full (an hour)";

/** Pronounces words, or all that are held out. Returns the process's exit code. */
export async function pronounceCommand(words: readonly string[], options: PronounceCommandOptions): Promise<number> {
  const { heldOut = false, beams, json = false } = options;
  if (words.length === 0 && !heldOut)
    throw new ConfigError("pronounce", "no word is given", "give some: glissade pronounce glissade, or --held-out");
  if (words.length > 0 && heldOut)
    throw new ConfigError("pronounce", "there are words and --held-out", "leave out one of the two");
  const folder = options.run ?? (await newestRun("pronounce", recipe.name, howToTrain));
  const { model, step } = await pronounceModelOf(folder, options.checkpoint);
  if (heldOut) await countErrors(model, { folder, step, beams, json });
  else await sayWords(model, words, { beams, json });
  return 0;
}

/** Writes words with their phones. */
export async function sayWords(
  model: Seq2Seq,
  words: readonly string[],
  { beams, json = false }: { readonly beams: number; readonly json?: boolean },
): Promise<void> {
  const spoken = await pronounce(model, words, { beams });
  const width = Math.max(...words.map((word) => word.length));
  for (const [i, word] of words.entries())
    console.log(json ? JSON.stringify({ word, phones: spoken[i] }) : `${word.padEnd(width)}  ${spoken[i]!.join(" ")}`);
}

/** The model of a run with the weights of a checkpoint. Throws ConfigError for a run of another recipe. */
export async function pronounceModelOf(
  folder: string,
  which: Which,
): Promise<{ readonly model: Seq2Seq; readonly step: number }> {
  const { recipe: used, origin } = await openRun(folder);
  if (used.name !== recipe.name)
    throw new ConfigError("pronounce", `${printable(folder)} is a run of ${printable(used.name)}`, howToTrain);
  const step = await stepOfCheckpoint(folder, which);
  const hyperparameters = parseHyperparameters(recipe.name, recipe.schemas, origin.hyperparameters);
  const model = pronounceModel(hyperparameters as unknown as PronounceSizes);
  const bytes = await new Checkpoints(folder).modelAt(step);
  decodeWeights(model, bytes, `step-${step}/model.safetensors`);
  return { model, step };
}

/** Errors over the words that no training has seen; each listed pronunciation is right. */
async function countErrors(
  model: Seq2Seq,
  {
    folder,
    step,
    beams,
    json,
  }: { readonly folder: string; readonly step: number; readonly beams: number; readonly json: boolean },
): Promise<void> {
  const { test } = await loadCmudict();
  const started = performance.now();
  const guesses = await pronounce(
    model,
    test.map(({ word }) => word),
    { beams },
  );
  const seconds = (performance.now() - started) / 1000;
  const { rate, wrong, edits, symbols } = errorRate(
    guesses,
    test.map(({ pronunciations }) => pronunciations),
  );
  if (json) {
    console.log(
      JSON.stringify({
        run: folder,
        step,
        words: test.length,
        beams,
        phonemeErrorRate: rate,
        wordErrorRate: wrong,
        seconds,
      }),
    );
    return;
  }
  const percent = (share: number): string => `${(100 * share).toFixed(2)}%`;
  const count = (value: number): string => value.toLocaleString("en-US");
  console.log(`${bold(`${count(test.length)} words that no training has seen`)}`);
  console.log(dim(`${printable(folder)}, step ${step}, ${beams} beams, ${duration(seconds)}`));
  console.log(`\nphoneme error rate  ${percent(rate)}  ${dim(`${count(edits)} edits of ${count(symbols)} phones`)}`);
  console.log(`word error rate     ${percent(wrong)}`);
}
