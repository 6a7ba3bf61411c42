/** Setups by name: recipes of ours, and modules of the user's own. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { ConfigError, GlissadeError } from "../errors.ts";
import { seed } from "../nn/generator.ts";
import { isModule } from "../nn/module.ts";
import { completeSetup, type TrainingSetup } from "../train/setup.ts";

/** The recipes that offer a setup. */
const recipes: Readonly<Record<string, (seedValue: number) => Promise<unknown>>> = {
  mnist: async (seedValue) => (await import("../recipes/mnist.ts")).mnistSetup({ seed: seedValue }),
};

export const recipeNames: readonly string[] = Object.keys(recipes);

/**
 * The setup of a recipe, or the default export of a JavaScript or TypeScript module: a setup, or a function that
 * returns one or a promise of one. Initial weights follow from `seedValue`. Throws ConfigError when there is no such
 * module, when it cannot be imported or throws, and when it exports something else.
 */
export async function loadSetup(subject: string, seedValue: number): Promise<TrainingSetup> {
  const recipe = Object.hasOwn(recipes, subject) ? recipes[subject] : undefined;
  seed(seedValue);
  const offered = recipe ? await recipe(seedValue) : await offeredBy(subject);
  completeSetup(subject, offered as TrainingSetup); //  for its errors
  return offered as TrainingSetup;
}

async function offeredBy(file: string): Promise<unknown> {
  const isFile = await stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
  if (!isFile)
    throw new ConfigError(
      file,
      "there is no such file",
      `give a module that exports a setup, or a recipe: ${recipeNames.join(", ")}`,
    );
  const imported: { readonly default?: unknown } = await attempt(
    file,
    "cannot be imported",
    () => import(pathToFileURL(path.resolve(file)).href),
  );
  if (imported.default === undefined) {
    const names = Object.keys(imported);
    throw new ConfigError(
      file,
      `it has no default export${names.length > 0 ? `, and exports ${names.join(", ")}` : ""}`,
      "export default { model, loss, train }, or a function that returns it",
    );
  }
  const exported = imported.default;
  const isMaker = typeof exported === "function" && !isModule(exported);
  return isMaker
    ? attempt(file, "its default export throws when it is called", async () => exported())
    : await exported;
}

/** Awaits what the user's module does, and says so when it fails. Errors of ours pass as they are. */
async function attempt<T>(file: string, failure: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof GlissadeError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ERR_UNKNOWN_FILE_EXTENSION" && /\.[cm]?tsx?\b/.test(String(error)))
      throw new ConfigError(
        file,
        `Node ${process.versions.node} does not import TypeScript by itself`,
        "take Node 22.18 or newer, compile the module to JavaScript, or run Node with a loader, such as --import tsx",
        "",
        { cause: error },
      );
    const { name, message, places } = whatWasThrown(error);
    throw new ConfigError(
      file,
      `${failure}: ${[`${name}: ${message}`, ...places].join("\n  ")}`,
      name === "SyntaxError"
        ? `node --check ${file} shows the place`
        : "correct the module, or install beside it what it imports",
      "",
      { cause: error },
    );
  }
}

/** Where this package's own files are: places in them say nothing about the user's. */
const ownFiles = new URL("..", import.meta.url).href;

/** What was thrown, and where in the user's files. */
export function whatWasThrown(error: unknown): {
  readonly name: string;
  readonly message: string;
  readonly places: readonly string[];
} {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), places: [] };
  const { name, message, stack = "" } = error;
  if (error instanceof GlissadeError) return { name, message, places: [] };
  const places = stack
    .split("\n")
    .filter((line) => /^\s+at /.test(line) && !/node:|\/node_modules\//.test(line) && !line.includes(ownFiles))
    .slice(0, 3);
  return { name, message, places: places.map((line) => line.trim()) };
}
