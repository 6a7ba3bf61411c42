/** Pairs of texts from files of lines, and the errors that name the line. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DataError, FileError, FormatError, readTranslationPairs } from "../../../src/node.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-pairs-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function written(content: string | Uint8Array): Promise<string> {
  const file = path.join(folder, "pairs.tsv");
  await writeFile(file, content);
  return file;
}

test("reads each pair once, with quotation marks as they are", async () => {
  const lines = ["\uFEFFA file\tUn fichier\r", "", ' "Open" \t« Ouvrir »', "A file\tUn fichier", "A file\tLe fichier"];
  expect(await readTranslationPairs(await written(lines.join("\n")))).toEqual([
    { source: "A file", target: "Un fichier" },
    { source: '"Open"', target: "« Ouvrir »" },
    { source: "A file", target: "Le fichier" },
  ]);
});

test.each([
  ["no tab", "a\tb\nalone\n", /pairs\.tsv:2: the line has no tab\n {2}fix: write source, one tab, target/],
  ["no target", "a\tb\n\nc\t \n", /pairs\.tsv:3: the line has no target/],
  ["no source", "\tb\n", /pairs\.tsv:1: the line has no source/],
  ["two tabs", "a\tb\tc\n", /pairs\.tsv:1: the line has 2 tabs/],
  ["nothing", "\n\n", /it has no lines/],
])("a file with %s is refused with a sentence", async (_, content, sentence) => {
  const error: unknown = await readTranslationPairs(await written(content)).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(DataError);
  expect((error as DataError).message).toMatch(sentence);
});

test("a file that is not there and one that is no text are refused", async () => {
  await expect(readTranslationPairs(path.join(folder, "nowhere"))).rejects.toThrow(FileError);
  await expect(readTranslationPairs(await written(Uint8Array.of(255, 9, 255)))).rejects.toThrow(FormatError);
});
