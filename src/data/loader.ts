/** Batches of a dataset, epoch after epoch. */

import { ConfigError, DataError } from "../errors.ts";
import { described, expectOptions } from "../graph/arguments.ts";
import { type DType, type Shape, sizeOf } from "../graph/types.ts";
import { expectSeed, hostStream } from "../random/generator.ts";
import type { PhiloxStream } from "../random/stream.ts";
import { streams } from "../random/streams.ts";
import { Buckets } from "./buckets.ts";
import { type Changes, changed } from "./changes.ts";
import { type AnyCount, type Column, type Dataset, gatherExamples, sliceExamples } from "./dataset.ts";
import { balancedWeights, expectDraws, type SampleOptions, WeightedSampler } from "./sampling.ts";
import { padSequences } from "./sequences.ts";
import { permutation, type RandomBits } from "./shuffle.ts";

/** The array that holds values of a dtype. */
export type ArrayOf<D extends DType> = D extends "float32"
  ? Float32Array
  : D extends "float64"
    ? Float64Array
    : D extends "int32"
      ? Int32Array
      : Uint8Array;

/** The values of one example, an array for each column. */
export type ExampleValues<C extends readonly Column[]> = {
  readonly [K in keyof C]: C[K] extends Column<Shape, infer D> ? ArrayOf<D> : never;
};

export interface LoaderOptions<C extends readonly Column[] = readonly Column[], M extends readonly Column[] = C> {
  /** Examples in a batch, from 1 to the size of the dataset. */
  readonly batchSize: number;
  /**
   * Whether each epoch goes through the examples in a random order of its own. Default false: the order of the dataset.
   */
  readonly shuffle?: boolean;
  /** What the orders, draws and random changes follow from. Default 0. */
  readonly seed?: number;
  /** Whether the examples that fill no whole batch are left out. Default false: the last batch is smaller. */
  readonly dropLast?: boolean;
  /** Where the order of an epoch comes from. Default: Philox, a stream per epoch. */
  readonly random?: (seed: number, epoch: number) => RandomBits;
  /** Draws examples with weights, in place of an order in which each comes once. */
  readonly sample?: SampleOptions;
  /**
   * Changes one example, as augmentation does, by writing into its arrays, which are the batch's own: of a sequence its steps without the
   * padding. `random` is a stream of its own for each epoch and place in it, whatever the size of a batch, so that a resumed run draws
   * the same.
   */
  readonly mapExample?: (example: ExampleValues<C>, random: PhiloxStream) => void;
  /**
   * Makes the batch that is yielded of the columns of a batch; after `mapExample`. It may write into their arrays, and columns of another
   * shape or dtype may come out. `random` is a stream of its own for each epoch and batch.
   */
  readonly map?: (batch: AnyCount<C>, random: PhiloxStream) => M;
  /**
   * For columns of sequences: batches of sequences of like length, so that few shapes arise and little padding. The greatest length of
   * each bucket in rising order, to which its batches are padded: `[16, 32, 64]`; or how many buckets, of which each then gets about as
   * many examples. Where there are several columns of sequences, the longest of an example counts. Default: none; a batch is padded to
   * its longest.
   */
  readonly buckets?: number | readonly number[];
}

/** Where a loader is: the batch that comes next, both counted from 0. Plain JSON. */
export interface LoaderState {
  readonly epoch: number;
  readonly batch: number;
}

/** What an epoch is: the examples in their order, cut into batches. */
interface Plan {
  /** Absent for the order of the dataset. */
  readonly order: Uint32Array | undefined;
  /** Where each batch ends; absent where each but the last has `batchSize` examples. */
  readonly ends?: Uint32Array;
  /** What each batch's sequences are padded to; absent for the longest of the batch. */
  readonly lengths?: Int32Array;
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
  readonly #options: Required<Pick<LoaderOptions, "batchSize" | "shuffle" | "seed" | "dropLast" | "random">> &
    Pick<LoaderOptions, "sample">;
  readonly #changes: Changes;
  readonly #wrap: (column: Column) => unknown;
  readonly #sampler: WeightedSampler | undefined;
  readonly #buckets: Buckets | undefined;
  #next: LoaderState = { epoch: 0, batch: 0 };
  /** Whether the next iteration goes on in the middle of an epoch. */
  #resumed = false;

  /** For `createLoader`, which knows what `B` is: an array of what `wrap` makes of each column. */
  constructor(data: Dataset, options: LoaderOptions, wrap: (column: Column) => unknown) {
    if (typeof data !== "object" || data === null || !("columns" in data))
      throw new ConfigError("loader", `the data are ${described(data)}`, "give a dataset: dataset(inputs, labels)");
    if (options === undefined) throw new ConfigError("loader", "there are no options", "give { batchSize: 32 }");
    expectOptions("loader", options, optionNames);
    const { batchSize, shuffle = false, seed = 0, dropLast = false, random = philoxOf } = options;
    const { sample, map, mapExample, buckets } = options;
    this.#sampler = sample === undefined ? undefined : samplerOf(data, options);
    expectFits(batchSize, sample?.examples ?? data.length, dropLast);
    expectSeed("loader", seed);
    for (const [name, value] of Object.entries({ map, mapExample, random }))
      if (value !== undefined && typeof value !== "function")
        throw new ConfigError("loader", `\`${name}\` is ${described(value)}`, "give a function");
    this.#data = data;
    this.#options = { batchSize, shuffle, seed, dropLast, random, ...(sample && { sample }) };
    // Typed by their callers: what the loader gives them has the columns of the data.
    this.#changes = { seed, map: map as Changes["map"], mapExample: mapExample as Changes["mapExample"] };
    this.#wrap = wrap;
    this.#buckets = buckets === undefined ? undefined : bucketsOf(data, options);
    const drawn = sample?.examples ?? data.length;
    this.examples = this.#buckets?.examples ?? (dropLast ? drawn - (drawn % batchSize) : drawn);
    this.batches = this.#buckets?.batches ?? Math.ceil(this.examples / batchSize);
  }

