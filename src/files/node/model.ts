/** Models in files. */
import { decodeWeights, encodeWeights, type HasNamedStates } from "../weights.ts";
import { type FileLocation, readFileChecked, writeFileAtomically } from "./atomic.ts";

/**
 * Writes a model's values to a safetensors file, by its path or `file:` URL: all of it or nothing, and a model that cannot be saved
 * leaves an older file as it is. Throws FileError when that cannot be done.
 */
export async function saveWeights(
  model: HasNamedStates,
  location: FileLocation,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await writeFileAtomically(location, await encodeWeights(model, metadata));
}

/**
 * Gives a model the values of a safetensors file, such as a PyTorch `state_dict` saved as one. Throws FileError when the file
 * cannot be read, FormatError when it is damaged or of another architecture; the model then keeps its values.
 */
export async function loadWeights(model: HasNamedStates, location: FileLocation): Promise<void> {
  decodeWeights(model, await readFileChecked(location), location instanceof URL ? location.pathname : location);
}
