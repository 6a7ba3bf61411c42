/** On which thread a run is executed: the caller's or the native one. */
import { performance } from "node:perf_hooks";
import { type Steps, type Waiting, wait } from "../../task.ts";

/** To hand a run over to the native thread and back takes about so many milliseconds. */
const handOver = 0.1;

/** After this many milliseconds, a run on the caller's thread lets the event loop turn. A turn costs half as much as handing a run over. */
const turnEvery = 4;
let lastTurn = performance.now();

/** Lets the event loop turn: timers fire, input and output go on. */
function turn(): Waiting<void> {
  const turned = new Promise<void>((resolve) =>
    setImmediate(() => {
      lastTurn = performance.now();
      resolve();
    }),
  );
  // A caller that waits synchronously skips the turn.
  return Object.assign(turned, { now: () => ({ value: undefined }) });
}

/** How busy this thread's JavaScript is between runs: what it could do meanwhile, if they were executed on another thread. */
class OwnWork {
  #active = 0;
  #runs = 0;
  #average = 0;

  /** Milliseconds of work for each run, an average of the last ones. Asked once at the start of each run. */
  perRun(): number {
    const { active } = performance.eventLoopUtilization();
    // A pause for something else, such as a compilation, counts as little as work that is as long as a run.
    const work = Math.min(Math.max(0, active - this.#active - this.#runs), turnEvery);
    this.#average += (work - this.#average) / 16;
    this.#active = active;
    this.#runs = 0;
    return this.#average;
  }

  /** Notes how long a run has kept this thread. */
  noteRun(milliseconds: number): void {
    this.#runs += milliseconds;
  }
}
const ownWork = new OwnWork();

/**
 * Decides on which thread a session's runs are executed. Short runs are executed on the caller's thread, which lets the event loop turn
 * every few milliseconds. So are runs that are up to twice as long, unless JavaScript has other work to do meanwhile.
 */
export class Pace {
  readonly #limit: number;
  /** Milliseconds of the quickest run so far. */
  #quickest = Number.POSITIVE_INFINITY;
  #slow = 0;

  /** @param limit milliseconds below which a run is short */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Returns whether the run that begins now should be executed on the caller's thread. */
  isOnTheSpot(): boolean {
    const work = ownWork.perRun();
    if (this.#quickest < this.#limit) return true;
    return this.#quickest < 2 * this.#limit && work < 2 * handOver;
  }

  /** Executes a run on the caller's thread. */
  *onTheSpot(run: () => void): Steps<void> {
    const started = performance.now();
    run();
    const ended = performance.now();
    ownWork.noteRun(ended - started);
    this.note(ended - started);
    if (ended - lastTurn > turnEvery) yield* wait(turn());
  }

  /** Notes how long a run took. After several slow runs in a row, runs are handed over to the native thread again. */
  note(milliseconds: number): void {
    this.#slow = milliseconds > 4 * this.#limit ? this.#slow + 1 : 0;
    this.#quickest = this.#slow > 3 ? Number.POSITIVE_INFINITY : Math.min(this.#quickest, milliseconds);
  }
}
