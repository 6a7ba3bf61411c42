/** Runs in the queue, and failures that were not reported to any caller yet. */
import type { Waiting } from "../task.ts";

/** An entry of the queue: a run, or a read of variables. */
export class Run {
  /** The place in the queue of the process: later entries have larger numbers. */
  readonly place: number;
  /** The compiled function whose call this is, if it is such a call. */
  readonly owner: object | undefined;
  /** Ends when the run ends, and fails when the run fails. */
  done: Waiting<unknown> | undefined;
  #error: { readonly error: unknown } | undefined;
  #isTold = false;

  constructor(owner?: object) {
    this.place = ++count;
    this.owner = owner;
  }

  /** The error with which the run failed, if it failed. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#error;
  }

  /** Stores the error of a failed run. If no caller waits for the run, the next caller that reads any value gets the error. */
  fail(error: unknown): void {
    this.#error = { error };
    if (!this.#isTold) untold.add(this);
  }

  /** Notes that a caller waits for the run, or for values computed from it, and will get its error if it fails. */
  observe(): void {
    this.#isTold = true;
    untold.delete(this);
  }
}

let count = 0;
const untold = new Set<Run>();

/**
 * Throws the first error that was not reported yet, among the runs up to a place in the queue (default: all), and only of the compiled
 * function `owner`, if given. All these errors then count as reported.
 */
export function tellFailures(upTo: number = Number.POSITIVE_INFINITY, owner?: object): void {
  if (untold.size === 0) return;
  const told = [...untold].filter((run) => run.place <= upTo && (owner === undefined || run.owner === owner));
  for (const run of told) run.observe();
  const [first] = told;
  if (first) throw first.failure!.error;
}

/** Returns the errors of failed runs that were not reported yet. */
export function untoldErrors(): readonly unknown[] {
  return [...untold].map((run) => run.failure!.error);
}
