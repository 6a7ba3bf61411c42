/** Checks of the arguments of text functions. */
import { DataError } from "../errors.ts";
import { described, type Kind } from "../graph/arguments.ts";

/** Checks that a value is iterable. */
export const anIterable: Kind = (value) =>
  typeof value === "object" && value !== null && Symbol.iterator in value ? undefined : "give an array of texts";

export const aList: Kind = (value) => (Array.isArray(value) ? undefined : "give an array");

export const someIds: Kind = (value) =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && "length" in value) ? undefined : "give an array of ids";

/** Returns ids as int32. Throws DataError for one that is no whole number or too large. `where` is added to its position. */
export function wholeIds(subject: string, ids: ArrayLike<number>, where: string = ""): Int32Array {
  if (ids instanceof Int32Array) return ids;
  const whole = Int32Array.from(ids);
  const wrong = whole.findIndex((id, i) => id !== ids[i]);
  if (wrong < 0) return whole;
  throw new DataError(
    subject,
    `id ${described(ids[wrong])}, at ${wrong}${where}, is no int32`,
    "give ids, whole numbers",
  );
}

export const someTokens: Kind = (value) =>
  Array.isArray(value) && value.every((token) => typeof token === "string" && token !== "")
    ? undefined
    : "give an array of tokens";

export const aRandom: Kind = (value) =>
  typeof value === "object" && value !== null && typeof (value as { next?: unknown }).next === "function"
    ? undefined
    : "give a source of random bits, as a loader's mapExample gets";
