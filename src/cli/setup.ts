/** Setups by name: recipes of ours, and modules of the user's own. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { ConfigError, GlissadeError, printable } from "../errors.ts";
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
export async function loadSetup(subject: string, seedValue: number, seconds: number): Promise<TrainingSetup> {
  const recipe = Object.hasOwn(recipes, subject) ? recipes[subject] : undefined;
  seed(seedValue);
  const offered = recipe ? await recipe(seedValue) : await settling(subject, seconds, () => offeredBy(subject));
  await attempt(subject, "its setup throws when it is read", async () =>
    completeSetup(subject, offered as TrainingSetup),
  );
  return offered as TrainingSetup;
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
    : attempt(file, "its default export cannot be awaited", async () => exported);
}

/** Awaits what the user's module does, and says so when it fails. Errors of ours pass as they are. */
async function attempt<T>(file: string, failure: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (isOurs(error)) throw error;
    const { name, message, places, code } = whatWasThrown(error);
    if (code === "ERR_UNKNOWN_FILE_EXTENSION" && /\.[cm]?tsx?\b/.test(message))
      throw new ConfigError(
        file,
        `Node ${process.versions.node} does not import TypeScript by itself`,
        "take Node 22.18 or newer, compile the module to JavaScript, or run Node with a loader, such as --import tsx",
        "",
        { cause: error },
      );
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
  /** Node's name of the error; empty when there is none. */
  readonly code: string;
}

export function whatWasThrown(error: unknown): Thrown {
  const plain = (name: string, message: string): Thrown => {
    const line = printable(message, 500);
    return { name: printable(name), message: line, places: [], stack: [`${name}: ${line}`], code: "" };
  };
  if (isOurs(error)) return { ...plain(error.name, ""), message: error.message };
  try {
    if (!(error instanceof Error)) return plain("thrown", String(error));
    const { name, message } = error;
    const { code } = error as NodeJS.ErrnoException;
    const stack = String(error.stack).split("\n");
    const places = stack.filter(
      (line) => /^\s+at /.test(line) && !/node:|\/node_modules\//.test(line) && !line.includes(ownFiles),
    );
    return {
      ...plain(String(name), String(message)),
      places: places.slice(0, 3).map((line) => printable(line.trim())),
      stack: stack.slice(0, 12).map((line) => printable(line)),
      code: String(code ?? ""),
    };
  } catch {
    return plain("thrown", "a value that cannot be shown as text");
  }
}
