/**
 * Lets Node import TypeScript, where it does not by itself (before 22.18): `node --import glissade/typescript train.ts`. The types are taken
 * out of files ending in .ts and .mts, line by line, and nothing is checked. Imported, it takes effect.
 */
import { register } from "node:module";

const isBuiltIn = "typescript" in process.features && Boolean(process.features.typescript);

if (!isBuiltIn) {
  // Beside this file: compiled in the package, TypeScript in its sources.
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  register(`./typescript-hooks.${extension}`, import.meta.url);
}
