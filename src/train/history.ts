/** What happened in training, epoch by epoch, and how fast. */

/** One epoch. */
export interface EpochReport {
  /** From 1. */
  readonly epoch: number;
  /** Mean loss over the epoch's training batches. */
  readonly trainLoss: number;
  readonly testLoss: number;
  /** Fraction of test examples that the network gets right, 0–1. */
  readonly testAccuracy: number;
  /** Training examples a second, evaluation left out. */
  readonly examplesPerSecond: number;
  /** Seconds since training began. */
  readonly seconds: number;
}

/** One step, for whoever shows progress. */
export interface StepReport {
  readonly epoch: number;
  /** From 1, over all epochs. */
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
}
