/** A long training needs no more memory than a short one. */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("5,000 steps: the last thousand hold as much memory as the second, within 3 %", async () => {
  const child = path.join(import.meta.dirname, "soak-child.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", child]);
  const { means, first, last } = JSON.parse(stdout) as { means: number[]; first: number; last: number };
  expect(last).toBeLessThan(first / 100);
  expect(means[4]! / means[1]!).toBeLessThan(1.03);
});
