/** The quick form of `npm run fuzz:engine`: random calls give the right value, or an error of ours. */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("3,000 random calls of engines", async () => {
  const script = path.resolve(import.meta.dirname, "../long/fuzz-engine.mjs");
  const seed = `${1 + (Date.now() % 1000)}`; //  printed with a fault, in the arguments of the command
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", script, "3000", seed]);
  expect(stdout).toContain("0 faults");
});
