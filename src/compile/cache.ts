/** The cache of compiled graphs, with a limit in bytes. The entries that were used least recently are released first. */
import { ConfigError } from "../errors.ts";

/** An entry of a cache: it takes memory, which it can give back. */
export interface Cached {
  /** About how many bytes it takes. */
  readonly bytes: number;
  /** When it was used last: the value of the counter `uses` at that time. */
  lastUse: number;
  /** Gives its memory back as soon as no run uses it. */
  release(): void;
}

const defaultMegabytes = 256;
const megabyte = 2 ** 20;

/** Returns the limit that GLISSADE_CACHE sets, in bytes. Throws ConfigError unless it is a whole number of megabytes, or not set. */
function readLimit(): number {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  const given = process?.env?.GLISSADE_CACHE;
  if (given === undefined) return defaultMegabytes * megabyte;
  if (!/^\d{1,7}$/.test(given))
    throw new ConfigError("GLISSADE_CACHE", `the limit is "${given}"`, "give a whole number of megabytes");
  return Number(given) * megabyte;
}

let uses = 0;

/** Notes that an entry is being used now. */
export function touch(cached: Cached): void {
  cached.lastUse = ++uses;
}

/**
 * A map from keys to compiled graphs, with a limit in bytes. Two entries are kept in any case: the one added last, and, among those that
 * are larger than the limit by themselves, the one used last. Otherwise the graph that computes a large function's arguments would push
 * out the function itself, which would be compiled again at every call.
 */
export class Cache<T extends Cached> {
  readonly #entries = new Map<string, T>();
  readonly #limit: number;

  /** @param limit in bytes. Default: GLISSADE_CACHE, or 256 MB */
  constructor(limit: number = readLimit()) {
    this.#limit = limit;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  /** Adds an entry, and releases others until the cache takes no more than the limit. */
  add(key: string, entry: T): void {
    this.#entries.set(key, entry);
    touch(entry);
    let bytes = 0;
    for (const each of this.#entries.values()) bytes += each.bytes;
    if (bytes <= this.#limit) return;
    const oldestFirst = [...this.#entries].sort(([, a], [, b]) => a.lastUse - b.lastUse);
    const large = oldestFirst.findLast(([, each]) => each.bytes > this.#limit)?.[1];
    if (large) bytes -= large.bytes;
    for (const [oldest, each] of oldestFirst) {
      if (bytes <= this.#limit || each === entry) return;
      if (each === large) continue;
      bytes -= each.bytes;
      this.#entries.delete(oldest);
      each.release();
    }
  }

  /** Forgets entries without releasing them. */
  prune(isGone: (entry: T) => boolean): void {
    for (const [key, entry] of this.#entries) if (isGone(entry)) this.#entries.delete(key);
  }

  /** Forgets an entry without releasing it. */
  delete(key: string): void {
    this.#entries.delete(key);
  }
}