  /** Examples in a batch, but for a smaller last one. */
  get batchSize(): number {
    return this.#options.batchSize;
  }

  /** What its batches are of, before `mapExample`; undefined with `map`, which makes other columns. */
  get dataset(): Dataset | undefined {
    return this.#changes.map ? undefined : this.#data;
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
    const { order, ends, lengths } = this.#plan(epoch);
    const { batchSize } = this.#options;
    for (let index = batch; index < this.batches; index++) {
      this.#next = index + 1 < this.batches ? { epoch, batch: index + 1 } : { epoch: epoch + 1, batch: 0 };
      const begin = ends ? (index === 0 ? 0 : ends[index - 1]!) : index * batchSize;
      const end = ends ? ends[index]! : Math.min(begin + batchSize, this.examples);
      const columns = changed(
        this.#columns(order, begin, end, lengths?.[index]),
        this.#changes,
        { epoch, batch: index, begin },
        (column, example) => this.#valuesOf(column, order ? order[begin + example]! : begin + example),
      );
      yield columns.map((column) => this.#wrap(column)) as B;
    }
  }

  #plan(epoch: number): Plan {
    const { shuffle, seed, random, sample } = this.#options;
    if (this.#sampler)
      return {
        order: this.#sampler.draw(
          sample?.examples ?? this.#data.length,
          sample?.replacement ?? true,
          random(seed, epoch),
        ),
      };
    const order = shuffle ? permutation(this.#data.length, random(seed, epoch)) : undefined;
    return this.#buckets?.plan(order) ?? { order };
  }

  #columns(order: Uint32Array | undefined, begin: number, end: number, length: number | undefined): Column[] {
    return this.#data.columns.map((column) => {
      const indices = order?.subarray(begin, end);
      if (column.offsets) return padSequences(column, indices ?? countFrom(begin, end), length);
      return indices ? gatherExamples(column, indices) : sliceExamples(column, begin, end);
    });
  }

  /** How many values an example has in a column, padding not counted. */
  #valuesOf(place: number, index: number): number {
    const { offsets, shape } = this.#data.columns[place]!;
    return offsets ? (offsets[index + 1]! - offsets[index]!) * sizeOf(shape.slice(2)) : sizeOf(shape.slice(1));
  }

  #start(): LoaderState {
    // Left early, and not resumed there: on to the next epoch.
    if (this.#next.batch > 0 && !this.#resumed) this.#next = { epoch: this.#next.epoch + 1, batch: 0 };
    this.#resumed = false;
    return this.#next;
  }
}

const optionNames = [
  "batchSize",
  "shuffle",
  "seed",
  "dropLast",
  "random",
  "sample",
  "map",
  "mapExample",
  "buckets",
] as const;

function samplerOf(data: Dataset, { sample, shuffle, buckets }: LoaderOptions): WeightedSampler {
  expectOptions("loader: sample", sample, ["weights", "replacement", "examples"]);
  const { weights, replacement = true, examples = data.length } = sample!;
  if (shuffle || buckets !== undefined)
    throw new ConfigError(
      "loader",
      `there are both \`sample\` and \`${shuffle ? "shuffle" : "buckets"}\``,
      shuffle ? "leave shuffle out: what is drawn is in random order" : "leave one of them out",
    );
  if (weights !== "balanced" && (typeof weights !== "object" || weights === null))
    throw new ConfigError(
      "loader",
      `sample.weights is ${described(weights)}`,
      'give a number for each example, or "balanced"',
    );
  const given = weights === "balanced" ? balancedWeights(data.columns.at(-1)! as never) : weights;
  const sampler = new WeightedSampler(given, data.length);
  expectDraws(examples, replacement, sampler.positive);
  return sampler;
}

function bucketsOf(data: Dataset, { buckets, batchSize, dropLast = false }: LoaderOptions): Buckets {
  const ragged = data.columns.filter(({ offsets }) => offsets !== undefined);
  if (ragged.length === 0)
    throw new ConfigError("loader", "there are buckets, but no column of sequences", "make one: sequences(arrays)");
  const lengths = new Int32Array(data.length).fill(1);
  for (const { offsets } of ragged)
    for (let i = 0; i < lengths.length; i++) lengths[i] = Math.max(lengths[i]!, offsets![i + 1]! - offsets![i]!);
  return new Buckets(lengths, buckets!, batchSize, dropLast);
}

const countFrom = (begin: number, end: number): Uint32Array =>
  Uint32Array.from({ length: end - begin }, (_, i) => begin + i);

/**
 * A loader over `data` that hands each column of a batch to `wrap` and yields the results, in the order of the columns.
 * Each batch has arrays of its own, which whoever gets it may keep. Throws ConfigError for a batch size that is not a
 * whole number from 1 on and for a bad seed, DataError for a batch larger than the data.
 */
export function createLoader<C extends readonly Column[], T, const M extends readonly Column[] = C>(
  data: Dataset<C>,
  options: LoaderOptions<C, M>,
  wrap: (column: Column) => T,
): Loader<{ -readonly [K in keyof M]: T }> {
  return new Loader(data, options as unknown as LoaderOptions, wrap);
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
