/** Trial training: runs that change no variable of the user. */
import type { State } from "../tensor/state.ts";
import type { Tree } from "../tensor/tree.ts";
import { type Compiled, compileOver } from "./compile.ts";
import { evaluate } from "./evaluate.ts";

/**
 * Compiles functions whose runs work on forks of all variables that they touch: parameters, running statistics,
 * moments, generators. Functions of one sandbox share their forks; the variables themselves stay as they are, whatever
 * happens.
 */
export class Sandbox {
  readonly #forks = new Map<State, State>();

  private constructor() {}

  /**
   * A sandbox, once every assignment and run that was asked for has been made. A variable is forked when a function
   * that touches it is first called.
   */
  static async open(): Promise<Sandbox> {
    await evaluate();
    return new Sandbox();
  }

  /** Returns the fork that this sandbox uses in place of a variable. */
  of(state: State): State {
    const fork = this.#forks.get(state) ?? state.fork();
    this.#forks.set(state, fork);
    return fork;
  }

  /** Does what `compile` does, but the runs read and write forks of the variables. */
  compile<A extends readonly unknown[], R extends Tree>(fn: (...args: A) => R): Compiled<A, R> {
    return compileOver(fn, (state) => this.of(state));
  }
}
