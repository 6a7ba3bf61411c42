/** The pronouncing dictionary of Carnegie Mellon University in Node, out of the npm package `cmu-pronouncing-dictionary`. */
import { join } from "node:path";
import { folderOfPackage } from "../../data/node/packages.ts";
import { permutation } from "../../data/shuffle.ts";
import { ConfigError, FormatError } from "../../errors.ts";
import { readFileChecked } from "../../files/node/atomic.ts";
import { aFlag, aText, aWhole, expectArguments, options as optionsOf } from "../../graph/arguments.ts";
import { expectSeed, hostStream } from "../../random/generator.ts";

/** A word and all the ways to say it. */
export interface PronouncedWord {
  /** In small letters, with apostrophes, as in `don't`. */
  readonly word: string;
  /** Phones of ARPAbet, as in `["D", "OW", "N", "T"]`; no two of a word are the same. */
  readonly pronunciations: readonly (readonly string[])[];
}

/** The pronouncing dictionary, from `loadCmudict`, divided for training and measuring. */
export interface Cmudict {
  readonly train: readonly PronouncedWord[];
  readonly test: readonly PronouncedWord[];
  /** All phones, in the order of the alphabet: 39 without stress. */
  readonly phones: readonly string[];
  /** All characters of words, in their order: the letters and the apostrophe. */
  readonly letters: readonly string[];
}

/** Options of `loadCmudict`. */
export interface CmudictOptions {
  /** The file index.js of the package. Default: that of the installed one. */
  readonly file?: string;
  /** Whether vowels keep their stress, 0 to 2, as in `AH0`. Default false: published results are without. */
  readonly stress?: boolean;
  /** Words held out. Default 12,000. */
  readonly testWords?: number;
  /** Of the split. Default 0. */
  readonly seed?: number;
}

const name = "cmu-pronouncing-dictionary";
const version = "3.0.0";
const reinstall = `install the package anew: npm install ${name}@${version}`;

/**
 * English words with their pronunciations. Words of letters and apostrophes are kept, each once with all its pronunciations; the test words
 * are drawn by the seed from all of them, so that no test word is trained on. Throws DataError when the package is not installed,
 * FormatError when its file is damaged, ConfigError when the words held out are not fewer than there are. (The dictionary is free to use;
 * the package's licence is ISC.)
 */
export async function loadCmudict(options: CmudictOptions = {}): Promise<Cmudict> {
  expectArguments(
    "loadCmudict",
    [optionsOf({ file: aText, stress: aFlag, testWords: aWhole, seed: aWhole })],
    [options],
  );
  const { stress = false, testWords = 12_000, seed = 0 } = options;
  expectSeed("loadCmudict", seed);
  const file = options.file ?? join(folderOfPackage("loadCmudict", name, version), "index.js");
  const words = readWords(new TextDecoder().decode(await readFileChecked(file)), file, stress);
  if (testWords < 1 || testWords >= words.length)
    throw new ConfigError("loadCmudict", `testWords is ${testWords}`, `give a number from 1 to ${words.length - 1}`);
  const order = permutation(words.length, hostStream(seed, "split"));
  const pick = (indices: Uint32Array): PronouncedWord[] => Array.from(indices.sort(), (i) => words[i]!);
  return {
    train: pick(order.slice(testWords)),
    test: pick(order.slice(0, testWords)),
    phones: [...new Set(words.flatMap(({ pronunciations }) => pronunciations.flat()))].sort(),
    letters: [...new Set(words.flatMap(({ word }) => [...word]))].sort(),
  };
}

function readWords(text: string, file: string, stress: boolean): PronouncedWord[] {
  const words = new Map<string, string[]>();
  let entries = 0;
  // A second pronunciation has a number behind its word: "a(2)".
  for (const [, word, spoken] of text.matchAll(/^ {2}"([^"(]+)(?:\(\d+\))?": "([A-Z012 ]+)",?$/gm)) {
    entries++;
    if (!/^[a-z']*[a-z][a-z']*$/.test(word!)) continue;
    const phones = stress ? spoken! : spoken!.replace(/[012]/g, "");
    const known = words.get(word!);
    if (known === undefined) words.set(word!, [phones]);
    else if (!known.includes(phones)) known.push(phones);
  }
  if (entries < 100_000)
    throw new FormatError(file, `it has ${entries} lines of words, and 135,155 were expected`, reinstall);
  return [...words].map(([word, pronunciations]) => ({
    word,
    pronunciations: pronunciations.map((phones) => phones.split(" ")),
  }));
}
