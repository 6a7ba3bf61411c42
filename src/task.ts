/** Work that takes time: driven by the event loop, or finished while the caller waits. */

/** Something under way. It can be awaited like a promise. */
export interface Waiting<T> extends PromiseLike<T> {
  /**
   * Finishes the work while the caller waits, and throws what the work throws. Returns nothing where only the event loop can
   * finish it; absent where that is always so, as for a promise.
   */
  now?(): { readonly value: T } | undefined;
}

/** How work ended. */
type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/** Steps of work as a generator: it yields what it has to wait for. */
export type Steps<T> = Generator<Waiting<unknown>, T, unknown>;

/** Waits, inside of steps: `const session = yield* wait(loading)`. */
export function* wait<T>(work: Waiting<T>): Steps<T> {
  if (work instanceof Task && work.isDone) return (work as Task<T>).now()!.value;
  return (yield work) as T;
}

/**
 * Work in steps. Its steps follow one another without a turn of the event loop where nothing has to be waited for. An error that
 * nobody waits for is kept, and no rejection.
 */
export class Task<T> implements Waiting<T> {
  /** Let go of at the end: they hold whatever they worked on. */
  #steps: Steps<T> | undefined;
  #hasStarted = false;
  /** What the next step waits for. */
  #awaited: Waiting<unknown> | undefined;
  #outcome: Outcome<T> | undefined;
  #listeners: (() => void)[] | undefined;

  /** Begins with `start`. */
  constructor(steps: Steps<T> | undefined) {
    this.#steps = steps;
  }

  /** Work that has begun. */
  static started<T>(steps: Steps<T>): Task<T> {
    const task = new Task(steps);
    task.start();
    return task;
  }

  /** Work that is done. */
  static done<T>(value: T): Task<T> {
    const task = new Task<T>(undefined);
    task.#hasStarted = true;
    task.#outcome = { value };
    return task;
  }

  /** Whether it has ended, well or with an error. */
  get isDone(): boolean {
    return this.#outcome !== undefined;
  }

  /** What it failed with, if it did. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#outcome && "error" in this.#outcome ? this.#outcome : undefined;
  }

  /** Begins, unless it has begun. */
  start(): void {
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    this.#advance(() => this.#steps!.next());
  }

  /** Calls `listener` once the work is done, at once if it is. */
  whenDone(listener: () => void): void {
    if (this.#outcome) listener();
    else if (this.#listeners) this.#listeners.push(listener);
    else this.#listeners = [listener];
  }

  // biome-ignore lint/suspicious/noThenProperty: it is awaited like a promise.
  then<A = T, B = never>(
    done?: ((value: T) => A | PromiseLike<A>) | null,
    failed?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    const promise = new Promise<T>((resolve, reject) =>
      this.whenDone(() => {
        const outcome = this.#outcome!;
        if ("error" in outcome) reject(outcome.error);
        else resolve(outcome.value);
      }),
    );
    return promise.then(done, failed);
  }

  now(): { readonly value: T } | undefined {
    this.start();
    while (!this.#outcome) {
      const awaited = this.#awaited!;
      let given: { readonly value: unknown } | undefined;
      try {
        given = awaited.now?.();
      } catch (error) {
        this.#awaited = undefined;
        this.#advance(() => this.#steps!.throw(error));
        continue;
      }
      if (!given) return undefined;
      const { value } = given;
      this.#awaited = undefined;
      this.#advance(() => this.#steps!.next(value));
    }
    if ("error" in this.#outcome) throw this.#outcome.error;
    return this.#outcome;
  }

  /** Takes the next step, and those behind it up to the first that has to wait. */
  #advance(step: () => IteratorResult<Waiting<unknown>, T>): void {
    let taken: IteratorResult<Waiting<unknown>, T>;
    try {
      taken = step();
    } catch (error) {
      this.#end({ error });
      return;
    }
    if (taken.done) {
      this.#end({ value: taken.value });
      return;
    }
    const awaited = taken.value;
    this.#awaited = awaited;
    // A caller who waited may have gone on by the time that the event loop brings the answer.
    const resume = (next: () => IteratorResult<Waiting<unknown>, T>): void => {
      if (this.#awaited !== awaited) return;
      this.#awaited = undefined;
      this.#advance(next);
    };
    awaited.then(
      (value) => resume(() => this.#steps!.next(value)),
      (error) => resume(() => this.#steps!.throw(error)),
    );
  }

  #end(outcome: Outcome<T>): void {
    this.#outcome = outcome;
    this.#steps = undefined;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    if (listeners) for (const listener of listeners) listener();
  }
}
