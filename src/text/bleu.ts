/** BLEU (Papineni et al. 2002) by the definition of sacrebleu (Post 2018), so that scores can be compared with published ones. */
import { ConfigError, DataError } from "../errors.ts";
import { aFlag, aText, described, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import { aList } from "./kinds.ts";

/** Options of `bleu`. */
export interface BleuOptions {
  /** How texts are divided into words: as `mteval-v13a` does, the default, or only at white space. */
  readonly tokenize?: "13a" | "none";
  /** Whether texts are lowercased first. Default false. */
  readonly lowercase?: boolean;
  /** Whether n-grams longer than all hypotheses are left out, as for the score of one sentence. Default false. */
  readonly effectiveOrder?: boolean;
}

/** What `bleu` returns. */
export interface Bleu {
  /** The score, from 0 to 100. */
  readonly score: number;
  /** The precisions of n-grams of 1 to 4 words, from 0 to 100, smoothed where no n-gram is right. */
  readonly precisions: readonly number[];
  /** The factor for too short hypotheses; 1 if they are long enough. */
  readonly brevityPenalty: number;
  /** The number of words of the hypotheses, and of the references nearest to them in length. */
  readonly hypothesisLength: number;
  readonly referenceLength: number;
}

const orders = 4;

/**
 * Computes the BLEU of a corpus of hypotheses, each with one or several references. Smoothing is exponential: at the first order without a
 * right n-gram, the precision is half of what one right n-gram would give, at the next such order a quarter. The signature in sacrebleu's
 * notation is `case:mixed|tok:13a|smooth:exp`. Throws DataError when the numbers of hypotheses and references differ.
 */
export function bleu(
  hypotheses: readonly string[],
  references: readonly (string | readonly string[])[],
  options: BleuOptions = {},
): Bleu {
  const known = optionsOf({ tokenize: aText, lowercase: aFlag, effectiveOrder: aFlag });
  expectArguments("bleu", [aList, aList, known], [hypotheses, references, options]);
  const { tokenize = "13a", lowercase = false, effectiveOrder = false } = options;
  if (tokenize !== "13a" && tokenize !== "none")
    throw new ConfigError("bleu", `tokenize is ${described(tokenize)}`, 'give "13a" or "none"');
  if (hypotheses.length === 0 || hypotheses.length !== references.length)
    throw new DataError(
      "bleu",
      `there are ${hypotheses.length} hypotheses and references for ${references.length}`,
      "give one reference, or an array of them, for each hypothesis",
    );
  const wordsOf = (text: unknown, index: number): string[] => {
    if (typeof text !== "string") throw new DataError("bleu", `text ${index} is ${described(text)}`, "give texts");
    const line = lowercase ? text.toLowerCase() : text;
    return (tokenize === "13a" ? tokenize13a(line) : line).split(/\s+/).filter((word) => word !== "");
  };
  const right = new Array<number>(orders).fill(0);
  const total = new Array<number>(orders).fill(0);
  let hypothesisLength = 0;
  let referenceLength = 0;
  for (const [index, hypothesis] of hypotheses.entries()) {
    const words = wordsOf(hypothesis, index);
    const given = references[index]!;
    const alternatives = (typeof given === "string" ? [given] : given).map((each) => wordsOf(each, index));
    if (alternatives.length === 0)
      throw new DataError("bleu", `hypothesis ${index} has no reference`, "give one at least");
    hypothesisLength += words.length;
    referenceLength += nearest(
      words.length,
      alternatives.map(({ length }) => length),
    );
    for (let n = 1; n <= orders; n++) {
      const most = new Map<string, number>();
      for (const alternative of alternatives)
        for (const [gram, count] of ngrams(alternative, n)) most.set(gram, Math.max(most.get(gram) ?? 0, count));
      for (const [gram, count] of ngrams(words, n)) right[n - 1]! += Math.min(count, most.get(gram) ?? 0);
      total[n - 1]! += Math.max(0, words.length - n + 1);
    }
  }
  const brevityPenalty =
    hypothesisLength >= referenceLength
      ? 1
      : hypothesisLength === 0
        ? 0
        : Math.exp(1 - referenceLength / hypothesisLength);
  const precisions = new Array<number>(orders).fill(0);
  let smooth = 1;
  let order = 0;
  for (; order < orders && total[order]! > 0; order++) {
    if (right[order] === 0) smooth *= 2;
    precisions[order] = (100 * (right[order] || 1 / smooth)) / total[order]!;
  }
  const counted = effectiveOrder ? precisions.slice(0, order) : precisions;
  const isNothing = right.every((count) => count === 0) || counted.length === 0 || counted.includes(0);
  const score = isNothing
    ? 0
    : brevityPenalty * Math.exp(counted.reduce((sum, precision) => sum + Math.log(precision), 0) / counted.length);
  return { score, precisions, brevityPenalty, hypothesisLength, referenceLength };
}

function ngrams(words: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join(" ");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

/** Returns the length nearest to `length`; of two equally near, the shorter. */
function nearest(length: number, lengths: readonly number[]): number {
  return lengths.reduce((best, each) => {
    const [near, far] = [Math.abs(each - length), Math.abs(best - length)];
    return near < far || (near === far && each < best) ? each : best;
  });
}

/**
 * Divides a text as NIST's mteval-v13a does: signs become separate words, and so do periods and commas unless they are between digits, and
 * dashes after digits.
 */
export function tokenize13a(text: string): string {
  const plain = text
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");
  return ` ${plain} `
    .replace(/([{-~[-` -&(-+:-@/])/g, " $1 ")
    .replace(/([^0-9])([.,])/gu, "$1 $2 ")
    .replace(/([.,])([^0-9])/gu, " $1 $2")
    .replace(/([0-9])(-)/g, "$1 $2 ")
    .trim()
    .replace(/\s+/g, " ");
}
