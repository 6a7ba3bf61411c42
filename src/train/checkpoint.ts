/** A whole training at one place: what must be kept so that it goes on from there, bit for bit. */
import type { LoaderState } from "../data/loader.ts";
import { decodeWeights, encodeWeights, type HasNamedStates } from "../files/weights.ts";
import type { PlateauState } from "../optim/schedules.ts";
import type { EpochEvent, EvaluationEvent, TrainingEvent, TrainingPlace } from "./events.ts";
import type { Encoder, Notes } from "./notes.ts";
import type { CompleteOptions } from "./options.ts";
import type { CompleteSetup } from "./setup.ts";

/** A weighted mean under way. */
export interface MeanState {
  /** Σ weight·value */
  readonly sum: number;
  readonly weight: number;
}

/** The best evaluation so far. */
export interface BestEvaluation {
  readonly step: number;
  /** Of `metricForBestModel`. */
  readonly value: number;
}

/** Everything about a training that is no tensor: plain JSON. */
export interface TrainerState {
  readonly step: number;
  /** Epochs that have ended. */
  readonly epochs: number;
  /** Batches of the epoch under way that have been trained on. */
  readonly batch: number;
  /** Whether the epoch under way has no further batch. */
  readonly isExhausted: boolean;
  /** Where the source of batches is. */
  readonly source: LoaderState;
  /** Of the loss since the last log, of the norms of gradients since then, of the loss in this epoch. */
  readonly means: { readonly log: MeanState; readonly norm: MeanState; readonly epoch: MeanState };
  /** Examples in the epoch so far. */
  readonly examples: number;
  readonly plateau: PlateauState | null;
  readonly best: BestEvaluation | null;
  /** Evaluations in a row that were no better than the best. */
  readonly bad: number;
  /** Of the last evaluation. */
  readonly evaluatedAt: number;
  readonly history: { readonly epochs: readonly EpochEvent[]; readonly evaluations: readonly EvaluationEvent[] };
}

/** A checkpoint in memory. */
export interface Checkpoint {
  /** The model's variables as safetensors, in PyTorch's names. */
  readonly model: Uint8Array;
  /** Those of the optimizer, of the generator and of whatever else the setup names, as safetensors. */
  readonly optimizer: Uint8Array;
  readonly trainer: TrainerState;
}

/** What a run is, for its store. */
export interface RunDescription {
  readonly setup: CompleteSetup;
  readonly options: CompleteOptions;
  /** Where the training will end at the latest, where that is known. */
  readonly steps: number | undefined;
}

/** Where a run is kept. The run folder in Node is one. */
export interface RunStore {
  /** Makes what it needs, and gives the checkpoint to go on from, if the run is to go on. Says through `warn` what is not as it should be. */
  open(run: RunDescription, warn: (message: string) => Promise<void>): Promise<Checkpoint | undefined>;
  /** Every event, in its order, before the user hears of it. */
  record(event: TrainingEvent): Promise<void>;
  /** What the user has recorded at a place. */
  note(place: TrainingPlace, notes: Notes): Promise<void>;
  /** Makes PNG files, where the store can keep them. */
  readonly encodeImage?: Encoder;
  /** Where the records are: those behind it are not part of a checkpoint that is saved with it. */
  mark(): Promise<unknown>;
  /** Returns once the checkpoint is safe: where it is. */
  save(checkpoint: Checkpoint, mark: unknown, isBest: boolean): Promise<string>;
  /** The model's variables in the checkpoint of a step. */
  modelAt(step: number): Promise<Uint8Array>;
  /** The last call, also after a failure. */
  close(failure?: unknown): Promise<void>;
}

/** What `optimizer.safetensors` holds. */
function besideModel({ optimizer, generator, state }: CompleteSetup): { readonly [name: string]: HasNamedStates } {
  return { optimizer, generator, ...state };
}

/** All variables of a training as they are at this place in the queue; training may go on meanwhile. */
export function captureVariables(setup: CompleteSetup): Promise<Pick<Checkpoint, "model" | "optimizer">> {
  // Both are asked for at once, so that nothing comes in between.
  const both = [encodeWeights(setup.model), encodeWeights(besideModel(setup))] as const;
  return Promise.all(both).then(([model, optimizer]) => ({ model, optimizer }));
}

/** Gives all variables of a training the values of a checkpoint. Throws FormatError for one of another setup. */
export function restoreVariables(setup: CompleteSetup, { model, optimizer }: Checkpoint, source: string): void {
  decodeWeights(setup.model, model, `${source}model.safetensors`);
  decodeWeights(besideModel(setup), optimizer, `${source}optimizer.safetensors`);
}

/** The names of all variables that a checkpoint holds. */
export function savedStates(setup: CompleteSetup): ReadonlySet<unknown> {
  const parts = [setup.model, ...Object.values(besideModel(setup))];
  return new Set(parts.flatMap((part) => [...part.namedStates({ removeDuplicates: false }).values()]));
}
