/** A model's variables as safetensors, in PyTorch's names and layouts. */

import { valuesOf } from "../compile/evaluate.ts";
import { ConfigError, FormatError, printable } from "../errors.ts";
import { anything, aRecord, aText, bytesOfFile, described, expectArguments, withStates } from "../graph/arguments.ts";
import { showType, type TensorType } from "../graph/types.ts";
import type { Module } from "../nn/module.ts";
import type { State } from "../tensor/state.ts";
import { decodeSafetensors, encodeSafetensors, type NamedValues } from "./safetensors.ts";

/** Whatever has variables with names: a module, an optimizer, a generator. */
export type HasNamedStates = Pick<Module, "namedStates">;

/** What is saved together: one thing with variables, or several by name, as in `{ model, optimizer, generator: defaultGenerator }`. */
export type Saved = HasNamedStates | { readonly [name: string]: HasNamedStates };

/** The variables that files hold. Several names of one variable, such as a weight that two layers share, are all there. */
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
 * The values of a model as the bytes of a safetensors file: all of them as they are at this place in the queue, also while training goes
 * on. What belongs together is given together: `encodeWeights({ model, optimizer, generator: defaultGenerator })` has the names of each
 * behind its own, `model.layers.0.weight`. A weight with two names is written under both, as in a `state_dict`. `metadata` is kept in
 * the file's header.
 */
export async function encodeWeights(saved: Saved, metadata?: Readonly<Record<string, string>>): Promise<Uint8Array> {
  const states = persistent(saved);
  const all = await valuesOf([...states.values()]);
  const tensors = new Map<string, NamedValues>();
  for (const [i, [name, { shape, dtype }]] of [...states].entries())
    tensors.set(name, { shape, dtype, values: all[i]! });
  return encodeSafetensors(tensors, metadata);
}

/**
 * Gives a model, or several things by name, the values of a safetensors file: all of them, or none when something does not fit. A weight
 * with several names may be in the file under any or all of them. Throws FormatError for a damaged file, for one of another
 * architecture with the names and shapes that differ, and for one that has different values under two names of one weight. `source` is
 * what messages call the file.
 */
export function decodeWeights(saved: Saved, bytes: Uint8Array, source: string = "safetensors"): void {
  expectArguments("decodeWeights", [anything, bytesOfFile, aText], [saved, bytes, source]);
  const { tensors } = decodeSafetensors(bytes, source);
  const states = persistent(saved);
  const names = new Map<State, string[]>();
  for (const [name, state] of states) names.set(state, [...(names.get(state) ?? []), name]);
  const missing = [...names.values()].filter((all) => !all.some((name) => tensors.has(name))).map(([name]) => name!);
  const unknown = [...tensors.keys()].filter((name) => !states.has(name));
  const different = [...states].flatMap(([name, state]) => {
    const found = tensors.get(name);
    return found && !fits(found, state)
      ? [`${printable(name)} is ${showType(found)} in the file and ${showType(state)} in the model`]
      : [];
  });
  const problems = [
    ...(missing.length ? [`the file lacks ${listed(missing.map((name) => printable(name)))}`] : []),
    ...(unknown.length ? [`the model lacks ${listed(unknown.map((name) => printable(name)))}`] : []),
    ...(different.length ? [listed(different)] : []),
  ];
  if (problems.length)
    throw new FormatError(
      source,
      `holds another architecture: ${problems.join("; ")}`,
      "build the model that the file was saved from",
    );
  const given = [...names].map(([state, all]) => [state, all.filter((name) => tensors.has(name))] as const);
  for (const [, [first, ...others]] of given) {
    const other = others.find((name) => !sameBytes(tensors.get(name)!, tensors.get(first!)!));
    if (other !== undefined)
      throw new FormatError(
        source,
        `has different values for ${first} and ${other}, which are one weight in the model`,
        "save a model that shares the weight too, or build one with two weights",
      );
  }
  for (const [state, [name]] of given) state.write(tensors.get(name!)!.values);
}

/** Bits rather than numbers, so that NaN is equal to itself. */
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
