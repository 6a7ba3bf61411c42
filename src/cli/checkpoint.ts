/** The trained model of a run: its recipe prepared, with the weights of one of its checkpoints. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { ConfigError, printable } from "../errors.ts";
import { decodeWeights } from "../files/weights.ts";
import type { PreparedRecipe } from "../recipes/recipe.ts";
import { Checkpoints } from "../train/node/checkpoints.ts";
import { findRuns, readRun } from "../train/node/read.ts";
import { changedRecipe, type OpenedRun, openRun } from "./origin.ts";
import { warn } from "./view.ts";

/** Which checkpoint: that of the best evaluation, the last one, or that of a step. */
export type Which = "best" | "last" | number;

/** The step of a checkpoint of a run. Throws ConfigError where there is none such. */
export async function stepOfCheckpoint(folder: string, which: Which): Promise<number> {
  const { best, last, checkpoints } = await readRun(folder);
  const step = which === "best" ? (best ?? last) : which === "last" ? last : which;
  if (step !== undefined && checkpoints.some((each) => each.step === step)) return step;
  throw new ConfigError(
    printable(folder),
    `there is no checkpoint ${which}`,
    checkpoints.length > 0
      ? `choose best, last or a step: ${checkpoints.map((each) => each.step).join(", ")}`
      : "train it further: glissade resume",
  );
}

/** A run with a checkpoint's weights in its model. */
export interface TrainedRun extends OpenedRun {
  readonly prepared: PreparedRecipe;
  readonly step: number;
}

/** Prepares a run's recipe and loads the weights. Throws ConfigError, FormatError and FileError where that cannot be. */
export async function loadTrained(folder: string, which: Which): Promise<TrainedRun> {
  const run = await openRun(folder);
  if (run.isChanged) warn(changedRecipe(run, "the model may be another"));
  const step = await stepOfCheckpoint(folder, which);
  const prepared = await run.prepare();
  const bytes = await new Checkpoints(folder).modelAt(step);
  decodeWeights(prepared.setup.model, bytes, `step-${step}/model.safetensors`);
  return { ...run, prepared, step };
}

/** The folder of the newest run of a recipe in runs that has a checkpoint. Throws ConfigError, with how to train one, where there is none. */
export async function newestRun(subject: string, recipe: string, howToTrain: string): Promise<string> {
  const folders = await findRuns("runs").catch((): string[] => []);
  const found: { readonly folder: string; readonly time: number }[] = [];
  for (const folder of folders) {
    const report = await readRun(folder).catch(() => undefined); //  a damaged run is none to choose
    if (report?.config.name !== recipe || report.last === undefined) continue;
    found.push({ folder, time: (await stat(path.join(folder, "checkpoints", "last"))).mtimeMs });
  }
  const [newest] = found.sort((a, b) => b.time - a.time);
  if (newest) return newest.folder;
  throw new ConfigError(subject, "there is no trained model in the folder runs", `${howToTrain}; or name a run: --run`);
}
