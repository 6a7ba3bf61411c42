/** Models in files. */
import { decodeWeights, encodeWeights, type HasNamedStates } from "../weights.ts";
import { readFileChecked, writeFileAtomically } from "./atomic.ts";

/** Writes a model's values to a safetensors file: all of it or nothing. Throws FileError when that cannot be done. */
export async function saveWeights(
  model: HasNamedStates,
  path: string,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await writeFileAtomically(path, await encodeWeights(model, metadata));
}

/**
 * Gives a model the values of a safetensors file, such as a PyTorch `state_dict` saved as one. Throws FileError when the file
 * cannot be read, FormatError when it is damaged or of another architecture; the model then keeps its values.
 */
export async function loadWeights(model: HasNamedStates, path: string): Promise<void> {
  decodeWeights(model, await readFileChecked(path), path);
}
