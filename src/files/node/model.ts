/** Models in files. */
import { decodeWeights, encodeWeights, type LoadOptions, type LoadReport, type Saved } from "../weights.ts";
import { type FileLocation, readFileChecked, writeFileAtomically } from "./atomic.ts";

/**
 * Writes a model's values, or those of several things by name, to a safetensors file, by its path or `file:` URL: all of them as they
 * are at this place in the queue, as `encodeWeights` has them. All of it or nothing: a model that cannot be saved leaves an older file
 * as it is. Throws FileError when that cannot be done.
 */
export async function saveWeights(
  saved: Saved,
  location: FileLocation,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await writeFileAtomically(location, await encodeWeights(saved, metadata));
}

/**
 * Gives a model, or several things by name, the values of a safetensors file, such as a PyTorch `state_dict` saved as one, as
 * `decodeWeights` does: all of them, or with `partial` those that fit, under names that `rename` translates. Returns what was loaded and
 * what was not. Throws FileError when the file cannot be read, FormatError when it is damaged or of another architecture; the model then
 * keeps its values.
 */
export async function loadWeights(
  saved: Saved,
  location: FileLocation,
  options: LoadOptions = {},
): Promise<LoadReport> {
  const bytes = await readFileChecked(location);
  return decodeWeights(saved, bytes, location instanceof URL ? location.pathname : location, options);
}
