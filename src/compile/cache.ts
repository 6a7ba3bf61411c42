/** What has been compiled stays, up to a limit in bytes; what was used least recently is released first. */
import { ConfigError } from "../errors.ts";

/** Something that takes memory and can do without it. */
export interface Cached {
  /** About how many bytes it takes. */
  readonly bytes: number;
  /** When it was used last, by the count of uses. */
  lastUse: number;
  /** Gives its memory back, once nothing uses it any more. */
  release(): void;
}

const defaultMegabytes = 256;
const megabyte = 2 ** 20;

/** GLISSADE_CACHE. Throws ConfigError unless it is a whole number of megabytes, or nothing. */
function readLimit(): number {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  const given = process?.env?.GLISSADE_CACHE;
  if (given === undefined) return defaultMegabytes * megabyte;
  if (!/^\d{1,7}$/.test(given))
    throw new ConfigError("GLISSADE_CACHE", `the limit is "${given}"`, "give a whole number of megabytes");
  return Number(given) * megabyte;
}

let uses = 0;

/** Takes note that something is being used. */
export function touch(cached: Cached): void {
  cached.lastUse = ++uses;
}

/**
 * By key what has been compiled. What was added last is kept in any case. So is, of what takes more than the limit by itself, what was used
 * last: it would otherwise give way to the graph of its own arguments, and be compiled anew at every call.
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

  /** Adds an entry, and releases others until what is there takes no more than the limit. */
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
