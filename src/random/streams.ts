/**
 * The streams of a seed: which purpose draws random numbers from which stream. Numbers that are drawn with one seed for two purposes, two
 * generators or two epochs are independent.
 */
import { ConfigError } from "../errors.ts";

interface Streams {
  readonly first: number;
  readonly count: number;
}

export type Purpose =
  | "generator"
  | "split"
  | "choice"
  | "projection"
  | "gradientCheck"
  | "spectral"
  | "decoding"
  | "sentencePairs"
  | "masking"
  | "augmentation"
  | "order";

/** Numbers of streams, from 0 to 2³¹ − 1. Each purpose has a range of its own. */
export const streams: Readonly<Record<Purpose, Streams>> = {
  /** Generators, by the stream number with which they were made. */
  generator: { first: 0, count: 2 ** 29 },
  /** Splits of a dataset. */
  split: { first: 2 ** 29, count: 1 },
  /** Examples that a check chooses. */
  choice: { first: 2 ** 29 + 1, count: 1 },
  /** Weights of the outputs that a check looks at. */
  projection: { first: 2 ** 29 + 2, count: 1 },
  /** Elements that a gradient check compares. */
  gradientCheck: { first: 2 ** 29 + 3, count: 1 },
  /** The start vector of an estimate of singular values. */
  spectral: { first: 2 ** 29 + 4, count: 1 },
  /** Tokens that a model is decoded to. */
  decoding: { first: 2 ** 29 + 5, count: 1 },
  /** Pairs of sentences, by epoch. */
  sentencePairs: { first: 2 ** 29 + 2 ** 26, count: 2 ** 26 },
  /** The choice of masked tokens, by epoch; the parts are the examples. */
  masking: { first: 2 ** 29 + 2 ** 27, count: 2 ** 27 },
  /** Random changes of examples, by epoch; the parts are the examples or the batches. */
  augmentation: { first: 2 ** 29 + 2 ** 28, count: 2 ** 28 },
  /** Orders of a loader's examples, by epoch. */
  order: { first: 2 ** 30, count: 2 ** 30 },
};

/** Returns the stream of a purpose. `number` (default 0) selects one of several. Throws ConfigError beyond the last one. */
export function streamOf(purpose: Purpose, number: number = 0): number {
  const { first, count } = streams[purpose];
  if (!Number.isSafeInteger(number) || number < 0 || number >= count)
    throw new ConfigError(
      purpose,
      `the number of the stream is ${number}`,
      `give a whole number from 0 to ${count - 1}`,
    );
  return first + number;
}
