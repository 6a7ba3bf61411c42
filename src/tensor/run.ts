/** Runs in the queue, and failures that nobody has been told of. */
import type { Waiting } from "../task.ts";

/** A run, or a look at variables, that has its place in the queue. */
export class Run {
  /** Its place in the queue of the process: later ones have larger numbers. */
  readonly place: number;
  /** The compiled function whose call it is, if it is one. */
  readonly owner: object | undefined;
  /** Ends when the run does; fails when it fails. */
  done: Waiting<unknown> | undefined;
  #error: { readonly error: unknown } | undefined;
  #isTold = false;

  constructor(owner?: object) {
    this.place = ++count;
    this.owner = owner;
  }

  /** What it failed with, if it did. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#error;
  }

  /** Notes a failure. Unless somebody waits for the run, whoever reads anything later is told. */
  fail(error: unknown): void {
    this.#error = { error };
    if (!this.#isTold) untold.add(this);
  }

  /** Somebody waits for the run, or for what is made from it, and will be told if it fails. */
  observe(): void {
    this.#isTold = true;
    untold.delete(this);
  }
}

let count = 0;
const untold = new Set<Run>();

/**
 * Throws the first error that nobody has been told of, among the runs up to a place in the queue (default: all) and of one compiled
 * function where it is given. The others up to there count as told with it.
 */
export function tellFailures(upTo: number = Number.POSITIVE_INFINITY, owner?: object): void {
  if (untold.size === 0) return;
  const told = [...untold].filter((run) => run.place <= upTo && (owner === undefined || run.owner === owner));
  for (const run of told) run.observe();
  const [first] = told;
  if (first) throw first.failure!.error;
}

/** The errors of failed runs that nobody has been told of. */
export function untoldErrors(): readonly unknown[] {
  return [...untold].map((run) => run.failure!.error);
}
