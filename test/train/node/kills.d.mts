/** What a run's folder must hold in the end, whatever happened on the way. */
export interface Outcome {
  readonly last: string;
  readonly best: string;
  readonly checkpoints: readonly string[];
  readonly model: string;
  readonly optimizer: string;
  readonly metrics: readonly object[];
}

/** Numbers from 0 to 1, the same for the same seed. */
export function randomFrom(seed: number): () => number;
export function runWhole(folder: string): Promise<void>;
export function killOften(
  count: number,
  seed: number,
  begin: () => string | Promise<string>,
  onEnd: (folder: string) => unknown,
): Promise<{ readonly kills: number; readonly halves: number; readonly trainings: number }>;
export function outcome(folder: string): Outcome;
