/** A model's variables as safetensors, in PyTorch's names and layouts. */
import { FormatError } from "../errors.ts";
import { showType, type TensorType } from "../graph/types.ts";
import type { Module } from "../nn/module.ts";
import type { State } from "../tensor/state.ts";
import { decodeSafetensors, encodeSafetensors, type NamedValues } from "./safetensors.ts";

/** Whatever has variables with names: a module, an optimizer. */
export type HasNamedStates = Pick<Module, "namedStates">;

function persistent(model: HasNamedStates): [string, State][] {
  return [...model.namedStates()].filter(([, state]) => state.persistent);
}

/** The values of a model as the bytes of a safetensors file. `metadata` is kept in its header. */
export async function encodeWeights(
  model: HasNamedStates,
  metadata?: Readonly<Record<string, string>>,
): Promise<Uint8Array> {
  const tensors = new Map<string, NamedValues>();
  for (const [name, state] of persistent(model))
    tensors.set(name, { shape: state.shape, dtype: state.dtype, values: await state.data() });
  return encodeSafetensors(tensors, metadata);
}

/**
 * Gives a model the values of a safetensors file: all of them, or none when something does not fit. Throws FormatError for a
 * damaged file, and for one of another architecture with the names and shapes that differ. `source` is what messages call
 * the file.
 */
export function decodeWeights(model: HasNamedStates, bytes: Uint8Array, source: string = "safetensors"): void {
  const { tensors } = decodeSafetensors(bytes, source);
  const states = new Map(persistent(model));
  const missing = [...states.keys()].filter((name) => !tensors.has(name));
  const unknown = [...tensors.keys()].filter((name) => !states.has(name));
  const different = [...states].flatMap(([name, state]) => {
    const found = tensors.get(name);
    return found && !fits(found, state)
      ? [`${name} is ${showType(found)} in the file and ${showType(state)} in the model`]
      : [];
  });
  const problems = [
    ...(missing.length ? [`the file lacks ${list(missing)}`] : []),
    ...(unknown.length ? [`the model lacks ${list(unknown)}`] : []),
    ...(different.length ? [list(different)] : []),
  ];
  if (problems.length)
    throw new FormatError(
      source,
      `holds another architecture: ${problems.join("; ")}`,
      "build the model that the file was saved from",
    );
  for (const [name, state] of states) state.write(tensors.get(name)!.values);
}

function fits(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && `${a.shape}` === `${b.shape}`;
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 4).join(", ");
  return names.length > 4 ? `${shown} and ${names.length - 4} more` : shown;
}
