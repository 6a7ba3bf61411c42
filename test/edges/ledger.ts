/** What a sweep has compared, what was wrong, and which exceptions it needed. */
import { type Exception, exceptions, type Place } from "./exceptions.ts";
import { isRight } from "./sweep.ts";

/** What a value may be: one of some numbers, within a share of its own size or of a scale. */
export interface Wanted {
  readonly candidates: readonly number[];
  readonly tolerance: number;
  readonly scale?: number;
}

export class Ledger {
  compared = 0;
  excepted = 0;
  /** How many values each exception has excepted. */
  readonly used: Map<Exception, number> = new Map();
  readonly #wrong = new Map<string, Set<string>>();

  /** Compares a value with what it should be. */
  check(place: Place, { candidates, tolerance, scale = 0 }: Wanted): void {
    this.compared++;
    const isFine = (least: number): boolean =>
      candidates.some((each) => isRight(place.got, each, place.dtype, tolerance, least));
    if (isFine(scale)) return;
    const { name, order } = place;
    const exception = exceptions.find(
      (each) =>
        (typeof each.of === "string" ? each.of === name : each.of.test(name)) &&
        (each.orders?.includes(order) ?? true) &&
        (each.when?.(place) ?? true) &&
        (each.scale === undefined || isFine(each.scale)),
    );
    if (!exception) {
      this.#note(place);
      return;
    }
    this.excepted++;
    this.used.set(exception, (this.used.get(exception) ?? 0) + 1);
  }

  #note({ name, order, dtype, engine, inputs, got, want }: Place): void {
    const what = `${name}, ${dtype}, ${engine}, result ${order}`;
    const lines = this.#wrong.get(what) ?? new Set();
    this.#wrong.set(what, lines);
    const shown = inputs.map((x) => (Object.is(x, -0) ? "-0" : x)).join();
    lines.add(`at ${shown} ${got} in place of ${want}`);
  }

  /** A sentence for each function that was wrong since the last time, with some of the places. */
  findings(): string {
    const text = [...this.#wrong]
      .map(([what, lines]) => `${what}: ${lines.size} wrong: ${[...lines].slice(0, 12).join("; ")}`)
      .join("\n");
    this.#wrong.clear();
    return text;
  }
}
