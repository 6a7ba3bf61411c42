/** What every check's report has in common, and how it becomes sentences. */

/** `warn`: worth a look, and may be right. `skip`: the check says nothing about this setup. */
export type Verdict = "pass" | "warn" | "fail" | "skip";

/** A check that says nothing about a setup. */
export interface Skipped<Name extends string = string> {
  readonly check: Name;
  readonly verdict: "skip";
  /** Why it does not apply. */
  readonly reason: string;
}

/** A report in sentences. */
export interface Explanation {
  /** What was found, in one sentence. */
  readonly headline: string;
  /** The numbers behind it, a line each. */
  readonly details: readonly string[];
  /** What is the matter, what usually causes it, what to do; nothing when all is well. */
  readonly advice: readonly string[];
}

/** Told after each step of a check that takes many. */
export type OnStep = (done: number, most: number) => void;

export interface SeedOption {
  /** Of the choice and the order of the examples. Default 0. */
  readonly seed?: number;
}

export interface StepsOptions extends SeedOption {
  readonly onStep?: OnStep;
}
