/** Tables that are read in parts. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readCsv, readJsonLines, streamCsv, streamJsonLines } from "../../../src/data/node/tables.ts";
import type { Table } from "../../../src/data/table.ts";
import { ConfigError, DataError, FormatError } from "../../../src/errors.ts";
import { FileError } from "../../../src/files/node/atomic.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-streams-"));
});
afterEach(() => rm(folder, { recursive: true }));

const schema = { n: "numeric", t: "text" } as const;

async function all(parts: AsyncIterable<Table>): Promise<Table[]> {
  const tables: Table[] = [];
  for await (const part of parts) tables.push(part);
  return tables;
}

const joined = (tables: readonly Table[]) => ({
  n: tables.flatMap((table) => [...table.numbers("n")]),
  t: tables.flatMap((table) => table.texts("t")),
  places: tables.flatMap((table) => Array.from({ length: table.length }, (_, row) => table.placeOf(row))),
});

// Large enough for several reads; quotes with line ends and characters of several bytes lie on the seams.
const rows = Array.from({ length: 30_000 }, (_, i) => ({ n: i, t: i % 7 === 0 ? null : `é😀 "${i}",\n` }));

test("the parts of a CSV file are the rows of the whole, lines included", async () => {
  const quoted = rows.map(({ n, t }) => `${n},"${(t ?? "").replaceAll('"', '""')}"`).join("\r\n");
  await writeFile(join(folder, "a.csv"), `\uFEFFn,t\r\n${quoted}\r\n`);
  const parts = await all(streamCsv(join(folder, "a.csv"), { schema, rows: 1000 }));
  expect(parts.map(({ length }) => length)).toEqual(new Array(30).fill(1000));
  expect(joined(parts)).toEqual(joined([await readCsv(join(folder, "a.csv"), { schema })]));
});

test("the parts of a file of JSON lines are the rows of the whole, also where a part lacks a name", async () => {
  await writeFile(join(folder, "a.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
  const parts = await all(streamJsonLines(join(folder, "a.jsonl"), { schema, rows: 1 }));
  expect(joined(parts.slice(0, 50))).toEqual(
    joined([(await readJsonLines(join(folder, "a.jsonl"), { schema })).take(Array.from({ length: 50 }, (_, i) => i))]),
  );
  expect(parts.length).toBe(30_000);
});

describe("what is refused", () => {
  test.each([
    ["", DataError, "it is empty"],
    ["n,t\n", DataError, "and no rows"],
    ["n,t\n1,a\n2\n", FormatError, "line 3 has 1 fields"],
    ['n,t\n1,"a\n', FormatError, "line 2: a quote is opened and never closed"],
    [`n,t\n1,"${"a,\n".repeat(2_000_000)}`, FormatError, "a row is longer than"],
    ["n,t\nx,a\n", DataError, 'line 2, column "n": "x" is no finite number'],
    ["m,t\n1,a\n", DataError, 'there is no column "n"'],
  ])("%# of a CSV file", async (text, kind, sentence) => {
    await writeFile(join(folder, "a.csv"), text);
    const error = await all(streamCsv(join(folder, "a.csv"), { schema })).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(kind);
    expect(String(error)).toContain(sentence);
  });

  test.each([
    ["\n\n", DataError, "it has no rows"],
    ['{"n": 1}\n{"n": ', FormatError, "line 2 is no JSON"],
    [`{"n": 1}\n{"n": "${"a".repeat(5_000_000)}`, FormatError, "line 2 is longer than"],
  ])("%# of a file of JSON lines", async (text, kind, sentence) => {
    await writeFile(join(folder, "a.jsonl"), text);
    const error = await all(streamJsonLines(join(folder, "a.jsonl"), { schema })).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(kind);
    expect(String(error)).toContain(sentence);
  });

  test("no schema, no UTF-8, no file", async () => {
    await writeFile(join(folder, "a.csv"), Uint8Array.of(0x6e, 0x0a, 0xe9));
    const path = join(folder, "a.csv");
    await expect(all(streamCsv(path, {} as never))).rejects.toThrow(ConfigError);
    await expect(all(streamCsv(path, { schema, rows: 0 }))).rejects.toThrow(ConfigError);
    await expect(all(streamCsv(path, { schema }))).rejects.toThrow("its bytes are no UTF-8");
    await expect(all(streamCsv(join(folder, "none"), { schema }))).rejects.toThrow(FileError);
    await expect(all(streamCsv(folder, { schema }))).rejects.toThrow("is a folder");
  });
});
