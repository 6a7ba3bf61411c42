/** What commands work on: recipes of ours, and modules of the user's own. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { ConfigError, GlissadeError, printable } from "../errors.ts";
import { missing } from "../graph/arguments.ts";
import { seed } from "../nn/generator.ts";
import { isModule } from "../nn/module.ts";
import { isRecipeName, loadRecipe, recipeNames } from "../recipes/index.ts";
import { defineRecipe, isRecipe, type Recipe } from "../recipes/recipe.ts";
import { completeSetup, type TrainingSetup } from "../train/setup.ts";

export interface SubjectOptions {
  /** What a module that makes its model while it is imported begins with. Default 0. */
  readonly seed?: number;
  /** That a module has until what it exports is there. Default 60. */
  readonly seconds?: number;
}

/**
 * The recipe of a name, or the default export of a JavaScript or TypeScript module: a recipe, a setup, or a function that returns one or a
 * promise of one. Throws ConfigError when there is no such recipe and no such file, when it cannot be imported or throws, and when it
 * exports something else.
 */
export async function loadSubject(subject: string, options: SubjectOptions = {}): Promise<Recipe> {
  const { seed: seedValue = 0, seconds = 60 } = options;
  if (isRecipeName(subject)) return loadRecipe(subject);
  seed(seedValue);
  const offered = await settling(subject, seconds, () => offeredBy(subject));
  return attempt(subject, "its setup throws when it is read", async () =>
    isRecipe(offered) ? guarded(subject, offered, seconds) : recipeOfSetup(subject, offered as TrainingSetup),
  );
}

/** A recipe whose setup may throw anything and take its time. */
function guarded(subject: string, recipe: Recipe, seconds: number): Recipe {
  return {
    ...recipe,
    prepare: (given, fitted) =>
      settling(subject, seconds, () =>
        attempt(subject, "its setup throws", async () => {
          const prepared = await recipe.prepare(given, fitted);
          completeSetup(subject, prepared.setup); //  another copy of the package may have made it
          return prepared;
        }),
      ),
  };
}

/** A setup as a recipe: what can be chosen is how long it is trained. */
function recipeOfSetup(subject: string, setup: TrainingSetup): Recipe {
  completeSetup(subject, setup);
  const letters = path
    .basename(subject)
    .replace(/\.[cm]?[jt]s$/, "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 60);
  return defineRecipe({
    name: letters || "setup",
    description: `The setup of ${printable(path.basename(subject))}`,
    hyperparameters: { epochs: z.int().min(1).default(3).describe("how often all examples are seen") },
    setup: ({ epochs }) => ({ setup, options: { epochs } }),
  });
}

/** Waits for what a user's module does, and throws ConfigError when that never comes to an end. */
async function settling<T>(file: string, seconds: number, run: () => Promise<T>): Promise<T> {
  let giveUp: (error: ConfigError) => void = () => {};
  const never = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  const idle = (): void =>
    giveUp(
      new ConfigError(
        file,
        "it waits for something that never comes: nothing is left to do, and its setup is not there",
        "look for a promise that nobody resolves",
      ),
    );
  const late = (): void =>
    giveUp(
      new ConfigError(
        file,
        `its setup is not there after ${seconds} s`,
        "look for what it waits for, or give it more time: --timeout 600",
      ),
    );
  const timer = setTimeout(late, seconds * 1000);
  timer.unref();
  process.once("beforeExit", idle);
  try {
    return await Promise.race([run(), never]);
  } finally {
    clearTimeout(timer);
    process.off("beforeExit", idle);
  }
}

/** Whether a word looks like the name of a file. */
export const isFileName = (word: string): boolean => /[./\\]/.test(word);

async function offeredBy(file: string): Promise<unknown> {
  const isFile = await stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
  if (!isFile)
    throw new ConfigError(
      file,
      "there is no such file",
      isFileName(file)
        ? `give a module that exports a recipe or a setup, or one of our recipes: ${recipeNames.join(", ")}`
        : missing(file, recipeNames).replace("no option", "no recipe").replace("the options", "the recipes"),
    );
  if (/\.m?ts$/.test(file)) await import("./typescript.ts");
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
      "export default defineRecipe({ name, description, hyperparameters, setup }), or { model, loss, train }",
    );
  }
  const exported = imported.default;
  const isMaker = typeof exported === "function" && !isModule(exported);
  return isMaker
    ? attempt(file, "its default export throws when it is called", async () => exported())
    : attempt(file, "its default export cannot be awaited", async () => exported);
}

/** Awaits what the user's module does, and says so when it fails. Errors of ours pass as they are. */
async function attempt<T>(file: string, failure: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (isOurs(error)) throw error;
    const { name, message, places } = whatWasThrown(error);
    throw new ConfigError(
      file,
      `${failure}: ${[`${name}: ${message}`, ...places].join(", ")}`,
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

/** Whether an error is one of ours; what was thrown may be a proxy that throws when it is asked. */
export function isOurs(error: unknown): error is GlissadeError {
  try {
    return error instanceof GlissadeError;
  } catch {
    return false;
  }
}

/** What was thrown, which can be anything, and where in the user's files. */
export interface Thrown {
  readonly name: string;
  readonly message: string;
  readonly places: readonly string[];
  /** All there is to see of where it came from, for what came from nowhere in the user's files. */
  readonly stack: readonly string[];
}

export function whatWasThrown(error: unknown): Thrown {
  const plain = (name: string, message: string): Thrown => {
    const line = printable(message, 500);
    return { name: printable(name), message: line, places: [], stack: [`${name}: ${line}`] };
  };
  if (isOurs(error)) return { ...plain(error.name, ""), message: error.message };
  try {
    if (!(error instanceof Error)) return plain("thrown", String(error));
    const { name, message } = error;
    const stack = String(error.stack).split("\n");
    const places = stack.filter(
      (line) => /^\s+at /.test(line) && !/node:|\/node_modules\//.test(line) && !line.includes(ownFiles),
    );
    return {
      ...plain(String(name), String(message)),
      places: places.slice(0, 3).map((line) => printable(line.trim())),
      stack: stack.slice(0, 12).map((line) => printable(line)),
    };
  } catch {
    return plain("thrown", "a value that cannot be shown as text");
  }
}
