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

/** Options of `loader`. */
export interface LoaderOptions<C extends readonly Column[] = readonly Column[], M extends readonly Column[] = C> {
  /** The number of examples in a batch, from 1 to the size of the dataset. */
  readonly batchSize: number;
  /** Whether each epoch has its own random order of the examples. Default false: the order of the dataset. */
  readonly shuffle?: boolean;
  /** The seed of the orders, draws and random changes. Default 0. */
  readonly seed?: number;
  /** Whether the last examples are left out if they do not fill a batch. Default false: the last batch is smaller. */
  readonly dropLast?: boolean;
  /** The source of random bits for the order of an epoch. Default: Philox, with a stream for each epoch. */
  readonly random?: (seed: number, epoch: number) => RandomBits;
  /** Draws examples with weights, instead of using each example once. */
  readonly sample?: SampleOptions;
  /**
   * Changes one example, for example for augmentation, by writing into its arrays, which belong to the batch. A sequence has its steps
   * without the padding. `random` is a separate stream for each epoch and place in it, independent of the batch size, so a resumed run
   * draws the same numbers.
   */
  readonly mapExample?: (example: ExampleValues<C>, random: PhiloxStream) => void;
  /**
   * Returns the batch to yield, made from the columns of a batch after `mapExample`. It may write into their arrays, and may return columns
   * of other shapes or dtypes. `random` is a separate stream for each epoch and batch.
   */
  readonly map?: (batch: AnyCount<C>, random: PhiloxStream) => M;
  /**
   * For columns of sequences: groups sequences of similar length into batches, so that there are few shapes and little padding. Give the
   * greatest length of each bucket in rising order, to which its batches are padded: `[16, 32, 64]`; or the number of buckets, which then
   * get about equally many examples. With several columns of sequences, the longest sequence of an example counts. Default: no buckets;
   * each batch is padded to its longest sequence.
   */
  readonly buckets?: number | readonly number[];
}

/** The position of a loader: the epoch and the number of the next batch, both counted from 0. Plain JSON. */
export interface LoaderState {
  readonly epoch: number;
  readonly batch: number;
}

/** The plan of an epoch: the order of the examples, and how it is cut into batches. */
interface Plan {
  /** Undefined for the order of the dataset. */
  readonly order: Uint32Array | undefined;
  /** The end of each batch; absent if each batch but the last has `batchSize` examples. */
  readonly ends?: Uint32Array;
  /** The length to which each batch's sequences are padded; absent for the longest of the batch. */
  readonly lengths?: Int32Array;
}

/**
 * Gives the batches of one epoch in each iteration. The next iteration gives the next epoch, also when a loop was left early. The order of
 * an epoch depends only on the seed and the epoch.
 */
export class Loader<B> implements Iterable<B> {
  /** The number of batches in an epoch. */
  readonly batches: number;
  /** The number of examples in an epoch, without those that `dropLast` leaves out. */
  readonly examples: number;
  readonly #data: Dataset;
  readonly #options: Required<Pick<LoaderOptions, "batchSize" | "shuffle" | "seed" | "dropLast" | "random">> &
    Pick<LoaderOptions, "sample">;
  readonly #changes: Changes;
  readonly #wrap: (column: Column) => unknown;
  readonly #sampler: WeightedSampler | undefined;
  readonly #buckets: Buckets | undefined;
  #next: LoaderState = { epoch: 0, batch: 0 };
  /** Whether the next iteration continues in the middle of an epoch. */
  #resumed = false;

  /** Internal: use `createLoader`, which knows the type `B`: an array of the results of `wrap` for each column. */
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
    // The callers give the types; the loader passes columns of the data to these functions.
    this.#changes = { seed, map: map as Changes["map"], mapExample: mapExample as Changes["mapExample"] };
    this.#wrap = wrap;
    this.#buckets = buckets === undefined ? undefined : bucketsOf(data, options);
    const drawn = sample?.examples ?? data.length;
    this.examples = this.#buckets?.examples ?? (dropLast ? drawn - (drawn % batchSize) : drawn);
    this.batches = this.#buckets?.batches ?? Math.ceil(this.examples / batchSize);
  }

  /** The number of examples in a batch; the last batch may be smaller. */
  get batchSize(): number {
    return this.#options.batchSize;
  }

  /** The dataset of the batches, before `mapExample`; undefined with `map`, which makes other columns. */
  get dataset(): Dataset | undefined {
    return this.#changes.map ? undefined : this.#data;
  }

  /**
   * Returns the position for a checkpoint. Inside a loop it is the position of the next batch: a run that saves it after a step and resumes
   * from it neither repeats nor misses a batch.
   */
  state(): LoaderState {
    return this.#next;
  }

  /**
   * Makes the next iteration start at `state`, possibly in the middle of an epoch. The dataset and the options must be the same as when the
   * state was saved. An iteration in progress is not affected. Throws ConfigError for a position that this loader does not have.
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

  /** Returns the number of values of an example in a column, without padding. */
  #valuesOf(place: number, index: number): number {
    const { offsets, shape } = this.#data.columns[place]!;
    return offsets ? (offsets[index + 1]! - offsets[index]!) * sizeOf(shape.slice(2)) : sizeOf(shape.slice(1));
  }

  #start(): LoaderState {
    // The epoch was left early and not resumed there, so the next epoch begins.
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
 * Makes a loader over `data` that passes each column of a batch to `wrap` and yields the results, in the order of the columns. Each batch
 * has its own arrays, which the receiver may keep. Throws ConfigError for a batch size that is not a whole number from 1 on and for a bad
 * seed, DataError for a batch larger than the data.
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
