/** Checkpoints: everything that must be saved of a training so that it can continue with bit-identical results. */
import type { LoaderState } from "../data/loader.ts";
import { decodeSafetensors } from "../files/safetensors.ts";
import { decodeWeights, encodeWeights, type HasNamedStates } from "../files/weights.ts";
import { type Module, walk } from "../nn/module.ts";
import type { PlateauState } from "../optim/schedules.ts";
import { Parameter } from "../tensor/state.ts";
import type { EpochEvent, EvaluationEvent, TrainingEvent, TrainingPlace } from "./events.ts";
import type { Encoder, Notes } from "./notes.ts";
import type { CompleteOptions } from "./options.ts";
import type { CompleteSetup } from "./setup.ts";

/** The state of a running weighted mean. */
export interface MeanState {
  /** Σ weight·value */
  readonly sum: number;
  readonly weight: number;
}

/** The best evaluation so far. */
export interface BestEvaluation {
  readonly step: number;
  /** The value of `metricForBestModel`. */
  readonly value: number;
}

/** What is set on the parameters and modules of a training. */
export interface SettingsState {
  /** The names of the parameters that are frozen: "model.0.weight". */
  readonly frozen: readonly string[];
  /** The paths of the model's modules that are in evaluation mode; that of the model itself is "". */
  readonly evaluating: readonly string[];
}

/** The state of a training without its tensors, as plain JSON. */
export interface TrainerState {
  readonly step: number;
  /** Number of epochs that have ended. */
  readonly epochs: number;
  /** Number of batches of the current epoch that have been trained on. */
  readonly batch: number;
  /** Whether the current epoch has no further batch. */
  readonly isExhausted: boolean;
  /** The position of the source of batches. */
  readonly source: LoaderState;
  /** Running means: `log` of the loss and `norm` of the gradients' norms since the last log, `epoch` of the loss in this epoch. */
  readonly means: { readonly log: MeanState; readonly norm: MeanState; readonly epoch: MeanState };
  /** Number of examples in the epoch so far. */
  readonly examples: number;
  readonly plateau: PlateauState | null;
  readonly best: BestEvaluation | null;
  /** Number of evaluations in a row that were not better than the best. */
  readonly bad: number;
  /** The step of the last evaluation. */
  readonly evaluatedAt: number;
  readonly history: { readonly epochs: readonly EpochEvent[]; readonly evaluations: readonly EvaluationEvent[] };
  /** Absent in checkpoints of earlier versions. */
  readonly settings?: SettingsState;
}

/** A checkpoint in memory. */
export interface Checkpoint {
  /** The model's variables as safetensors, in PyTorch's names; with averages of its weights, if the setup has them. */
  readonly model: Uint8Array;
  /**
   * The variables of the optimizer, the generator, the carried state and the setup's `state`, as safetensors; and the weights that are
   * trained, if the model has averages of them.
   */
  readonly optimizer: Uint8Array;
  readonly trainer: TrainerState;
  /** Whether another run has taken it. */
  readonly isOfAnotherRun?: boolean;
}

/** The description of a run that its store is given. */
export interface RunDescription {
  readonly setup: CompleteSetup;
  readonly options: CompleteOptions;
  /** The step at which the training will end at the latest, if known. */
  readonly steps: number | undefined;
}

/** A store that keeps a run. The run folder in Node is one. */
export interface RunStore {
  /** Prepares the store. Returns the checkpoint to continue from, if the run must continue. Reports problems through `warn`. */
  open(run: RunDescription, warn: (message: string) => Promise<void>): Promise<Checkpoint | undefined>;
  /** Called for every event, in order, before the user's `onEvent`. */
  record(event: TrainingEvent): Promise<void>;
  /** Called with what the user has recorded at a place. */
  note(place: TrainingPlace, notes: Notes): Promise<void>;
  /** Makes PNG files, if the store can keep them. */
  readonly encodeImage?: Encoder;
  /** Returns the present end of the records. Later records do not belong to a checkpoint that is saved with this mark. */
  mark(): Promise<unknown>;
  /** Saves a checkpoint. Returns its path once it is stored safely. */
  save(checkpoint: Checkpoint, mark: unknown, isBest: boolean): Promise<string>;
  /** Returns the model's variables from the checkpoint of a step. */
  modelAt(step: number): Promise<Uint8Array>;
  /** Closes the store. Always the last call, also after a failure. */
  close(failure?: unknown): Promise<void>;
}

