/** Pairs of texts in two languages in Node, from files of lines. */
import { textOf } from "../../data/csv.ts";
import { DataError, printable } from "../../errors.ts";
import { readFileChecked } from "../../files/node/atomic.ts";
import { aText, expectArguments } from "../../graph/arguments.ts";

/** A text and its translation. */
export interface TranslationPair {
  readonly source: string;
  readonly target: string;
}

/**
 * Reads pairs of texts from a file of lines in UTF-8, each `source<TAB>target`: quotation marks mean nothing special. White space around
 * texts is dropped, and so are empty lines and pairs that were there before. Throws FileError when the file cannot be read, DataError, with
 * the number of the line, for a line that is no pair, and when there are none.
 */
export async function readTranslationPairs(file: string): Promise<TranslationPair[]> {
  const subject = "readTranslationPairs";
  expectArguments(subject, [aText], [file]);
  const content = textOf(await readFileChecked(file), file).replace(/^\uFEFF/, "");
  const pairs = new Map<string, TranslationPair>();
  for (const [i, line] of content.split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const [source = "", target = "", ...more] = line.split("\t").map((text) => text.trim());
    if (source === "" || target === "" || more.length > 0) {
      const found =
        more.length > 0
          ? `has ${more.length + 1} tabs`
          : line.includes("\t")
            ? `has no ${source === "" ? "source" : "target"}`
            : "has no tab";
      throw new DataError(`${printable(file)}:${i + 1}`, `the line ${found}`, "write source, one tab, target");
    }
    pairs.set(`${source}\t${target}`, { source, target });
  }
  if (pairs.size === 0)
    throw new DataError(printable(file), "it has no lines", "give a file of lines: source, a tab, target");
  return [...pairs.values()];
}
