/** A model's variables as safetensors, in PyTorch's names and layouts. */

import { valuesOf } from "../compile/evaluate.ts";
import { ConfigError, FormatError, printable, quoted } from "../errors.ts";
import {
  aFlag,
  anything,
  aRecord,
  aText,
  bytesOfFile,
  described,
  expectArguments,
  options as optionsOf,
  withStates,
} from "../graph/arguments.ts";
import { showType, type TensorType } from "../graph/types.ts";
import type { Module } from "../nn/module.ts";
import type { State } from "../tensor/state.ts";
import { decodeSafetensors, encodeSafetensors, type NamedValues } from "./safetensors.ts";

/** An object with named variables: a module, an optimizer, a generator. */
export type HasNamedStates = Pick<Module, "namedStates">;

/**
 * The objects that are saved together: one object with variables, or several by name, as in `{ model, optimizer, generator:
 * defaultGenerator }`.
 */
export type Saved = HasNamedStates | { readonly [name: string]: HasNamedStates };

/**
 * Returns the variables that a file holds. A variable with several names, such as a weight that two layers share, is there under all of
 * them.
 */
function persistent(saved: Saved): Map<string, State> {
  const isOne = (part: unknown): boolean => withStates(part) === undefined;
  if (!isOne(saved) && (aRecord(saved) !== undefined || !Object.values(saved).every(isOne)))
    throw new ConfigError(
      "weights",
      `what is saved or loaded is ${described(saved)}`,
      "give a module, or a record of modules, optimizers and generators: { model, optimizer }",
    );
  const all = hasNamedStates(saved)
    ? [...saved.namedStates({ removeDuplicates: false })]
    : Object.entries(saved).flatMap(([name, part]) =>
        [...part.namedStates({ removeDuplicates: false })].map(([path, state]) => [`${name}.${path}`, state] as const),
      );
  return new Map(all.filter(([, state]) => state.persistent));
}

function hasNamedStates(saved: Saved): saved is HasNamedStates {
  return typeof saved.namedStates === "function";
}

/**
 * Returns the values of a model as the bytes of a safetensors file. All values are those at this place of the queue, also while training
 * continues. Several objects can be saved together: in `encodeWeights({ model, optimizer, generator: defaultGenerator })` each object's
 * name comes before the names of its variables, as in `model.layers.0.weight`. A weight with two names is written under both, as in a
 * `state_dict`. `metadata` is kept in the file's header.
 */
export async function encodeWeights(saved: Saved, metadata?: Readonly<Record<string, string>>): Promise<Uint8Array> {
  const states = persistent(saved);
  const all = await valuesOf([...states.values()]);
  const tensors = new Map<string, NamedValues>();
  for (const [i, [name, { shape, dtype }]] of [...states].entries())
    tensors.set(name, { shape, dtype, values: all[i]! });
  return encodeSafetensors(tensors, metadata);
}

/** Options of `decodeWeights` and `loadWeights`. */
export interface LoadOptions {
  /**
   * Whether the file may lack some of the model's variables, have additional values, or have values of other shapes. Values that fit are
   * loaded, the other variables keep their values, and the report names them. Default false: either all values fit or none is loaded.
   */
  readonly partial?: boolean;
  /**
   * Translates the file's names to the model's names. Either a table from a name, or from the beginning of names up to a dot, to its
   * replacement: `{ "bert.encoder": "encoder", module: "" }`; the longest entry that matches is used, and "" removes the beginning. Or a
   * function of the name in the file that returns the model's name, or undefined for a value to ignore.
   */
  readonly rename?: Readonly<Record<string, string>> | ((name: string) => string | undefined);
}

/** What happened to the file's values and the model's variables. */
export interface LoadReport {
  /** The variables that got a value from the file, by their name in the model. */
  readonly loaded: readonly string[];
  /** The variables for which the file has no value. */
  readonly missing: readonly string[];
  /** The values for which the model has no variable, by their name in the file. */
  readonly unexpected: readonly string[];
  /** The variables whose shape or dtype differs in the file. */
  readonly mismatched: readonly { readonly name: string; readonly file: TensorType; readonly model: TensorType }[];
}

/**
 * Loads the values of a safetensors file into a model, or into several objects by name: all of them, or none if one does not fit, unless
 * `partial` is true. A weight with several names may be in the file under any or all of them. Returns which values were loaded and which
 * were not. Throws FormatError for a damaged file, for a file of another architecture (naming the names and shapes that differ), for
 * different values under two names of one weight, and with `partial` when no value fits; ConfigError for a rename table with an entry that
 * matches no name of the file or that gives two values the same name. `source` is the file's name in messages.
 */
export function decodeWeights(
  saved: Saved,
  bytes: Uint8Array,
  source: string = "safetensors",
  options: LoadOptions = {},
): LoadReport {
  const known = optionsOf({ partial: aFlag, rename: aTableOrFunction });
  expectArguments("decodeWeights", [anything, bytesOfFile, aText, known], [saved, bytes, source, options]);
  return loadValues(saved, decodeSafetensors(bytes, source).tensors, source, options);
}

