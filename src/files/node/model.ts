/** Saves models to files and loads them. */
import { decodeWeights, encodeWeights, type LoadOptions, type LoadReport, type Saved } from "../weights.ts";
import { type FileLocation, readFileChecked, writeFileAtomically } from "./atomic.ts";

/**
 * Writes a model's values, or those of several objects by name, to a safetensors file, given by its path or `file:` URL. All values are
 * those at this place of the queue, as with `encodeWeights`. The file is written completely or not at all: if saving fails, an older file
 * stays unchanged. Throws FileError when the file cannot be written.
 */
export async function saveWeights(
  saved: Saved,
  location: FileLocation,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await writeFileAtomically(location, await encodeWeights(saved, metadata));
}

/**
 * Loads a safetensors file, such as a saved PyTorch `state_dict`, into a model or into several objects by name, as `decodeWeights` does:
 * all values, or with `partial` the values that fit, under names that `rename` translates. Returns which values were loaded and which were
 * not. Throws FileError when the file cannot be read, FormatError when it is damaged or from another architecture; the model then keeps its
 * values.
 */
export async function loadWeights(
  saved: Saved,
  location: FileLocation,
  options: LoadOptions = {},
): Promise<LoadReport> {
  const bytes = await readFileChecked(location);
  return decodeWeights(saved, bytes, location instanceof URL ? location.pathname : location, options);
}
