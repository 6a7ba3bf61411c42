/** Warns of functions that are compiled again and again, or whose sessions are: each compilation costs a session, and the user often does not see the reason. */
import { showType, type TensorType } from "../graph/types.ts";
import { partsOf } from "./arguments.ts";

/** After this many compilations of one function, beside the first, or of its sessions in a row, a line on standard error says why. */
const many = 10;

/** Counts how often a function is compiled, and prints the reason once. */
export class Retraces {
  readonly #calls: ReadonlyMap<string, TensorType | string>[] = [];

  /** Notes a compilation for these arguments: no earlier session could run their trace. */
  note(name: string, args: readonly unknown[]): void {
    if (this.#calls.length > many) return;
    this.#calls.push(partsOf(args));
    if (this.#calls.length <= many) return;
    const reasons = [...this.#calls.at(-1)!.keys()].flatMap((place) => this.#reason(place) ?? []);
    const what = reasons.map((reason) => reason.what).join(", ") || "settings that it reads change";
    const fix = [...new Set(reasons.map((reason) => reason.fix))].join("; ") || "set training and trainable seldom";
    console.error(`glissade: ${name} has been compiled anew ${many} times, each time at a cost: ${what}; fix: ${fix}`);
  }

  /** Says what varies at a place, and what to do; undefined where all calls were alike. */
  #reason(place: string): { readonly what: string; readonly fix: string } | undefined {
    const seen = this.#calls.map((parts) => parts.get(place));
    const last = seen.at(-1)!;
    if (typeof last === "string") {
      const values = [...new Set(seen.filter((value) => typeof value === "string"))];
      if (values.length < 2) return undefined;
      const examples = `${values.slice(0, 3).join(", ")}${values.length > 3 ? ", …" : ""}`;
      return { what: `${place} is ${examples}`, fix: "give a number that varies as tensor(number)" };
    }
    const types = seen.filter((type): type is TensorType => typeof type === "object");
    const axes = last.shape.flatMap((size, axis) => (types.some(({ shape }) => shape[axis] !== size) ? [axis] : []));
    if (axes.length > 0 && types.every(({ shape }) => shape.length === last.shape.length))
      return {
        what: `${place}, ${showType(last)}, varies along ${axes.length > 1 ? "axes" : "axis"} ${axes.join(" and ")}`,
        fix: "give few sizes: leave out a last, smaller batch, and pad sequences to some lengths",
      };
    const forms = [...new Set(types.map((type) => showType(type)))];
    if (forms.length < 2) return undefined;
    return { what: `${place} is ${forms.slice(0, 3).join(", ")}`, fix: "give it one shape and dtype" };
  }
}

/** Counts the runs in a row of a function with constant weights that made a session anew as weights had changed, and prints a line once. */
export class WeightChanges {
  readonly #name: string;
  #count = 0;
  #isTold = false;

  constructor(name: string) {
    this.#name = name;
  }

  /** Notes a run: whether a weight had changed since the session was made. */
  note(haveChanged: boolean): void {
    this.#count = haveChanged ? this.#count + 1 : 0;
    if (this.#count < many || this.#isTold) return;
    this.#isTold = true;
    console.error(
      `glissade: ${this.#name}: ${many} runs in a row have each made the session anew, as weights have changed before each of them; ` +
        "fix: leave out constantWeights, or run the function more often between two changes of the weights",
    );
  }
}
