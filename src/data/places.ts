/** Where rows were read, so that whatever looks at a row later can say it: `line 3 of people.csv`. */
import { printable } from "../errors.ts";

/** The origin of rows, for messages. */
export interface Origin {
  /** The name of the file or other source. */
  readonly source: string;
  /** How messages count rows: by the line of a file, by the element of a file's array, or by the position in an array of a program. */
  readonly unit: "line" | "element" | "row";
}

/** Returns a place for messages that do not name the source otherwise. */
export const placeIn = ({ source, unit }: Origin, place: number): string =>
  unit === "row" ? `row ${place}` : `${unit} ${place} of ${printable(source)}`;

interface Place {
  readonly origin: Origin;
  readonly place: number;
}

type Row = Readonly<Record<string, unknown>>;

const known = new WeakMap<Row, Place>();

/** Notes where a row was read. Returns the row. */
export function readAt(row: Row, origin: Origin, place: number): Row {
  known.set(row, { origin, place });
  return row;
}

/** Returns where a row was read, or its number among the given rows. */
export function placeOfRow(row: Row, number: number): string {
  const found = known.get(row);
  return found ? placeIn(found.origin, found.place) : `row ${number}`;
}

/** Returns where rows were read, if all are of one source. */
export function originOfRows(
  rows: readonly Row[],
): { readonly origin: Origin; readonly places: Uint32Array } | undefined {
  const found = rows.map((row) => known.get(row));
  const origin = found[0]?.origin;
  if (!origin || found.some((each) => each?.origin !== origin)) return undefined;
  return { origin, places: Uint32Array.from(found, (each) => each!.place) };
}
