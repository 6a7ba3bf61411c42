/**
 * Computes random blocks in WebAssembly, sixteen words at a time, with vectors of four. This file writes the module byte by byte, from the
 * same definitions that JavaScript uses where there is no WebAssembly: both give the same bits.
 */
import { type Arithmetic, normalPair } from "./box-muller.ts";
import { multipliers, rounds, weyl } from "./philox.ts";

/** Fills memory, from its start, with groups of four blocks. */
export interface Blocks {
  readonly memory: ArrayBuffer;
  readonly words: Fill;
  /** Fills memory with normal numbers times the float32 `scale`: each pair of words of a block gives two. */
  readonly normals: Fill;
}

/** The counter of the first block is (low, high, stream, 0); low is a multiple of 4, and low + 4·groups at most 2³². */
export type Fill = (
  low: number,
  high: number,
  stream: number,
  key0: number,
  key1: number,
  groups: number,
  scale: number,
) => void;

/** The number of words in a group. */
export const groupWords = 16;

/** Returns the module; `undefined` if it cannot be made: WebAssembly or its vectors are missing, or the page forbids it. */
export function compiledBlocks(): Blocks | undefined {
  try {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()));
    const { memory, words, normals } = exports as unknown as Module;
    return { memory: memory.buffer, words, normals };
  } catch {
    return undefined;
  }
}

interface Module extends Omit<Blocks, "memory"> {
  readonly memory: WebAssembly.Memory;
}

/** Instructions that leave one value or no value on the stack. */
type Code = readonly number[];

const [i32, f32, v128] = [0x7f, 0x7d, 0x7b];

/** Returns a number in the encoding LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const isLast = value >= -64 && value < 64;
  return isLast ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}

const vector = (opcode: number, ...operands: readonly Code[]): Code => [...operands.flat(), 0xfd, ...unsigned(opcode)];

/** Writes the body of one function. */
class Body implements Arithmetic<Code> {
  readonly #parameters: number;
  /** The number of vector locals. The locals after the parameters are one i32, then the vectors. */
  #vectors = 0;
  #code: number[] = [];

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  get(local: number): Code {
    return [0x20, ...unsigned(local)];
  }

  set(local: number, value: Code): void {
    this.#code.push(...value, 0x21, ...unsigned(local));
  }

  integer(value: number): Code {
    return [0x41, ...signed(value | 0)];
  }

  emit(...code: readonly Code[]): void {
    this.#code.push(...code.flat());
  }

  /** Stores a value in a new local, so that it can be used several times. Each round of the loop uses the same locals. */
  keep(value: Code): Code {
    const local = this.#parameters + 1 + this.#vectors++;
    this.set(local, value);
    return this.get(local);
  }

  f(value: number): Code {
    return vector(0x0c).concat(...Array<number[]>(4).fill([...new Uint8Array(Float32Array.of(value).buffer)]));
  }

  i(value: number): Code {
    return this.lanes([value, value, value, value]);
  }

  lanes(values: readonly number[]): Code {
    return vector(0x0c).concat(...new Uint8Array(Int32Array.from(values).buffer));
  }

