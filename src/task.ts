/** Work that takes time. The event loop drives it, or the caller finishes it synchronously. */

/** Work in progress. It can be awaited like a promise. */
export interface Waiting<T> extends PromiseLike<T> {
  /**
   * Finishes the work synchronously, and throws what the work throws. Returns `undefined` if only the event loop can finish the work.
   * Absent if that is always so, as for a promise.
   */
  now?(): { readonly value: T } | undefined;
}

/** The result of ended work: a value or an error. */
type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/** Work as a generator of steps: it yields the work that it has to wait for. */
export type Steps<T> = Generator<Waiting<unknown>, T, unknown>;

/** Waits, inside of steps: `const session = yield* wait(loading)`. */
export function* wait<T>(work: Waiting<T>): Steps<T> {
  if (work instanceof Task && work.isDone) return (work as Task<T>).now()!.value;
  return (yield work) as T;
}

/**
 * Work in steps. Steps that need not wait follow one another without a turn of the event loop. An error is kept until a caller asks
 * for it: without a caller, it is not an unhandled rejection.
 */
export class Task<T> implements Waiting<T> {
  /** The steps. Dropped at the end, so that the objects they refer to can be freed. */
  #steps: Steps<T> | undefined;
  #hasStarted = false;
  /** The work that the next step waits for. */
  #awaited: Waiting<unknown> | undefined;
  #outcome: Outcome<T> | undefined;
  #listeners: (() => void)[] | undefined;

  /** Makes a task that begins when `start` is called. */
  constructor(steps: Steps<T> | undefined) {
    this.#steps = steps;
  }

  /** Makes a task and starts it. */
  static started<T>(steps: Steps<T>): Task<T> {
    const task = new Task(steps);
    task.start();
    return task;
  }

  /** Makes a task that is done already. */
  static done<T>(value: T): Task<T> {
    const task = new Task<T>(undefined);
    task.#hasStarted = true;
    task.#outcome = { value };
    return task;
  }

  /** Whether the work has ended, with a value or an error. */
  get isDone(): boolean {
    return this.#outcome !== undefined;
  }

  /** The error with which the work failed, if it failed. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#outcome && "error" in this.#outcome ? this.#outcome : undefined;
  }

  /** Starts the work, unless it has started already. */
  start(): void {
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    this.#advance(() => this.#steps!.next());
  }

  /** Calls `listener` once the work is done; immediately if it is done already. */
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

  /** Runs the steps up to the next work that they have to wait for, and continues when that work is done. */
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
    // When the event loop delivers the result, a synchronous caller may already have continued: then it is ignored.
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
