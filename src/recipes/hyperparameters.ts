/** Hyperparameters: named, typed, documented, bounded values, given in a program, in a file or as words of a command line. */
import type { z } from "zod";
import { ConfigError, printable, quoted } from "../errors.ts";
import { described, missing } from "../graph/arguments.ts";

/** A zod schema for each hyperparameter, by its name in camelCase: `{ learningRate: z.number().positive().default(0.01).describe("of Adam") }`. */
export type HyperparameterSchemas = { readonly [name: string]: z.ZodType };

/** The argument of a recipe's setup: a value for each schema, and the seed, which every recipe has. */
export type Hyperparameters<S extends HyperparameterSchemas> = { readonly [K in keyof S]: z.output<S[K]> } & {
  readonly seed: number;
};

/** The values that a caller gives: hyperparameters with a default may be left out. */
export type GivenHyperparameters<S extends HyperparameterSchemas> = {
  readonly [K in keyof S]?: z.input<S[K]> | undefined;
} & { readonly seed?: number | undefined };

/** The description of a hyperparameter for programs that do not know the recipe. */
export interface HyperparameterDescription {
  readonly name: string;
  /** The recipe's description; empty if it has none. */
  readonly description: string;
  /** The type of its value; "json" for any other type. */
  readonly type: "number" | "integer" | "boolean" | "text" | "choice" | "json";
  /** The default; absent if a value must be given. */
  readonly default?: unknown;
  /** The values of a choice. */
  readonly choices?: readonly string[];
  /** The allowed values in words: "a number above 0, at most 1". */
  readonly wanted: string;
  /** The bounds of a number, if it has bounds. */
  readonly least?: number;
  readonly most?: number;
}

/** What is asked of a schema; zod's have it. zod itself is not imported: whoever writes a recipe has done so. */
export interface HyperparameterSchema<T = unknown> {
  /** Checks a value; `undefined` is one that was not given. */
  safeParse(value: unknown):
    | { readonly success: true; readonly data: T }
    | {
        readonly success: false;
        readonly error: { readonly issues: readonly { readonly code?: string; readonly message: string }[] };
      };
  /** Returns the schema as JSON Schema. */
  toJSONSchema(options: { readonly io: "input"; readonly unrepresentable: "any" }): unknown;
}

/** The schema of the seed, which every recipe has. */
export const seedSchema: HyperparameterSchema<number> = {
  safeParse(value = 0) {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return { success: true, data: value };
    return { success: false, error: { issues: [{ message: "no whole number from 0 on" }] } };
  },
  toJSONSchema: () => ({
    type: "integer",
    minimum: 0,
    default: 0,
    description: "what initial weights, order and random changes follow from",
  }),
};

const nameRule = /^[a-z][a-zA-Z0-9]{0,59}$/;

/** Throws ConfigError unless the value is a record of schemas with names in camelCase. */
export function expectSchemas(subject: string, schemas: unknown): asserts schemas is HyperparameterSchemas {
  if (typeof schemas !== "object" || schemas === null || Array.isArray(schemas))
    throw new ConfigError(
      subject,
      `\`hyperparameters\` is ${described(schemas)}`,
      "give a record of zod schemas: { epochs: z.int().min(1).default(10) }",
    );
  for (const [name, schema] of Object.entries(schemas)) {
    if (!nameRule.test(name))
      throw new ConfigError(subject, `a hyperparameter is called ${quoted(name)}`, "give a name such as learningRate");
    const isSchema = typeof schema === "object" && schema !== null && "safeParse" in schema && "toJSONSchema" in schema;
    if (!isSchema)
      throw new ConfigError(
        subject,
        `the hyperparameter ${name} is ${described(schema)}`,
        "give a schema of zod 4: z.number().positive().default(0.01)",
      );
  }
}

/** The part of JSON Schema that descriptions are made of. */
interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly minLength?: number;
}

/** Returns the description of a hyperparameter. */
export function describeHyperparameter(name: string, schema: HyperparameterSchema): HyperparameterDescription {
  const json = schema.toJSONSchema({ io: "input", unrepresentable: "any" }) as JsonSchema;
  const choices = json.enum?.every((each) => typeof each === "string") ? (json.enum as readonly string[]) : undefined;
  const kinds = { number: "number", integer: "integer", boolean: "boolean", string: "text" } as const;
  const type = choices ? "choice" : (kinds[json.type as keyof typeof kinds] ?? "json");
  const least = bound(json.minimum ?? json.exclusiveMinimum);
  const most = bound(json.maximum ?? json.exclusiveMaximum);
  return {
    name,
    description: json.description ?? "",
    type,
    ...("default" in json && { default: json.default }),
    ...(choices && { choices }),
    wanted: wantedOf(type, json, choices),
    ...(least !== undefined && { least }),
    ...(most !== undefined && { most }),
  };
}

