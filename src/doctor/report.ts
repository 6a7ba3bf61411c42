/** The common parts of all checks' reports and of their explanations. */

/** The result of a check. `warn`: look at it, it may be right. `skip`: the check does not apply to this setup. */
export type Verdict = "pass" | "warn" | "fail" | "skip";

/** The report of a check that does not apply to a setup. */
export interface Skipped<Name extends string = string> {
  readonly check: Name;
  readonly verdict: "skip";
  /** The reason why the check does not apply. */
  readonly reason: string;
}

/** The explanation of a report in sentences. */
export interface Explanation {
  /** The result in one sentence. */
  readonly headline: string;
  /** The numbers behind the result, one per line. */
  readonly details: readonly string[];
  /** What is wrong, what usually causes it and what to do; empty when all is well. */
  readonly advice: readonly string[];
}

/** Called after each step of a check that takes many steps. */
export type OnStep = (done: number, most: number) => void;

/** The option `seed` of the checks that choose examples. */
export interface SeedOption {
  /** The seed of the choice and the order of the examples. Default 0. */
  readonly seed?: number;
}

export interface StepsOptions extends SeedOption {
  readonly onStep?: OnStep;
}
