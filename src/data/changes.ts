/** Applies random changes to the examples and batches of a loader or a stream. */
import { ConfigError } from "../errors.ts";
import { described } from "../graph/arguments.ts";
import { sizeOf, type Values } from "../graph/types.ts";
import { hostStream } from "../random/generator.ts";
import type { PhiloxStream } from "../random/stream.ts";
import { type Column, dataset } from "./dataset.ts";
import { padded } from "./sequences.ts";

export interface Changes {
  readonly seed: number;
  readonly mapExample?: ((example: readonly Values[], random: PhiloxStream) => void) | undefined;
  readonly map?: ((batch: readonly Column[], random: PhiloxStream) => readonly Column[]) | undefined;
}

/** The place of a batch: its epoch, its number in the epoch, and the place of its first example in the epoch. */
export interface BatchPlace {
  readonly epoch: number;
  readonly batch: number;
  readonly begin: number;
}

/**
 * Returns a batch after `mapExample` and `map`. `valuesOf` returns the number of values of an example in a column; by default the values of
 * the batch are divided equally.
 */
export function changed(
  columns: readonly Column[],
  { seed, mapExample, map }: Changes,
  { epoch, batch, begin }: BatchPlace,
  valuesOf?: (column: number, example: number) => number,
): readonly Column[] {
  if (mapExample) {
    const count = columns[0]!.shape[0]!;
    const sizes = columns.map(({ shape }) => sizeOf(shape.slice(1)));
    for (let i = 0; i < count; i++) {
      const example = columns.map(({ values }, place) => {
        const at = i * sizes[place]!;
        return values.subarray(at, at + (valuesOf?.(place, i) ?? sizes[place]!));
      });
      mapExample(example, hostStream(seed, "augmentation", epoch, 2 * (begin + i)));
    }
  }
  if (!map) return columns;
  const mapped: unknown = map(columns, hostStream(seed, "augmentation", epoch, 2 * batch + 1));
  if (!Array.isArray(mapped))
    throw new ConfigError("map", `it returned ${described(mapped)}`, "return an array of columns");
  return dataset(...(mapped as Column[])).columns.map((column) => padded<Column>(column));
}
