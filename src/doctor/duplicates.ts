/** Finds examples that are equal bit for bit: by their hashes first, then by comparison. */
import type { Column } from "../data/dataset.ts";
import { sizeOf } from "../graph/types.ts";

/** The bits of a column's values as numbers, and the count of such numbers in one example. */
interface Bits {
  readonly values: Uint8Array | Uint32Array;
  readonly perExample: number;
}

function bitsOf({ shape, values }: Column): Bits {
  const isBytes = values instanceof Uint8Array;
  const bits = isBytes ? values : new Uint32Array(values.buffer, values.byteOffset, values.byteLength / 4);
  return { values: bits, perExample: sizeOf(shape.slice(1)) * (bits.length / Math.max(1, values.length)) };
}

/** MurmurHash3's mixing of 32-bit blocks (Appleby 2011) over the bits of an example. */
function hashOf(columns: readonly Bits[], example: number): number {
  let hash = 0;
  for (const { values, perExample } of columns)
    for (let at = example * perExample; at < (example + 1) * perExample; at++) {
      const block = Math.imul(values[at]!, 0xcc9e2d51);
      hash ^= Math.imul((block << 15) | (block >>> 17), 0x1b873593);
      hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
    }
  return hash;
}

function areEqual(a: readonly Bits[], i: number, b: readonly Bits[], j: number): boolean {
  return a.every(({ values, perExample }, column) => {
    const other = b[column]!.values;
    const [from, to] = [i * perExample, j * perExample];
    for (let k = 0; k < perExample; k++) if (values[from + k] !== other[to + k]) return false;
    return true;
  });
}

/** The examples of some columns, for looking up equal examples. */
export class Examples {
  readonly #columns: readonly Bits[];
  /** Examples by hash. No two of them are equal. */
  readonly #byHash = new Map<number, number[]>();
  /** For each example, the number of the first example that is equal to it, which may be its own number. */
  readonly first: Uint32Array;

  /** The columns must have the same examples. */
  constructor(columns: readonly Column[]) {
    this.#columns = columns.map(bitsOf);
    this.first = new Uint32Array(columns[0]!.shape[0]!);
    for (let example = 0; example < this.first.length; example++) {
      const hash = hashOf(this.#columns, example);
      const found = this.#find(hash, this.#columns, example);
      this.first[example] = found ?? example;
      if (found !== undefined) continue;
      const known = this.#byHash.get(hash);
      if (known) known.push(example);
      else this.#byHash.set(hash, [example]);
    }
  }

  /** For each example of other columns of the same types, returns the first example here that is equal to it, or −1. */
  match(others: readonly Column[]): Int32Array {
    const bits = others.map(bitsOf);
    return Int32Array.from({ length: others[0]!.shape[0]! }, (_, example) => {
      return this.#find(hashOf(bits, example), bits, example) ?? -1;
    });
  }

  #find(hash: number, columns: readonly Bits[], example: number): number | undefined {
    return this.#byHash.get(hash)?.find((known) => areEqual(columns, example, this.#columns, known));
  }
}
