/** Batches of a dataset, epoch after epoch. */

import { ConfigError, DataError } from "../errors.ts";
import { described, expectOptions } from "../graph/arguments.ts";
import { expectSeed, hostStream } from "../random/generator.ts";
import { streams } from "../random/streams.ts";
import { type Column, type Dataset, gatherExamples, sliceExamples } from "./dataset.ts";
import { permutation, type RandomBits } from "./shuffle.ts";

export interface LoaderOptions {
  /** Examples in a batch, from 1 to the size of the dataset. */
  readonly batchSize: number;
  /**
   * Whether each epoch goes through the examples in a random order of its own. Default false: the order of the dataset.
   */
  readonly shuffle?: boolean;
  /** What the orders follow from. Default 0. */
  readonly seed?: number;
  /** Whether the examples that fill no whole batch are left out. Default false: the last batch is smaller. */
  readonly dropLast?: boolean;
  /** Where the order of an epoch comes from. Default: Philox, a stream per epoch. */
  readonly random?: (seed: number, epoch: number) => RandomBits;
}

/** Where a loader is: the batch that comes next, both counted from 0. Plain JSON. */
export interface LoaderState {
  readonly epoch: number;
  readonly batch: number;
}

/**
 * Gives the batches of one epoch each time it is iterated, and of the next epoch the next time, also when a loop was
 * left early. The order of an epoch follows from the seed and the epoch alone.
 */
export class Loader<B> implements Iterable<B> {
  /** Batches in an epoch. */
  readonly batches: number;
  /** Examples in an epoch, those that `dropLast` leaves out not counted. */
  readonly examples: number;
  readonly #data: Dataset;
  readonly #options: Required<LoaderOptions>;
  readonly #wrap: (column: Column) => unknown;
  #next: LoaderState = { epoch: 0, batch: 0 };
  /** Whether the next iteration goes on in the middle of an epoch. */
  #resumed = false;

  /** For `createLoader`, which knows what `B` is: an array of what `wrap` makes of each column. */
  constructor(data: Dataset, options: LoaderOptions, wrap: (column: Column) => unknown) {
    if (typeof data !== "object" || data === null || !("columns" in data))
      throw new ConfigError("loader", `the data are ${described(data)}`, "give a dataset: dataset(inputs, labels)");
    if (options === undefined) throw new ConfigError("loader", "there are no options", "give { batchSize: 32 }");
    expectOptions("loader", options, ["batchSize", "shuffle", "seed", "dropLast", "random"]);
    const { batchSize, shuffle = false, seed = 0, dropLast = false, random = philoxOf } = options;
    expectFits(batchSize, data.length, dropLast);
    expectSeed("loader", seed);
    this.#data = data;
    this.#options = { batchSize, shuffle, seed, dropLast, random };
    this.#wrap = wrap;
    this.examples = dropLast ? data.length - (data.length % batchSize) : data.length;
    this.batches = Math.ceil(this.examples / batchSize);
  }

  /**
   * The position to put into a checkpoint. Inside a loop it names the batch after the one in hand: a run that saves it
   * once a step is done and resumes from it repeats no batch and misses none.
   */
  state(): LoaderState {
    return this.#next;
  }

  /**
   * The next iteration starts at `state`, in the middle of an epoch if it says so. The dataset and the options must be
   * those the state was saved with; an iteration that is under way goes on where it is. Throws ConfigError for a
   * position this loader does not have.
   */
  resume(state: LoaderState): void {
    const { epoch, batch } = state;
    if (!isIndex(epoch, streams.order.count) || !isIndex(batch, this.batches))
      throw new ConfigError(
        "resume",
        `epoch ${epoch}, batch ${batch} of a loader with ${this.batches} batches an epoch`,
        "resume with the dataset and the batch size that the state was saved with",
      );
    this.#next = { epoch, batch };
    this.#resumed = true;
  }

  *[Symbol.iterator](): Generator<B, void, undefined> {
    const { epoch, batch } = this.#start();
    const { batchSize, shuffle, seed, random } = this.#options;
    const order = shuffle ? permutation(this.#data.length, random(seed, epoch)) : undefined;
    for (let index = batch; index < this.batches; index++) {
      this.#next = index + 1 < this.batches ? { epoch, batch: index + 1 } : { epoch: epoch + 1, batch: 0 };
      const begin = index * batchSize;
      const end = Math.min(begin + batchSize, this.examples);
      yield this.#data.columns.map((column) =>
        this.#wrap(order ? gatherExamples(column, order.subarray(begin, end)) : sliceExamples(column, begin, end)),
      ) as B;
    }
  }

  #start(): LoaderState {
    // Left early, and not resumed there: on to the next epoch.
    if (this.#next.batch > 0 && !this.#resumed) this.#next = { epoch: this.#next.epoch + 1, batch: 0 };
    this.#resumed = false;
    return this.#next;
  }
}

/**
 * A loader over `data` that hands each column of a batch to `wrap` and yields the results, in the order of the columns.
 * Each batch has arrays of its own, which whoever gets it may keep. Throws ConfigError for a batch size that is not a
 * whole number from 1 on and for a bad seed, DataError for a batch larger than the data.
 */
export function createLoader<C extends readonly Column[], T>(
  data: Dataset<C>,
  options: LoaderOptions,
  wrap: (column: Column) => T,
): Loader<{ -readonly [K in keyof C]: T }> {
  return new Loader(data, options, wrap);
}

function expectFits(batchSize: number, examples: number, dropLast: boolean): void {
  if (!Number.isSafeInteger(batchSize) || batchSize < 1)
    throw new ConfigError("loader", `batchSize is ${batchSize}`, "give a whole number from 1 on");
  if (batchSize > examples)
    throw new DataError(
      "loader",
      `a batch of ${batchSize} examples is larger than the data, which have ${examples}` +
        (dropLast ? ": dropLast would drop them all" : ""),
      `set batchSize to ${examples} or less`,
    );
}

function philoxOf(seed: number, epoch: number): RandomBits {
  return hostStream(seed, "order", epoch);
}

function isIndex(value: unknown, bound: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < bound;
}
