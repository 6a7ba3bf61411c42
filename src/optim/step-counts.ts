/** How many steps each parameter of a group has taken part in. */
import { currentScope } from "../graph/scope.ts";
import { tensor } from "../tensor/create.ts";
import { type Parameter, State, type Version } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * Counts the steps of a group's parameters. A parameter that is frozen, or that the loss does not depend on, takes no part in a step: its
 * moments stay, and so must its t. Otherwise the corrections of the moments' bias would be those of old moments when it is unfrozen, and its
 * first steps several times too long. Parameters that took part in the same steps share one t, so a group in which all always do has one.
 */
export class StepCounts {
  /** The number of steps in which a parameter of the group took part. */
  readonly step: State<[]>;
  /** For each parameter, how many of these steps it took no part in. */
  readonly missed: State<[number]>;
  readonly #parameters: readonly Parameter[];
  /** The parameters' places, together where they took part in the same steps. */
  #cohorts: readonly (readonly number[])[];
  #seen: Version;

  constructor(parameters: readonly Parameter[]) {
    const count = parameters.length;
    this.#parameters = parameters;
    this.step = new State({ shape: [], dtype: "float64" }, Float64Array.of(0), { name: "step" });
    this.missed = new State({ shape: [count], dtype: "float64" }, new Float64Array(count), { name: "missedSteps" });
    this.#cohorts = [[...parameters.keys()]];
    this.#seen = this.missed.version;
  }

  /** Adds a step in which some of the parameters take part to the graph, and returns t of each of these, from 1. */
  next(taking: ReadonlySet<Parameter>): ReadonlyMap<Parameter, Tensor<[], "float64">> {
    const takes = this.#parameters.map((parameter) => taking.has(parameter));
    this.#readLoaded();
    this.#split((at) => takes[at]!);
    const cohorts = this.#cohorts;
    // The graph holds for this division alone: another trace, or values from a file, may divide the parameters further.
    currentScope().settings.push(() => {
      this.#readLoaded();
      return this.#cohorts === cohorts;
    });
    const step = this.step.add(1) as Tensor<[], "float64">;
    const missed = this.missed.current();
    this.step.assign(step);
    if (takes.includes(false))
      this.missed.assign(
        missed.add(
          tensor(
            takes.map((is) => (is ? 0 : 1)),
            "float64",
          ),
        ),
      );
    return new Map(
      cohorts.flatMap((places) => {
        const [first] = places as [number, ...number[]];
        if (!takes[first]) return [];
        const own = missed.slice([first, first + 1]).reshape([]);
        const t = cohorts.length === 1 ? step : (step.sub(own) as Tensor<[], "float64">);
        return places.map((at) => [this.#parameters[at]!, t] as const);
      }),
    );
  }

  /** Divides the parameters by values that were loaded from a file. */
  #readLoaded(): void {
    const { version } = this.missed;
    if (version === this.#seen) return;
    this.#seen = version;
    const values = version.known?.values;
    if (values) this.#split((at) => values[at]!);
  }

  /** Divides each cohort into those whose places have the same key. */
  #split(keyOf: (at: number) => number | boolean): void {
    const divided = this.#cohorts.flatMap((places) => {
      const keys = new Map<number | boolean, number[]>();
      for (const at of places) {
        const key = keyOf(at);
        const same = keys.get(key) ?? [];
        keys.set(key, same);
        same.push(at);
      }
      return [...keys.values()];
    });
    if (divided.length > this.#cohorts.length) this.#cohorts = divided;
  }
}
