/** `fit` in Node, which can keep the run in a folder. */
import type { Column } from "../../data/dataset.ts";
import { FileError } from "../../files/node/atomic.ts";
import { type FitResult, type SavingPlan, Training } from "../fit.ts";
import { expectEvaluations } from "../options.ts";
import { completeSetup, type TrainingSetup } from "../setup.ts";
import { type CompleteRunOptions, completeRunOptions, type RunOptions } from "./options.ts";

/**
 * Trains a model, and keeps the run in a folder:
 *
 *     await fit({ model, loss, train, validation, optimizer }, { epochs: 10, outputDir: "runs/first" });
 *
 * A training that was killed at any moment continues with `resumeFromCheckpoint: true` and the same setup, and ends with bit-identical
 * weights. Steps are queued without waiting for their losses, which are read a few at a time; checkpoints are written while training
 * continues. Throws ConfigError for an invalid setup or invalid options; DataError when a loss or a gradient is not finite (checkpoints are
 * then from before that step); FileError when the folder cannot be written, if `onSaveError` is "stop"; FormatError when the checkpoint to
 * resume from is damaged and there is no other.
 */
export async function fit<C extends readonly Column[]>(
  setup: TrainingSetup<C>,
  options: RunOptions = {},
): Promise<FitResult> {
  const complete = completeRunOptions(options);
  const checked = completeSetup("fit", setup);
  expectEvaluations("fit", options, checked);
  const { outputDir } = options;
  if (outputDir === undefined || complete.fastDevRun) return new Training(checked, complete).run();
  // Imported now: an import of Glissade does not need what writes folders.
  const { RunFolder } = await import("./run-folder.ts");
  return new Training(
    checked,
    complete,
    new RunFolder(outputDir, complete, { ...options }),
    savingPlan(complete),
  ).run();
}

function savingPlan({ saveStrategy, saveSteps, histogramSteps, onSaveError }: CompleteRunOptions): SavingPlan {
  return {
    steps: saveStrategy === "steps" ? saveSteps : Number.POSITIVE_INFINITY,
    histograms: histogramSteps,
    epochs: saveStrategy === "epoch",
    best: saveStrategy !== "no",
    atEnd: saveStrategy !== "no",
    async attempt(save, warn) {
      try {
        return await save();
      } catch (error) {
        if (onSaveError === "stop" || !(error instanceof FileError)) throw error;
        await warn(`${error.problem}; training goes on, without this checkpoint`);
        return undefined;
      }
    },
  };
}
