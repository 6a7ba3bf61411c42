/** Converts rows from outside to columns. */
import type { Column } from "../data/dataset.ts";
import { placeOfRow } from "../data/places.ts";
import { DataError, quoted } from "../errors.ts";
import { described } from "../graph/arguments.ts";

/**
 * Returns the numbers of rows under these names, float32 [rows, names]. Numbers may be given as texts, as in CSV. Throws DataError, with
 * the row's place and the name, for a value that is missing or not a number.
 */
export function numbersOf(
  rows: readonly Readonly<Record<string, unknown>>[],
  names: readonly string[],
): Column<readonly [number, number], "float32"> {
  const values = new Float32Array(rows.length * names.length);
  for (const [i, row] of rows.entries())
    for (const [k, name] of names.entries()) {
      const given = Object.hasOwn(row, name) ? row[name] : undefined;
      const value = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
      if (typeof value !== "number" || !Number.isFinite(value))
        throw new DataError(
          "rows",
          `${placeOfRow(row, i + 1)}, ${quoted(name)}: ${given === undefined ? "there is no such value" : `${described(given)} is no number`}`,
          `give rows with numbers for ${names.map(quoted).join(", ")}`,
        );
      values[i * names.length + k] = value;
    }
  return { shape: [rows.length, names.length], dtype: "float32", values };
}
