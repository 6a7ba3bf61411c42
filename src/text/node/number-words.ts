/** Numbers and their names in English in Node, from the npm package `to-words`. */
import { contentOfPackage } from "../../data/node/packages.ts";
import { drawIndex, permutation, type RandomBits } from "../../data/shuffle.ts";
import { ConfigError, FormatError } from "../../errors.ts";
import { aWhole, expectArguments, options as optionsOf } from "../../graph/arguments.ts";
import { expectSeed, hostStream } from "../../random/generator.ts";

/** A number and its name, both as lists of symbols. */
export interface NamedNumber {
  readonly number: number;
  /** Its digits: `["1", "0", "7"]`. */
  readonly digits: readonly string[];
  /** Its name: `["one", "hundred", "seven"]`. */
  readonly words: readonly string[];
}

/** Numbers with their names, from `loadNumberWords`, divided for training and measuring. */
export interface NumberWords {
  readonly train: readonly NamedNumber[];
  readonly test: readonly NamedNumber[];
  /** All words of names, in the order in which counting meets them. */
  readonly words: readonly string[];
}

/** Options of `loadNumberWords`. */
export interface NumberWordsOptions {
  /** Numbers to train on. Default 20,000. */
  readonly trainNumbers?: number;
  /** Numbers held out. Default 2,000. */
  readonly testNumbers?: number;
  /** Of the draw. Default 0. */
  readonly seed?: number;
}

const name = "to-words";
const version = "5.7.0";
/** Numbers are below this. */
const limit = 1_000_000;

/**
 * Numbers below a million with their English names, exact pairs made by the npm package `to-words` (MIT). Numbers of each count of digits
 * are drawn alike, as far as there are enough of them; no held-out number is trained on. Throws DataError when the package is not
 * installed, ConfigError when more numbers are asked for than there are.
 */
export async function loadNumberWords(options: NumberWordsOptions = {}): Promise<NumberWords> {
  expectArguments(
    "loadNumberWords",
    [optionsOf({ trainNumbers: aWhole, testNumbers: aWhole, seed: aWhole })],
    [options],
  );
  const { trainNumbers = 20_000, testNumbers = 2_000, seed = 0 } = options;
  expectSeed("loadNumberWords", seed);
  if (trainNumbers < 1 || testNumbers < 1 || trainNumbers + testNumbers > limit / 2)
    throw new ConfigError(
      "loadNumberWords",
      `${trainNumbers} numbers to train on and ${testNumbers} held out`,
      `give numbers from 1 on, together at most ${limit / 2}`,
    );
  const nameOf = names();
  const random = hostStream(seed, "split");
  const numbers = drawn(trainNumbers + testNumbers, random);
  const order = permutation(numbers.length, random);
  const pick = (indices: Uint32Array): NamedNumber[] =>
    Array.from(indices, (i) => {
      const number = numbers[i]!;
      return { number, digits: [...String(number)], words: nameOf(number) };
    });
  const counted = [...Array(100).keys(), 100, 1000].flatMap(nameOf);
  return {
    test: pick(order.slice(0, testNumbers)),
    train: pick(order.slice(testNumbers)),
    words: [...new Set(counted)],
  };
}

/** Different numbers, alike in their count of digits where there are enough. */
function drawn(count: number, random: RandomBits): number[] {
  const found = new Set<number>();
  const digits = String(limit - 1).length;
  for (let tries = 0; found.size < count; tries++) {
    const [from, to] = [tries % digits === 0 ? 0 : 10 ** (tries % digits), 10 ** ((tries % digits) + 1)];
    found.add(from + drawIndex(to - from, random));
  }
  return [...found];
}

/** The package's function, as lists of words in small letters. */
function names(): (number: number) => readonly string[] {
  const { ToWords } = contentOfPackage("loadNumberWords", name, version) as {
    ToWords?: new (options: { localeCode: string }) => { convert(number: number): string };
  };
  if (typeof ToWords !== "function")
    throw new FormatError(name, "there is no ToWords in the package", `npm install ${name}@${version}`);
  const toWords = new ToWords({ localeCode: "en-US" });
  return (number) => toWords.convert(number).toLowerCase().split(" ");
}
