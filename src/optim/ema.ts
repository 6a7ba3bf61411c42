/** The exponential moving average of a model's weights, which often generalises better than the weights themselves. */
import { ConfigError, GraphError } from "../errors.ts";
import { aFlag, aNumber, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import { currentScope } from "../graph/scope.ts";
import { isFloat } from "../graph/types.ts";
import { isModule, type Module } from "../nn/module.ts";
import { type Parameter, State } from "../tensor/state.ts";
import { expectFractions } from "./optimizer.ts";

/** Options of `ema`. */
export interface EmaOptions {
  /** β, the decay of the average in each step, from 0 to below 1. Default 0.999. */
  readonly decay?: number;
  /**
   * Whether the average follows the parameters faster at the beginning, with the decay min(β, (1 + t) / (10 + t)) in step t, counted from 0
   * (TensorFlow's ExponentialMovingAverage with `num_updates`). Default false.
   */
  readonly warmUp?: boolean;
}

/** Averages of a model's parameters, kept beside the parameters. Made by `ema`. */
export class Ema {
  readonly decay: number;
  readonly #warmUp: boolean;
  readonly #averages: ReadonlyMap<string, { readonly parameter: Parameter; readonly average: State }>;
  readonly #updates: State<[], "float64">;
  #swapped = false;

  /** Internal: use `ema`. */
  constructor(model: Pick<Module, "namedParameters">, { decay = 0.999, warmUp = false }: EmaOptions) {
    this.decay = decay;
    this.#warmUp = warmUp;
    const floats = [...model.namedParameters()].filter(([, { dtype }]) => isFloat(dtype));
    if (floats.length === 0) throw new ConfigError("ema", "the model has no parameters", "pass a module with layers");
    this.#averages = new Map(floats.map(([name, parameter]) => [name, { parameter, average: parameter.fork() }]));
    this.#updates = new State({ shape: [] as const, dtype: "float64" }, new Float64Array(1), { name: "updates" });
  }

  /**
   * Adds to the graph: each average becomes β·average + (1 − β)·parameter, with the value that has been assigned to the parameter so far.
   * Call it after `optimizer.minimize(loss)` inside a compiled step; it is then part of the step's one graph. Throws GraphError while the
   * averages are swapped in.
   */
  update(): void {
    const swapped = this.#swapped;
    currentScope().settings.push(() => this.#swapped === swapped);
    if (swapped)
      throw new GraphError(
        "ema.update",
        "the averages are swapped in: what would be averaged is the averages",
        "swap back first, or evaluate inside withAverages",
      );
    const t = this.#updates.current();
    const warm = this.#warmUp ? t.add(1).div(t.add(10)).minimum(this.decay) : undefined;
    for (const { parameter, average } of this.#averages.values()) {
      const [old, next] = [average.current(), parameter.current()];
      // Not β·average + (1 − β)·parameter, which changes the average of a frozen parameter by rounding.
      average.assign(next.add(old.sub(next).mul(warm?.cast(old.dtype) ?? this.decay)));
    }
    this.#updates.assign(t.add(1));
  }

  /**
   * Exchanges the model's parameters and their averages, without copying. The next call exchanges them again. The exchange happens after
   * all runs queued before it and before all runs queued after it.
   */
  swap(): void {
    for (const { parameter, average } of this.#averages.values()) parameter.exchange(average);
    this.#swapped = !this.#swapped;
  }

  /** Whether the model has the averages now. */
  get swapped(): boolean {
    return this.#swapped;
  }

  /**
   * Internal: calls a function while the model holds the averages. Runs and reads that it queues see them, and what is queued afterwards does
   * not.
   */
  during<R>(run: () => R): R {
    this.swap();
    try {
      return run();
    } finally {
      this.swap();
    }
  }

  /**
   * Calls `run` while the model holds the averages, and restores the parameters afterwards, also after an error. Use it to evaluate or save
   * the averaged model. Returns what `run` returns. Throws what `run` throws, and GraphError inside another `withAverages`.
   */
  async withAverages<R>(run: () => R | Promise<R>): Promise<R> {
    if (this.#swapped)
      throw new GraphError("ema.withAverages", "the averages are swapped in already", "swap back first");
    this.swap();
    try {
      return await run();
    } finally {
      this.swap();
    }
  }

  /**
   * Returns the averages as `averages.0.weight`, and the number of updates as `updates`: `encodeWeights({ model, optimizer, average })`
   * saves them beside the model, and training that continues from the file gives the same averages, bit for bit. Throws GraphError while
   * the averages are swapped in.
   */
  namedStates(): Map<string, State> {
    if (this.#swapped)
      throw new GraphError("ema", "the averages are swapped in and cannot be saved or loaded", "swap back first");
    return this.#statesAs("averages");
  }

  /** Internal: whether the graph that is being traced has an update. */
  get isUpdated(): boolean {
    return currentScope().assigned.has(this.#updates);
  }

  /** Internal: the parameters that are averaged. */
  get parameters(): readonly Parameter[] {
    return [...this.#averages.values()].map(({ parameter }) => parameter);
  }

  /** Internal: the other half of a checkpoint that holds the averages as the model's weights. The averages must be swapped in. */
  readonly trained: Pick<Module, "namedStates"> = { namedStates: () => this.#statesAs("trained") };

  #statesAs(what: string): Map<string, State> {
    const found = new Map<string, State>([["updates", this.#updates]]);
    for (const [name, { average }] of this.#averages) found.set(`${what}.${name}`, average);
    return found;
  }

  states(): State[] {
    return [...this.namedStates().values()];
  }
}

/**
 * Makes averages of a model's parameters: `const average = ema(model, { decay: 0.999 })`, then `average.update()` after
 * `optimizer.minimize(loss)` in each step, and `average.withAverages(() => …)` to evaluate or save with them. The averages start at the
 * parameters' values. Running statistics of normalisation layers are averages already and are not averaged again. Throws ConfigError for a
 * decay outside [0, 1) and for a model without parameters. (Polyak and Juditsky 1992.)
 */
export function ema(model: Module, options: EmaOptions = {}): Ema {
  expectArguments("ema", [aModule, optionsOf({ decay: aNumber, warmUp: aFlag })], [model, options]);
  expectFractions("ema", "the decay is", options.decay ?? 0.999);
  return new Ema(model, options);
}

const aModule = (value: unknown): string | undefined =>
  isModule(value) ? undefined : "give a module, such as sequential(linear(4, 3))";
