/** Bytes as characters, as in GPT-2's byte-level encoding (Radford et al. 2019), so that 256 tokens can represent any text. */

/** The character of each byte: printable characters represent themselves, the others are mapped to code points after Latin-1. */
export const characterOfByte: readonly string[] = (() => {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : 256 + moved++));
})();

const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  characterOfByte.map((character, byte) => [character, byte]),
);

/** Returns bytes, such as those of a token in a list of ranks, as characters. */
export function charactersOfBytes(bytes: Uint8Array): string {
  let characters = "";
  for (const byte of bytes) characters += characterOfByte[byte]!;
  return characters;
}

/** Returns the bytes that a token of such characters represents; undefined if it has another character. */
export function bytesOfToken(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = byteOfCharacter.get(token[i]!);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** GPT-2's division of a text into pieces: contractions, words, numbers and signs, each with the space before it; and other white space. */
export const gpt2Pieces: RegExp = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
