/** Options of `fit` in Node: where and when a run is kept. */

import { ConfigError } from "../../errors.ts";
import { aFlag, aRecord, aText, aWhole, type Kind } from "../../graph/arguments.ts";
import {
  aStrategy,
  type CompleteOptions,
  completeOptions,
  expectFrom,
  type FitOptions,
  fitKinds,
  type Strategy,
} from "../options.ts";

/** Options of `fit` in Node. */
export interface RunOptions extends FitOptions {
  /** The folder that the run is kept in: see `readRun` for what it holds. Default: nothing is written. */
  readonly outputDir?: string;
  /** Whether a run that is in the folder already gives way to this one. Default false: it is an error. */
  readonly overwriteOutputDir?: boolean;
  /**
   * Goes on with the run in `outputDir` from its last whole checkpoint, bit for bit as if it had never stopped, or begins it where there is
   * no checkpoint yet. Or the path of a checkpoint, or of a run's folder: of another run, this one begins where that one was.
   */
  readonly resumeFromCheckpoint?: boolean | string;
  /** When checkpoints are taken, beside those at the end and of the best evaluations. "no": none at all. Default: "steps" where `saveSteps` is given, else "epoch". */
  readonly saveStrategy?: Strategy;
  readonly saveSteps?: number;
  /** How many checkpoints are kept; the last and the best always are. Default 3. */
  readonly saveTotalLimit?: number;
  /** What happens when the disk is full, or may not be written: a warning, or the end of the training. Default "continue". */
  readonly onSaveError?: "continue" | "stop";
  /** What `config.json` is to hold beside the options: JSON. */
  readonly hyperparameters?: { readonly [name: string]: unknown };
  /** What the run is called. */
  readonly runName?: string;
  /** Whether event files for TensorBoard are written too. Default true. */
  readonly tensorboard?: boolean;
  /**
   * Steps between records of how the weights are distributed, and the gradients of the step before clipping (not where several batches make
   * a step). Default: none.
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
  const kept = ["resumeFromCheckpoint", "saveSteps", "saveStrategy", "overwriteOutputDir"] as const;
  const lonely = outputDir === undefined ? kept.find((name) => given[name] !== undefined) : undefined;
  if (lonely) throw new ConfigError("fit", `there is ${lonely} and no outputDir`, 'give outputDir: "runs/first"');
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
