/** Edit distances and error rates of sequences. */
import { DataError } from "../errors.ts";
import { described, expectArguments, type Kind } from "../graph/arguments.ts";
import { aList } from "./kinds.ts";

/** Symbols: the elements of an array, or the characters (code points) of a string. */
export type Symbols = string | ArrayLike<unknown>;

const symbols: Kind = (value) =>
  typeof value === "string" || Array.isArray(value) || (ArrayBuffer.isView(value) && "length" in value)
    ? undefined
    : "give a string, or an array of symbols";

const listOf = (given: Symbols): ArrayLike<unknown> => (typeof given === "string" ? [...given] : given);

/**
 * Returns the smallest number of insertions, deletions and substitutions of symbols that turns one sequence into the other (Levenshtein
 * 1966).
 */
export function editDistance(a: Symbols, b: Symbols): number {
  expectArguments("editDistance", [symbols, symbols], [a, b]);
  return distance(listOf(a), listOf(b));
}

function distance(a: ArrayLike<unknown>, b: ArrayLike<unknown>): number {
  const row = Int32Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 0; i < a.length; i++) {
    let diagonal = row[0]!;
    row[0] = i + 1;
    for (let j = 0; j < b.length; j++) {
      const changed = diagonal + Number(a[i] !== b[j]);
      diagonal = row[j + 1]!;
      row[j + 1] = Math.min(changed, diagonal + 1, row[j]! + 1);
    }
  }
  return row[b.length]!;
}

/** What `errorRate` returns. */
export interface ErrorRate {
  /** Edits divided by symbols of the references: the phoneme error rate if symbols are phones, the word error rate if they are words. */
  readonly rate: number;
  /** The share of sequences that differ from their reference: the word error rate if each sequence is one word. */
  readonly wrong: number;
  readonly edits: number;
  /** The number of symbols of the references that were used. */
  readonly symbols: number;
}

/**
 * Computes the sum of edits between predictions and references, divided by the references' length. Each prediction has an array of right
 * references; the nearest one counts, and of several equally near the longest. Throws DataError when there are no references, and when the
 * numbers of predictions and references differ.
 */
export function errorRate(predictions: readonly Symbols[], references: readonly (readonly Symbols[])[]): ErrorRate {
  expectArguments("errorRate", [aList, aList], [predictions, references]);
  if (predictions.length !== references.length || predictions.length === 0)
    throw new DataError(
      "errorRate",
      `there are ${predictions.length} predictions and ${references.length} arrays of references`,
      "give one array of references for each prediction: [[reference, another], [reference], …]",
    );
  let edits = 0;
  let length = 0;
  let wrong = 0;
  for (const [i, prediction] of predictions.entries()) {
    const alternatives = references[i]!;
    if (
      symbols(prediction) !== undefined ||
      !Array.isArray(alternatives) ||
      alternatives.length === 0 ||
      alternatives.some(symbols)
    )
      throw new DataError(
        "errorRate",
        `prediction ${i} is ${described(prediction)}, its references ${described(alternatives)}`,
        "give symbols, and an array with at least one reference",
      );
    let least = Infinity;
    let longest = 0;
    for (const alternative of alternatives) {
      const reference = listOf(alternative);
      const count = distance(listOf(prediction), reference);
      if (count < least || (count === least && reference.length > longest)) longest = reference.length;
      least = Math.min(least, count);
    }
    edits += least;
    length += longest;
    wrong += Number(least > 0);
  }
  if (length === 0) throw new DataError("errorRate", "all references are empty", "give references with symbols");
  return { rate: edits / length, wrong: wrong / predictions.length, edits, symbols: length };
}
