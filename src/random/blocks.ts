/** Computes many Philox blocks at once, as words or as normal numbers. */
import { normalPair, oneByOne } from "./box-muller.ts";
import { type Key, philox4x32 } from "./philox.ts";
import { type Blocks, compiledBlocks, type Fill, groupWords } from "./wasm.ts";

/** Returns `Blocks` written in JavaScript. */
export function plainBlocks(groupsOfMemory: number): Blocks {
  const all = new Uint32Array(groupWords * groupsOfMemory);
  const floats = new Float32Array(all.buffer);
  const words: Fill = (low, high, stream, key0, key1, groups) => {
    for (let i = 0; i < 4 * groups; i++) philox4x32([low + i, high, stream, 0], [key0, key1], all, 4 * i);
  };
  const normals: Fill = (low, high, stream, key0, key1, groups, scale) => {
    words(low, high, stream, key0, key1, groups, scale);
    const factor = Math.fround(scale);
    for (let i = 0; i < groupWords * groups; i += 2) {
      const [z0, z1] = normalPair(oneByOne, all[i]! | 0, all[i + 1]! | 0);
      floats[i] = z0 * factor;
      floats[i + 1] = z1 * factor;
    }
  };
  return { memory: all.buffer, words, normals };
}

const small = plainBlocks(64);
let large: Blocks | undefined;

/** The fewest numbers for which WebAssembly is compiled. Compiling takes about a millisecond, longer than fewer numbers would save. */
const fewestCompiled = 2 ** 13;

export type Take = (memory: ArrayBuffer, from: number, length: number, at: number) => void;

/**
 * Computes `count` words of a stream from a position on, or the normal numbers made from them, part by part. `take` is called for each
 * part, with the memory that holds it, where the part begins there, its length, and its place in the result.
 */
export function eachPart(
  kind: "words" | "normals",
  [key0, key1]: Key,
  stream: number,
  position: number,
  count: number,
  scale: number,
  take: Take,
): void {
  if (count >= fewestCompiled) large ??= compiledBlocks() ?? plainBlocks(2 ** 10);
  const blocks = count >= fewestCompiled ? large! : small;
  const mostGroups = blocks.memory.byteLength / (4 * groupWords);
  for (let at = 0; at < count; ) {
    const word = position + at;
    const from = word % groupWords;
    const block = (word - from) / 4;
    const [low, high] = [block % 2 ** 32, Math.floor(block / 2 ** 32)];
    const groups = Math.min(mostGroups, Math.ceil((from + count - at) / groupWords), (2 ** 32 - low) / 4);
    blocks[kind](low, high, stream, key0, key1, groups, scale);
    const length = Math.min(groups * groupWords - from, count - at);
    take(blocks.memory, from, length, at);
    at += length;
  }
}
