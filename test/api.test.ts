/** docs/api: an index of the public API, written from the docstrings of the build by `npm run api`. */
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { beforeAll, expect, test } from "vitest";
import * as node from "../src/node.ts";
import { apiPages, type Export, publicExports } from "./support/api.ts";

const root = path.dirname(import.meta.dirname);
const folder = path.join(root, "docs/api");
let exports: readonly Export[];

beforeAll(() => {
  if (!existsSync(path.join(root, "dist/node.d.ts")))
    throw new Error("The index is made from the build: npm run build");
  exports = publicExports(root);
});

test("every value that the package exports is in it", () => {
  const names = new Set(exports.map(({ name }) => name));
  const exported = Object.entries(node).flatMap(([name, value]) =>
    Object.prototype.toString.call(value) === "[object Module]"
      ? Object.keys(value).map((member) => `${name}.${member}`)
      : [name],
  );
  expect(exported.filter((name) => !names.has(name))).toEqual([]);
});

test("every public export has a docstring", () => {
  const described = new Set(exports.filter(({ text }) => text !== "").map(({ name }) => name));
  expect(exports.map(({ name }) => name).filter((name) => !described.has(name))).toEqual([]);
});

test("the pages are what the docstrings say; if not: npm run api", async () => {
  const pages = apiPages(exports);
  for (const [file, text] of pages) await expect(text).toMatchFileSnapshot(path.join(folder, file));
  const others = existsSync(folder) ? readdirSync(folder).filter((file) => !pages.has(file)) : [];
  expect(others, "pages of rooms that are gone").toEqual([]);
});
