/** Checks of the arguments of text functions. */
import type { Kind } from "../graph/arguments.ts";

/** Checks that a value is iterable. */
export const anIterable: Kind = (value) =>
  typeof value === "object" && value !== null && Symbol.iterator in value ? undefined : "give an array of texts";

export const aList: Kind = (value) => (Array.isArray(value) ? undefined : "give an array");

export const someIds: Kind = (value) =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && "length" in value) ? undefined : "give an array of ids";

export const someTokens: Kind = (value) =>
  Array.isArray(value) && value.every((token) => typeof token === "string" && token !== "")
    ? undefined
    : "give an array of tokens";

export const aRandom: Kind = (value) =>
  typeof value === "object" && value !== null && typeof (value as { next?: unknown }).next === "function"
    ? undefined
    : "give a source of random bits, as a loader's mapExample gets";
