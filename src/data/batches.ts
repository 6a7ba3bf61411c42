/** The source of a training's batches: a loader, a stream, or another object that gives them epoch by epoch. */
import { ConfigError } from "../errors.ts";
import { described } from "../graph/arguments.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { LoaderState } from "./loader.ts";

/**
 * A source of batches; each iteration gives one epoch. A batch has one tensor for each column, with the examples along the first axis.
 * Iterating again gives the next epoch, also when a loop was left early. Sources that are iterated asynchronously may be larger than
 * memory.
 */
export type BatchSource<B extends readonly Tensor[] = readonly Tensor[]> = (Iterable<B> | AsyncIterable<B>) & {
  /** The number of batches in an epoch, if it is known. */
  readonly batches?: number | undefined;
  /** The number of examples in a batch, if it is known; the last batch may have fewer. */
  readonly batchSize?: number | undefined;
  /** Returns the position for a checkpoint: JSON with at least these two numbers. Inside a loop it is the position of the next batch. */
  state(): LoaderState;
  /**
   * Makes the next iteration start at `state`, possibly in the middle of an epoch. `state` must come from `state()` of a source over the
   * same data.
   */
  resume(state: LoaderState): void;
};

/** Returns whether a value is a source of batches. */
export function isBatchSource(value: unknown): value is BatchSource {
  if (typeof value !== "object" || value === null) return false;
  const { state, resume } = value as Partial<BatchSource>;
  const iterates = Symbol.iterator in value || Symbol.asyncIterator in value;
  return iterates && typeof state === "function" && typeof resume === "function";
}

/** The batches of one epoch, one after the other. */
export interface EpochOfBatches {
  /** Returns the next batch, or undefined at the end of the epoch: directly from a synchronous source, otherwise as a promise. */
  next(): readonly Tensor[] | undefined | Promise<readonly Tensor[] | undefined>;
  /** Leaves the epoch early. */
  leave(): Promise<void>;
}

/** Begins an epoch of a source, or continues in the middle of an epoch if the source was resumed there. */
export function epochOf(source: BatchSource): EpochOfBatches {
  const iterator = Symbol.iterator in source ? source[Symbol.iterator]() : source[Symbol.asyncIterator]();
  const batchOf = ({ done, value }: IteratorResult<readonly Tensor[]>): readonly Tensor[] | undefined =>
    done ? undefined : expectBatch(value);
  return {
    next() {
      const result = iterator.next();
      return result instanceof Promise ? result.then(batchOf) : batchOf(result);
    },
    async leave() {
      await iterator.return?.();
    },
  };
}

function expectBatch(batch: unknown): readonly Tensor[] {
  if (Array.isArray(batch) && batch.length > 0) return batch as readonly Tensor[];
  throw new ConfigError("batches", `a batch is ${described(batch)}`, "give an array of tensors, one for each column");
}

/** Limits a source to `most` batches in each epoch. An epoch that the limit ends also counts as finished in a saved position. */
export function limited(source: BatchSource, most: number): BatchSource {
  /** The number of the batch with which the next epoch begins. */
  let first = 0;
  let isCut = false;
  async function* iterate(): AsyncGenerator<readonly Tensor[], void, undefined> {
    if (isCut) await skipRest(source);
    isCut = false;
    const epoch = epochOf(source);
    let given = first;
    first = 0;
    try {
      for (let batch = await epoch.next(); batch; batch = await epoch.next()) {
        given++;
        yield batch;
        if (given >= most) break;
      }
    } finally {
      await epoch.leave();
    }
  }
  return {
    batches: Math.min(source.batches ?? most, most),
    state: () => source.state(),
    resume(state) {
      source.resume(state);
      isCut = state.batch >= most;
      first = isCut ? 0 : state.batch;
    },
    [Symbol.asyncIterator]: iterate,
  };
}

/** Leaves the epoch that a source was resumed in, so that the next iteration is the next epoch. */
async function skipRest(source: BatchSource): Promise<void> {
  const epoch = epochOf(source);
  await epoch.next();
  await epoch.leave();
}

/** Makes a source that gives the same batches in every epoch. */
export function fixedBatches(batches: readonly (readonly Tensor[])[]): BatchSource {
  let next: LoaderState = { epoch: 0, batch: 0 };
  let isResumed = false;
  return {
    batches: batches.length,
    state: () => next,
    resume(state) {
      next = state;
      isResumed = true;
    },
    *[Symbol.iterator]() {
      const { epoch, batch } = next.batch > 0 && !isResumed ? { epoch: next.epoch + 1, batch: 0 } : next;
      isResumed = false;
      for (let i = batch; i < batches.length; i++) {
        next = i + 1 < batches.length ? { epoch, batch: i + 1 } : { epoch: epoch + 1, batch: 0 };
        yield batches[i]!;
      }
    },
  };
}
