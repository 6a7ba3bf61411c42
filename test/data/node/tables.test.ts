/** Tables in files. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readCsv, readJsonLines } from "../../../src/data/node/tables.ts";
import { ConfigError, FormatError } from "../../../src/errors.ts";
import { FileError } from "../../../src/files/node/atomic.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-tables-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("the delimiter follows from the name of the file, unless it is given", async () => {
  const write = (name: string, text: string) => writeFile(join(folder, name), text);
  await write("a.csv", "\uFEFFx,y\n1,2\n");
  await write("a.tsv", "x\ty\n1\t2\n");
  await write("b.tsv", "x;y\n1;2\n");
  await write("a.jsonl", '\uFEFF{"x": 1, "y": 2}\n');
  const tables = [
    await readCsv(join(folder, "a.csv")),
    await readCsv(pathToFileURL(join(folder, "a.tsv"))),
    await readCsv(join(folder, "b.tsv"), { delimiter: ";" }),
    await readJsonLines(join(folder, "a.jsonl")),
  ];
  for (const table of tables) expect([...table.numbers("x"), ...table.numbers("y")]).toEqual([1, 2]);
});

test.each([
  ["Latin-1", Uint8Array.of(0x61, 0x0a, 0xe9)],
  ["UTF-16", Uint8Array.of(0xff, 0xfe, 0x61, 0, 0x0a, 0)],
  ["an overlong form", Uint8Array.of(0x61, 0x0a, 0xc0, 0x80)],
])("%s is refused with what to do", async (_, bytes) => {
  await writeFile(join(folder, "a.csv"), bytes);
  for (const read of [readCsv, readJsonLines]) {
    await expect(read(join(folder, "a.csv"))).rejects.toThrow(FormatError);
    await expect(read(join(folder, "a.csv"))).rejects.toThrow("its bytes are no UTF-8");
  }
});

test("messages name the file and the line", async () => {
  await writeFile(join(folder, "a.csv"), "x,y\n1,2\n3,z\n4,5\n");
  await expect(readCsv(join(folder, "a.csv"))).rejects.toThrow(`a.csv: line 3, column "y": "z" is no finite number`);
});

test("a file that is not there and options that are none are refused", async () => {
  await expect(readCsv(join(folder, "none.csv"))).rejects.toThrow(FileError);
  await expect(readCsv(join(folder, "none.csv"), { delimiter: ",," })).rejects.toThrow(ConfigError);
  await expect(readJsonLines(join(folder, "none"), { delimiter: "," } as never)).rejects.toThrow(ConfigError);
});
