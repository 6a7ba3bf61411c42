/** Hyperparameters on a command line: an option for each, and files of them. */
import { extname } from "node:path";
import { type Command, Option } from "commander";
import { parse as parseYaml } from "yaml";
import { ConfigError, FormatError, printable } from "../errors.ts";
import { readFileChecked } from "../files/node/atomic.ts";
import { described } from "../graph/arguments.ts";
import { type HyperparameterDescription, kebabOf, unknownName, valueOfWord } from "../recipes/hyperparameters.ts";
import type { Recipe } from "../recipes/recipe.ts";

/** A file of hyperparameters is small. */
const mostBytes = 2 ** 20;

/**
 * Gives a command an option for each hyperparameter: `--learning-rate`, and `--learningRate` for the same. Returns what takes the given
 * values, by name, from a command that has been parsed.
 */
export function addHyperparameters(command: Command, recipe: Recipe): () => Record<string, unknown> {
  const taken = new Set(command.options.map(({ long }) => long));
  const keys = new Map<string, HyperparameterDescription>();
  command.optionsGroup("Hyperparameters:");
  for (const each of recipe.hyperparameters) {
    const flag = `--${kebabOf(each.name)}`;
    if (taken.has(flag))
      throw new ConfigError(
        recipe.name,
        `its hyperparameter ${each.name} is called like an option of the command, ${flag}`,
        "give it another name",
      );
    const option = new Option(`${flag} <${placeholder(each)}>`, descriptionOf(each));
    keys.set(option.attributeName(), each);
    command.addOption(option);
  }
  return () => {
    const given: Record<string, unknown> = {};
    for (const [key, each] of keys) {
      const word: unknown = command.getOptionValue(key);
      if (typeof word === "string") given[each.name] = valueOfWord(each, word);
    }
    return given;
  };
}

/**
 * The options that give a recipe these hyperparameters again, with `changes`: `--file "my moods.csv" --layers 1`. Values that are the
 * recipe's default are left out.
 */
export function optionsFor(
  recipe: Recipe,
  given: Readonly<Record<string, unknown>>,
  changes: Readonly<Record<string, unknown>> = {},
): string {
  const values: Readonly<Record<string, unknown>> = { ...given, ...changes };
  return recipe.hyperparameters
    .flatMap((each) => {
      const value = values[each.name];
      const isChanged = Object.hasOwn(changes, each.name);
      if (value === undefined || (!isChanged && JSON.stringify(value) === JSON.stringify(each.default))) return [];
      const word = each.type === "json" ? JSON.stringify(value) : String(value);
      return [`--${kebabOf(each.name)} ${quotedForShell(word)}`];
    })
    .join(" ");
}

/** A word as it is written in a command: in quotation marks where a shell would read it in another way. */
export function quotedForShell(word: string): string {
  if (/^[\p{L}\p{N}_@%+=:,./-]+$/u.test(word)) return word;
  // Double quotes are read by every shell, but some characters in them only as they are written in single ones.
  return /["$`\\!]/.test(word) ? `'${word.replaceAll("'", "'\\''")}'` : `"${word}"`;
}

/** Words in which `--learningRate` is written `--learning-rate`, as options are. */
export function withKebabs(words: readonly string[], recipe: Recipe): string[] {
  const names = new Set(recipe.hyperparameters.map(({ name }) => name));
  return words.map((word) => {
    const [, name = "", rest = ""] = /^--([a-zA-Z0-9]+)(=.*)?$/s.exec(word) ?? [];
    return names.has(name) ? `--${kebabOf(name)}${rest}` : word;
  });
}

function placeholder({ type, choices }: HyperparameterDescription): string {
  if (choices) return "choice";
  return { number: "x", integer: "n", boolean: "true|false", text: "text", choice: "choice", json: "json" }[type];
}

function descriptionOf(each: HyperparameterDescription): string {
  const bounds = each.wanted.replace(/^a (?:whole )?number ?/, "");
  const isSaid = ["true or false", "a text", "a text that is not empty"].includes(bounds);
  const parts = [
    ...(bounds && !isSaid ? [bounds] : []),
    ...(each.default === undefined ? [] : [`default: ${printable(JSON.stringify(each.default))}`]),
  ];
  return `${printable(each.description)}${parts.length > 0 ? ` (${parts.join("; ")})` : ""}`;
}

/**
 * The hyperparameters in a JSON or YAML file, by its ending. Throws FileError when it cannot be read, FormatError for what is neither,
 * ConfigError for names that the recipe does not have.
 */
export async function readHyperparameters(file: string, recipe: Recipe): Promise<Record<string, unknown>> {
  return decodeHyperparameters(await readFileChecked(file), file, recipe);
}

export function decodeHyperparameters(bytes: Uint8Array, file: string, recipe: Recipe): Record<string, unknown> {
  if (bytes.length > mostBytes)
    throw new FormatError(file, `it has ${bytes.length} bytes`, "give a file of hyperparameters, which is small");
  const isJson = extname(file).toLowerCase() === ".json";
  let content: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    content = isJson ? JSON.parse(text) : parseYaml(text, { logLevel: "error", maxAliasCount: 100 });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.split("\n")[0]! : String(cause);
    throw new FormatError(
      file,
      `is no ${isJson ? "JSON" : "YAML"}: ${message}`,
      isJson ? 'write { "learningRate": 0.01 }' : "write a line for each: learningRate: 0.01",
      "",
      { cause },
    );
  }
  if (content === null || content === undefined) return {};
  if (typeof content !== "object" || Array.isArray(content))
    throw new FormatError(file, `it holds ${described(content)}`, "write names and values: learningRate: 0.01");
  const names = recipe.hyperparameters.map(({ name }) => name);
  for (const name of Object.keys(content)) if (!names.includes(name)) throw unknownName(file, name, names);
  return { ...content };
}