/** Bounds that only say that an integer is safe are left out. */
const bound = (value: number | undefined): number | undefined =>
  value === undefined || Math.abs(value) >= Number.MAX_SAFE_INTEGER ? undefined : value;

function wantedOf(
  type: HyperparameterDescription["type"],
  json: JsonSchema,
  choices: readonly string[] | undefined,
): string {
  if (choices) return `one of ${choices.join(", ")}`;
  if (type === "boolean") return "true or false";
  if (type === "text") return json.minLength ? "a text that is not empty" : "a text";
  if (type === "json") return "a value that the recipe takes, as JSON";
  const bounds = [
    ["from", bound(json.minimum)],
    ["above", bound(json.exclusiveMinimum)],
    ["to", bound(json.maximum)],
    ["below", bound(json.exclusiveMaximum)],
  ]
    .filter(([, value]) => value !== undefined)
    .map(([word, value]) => `${word} ${value}`);
  return [type === "integer" ? "a whole number" : "a number", ...bounds].join(" ");
}

/**
 * Returns values for all hyperparameters: the given values, and defaults for the others. `source` names the source of the values in
 * messages. Throws ConfigError for an unknown name, with the nearest name, and for a value of a wrong type or out of bounds.
 */
export function parseHyperparameters<S extends HyperparameterSchemas>(
  subject: string,
  schemas: S,
  given: unknown,
): Hyperparameters<S> {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw new ConfigError(
      subject,
      `the hyperparameters are ${described(given)}`,
      "give a record: { learningRate: 0.01 }",
    );
  const names = Object.keys(schemas);
  const values: Record<string, unknown> = {};
  for (const [name] of Object.entries(given)) if (!names.includes(name)) throw unknownName(subject, name, names);
  for (const [name, schema] of Object.entries(schemas)) {
    const value = Object.hasOwn(given, name) ? (given as Readonly<Record<string, unknown>>)[name] : undefined;
    const result = schema.safeParse(value);
    if (!result.success) throw refused(subject, name, schema, value, result.error);
    values[name] = result.data;
  }
  return values as Hyperparameters<S>;
}

/** Returns the error for an unknown hyperparameter. */
export function unknownName(subject: string, name: string, names: readonly string[]): ConfigError {
  const fix = missing(name, names)
    .replace("there is no option", "there is no hyperparameter")
    .replace("the options are", "there are")
    .replace("there are no options", "the recipe has none");
  return new ConfigError(subject, `the hyperparameter ${quoted(name)} is not one of the recipe's`, fix);
}

function refused(
  subject: string,
  name: string,
  schema: HyperparameterSchema,
  value: unknown,
  error: { readonly issues: readonly { readonly code?: string; readonly message: string }[] },
): ConfigError {
  const { wanted, default: usual, description: about } = describeHyperparameter(name, schema);
  if (value === undefined)
    return new ConfigError(
      subject,
      `the hyperparameter ${name} is not given, and has no default`,
      `give ${wanted}${about === "" ? "" : ` (${printable(about)})`}; on a command line: --${kebabOf(name)}`,
    );
  const [issue] = error.issues;
  const own = issue?.code === "custom" ? `, because ${printable(issue.message)}` : "";
  return new ConfigError(
    subject,
    `the hyperparameter ${name} is ${described(value)}${own}`,
    `give ${wanted}${usual === undefined ? "" : `; its default is ${printable(JSON.stringify(usual))}`}`,
  );
}

/** A decimal number without other characters. */
const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

/**
 * Returns the value of a word of a command line. A word that is not of the hyperparameter's type is returned unchanged: the schema refuses
 * it, or accepts it as text.
 */
export function valueOfWord({ type }: HyperparameterDescription, word: string): unknown {
  if (type === "number" || type === "integer") return decimal.test(word) ? Number(word) : word;
  if (type === "boolean") return word === "true" ? true : word === "false" ? false : word;
  if (type !== "json") return word;
  try {
    return JSON.parse(word) as unknown;
  } catch {
    return word;
  }
}

/** Returns a name as it is written on a command line: learning-rate for learningRate. */
export const kebabOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
