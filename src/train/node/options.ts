/** Options of `fit` in Node: where and when a run is saved. */

import { ConfigError } from "../../errors.ts";
import { aFlag, aRecord, aText, aWhole, type Kind } from "../../graph/arguments.ts";
import {
  aStrategy,
  type CompleteOptions,
  completeOptions,
  expectFrom,
  expectUsed,
  type FitOptions,
  fitKinds,
  type Strategy,
} from "../options.ts";

/** Options of `fit` in Node. */
export interface RunOptions extends FitOptions {
  /** The folder for the run. `readRun` reads it. Default: no files are written. */
  readonly outputDir?: string;
  /** Whether this run replaces one that is already in the folder. Default false: such a run is then an error. */
  readonly overwriteOutputDir?: boolean;
  /**
   * true: continues the run in `outputDir` from its last undamaged checkpoint, bit-identical to a run that never stopped, or begins the run
   * if there is no checkpoint yet. A path of a checkpoint or of a run's folder: if it is of another run, this run begins at its checkpoint.
   */
  readonly resumeFromCheckpoint?: boolean | string;
  /**
   * When checkpoints are taken, besides those at the end and after the best evaluations. "no": no checkpoints at all. Default: "steps" if
   * `saveSteps` is given, else "epoch".
   */
  readonly saveStrategy?: Strategy;
  readonly saveSteps?: number;
  /** The number of checkpoints that are kept. The last and the best are always kept. Default 3. */
  readonly saveTotalLimit?: number;
  /** What happens when the disk is full or cannot be written: "continue" gives a warning, "stop" ends the training. Default "continue". */
  readonly onSaveError?: "continue" | "stop";
  /** JSON that is stored in `config.json` in addition to the options. */
  readonly hyperparameters?: { readonly [name: string]: unknown };
  /** The run's name. */
  readonly runName?: string;
  /** Whether event files for TensorBoard are also written. Default true. */
  readonly tensorboard?: boolean;
  /**
   * Steps between records of histograms of the weights, and of the step's gradients before clipping (not if gradients of several batches
   * are accumulated). Default: no records.
   */
  readonly histogramSteps?: number;
}

export interface CompleteRunOptions extends CompleteOptions {
  readonly overwriteOutputDir: boolean;
  readonly resumeFromCheckpoint: boolean | string;
  readonly saveStrategy: Strategy;
  readonly saveSteps: number;
  readonly saveTotalLimit: number;
  readonly onSaveError: "continue" | "stop";
  readonly tensorboard: boolean;
  readonly histogramSteps: number;
}

const aFlagOrPath: Kind = (value) =>
  aFlag(value) && aText(value) ? "give true, or the path of a checkpoint" : undefined;
const aPolicy: Kind = (value) => (value === "continue" || value === "stop" ? undefined : 'give "continue" or "stop"');

const kinds: Readonly<Record<keyof RunOptions, Kind>> = {
  ...fitKinds,
  outputDir: aText,
  overwriteOutputDir: aFlag,
  resumeFromCheckpoint: aFlagOrPath,
  saveStrategy: aStrategy,
  saveSteps: aWhole,
  saveTotalLimit: aWhole,
  onSaveError: aPolicy,
  hyperparameters: aRecord,
  runName: aText,
  tensorboard: aFlag,
  histogramSteps: aWhole,
};

/** Options of a run's folder. */
const ofFolders = [
  "overwriteOutputDir",
  "resumeFromCheckpoint",
  "saveStrategy",
  "saveSteps",
  "saveTotalLimit",
  "onSaveError",
  "hyperparameters",
  "runName",
  "tensorboard",
  "histogramSteps",
] as const;

/** Checks options and fills in defaults. Throws ConfigError. */
export function completeRunOptions(given: RunOptions): CompleteRunOptions {
  const complete = completeOptions("fit", given, kinds);
  for (const name of ["saveSteps", "saveTotalLimit", "histogramSteps"] as const)
    expectFrom("fit", name, given[name], 1);
  const { outputDir, saveSteps, saveStrategy, resumeFromCheckpoint = false } = given;
  if (outputDir === "") throw new ConfigError("fit", "outputDir is empty", "give the path of a folder");
  if (resumeFromCheckpoint === "")
    throw new ConfigError("fit", "resumeFromCheckpoint is empty", "give true, or a path");
  if (saveStrategy === "steps" && saveSteps === undefined)
    throw new ConfigError("fit", 'saveStrategy is "steps", and there are no saveSteps', "give saveSteps: 500");
  expectUsed("fit", given, ofFolders, ["no outputDir", 'give outputDir: "runs/first"'], outputDir === undefined);
  expectUsed(
    "fit",
    given,
    ["saveSteps"],
    ['saveStrategy "epoch"', 'give saveStrategy: "steps"'],
    saveStrategy === "epoch",
  );
  expectUsed(
    "fit",
    given,
    ["saveSteps", "saveTotalLimit"],
    ['saveStrategy "no"', 'leave out saveStrategy: "no"'],
    saveStrategy === "no",
  );
  expectUsed(
    "fit",
    given,
    ["histogramSteps"],
    ["tensorboard: false", "leave out tensorboard: false"],
    given.tensorboard === false,
  );
  expectUsed(
    "fit",
    given,
    ["overwriteOutputDir"],
    ["resumeFromCheckpoint: true", "leave out resumeFromCheckpoint: true"],
    resumeFromCheckpoint === true,
  );
  return {
    ...complete,
    overwriteOutputDir: given.overwriteOutputDir ?? false,
    resumeFromCheckpoint,
    saveStrategy: saveStrategy ?? (saveSteps === undefined ? "epoch" : "steps"),
    saveSteps: saveSteps ?? Number.POSITIVE_INFINITY,
    saveTotalLimit: given.saveTotalLimit ?? 3,
    onSaveError: given.onSaveError ?? "continue",
    tensorboard: given.tensorboard ?? true,
    histogramSteps: given.histogramSteps ?? Number.POSITIVE_INFINITY,
  };
}