  /** Selects four of the eight 32-bit lanes of two vectors. */
  shuffle(a: Code, b: Code, lanes: readonly number[]): Code {
    return vector(0x0d, a, b).concat(lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte)));
  }

  splat(value: Code): Code {
    return vector(0x11, value);
  }

  splatFloat(value: Code): Code {
    return vector(0x13, value);
  }

  /** Returns four products of uint32, as two vectors of two uint64. */
  products(a: Code, b: Code): readonly [Code, Code] {
    return [this.keep(vector(0xde, a, b)), this.keep(vector(0xdf, a, b))];
  }

  store(address: Code, offset: number, value: Code): void {
    this.emit(vector(0x0b, address, value), [2, ...unsigned(offset)]);
  }

  add = (a: Code, b: Code): Code => vector(0xe4, a, b);
  sub = (a: Code, b: Code): Code => vector(0xe5, a, b);
  mul = (a: Code, b: Code): Code => vector(0xe6, a, b);
  sqrt = (a: Code): Code => vector(0xe3, a);
  iadd = (a: Code, b: Code): Code => vector(0xae, a, b);
  isub = (a: Code, b: Code): Code => vector(0xb1, a, b);
  and = (a: Code, b: Code): Code => vector(0x4e, a, b);
  xor = (a: Code, b: Code): Code => vector(0x51, a, b);
  shiftLeft = (a: Code, bits: number): Code => vector(0xab, a, this.integer(bits));
  shiftRight = (a: Code, bits: number): Code => vector(0xac, a, this.integer(bits));
  shiftRightUnsigned = (a: Code, bits: number): Code => vector(0xad, a, this.integer(bits));
  toFloat = (a: Code): Code => vector(0xfa, a);
  bits = (a: Code): Code => a;
  ofBits = (a: Code): Code => a;
  select = (mask: Code, a: Code, b: Code): Code => vector(0x52, a, b, mask);

  /** Returns the bytes of the function, preceded by their length. */
  bytes(): number[] {
    const locals = [2, 1, i32, ...unsigned(this.#vectors), v128];
    const body = [...locals, ...this.#code, 0x0b];
    return [...unsigned(body.length), ...body];
  }
}

const parameters = [i32, i32, i32, i32, i32, i32, f32];

/** Returns a function that loops over groups of four blocks. `finish` makes the results of their four words, with a lane for each block. */
function fill(finish: (body: Body, words: readonly Code[], scale: Code) => readonly Code[]): number[] {
  const body = new Body(parameters.length);
  const [low, high, stream, key0, key1, groups, scale] = parameters.map((_, i) => i) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const address = parameters.length;
  body.emit([0x03, 0x40]); //  loop
  let c = [
    body.keep(body.iadd(body.splat(body.get(low)), body.lanes([0, 1, 2, 3]))),
    body.keep(body.splat(body.get(high))),
    body.keep(body.splat(body.get(stream))),
    body.i(0),
  ] as const;
  let keys = [key0, key1].map((key) => body.keep(body.splat(body.get(key))));
  for (let round = 0; round < rounds; round++) {
    // p and q: the low and the high words of each of the two products.
    const [p, q] = [c[0], c[2]].map((word, i) => {
      const [first, second] = body.products(word, body.i(multipliers[i]!));
      const [lows, highs] = [
        [0, 2, 4, 6],
        [1, 3, 5, 7],
      ].map((lanes) => body.shuffle(first, second, lanes));
      return { lows: lows!, highs: highs! };
    }) as [Product, Product];
    c = [
      body.keep(body.xor(body.xor(q.highs, c[1]), keys[0]!)),
      body.keep(q.lows),
      body.keep(body.xor(body.xor(p.highs, c[3]), keys[1]!)),
      body.keep(p.lows),
    ];
    keys = keys.map((key, i) => body.keep(body.iadd(key, body.i(weyl[i]!))));
  }
  const [x, y, z, w] = finish(body, c, body.splatFloat(body.get(scale))) as [Code, Code, Code, Code];
  // x, y, z, w hold one word of each of the four blocks. The transposed matrix has the blocks one after the other.
  const [xy0, xy1, zw0, zw1] = [
    [x, y, [0, 4, 1, 5]],
    [x, y, [2, 6, 3, 7]],
    [z, w, [0, 4, 1, 5]],
    [z, w, [2, 6, 3, 7]],
  ].map(([a, b, lanes]) => body.keep(body.shuffle(a as Code, b as Code, lanes as number[]))) as [
    Code,
    Code,
    Code,
    Code,
  ];
  const at = body.get(address);
  body.store(at, 0, body.shuffle(xy0, zw0, [0, 1, 4, 5]));
  body.store(at, 16, body.shuffle(xy0, zw0, [2, 3, 6, 7]));
  body.store(at, 32, body.shuffle(xy1, zw1, [0, 1, 4, 5]));
  body.store(at, 48, body.shuffle(xy1, zw1, [2, 3, 6, 7]));
  const advance = (local: number, by: number): void => body.set(local, [...body.get(local), ...body.integer(by), 0x6a]);
  advance(address, 4 * groupWords);
  advance(low, 4);
  advance(groups, -1);
  body.emit(body.get(groups), [0x0d, 0], [0x0b]); //  br_if, end
  return body.bytes();
}

interface Product {
  readonly lows: Code;
  readonly highs: Code;
}

function moduleBytes(): Uint8Array<ArrayBuffer> {
  const asWords = fill((body, words) => words.map((word) => body.keep(word)));
  const asNormals = fill((body, [a, b, c, d], scale) =>
    [...normalPair(body, a!, b!), ...normalPair(body, c!, d!)].map((z) => body.keep(body.mul(z, scale))),
  );
  const name = (text: string): number[] => [text.length, ...new TextEncoder().encode(text)];
  const section = (id: number, content: readonly number[]): number[] => [id, ...unsigned(content.length), ...content];
  return Uint8Array.of(
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], //  magic number, version
    ...section(1, [1, 0x60, parameters.length, ...parameters, 0]), //  one type of function
    ...section(3, [2, 0, 0]), //  two functions of it
    ...section(5, [1, 0, 1]), //  a memory of one page
    ...section(7, [3, ...name("memory"), 2, 0, ...name("words"), 0, 0, ...name("normals"), 0, 1]),
    ...section(10, [2, ...asWords, ...asNormals]),
  );
}