/** Loads named values into a model, or into several objects by name, as `decodeWeights` does. */
export function loadValues(
  saved: Saved,
  values: ReadonlyMap<string, NamedValues>,
  source: string,
  options: LoadOptions = {},
): LoadReport {
  const { partial = false, rename } = options;
  const { tensors, inFile } = renamed(source, values, rename);
  const states = persistent(saved);
  const names = new Map<State, string[]>();
  for (const [name, state] of states) names.set(state, [...(names.get(state) ?? []), name]);
  const missing = [...names.values()].filter((all) => !all.some((name) => tensors.has(name))).map(([name]) => name!);
  const unexpected = [...tensors.keys()].filter((name) => !states.has(name)).map((name) => inFile.get(name)!);
  const mismatched = [...states].flatMap(([name, state]) => {
    const found = tensors.get(name);
    return found && !fits(found, state) ? [{ name, file: typeOf(found), model: typeOf(state) }] : [];
  });
  const different = mismatched.map(
    ({ name, file, model }) =>
      `${printable(name)} is ${showType(file)} in the file and ${showType(model)} in the model`,
  );
  const problems = [
    ...(missing.length ? [`the file lacks ${listed(missing.map((name) => printable(name)))}`] : []),
    ...(unexpected.length ? [`the model lacks ${listed(unexpected.map((name) => printable(name)))}`] : []),
    ...(different.length ? [listed(different)] : []),
  ];
  if (problems.length && !partial)
    throw new FormatError(
      source,
      `holds another architecture: ${problems.join("; ")}`,
      "build the model that the file was saved from",
    );
  const given = [...names]
    .map(([state, all]) => [state, all.filter((name) => tensors.has(name) && fits(tensors.get(name)!, state))] as const)
    .filter(([, all]) => all.length > 0);
  if (given.length === 0 && problems.length)
    throw new FormatError(
      source,
      `nothing of it fits the model: ${problems.join("; ")}`,
      'say what the file\'s names are called in the model: rename: { "name.in.file": "name.in.model" }',
    );
  for (const [, [first, ...others]] of given) {
    const other = others.find((name) => !sameBytes(tensors.get(name)!, tensors.get(first!)!));
    if (other !== undefined)
      throw new FormatError(
        source,
        `has different values for ${printable(first!)} and ${printable(other)}, which are one weight in the model`,
        "save a model that shares the weight too, or build one with two weights",
      );
  }
  for (const [state, [name]] of given) state.write(tensors.get(name!)!.values);
  return { loaded: given.map(([, [name]]) => name!), missing, unexpected, mismatched };
}

const aTableOrFunction = (value: unknown): string | undefined =>
  typeof value === "function" ||
  (aRecord(value) === undefined && Object.values(value as object).every((name) => typeof name === "string"))
    ? undefined
    : 'give a table of names, { "name.in.file": "name.in.model" }, or a function of the name,';

/** Returns the file's values under the model's names, and the name of each in the file. */
function renamed(
  source: string,
  tensors: ReadonlyMap<string, NamedValues>,
  rename: LoadOptions["rename"],
): { readonly tensors: ReadonlyMap<string, NamedValues>; readonly inFile: ReadonlyMap<string, string> } {
  const found = new Map<string, NamedValues>();
  const inFile = new Map<string, string>();
  const nameFor = rename === undefined ? undefined : typeof rename === "function" ? rename : byTable(tensors, rename);
  for (const [name, values] of tensors) {
    const own = nameFor ? nameFor(name) : name;
    if (own === undefined) continue;
    if (typeof own !== "string")
      throw new ConfigError(
        "rename",
        `for ${quoted(name)} it returned ${described(own)}`,
        "return the name in the model, or undefined to pass the value over",
      );
    const other = inFile.get(own);
    if (other !== undefined)
      throw new ConfigError(
        "rename",
        `${quoted(other)} and ${quoted(name)} of ${source} are both to be ${quoted(own)}`,
        "give each its own name",
      );
    inFile.set(own, name);
    found.set(own, values);
  }
  return { tensors: found, inFile };
}

function byTable(
  tensors: ReadonlyMap<string, NamedValues>,
  table: Readonly<Record<string, string>>,
): (name: string) => string {
  const entries = Object.entries(table).sort(([a], [b]) => b.length - a.length);
  const begins = (name: string, beginning: string): boolean =>
    name === beginning || beginning === "" || name.startsWith(`${beginning}.`);
  for (const [beginning] of entries)
    if (![...tensors.keys()].some((name) => begins(name, beginning)))
      throw new ConfigError(
        "rename",
        `no name of the file is ${quoted(beginning)} or begins with it and a dot`,
        `the file has ${listed([...tensors.keys()].map((name) => printable(name))) || "no values"}`,
      );
  return (name) => {
    const entry = entries.find(([beginning]) => begins(name, beginning));
    if (!entry) return name;
    const [beginning, own] = entry;
    const rest = beginning === "" ? name : name.slice(beginning.length + 1);
    return own === "" || rest === "" ? own || rest : `${own}.${rest}`;
  };
}

const typeOf = ({ shape, dtype }: TensorType): TensorType => ({ shape, dtype });

/** Compares bits rather than numbers, so that NaN equals itself. */
function sameBytes({ values: a }: NamedValues, { values: b }: NamedValues): boolean {
  const [left, right] = [a, b].map((each) => new Uint8Array(each.buffer, each.byteOffset, each.byteLength));
  return left!.length === right!.length && left!.every((byte, i) => byte === right![i]);
}

function fits(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && `${a.shape}` === `${b.shape}`;
}

function listed(things: readonly string[]): string {
  const shown = things.slice(0, 4).join(", ");
  return things.length > 4 ? `${shown} and ${things.length - 4} more` : shown;
}
