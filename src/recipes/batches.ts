/** How recipes cut their data into batches. */

/** The greatest share of the examples that an epoch may leave out. */
const mostLost = 0.02;

/**
 * Returns whether the incomplete last batch of each bucket is to be dropped, so that all batches of a bucket have one shape: where that
 * loses at most 2 % of the examples. On average half a batch is lost for each bucket. A small corpus keeps its last batches.
 */
export const losesFew = (examples: number, batchSize: number, buckets: number = 1): boolean =>
  (buckets * (batchSize - 1)) / 2 <= mostLost * examples;
