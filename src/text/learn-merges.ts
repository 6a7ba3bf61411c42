/**
 * Byte-pair encoding, learned (Sennrich, Haddow and Birch 2016): the most frequent pair of neighbouring tokens becomes a token, again and
 * again. After each merge, the counts of pairs are updated only for the words that it changes, as in Hugging Face's `tokenizers`. Ties are
 * also resolved as there: among pairs with the same count, the pair whose tokens came first.
 */

export interface LearnOptions {
  /** The number of tokens at the end, including the initial tokens. */
  readonly size: number;
  /** Tokens that come first and are never merged. */
  readonly first: readonly string[];
  /** Characters that become tokens even if no word contains them. */
  readonly alphabet: Iterable<string>;
  /** The number of characters that are kept, the most frequent ones; other characters are removed from the words. */
  readonly alphabetSize: number;
  /** Pairs that are rarer than this are not merged. */
  readonly minFrequency: number;
  /** The prefix of a character that is not at the beginning of its word, such as `##`. */
  readonly prefix: string;
  /** The suffix of the last character of a word, such as `</w>`. */
  readonly suffix: string;
}

export interface Learned {
  /** The tokens by their ids. */
  readonly tokens: string[];
  /** The merges in the order in which they were learned. */
  readonly merges: [left: string, right: string][];
}

/** The upper limit of ids, so that two ids fit exactly into one number. */
const most = 2 ** 24;

/** Learns tokens and merges from words with their counts. The order of the words does not matter. */
export function learnMerges(words: ReadonlyMap<string, number>, options: LearnOptions): Learned {
  const { size, minFrequency, prefix } = options;
  const tokens = new Tokens(options.first);
  for (const character of alphabetOf(words, options)) tokens.add(character);
  const text = new Words(words, tokens, options);
  const pairs = new Pairs(text);
  const merges: [string, string][] = [];
  while (tokens.list.length < size) {
    const best = pairs.pop();
    if (best === undefined || pairs.count(best) < Math.max(1, minFrequency)) break;
    const [left, right] = pairs.parts(best);
    const a = tokens.list[left]!;
    const b = tokens.list[right]!;
    const merged = tokens.add(a + (b.startsWith(prefix) ? b.slice(prefix.length) : b));
    merges.push([a, b]);
    pairs.merge(best, merged);
  }
  return { tokens: tokens.list, merges };
}

class Tokens {
  readonly list: string[];
  readonly #ids: Map<string, number>;

  constructor(first: readonly string[]) {
    this.list = [...first];
    this.#ids = new Map(first.map((token, id) => [token, id]));
  }

  /** Returns the id of a token, which is added if it is new. */
  add(token: string): number {
    const known = this.#ids.get(token);
    if (known !== undefined) return known;
    this.#ids.set(token, this.list.length);
    return this.list.push(token) - 1;
  }
}

/** Returns the initial characters, sorted by code points. */
function alphabetOf(words: ReadonlyMap<string, number>, { alphabet, alphabetSize }: LearnOptions): string[] {
  const counts = new Map<string, number>();
  for (const [word, count] of words)
    for (const character of word) counts.set(character, (counts.get(character) ?? 0) + count);
  for (const character of alphabet) counts.set(character, Infinity);
  const byCode = (a: string, b: string): number => a.codePointAt(0)! - b.codePointAt(0)!;
  return [...counts]
    .sort(([a, m], [b, n]) => (m === n ? byCode(a, b) : n - m))
    .slice(0, Math.max(alphabetSize, [...alphabet].length))
    .map(([character]) => character)
    .sort(byCode);
}

/** The words as tokens, one word after the other in one array. A merged word leaves unused places after it. */
class Words {
  readonly symbols: Int32Array;
  readonly starts: Int32Array;
  readonly lengths: Int32Array;
  readonly counts: Float64Array;

  constructor(words: ReadonlyMap<string, number>, tokens: Tokens, { prefix, suffix }: LearnOptions) {
    this.starts = new Int32Array(words.size);
    this.lengths = new Int32Array(words.size);
    this.counts = Float64Array.from(words.values());
    const symbols: number[] = [];
    const characters = new Set(tokens.list);
    const symbolsOf = (word: string): string[] => {
      const known = [...word].filter((character) => characters.has(character));
      return known.map((character, i) => (i > 0 ? prefix : "") + character + (i === known.length - 1 ? suffix : ""));
    };
    // The words are sorted, so that the ids of tokens with a prefix or suffix do not depend on the order of the words.
    if (prefix !== "" || suffix !== "") {
      const all = new Set<string>();
      for (const word of words.keys()) for (const symbol of symbolsOf(word)) all.add(symbol);
      for (const symbol of [...all].sort()) tokens.add(symbol);
    }
    let index = 0;
    for (const word of words.keys()) {
      this.starts[index] = symbols.length;
      for (const symbol of symbolsOf(word)) symbols.push(tokens.add(symbol));
      this.lengths[index] = symbols.length - this.starts[index]!;
      index++;
    }
    this.symbols = Int32Array.from(symbols);
  }
}

