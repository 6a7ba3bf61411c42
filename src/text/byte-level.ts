/** Bytes as characters, as GPT-2's byte-level encoding has them (Radford et al. 2019), so that any text can be written with 256 tokens. */

/** The character of each byte: printable ones stand for themselves, the others are moved behind Latin-1. */
export const characterOfByte: readonly string[] = (() => {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : 256 + moved++));
})();

const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  characterOfByte.map((character, byte) => [character, byte]),
);

/** Bytes, such as those of a token in a list of ranks, as characters. */
export function charactersOfBytes(bytes: Uint8Array): string {
  let characters = "";
  for (const byte of bytes) characters += characterOfByte[byte]!;
  return characters;
}

/** How many bytes a token of characters stands for; undefined for one that holds another character. */
export function bytesOfToken(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = byteOfCharacter.get(token[i]!);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** GPT-2's cut of a text into pieces: contractions, words, numbers and signs, each with the space before it; other white space. */
export const gpt2Pieces: RegExp = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
