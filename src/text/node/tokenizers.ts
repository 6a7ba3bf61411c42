/** Tokenizers in files. */
import { join } from "node:path";
import { FileError, type FileLocation, readFileChecked, writeFileAtomically } from "../../files/node/atomic.ts";
import { decodeTokenizer, encodeTokenizer, type Tokenizer } from "../tokenizer.ts";

/** Writes a tokenizer to a `tokenizer.json`, by its path or `file:` URL: all of it or nothing. Throws FileError when that cannot be done. */
export async function saveTokenizer(tokenizer: Tokenizer, location: FileLocation): Promise<void> {
  await writeFileAtomically(location, encodeTokenizer(tokenizer));
}

/**
 * The tokenizer of a `tokenizer.json`, such as those of published models. A `tokenizer_config.json` beside it is read too: it says what
 * special tokens are for. Throws FileError when the file cannot be read, FormatError when it is none.
 */
export async function loadTokenizer(location: FileLocation): Promise<Tokenizer> {
  const content = await readFileChecked(location);
  const source = location instanceof URL ? location.pathname : location;
  const config = await configBeside(location);
  return decodeTokenizer(content, { source, ...(config ? { config } : {}) });
}

async function configBeside(location: FileLocation): Promise<Uint8Array | undefined> {
  const name = "tokenizer_config.json";
  try {
    return await readFileChecked(location instanceof URL ? new URL(name, location) : join(location, "..", name));
  } catch (error) {
    if (error instanceof FileError && error.code === "ENOENT") return undefined;
    throw error;
  }
}