/** Returns the owners of the variables that `optimizer.safetensors` holds. */
function besideModel({ optimizer, generator, average, carried, state }: CompleteSetup): {
  readonly [name: string]: HasNamedStates;
} {
  return { optimizer, generator, ...(average && { average: average.trained }), ...(carried && { carried }), ...state };
}

/** Calls a function while the model has the weights that a checkpoint holds as the model: averages, if the setup has them. */
export function asSaved<R>({ average }: CompleteSetup, run: () => R): R {
  return average ? average.during(run) : run();
}

/** Returns all variables of a training with their values at this place in the queue. Training may continue meanwhile. */
export function captureVariables(setup: CompleteSetup): Promise<Pick<Checkpoint, "model" | "optimizer">> {
  // Both reads are queued together, so that no run comes between them.
  const both = asSaved(setup, () => [encodeWeights(setup.model), encodeWeights(besideModel(setup))] as const);
  return Promise.all(both).then(([model, optimizer]) => ({ model, optimizer }));
}

/**
 * Sets all variables of a training to the values of a checkpoint. Returns `hasAverage`: false if the setup has an average and the checkpoint
 * none, as one of a training without; the average is then that of the checkpoint's weights. Throws FormatError for a checkpoint of another
 * setup.
 */
export function restoreVariables(
  setup: CompleteSetup,
  { model, optimizer }: Checkpoint,
  source: string,
): { readonly hasAverage: boolean } {
  const { average: _, ...without } = setup;
  const hasAverage = !setup.average || holdsAverage(optimizer);
  asSaved(setup, () => {
    decodeWeights(setup.model, model, `${source}model.safetensors`);
    decodeWeights(besideModel(hasAverage ? setup : without), optimizer, `${source}optimizer.safetensors`);
  });
  if (!hasAverage) decodeWeights(setup.model, model, `${source}model.safetensors`);
  return { hasAverage };
}

/** Whether a file of what belongs beside the model has a part `average`. */
function holdsAverage(optimizer: Uint8Array): boolean {
  for (const name of decodeSafetensors(optimizer).tensors.keys()) if (name.startsWith("average.")) return true;
  return false;
}

/** Returns all variables that a checkpoint holds. */
export function savedStates(setup: CompleteSetup): ReadonlySet<unknown> {
  const parts = [setup.model, ...Object.values(besideModel(setup))];
  return new Set(parts.flatMap((part) => [...part.namedStates({ removeDuplicates: false }).values()]));
}

/** Returns the parameters of a training by name. */
function namedParameters(setup: CompleteSetup): Map<string, Parameter> {
  const parts = Object.entries({ model: setup.model, ...besideModel(setup) });
  return new Map(
    parts.flatMap(([part, owner]) =>
      [...owner.namedStates()].flatMap(([name, state]) =>
        state instanceof Parameter ? [[`${part}.${name}`, state] as const] : [],
      ),
    ),
  );
}

/** Returns what is set on the parameters and modules of a training. */
export function settingsOf(setup: CompleteSetup): SettingsState {
  return {
    frozen: [...namedParameters(setup)].flatMap(([name, { trainable }]) => (trainable ? [] : [name])),
    evaluating: [...setup.model.namedModules()].flatMap(([path, { training }]) => (training ? [] : [path])),
  };
}

/** Sets what `settingsOf` has returned. */
export function restoreSettings(setup: CompleteSetup, { frozen, evaluating }: SettingsState): void {
  const [areFrozen, areEvaluating] = [new Set(frozen), new Set(evaluating)];
  for (const [name, parameter] of namedParameters(setup)) parameter.trainable = !areFrozen.has(name);
  const inEvaluation = new Set<Module>(
    [...setup.model.namedModules()].flatMap(([path, module]) => (areEvaluating.has(path) ? [module] : [])),
  );
  // A module comes before those inside, on which `eval` and `train` set the same; one that several share comes once in each of them.
  for (const [, module] of walk(setup.model)) {
    if (inEvaluation.has(module)) module.eval();
    else module.train();
  }
}
