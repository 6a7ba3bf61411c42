/** Streams of random numbers. */
import { eachPart, type Take } from "./blocks.ts";
import { type Key, keyOf, philox4x32 } from "./philox.ts";

/** A sequence of random numbers in JavaScript: for initial weights, shuffles and splits. */
export class PhiloxStream {
  readonly #key: Key;
  readonly #stream: number;
  readonly #block: Uint32Array = new Uint32Array(4);
  #position = 0;

  /** Two streams of one seed never overlap. A seed is a safe integer, `stream` a uint32. */
  constructor(seed: number | Key, stream: number = 0) {
    this.#key = typeof seed === "number" ? keyOf(seed) : seed;
    this.#stream = stream >>> 0;
  }

  /** How many numbers have been drawn. Setting it moves the stream to that position. */
  get position(): number {
    return this.#position;
  }

  set position(position: number) {
    this.#position = position;
    if (position % 4 !== 0) this.#fill(Math.floor(position / 4));
  }

  /** Returns a separate stream over the next `count` numbers, and skips them in this one: for numbers that may never be needed. */
  reserve(count: number): PhiloxStream {
    const part = new PhiloxStream(this.#key, this.#stream);
    part.position = this.#position;
    this.position += count;
    return part;
  }

  /** Does the same as `reserve`, from the next whole block on and for whole blocks: for `normals`. */
  reserveBlocks(count: number): PhiloxStream {
    const begin = wholeBlocks(this.#position);
    this.position = begin;
    return this.reserve(wholeBlocks(count));
  }

  /** Returns the next uint32. */
  next(): number {
    const at = this.#position % 4;
    if (at === 0) this.#fill(this.#position / 4);
    this.#position++;
    return this.#block[at]!;
  }

  #fill(block: number): void {
    philox4x32([block >>> 0, Math.floor(block / 2 ** 32) >>> 0, this.#stream, 0], this.#key, this.#block);
  }

  /** Returns a uniform number in [0, 1), with 24 bits: every value is a float32. */
  uniform(): number {
    return (this.next() >>> 8) * 2 ** -24;
  }

  /** Returns a standard normal number, by Box and Muller. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Returns `count` values of `(2·uniform() − 1)·bound`, in float32. */
  uniforms(count: number, bound: number): Float32Array {
    const values = new Float32Array(count);
    this.#each("words", count, 1, (memory, from, length, at) => {
      const words = new Uint32Array(memory, 4 * from, length);
      for (let i = 0; i < length; i++) values[at + i] = ((words[i]! >>> 8) * 2 ** -23 - 1) * bound;
    });
    this.position += count;
    return values;
  }

  /**
   * Returns `count` normal numbers with mean 0 and the given standard deviation, in float32. Each pair of words, from the next whole block
   * on, gives two numbers. The numbers differ from those of `normal`, take an eighth of the time, and have the same bits in every
   * JavaScript engine.
   */
  normals(count: number, deviation: number): Float32Array {
    const values = new Float32Array(count);
    this.position = wholeBlocks(this.#position);
    this.#each("normals", count, deviation, (memory, from, length, at) =>
      values.set(new Float32Array(memory, 4 * from, length), at),
    );
    this.position += wholeBlocks(count);
    return values;
  }

  #each(kind: "words" | "normals", count: number, scale: number, take: Take): void {
    eachPart(kind, this.#key, this.#stream, this.#position, count, scale, take);
  }
}

/** Returns a number of words, rounded up to whole blocks. */
function wholeBlocks(words: number): number {
  return 4 * Math.ceil(words / 4);
}
