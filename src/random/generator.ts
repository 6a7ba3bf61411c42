/** The streams and states of generators, which make random numbers in JavaScript and inside graphs. */
import { ConfigError } from "../errors.ts";
import { type Key, keyOf, philox4x32 } from "./philox.ts";
import { PhiloxStream } from "./stream.ts";
import { type Purpose, streamOf } from "./streams.ts";

/** The number of a generator's stream for graphs. Even numbers are for JavaScript, odd ones for graphs, so the two never share bits. */
const graphStream = (generator: number): number => 2 * streamOf("generator", generator) + 1;

/** Throws ConfigError unless `seed` is a whole number from 0 to 2⁵³ − 1. */
export function expectSeed(subject: string, seed: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ConfigError(subject, `the seed is ${String(seed)}`, "give a whole number from 0 to 2^53 − 1");
}

/**
 * Returns the stream of a purpose for values made in JavaScript, such as initial weights and orders of examples. A `part`, a uint32, for
 * example the number of an example, gets its own key: the Philox block of a counter that contains the part and that no stream uses.
 */
export function hostStream(seed: number | Key, purpose: Purpose, number?: number, part?: number): PhiloxStream {
  const stream = 2 * streamOf(purpose, number);
  if (part === undefined) return new PhiloxStream(seed, stream);
  philox4x32([part >>> 0, 0, stream, 1], typeof seed === "number" ? keyOf(seed) : seed, words);
  return new PhiloxStream([words[0]!, words[1]!], stream);
}

const words = new Uint32Array(4);

/** Returns the state of a generator's JavaScript side for a file: two words of key, the stream, two words of position. */
export function hostWords([low, high]: Key, stream: number, { position }: PhiloxStream): Int32Array {
  return Int32Array.of(low, high, stream, position >>> 0, Math.floor(position / 2 ** 32));
}

/** Restores a generator's JavaScript side from the words that `hostWords` has returned. */
export function fromHostWords(words: ArrayLike<number>): { key: Key; stream: number; host: PhiloxStream } {
  const [low, high, stream, least, most] = Array.from(words, (word) => word >>> 0) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const host = hostStream([low, high], "generator", stream);
  host.position = most * 2 ** 32 + least;
  return { key: [low, high], stream, host };
}

/** Returns the state that draws tokens inside graphs, as `initialState` does. */
export function decodingState(seed: number): Int32Array {
  const [low, high] = keyOf(seed);
  return Int32Array.of(low, high, 2 * streamOf("decoding") + 1, 0);
}

/** Returns a generator's state inside graphs before its first draw: two words of key, the stream, the number of the draw. */
export function initialState([low, high]: Key, stream: number): Int32Array {
  return Int32Array.of(low, high, graphStream(stream), 0);
}
