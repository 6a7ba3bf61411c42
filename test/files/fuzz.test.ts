/** The quick form of `npm run fuzz`: mutated files are read, or refused by an error of ours. */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("8,000 mutated files", async () => {
  const script = path.resolve(import.meta.dirname, "../long/fuzz-files.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, [script, "0.02"]);
  expect(stdout.trim().split("\n").length).toBe(8);
});
