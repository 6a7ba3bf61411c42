/** What the type checker has to do for shapes: counts of one thread, which are the same on every machine. */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const folder = path.join(import.meta.dirname, "budget");

/** The checker's counts for a project of the folder. Throws when its code has errors. */
async function counts(project: string): Promise<{ readonly types: number; readonly instantiations: number }> {
  const compiler = path.join(import.meta.dirname, "../../node_modules/typescript/bin/tsc");
  const options = ["--noEmit", "--extendedDiagnostics", "--singleThreaded", "-p", path.join(folder, project)];
  const { stdout } = await promisify(execFile)(process.execPath, [compiler, ...options]);
  const count = (name: string): number => Number(new RegExp(`^${name}: +(\\d+)$`, "m").exec(stdout)?.[1]);
  return { types: count("Types"), instantiations: count("Instantiations") };
}

test("140 lines of typical code, and the library's own, stay within their budget", async () => {
  const [library, both] = [await counts("library.json"), await counts("tsconfig.json")];
  // At the time of writing 586,000 and 61,000 instantiations. The library's own grow with its code; the others are what users pay.
  expect(library.instantiations).toBeLessThan(660_000);
  expect(both.instantiations - library.instantiations).toBeGreaterThan(10_000);
  expect(both.instantiations - library.instantiations).toBeLessThan(75_000);
  expect(both.types - library.types).toBeLessThan(17_000);
});
