/** Hooks of Node's loader that take the types out of TypeScript files; they run on a thread of Node's own. */
import { readFile } from "node:fs/promises";
import type { LoadHook } from "node:module";
import { fileURLToPath } from "node:url";
import { transform } from "sucrase";

export const load: LoadHook = async (url, context, next) => {
  if (!/^file:.*\.m?ts(?:$|[?#])/.test(url)) return next(url, context);
  const path = fileURLToPath(url);
  const { code } = transform(await readFile(path, "utf8"), {
    transforms: ["typescript"],
    filePath: path,
    // Modern syntax stays as it is: Node knows it.
    disableESTransforms: true,
  });
  return { format: "module", source: code, shortCircuit: true };
};