/** Pairs of neighbouring tokens: their counts, the words they occur in, and the most frequent pair. */
class Pairs {
  readonly #words: Words;
  readonly #indices = new Map<number, number>();
  readonly #keys: number[] = [];
  readonly #counts: number[] = [];
  /** The words in which each pair has occurred; some may no longer contain it. */
  readonly #places: number[][] = [];
  /** A heap of pairs with the counts that they had when they were added. */
  readonly #heap: number[] = [];
  readonly #heapCounts: number[] = [];

  constructor(words: Words) {
    this.#words = words;
    const { symbols, starts, lengths, counts } = words;
    for (let word = 0; word < starts.length; word++)
      for (let at = starts[word]!, end = at + lengths[word]! - 1; at < end; at++)
        this.#add(symbols[at]!, symbols[at + 1]!, counts[word]!, word);
    for (let pair = 0; pair < this.#keys.length; pair++) this.#push(pair);
  }

  count(pair: number): number {
    return this.#counts[pair]!;
  }

  parts(pair: number): [number, number] {
    const key = this.#keys[pair]!;
    return [Math.floor(key / most), key % most];
  }

  /** Removes and returns the most frequent pair; undefined if there is none. */
  pop(): number | undefined {
    while (this.#heap.length > 0) {
      const [pair, count] = this.#take();
      const now = this.#counts[pair]!;
      if (count === now) return pair;
      // The pair's count has changed since it was added, so it is added again with the present count.
      if (now > 0) this.#push(pair);
    }
    return undefined;
  }

  /** Replaces a pair by one token in all words. */
  merge(pair: number, merged: number): void {
    const [left, right] = this.parts(pair);
    const { symbols, starts, lengths, counts } = this.#words;
    const grown = new Set<number>();
    const places = this.#places[pair]!;
    this.#places[pair] = [];
    for (const word of places) {
      const start = starts[word]!;
      const end = start + lengths[word]!;
      const count = counts[word]!;
      let to = start;
      for (let from = start; from < end; from++) {
        if (symbols[from] !== left || from + 1 >= end || symbols[from + 1] !== right) {
          symbols[to++] = symbols[from]!;
          continue;
        }
        if (to > start) {
          const before = symbols[to - 1]!;
          this.#add(before, left, -count, word);
          grown.add(this.#add(before, merged, count, word));
        }
        if (from + 2 < end) {
          const after = symbols[from + 2]!;
          this.#add(right, after, -count, word);
          grown.add(this.#add(merged, after, count, word));
        }
        symbols[to++] = merged;
        from++;
      }
      lengths[word] = to - start;
    }
    this.#counts[pair] = 0;
    for (const each of grown) if (this.#counts[each]! > 0) this.#push(each);
  }

  /** Adds to the count of a pair in a word. Returns the pair. */
  #add(left: number, right: number, count: number, word: number): number {
    const key = left * most + right;
    let pair = this.#indices.get(key);
    if (pair === undefined) {
      pair = this.#keys.push(key) - 1;
      this.#indices.set(key, pair);
      this.#counts.push(0);
      this.#places.push([]);
    }
    this.#counts[pair]! += count;
    const places = this.#places[pair]!;
    if (count > 0 && places[places.length - 1] !== word) places.push(word);
    return pair;
  }

  /** Whether the entry at `a` of the heap comes before that at `b`. */
  #isBefore(a: number, b: number): boolean {
    const [m, n] = [this.#heapCounts[a]!, this.#heapCounts[b]!];
    return m !== n ? m > n : this.#keys[this.#heap[a]!]! < this.#keys[this.#heap[b]!]!;
  }

  #swap(a: number, b: number): void {
    [this.#heap[a], this.#heap[b]] = [this.#heap[b]!, this.#heap[a]!];
    [this.#heapCounts[a], this.#heapCounts[b]] = [this.#heapCounts[b]!, this.#heapCounts[a]!];
  }

  #push(pair: number): void {
    this.#heapCounts.push(this.#counts[pair]!);
    let at = this.#heap.push(pair) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #take(): [pair: number, count: number] {
    this.#swap(0, this.#heap.length - 1);
    const taken: [number, number] = [this.#heap.pop()!, this.#heapCounts.pop()!];
    const length = this.#heap.length;
    for (let at = 0; ; ) {
      let child = 2 * at + 1;
      if (child >= length) break;
      if (child + 1 < length && this.#isBefore(child + 1, child)) child++;
      if (!this.#isBefore(child, at)) break;
      this.#swap(child, at);
      at = child;
    }
    return taken;
  }
}
