/** Documents in Node: text files as lists of sentences. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { DataError, printable } from "../../errors.ts";
import { explained, readFileChecked } from "../../files/node/atomic.ts";
import { aText, expectArguments } from "../../graph/arguments.ts";

/** A text with its sentences. */
export interface TextDocument {
  /** The path of the file from the folder. */
  readonly name: string;
  readonly sentences: readonly string[];
}

/**
 * Reads the text files of a folder and the folders in it, `.txt` and `.md`, each as a document of sentences, in the order of their names.
 * Sentences are those of Unicode's rules for English (UAX 29); line breaks inside of paragraphs are spaces. Throws FileError when a file
 * cannot be read, DataError when there are none.
 */
export async function readDocuments(folder: string): Promise<TextDocument[]> {
  expectArguments("readDocuments", [aText], [folder]);
  let names: string[];
  try {
    names = await readdir(folder, { recursive: true });
  } catch (cause) {
    throw explained("readDocuments", `${printable(folder)} cannot be read`, cause, {
      ENOENT: "check the path and the working directory",
      ENOTDIR: "give a folder of text files",
    });
  }
  const files = names.filter((name) => /\.(txt|md)$/i.test(name)).sort();
  const documents: TextDocument[] = [];
  for (const name of files) {
    const sentences = sentencesOf(new TextDecoder().decode(await readFileChecked(join(folder, name))));
    if (sentences.length > 0) documents.push({ name, sentences });
  }
  if (documents.length === 0)
    throw new DataError("readDocuments", `${printable(folder)} has no text files`, "give a folder with .txt files");
  return documents;
}

/** Returns the sentences of a text, without white space around them. */
export function sentencesOf(text: string): string[] {
  const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });
  return text
    .split(/\r?\n[ \t]*\r?\n/)
    .flatMap((paragraph) => [...segmenter.segment(paragraph.replace(/\s+/g, " "))])
    .map(({ segment }) => segment.trim())
    .filter((sentence) => sentence !== "");
}
