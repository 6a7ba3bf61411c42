/** Batches of sequences with similar lengths. */
import { ConfigError, DataError } from "../errors.ts";
import { described } from "../graph/arguments.ts";

/** Sorts examples into buckets by length, and cuts an order of the examples into batches. */
export class Buckets {
  /** The number of batches in an epoch. */
  readonly batches: number;
  /** The number of examples in an epoch, without those that are dropped. */
  readonly examples: number;
  /** The greatest length of each bucket, in rising order. */
  readonly bounds: readonly number[];
  /** The bucket of each example. */
  readonly #of: Uint16Array;
  readonly #batchSize: number;
  readonly #dropLast: boolean;

  /**
   * Throws ConfigError for bounds that do not rise; DataError for an example longer than the last bound, and when all batches would be
   * dropped.
   */
  constructor(lengths: Int32Array, buckets: number | readonly number[], batchSize: number, dropLast: boolean) {
    this.bounds = typeof buckets === "number" ? quantiles(lengths, buckets) : expectBounds(buckets);
    this.#batchSize = batchSize;
    this.#dropLast = dropLast;
    const last = this.bounds.at(-1)!;
    const counts = new Uint32Array(this.bounds.length);
    this.#of = Uint16Array.from(lengths, (length, i) => {
      if (length > last)
        throw new DataError(
          "loader",
          `example ${i} has ${length} steps, and the last bucket ends at ${last}`,
          "add a bucket for longer sequences, or cut them",
        );
      const bucket = this.bounds.findIndex((bound) => length <= bound);
      counts[bucket]!++;
      return bucket;
    });
    const whole = dropLast ? Math.floor : Math.ceil;
    this.batches = counts.reduce((sum, count) => sum + whole(count / batchSize), 0);
    this.examples = counts.reduce((sum, count) => sum + (dropLast ? count - (count % batchSize) : count), 0);
    if (this.batches === 0)
      throw new DataError(
        "loader",
        `no bucket has ${batchSize} examples: dropLast would drop them all`,
        "use fewer buckets or a smaller batch",
      );
  }

  /**
   * Cuts the examples in an order into batches, each from one bucket. A batch is complete when its bucket has enough examples; the
   * remaining examples form the last batches.
   */
  plan(order: Uint32Array | undefined): { order: Uint32Array; ends: Uint32Array; lengths: Int32Array } {
    const planned = new Uint32Array(this.examples);
    const ends = new Uint32Array(this.batches);
    const lengths = new Int32Array(this.batches);
    const waiting = this.bounds.map(() => new Uint32Array(this.#batchSize));
    const counts = new Uint32Array(this.bounds.length);
    let at = 0;
    let batch = 0;
    const emit = (bucket: number): void => {
      planned.set(waiting[bucket]!.subarray(0, counts[bucket]!), at);
      at += counts[bucket]!;
      counts[bucket] = 0;
      lengths[batch] = this.bounds[bucket]!;
      ends[batch++] = at;
    };
    for (let i = 0; i < this.#of.length; i++) {
      const index = order ? order[i]! : i;
      const bucket = this.#of[index]!;
      waiting[bucket]![counts[bucket]!++] = index;
      if (counts[bucket] === this.#batchSize) emit(bucket);
    }
    if (!this.#dropLast) for (const bucket of this.bounds.keys()) if (counts[bucket]! > 0) emit(bucket);
    return { order: planned, ends, lengths };
  }
}

/** Returns lengths that divide the examples into equal parts. */
function quantiles(lengths: Int32Array, buckets: number): number[] {
  if (!Number.isSafeInteger(buckets) || buckets < 1 || buckets > 1000)
    throw new ConfigError("loader", `buckets is ${buckets}`, "give a number from 1 to 1000, or the length of each");
  const sorted = lengths.slice().sort();
  const bounds = Array.from({ length: buckets }, (_, i) => sorted[Math.ceil(((i + 1) * sorted.length) / buckets) - 1]!);
  return [...new Set(bounds)].filter((bound) => bound !== undefined);
}

function expectBounds(bounds: readonly number[]): readonly number[] {
  const isRising =
    Array.isArray(bounds) &&
    bounds.length > 0 &&
    bounds.length <= 1000 &&
    bounds.every((bound, i) => Number.isSafeInteger(bound) && bound > (i === 0 ? 0 : bounds[i - 1]!));
  if (!isRising)
    throw new ConfigError(
      "loader",
      `buckets is ${Array.isArray(bounds) ? `[${bounds.slice(0, 8).map(described).join(", ")}]` : described(bounds)}`,
      "give whole numbers that rise, at most 1000: [16, 32, 64]",
    );
  return bounds;
}
