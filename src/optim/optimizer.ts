/** What optimizers share: finding parameters, keeping state for each, making one graph of loss, gradients and update. */
import { gradients } from "../autodiff/gradients.ts";
import { ConfigError, GraphError } from "../errors.ts";
import { currentScope } from "../graph/scope.ts";
import { arrayTypes, sizeOf } from "../graph/types.ts";
import { type Parameter, State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Tensors that a rule keeps for each parameter, by name. */
export type Slots<Names extends string> = Readonly<Record<Names, Tensor>>;

/** What a rule sees of one parameter. */
export interface At<Names extends string, Hyper> {
  /** θₜ₋₁ */
  readonly theta: Tensor;
  /** gₜ */
  readonly g: Tensor;
  /** t, from 1, as a scalar. */
  readonly t: Tensor;
  /** α, as a scalar. */
  readonly rate: Tensor;
  readonly slots: Slots<Names>;
  readonly hyper: Hyper;
}

/** An optimizer as its paper writes it: pure, for one parameter, all state explicit. */
export interface Rule<Names extends string, Hyper> {
  readonly name: string;
  /** Names of the slots, which start at zero. */
  slots(hyper: Hyper): readonly Names[];
  update(at: At<Names, Hyper>): { readonly theta: Tensor; readonly slots: Slots<Names> };
}

/** Whatever has parameters: a module, or a list of parameters. */
export type Trainable =
  | { parameters(): readonly Parameter[]; namedStates?(): ReadonlyMap<string, State> }
  | readonly Parameter[];

/** Settings of every optimizer. */
export interface OptimizerOptions {
  /** α. A state variable: changing it later compiles nothing again. */
  readonly learningRate: number;
}

/** An optimizer over the parameters of a model. Made by `sgd`, `adam`, … */
export class Optimizer {
  readonly name: string;
  readonly #parameters: readonly Parameter[];
  readonly #rate: State<[]>;
  readonly #step: State<[]>;
  readonly #slots: ReadonlyMap<Parameter, ReadonlyMap<string, State>>;
  readonly #update: (parameter: Parameter, g: Tensor, t: Tensor, rate: Tensor) => void;
  #learningRate: number;

  /** Internal: use `sgd`, `adam`, … */
  constructor(target: Trainable, options: OptimizerOptions, rule: Rule<string, unknown>, hyper: unknown) {
    this.name = rule.name;
    this.#parameters = "parameters" in target ? target.parameters() : target;
    if (this.#parameters.length === 0)
      throw new ConfigError(
        rule.name,
        "the model has no parameters",
        "pass a module with layers, or a list of parameters",
      );
    this.#learningRate = expectLearningRate(rule.name, options.learningRate);
    const dtype = this.#parameters.every((parameter) => parameter.dtype === "float64") ? "float64" : "float32";
    this.#rate = scalarState(options.learningRate, dtype, "learningRate");
    this.#step = scalarState(0, dtype, "step");
    const names = rule.slots(hyper);
    this.#slots = new Map(this.#parameters.map((parameter) => [parameter, zeroSlots(parameter, names)]));
    this.#update = (parameter, g, t, rate) => {
      const own = this.#slots.get(parameter)!;
      const slots = Object.fromEntries([...own].map(([name, state]) => [name, state.current()]));
      const next = rule.update({ theta: parameter.current(), g, t, rate, slots, hyper });
      parameter.assign(next.theta);
      for (const [name, state] of own) state.assign(next.slots[name]!);
    };
  }

  /** α; assigning takes effect from the next run on, without another compilation. */
  get learningRate(): number {
    return this.#learningRate;
  }

  set learningRate(value: number) {
    this.#learningRate = expectLearningRate(this.name, value);
    this.#rate.write(arrayTypes[this.#rate.dtype].of(value));
  }

  /**
   * Adds to the graph: gradients of the loss, and the parameters' next values. Nothing runs until the graph does. A run whose
   * loss is not finite changes nothing and throws a DataError. Throws GraphError when the loss does not depend on the
   * parameters, or when all of them are frozen.
   */
  minimize(loss: Tensor): void {
    const trained = this.#parameters.filter((parameter) => parameter.trainable);
    if (trained.length === 0)
      throw new GraphError(this.name, "all parameters are frozen", "call unfreeze() on what should learn");
    currentScope().guards.push({ value: loss, subject: `${this.name}.minimize` });
    this.apply(trained, gradients(loss, trained));
  }

  /** The update alone, for gradients that were computed, clipped or averaged otherwise. */
  apply(parameters: readonly Parameter[], given: readonly Tensor[]): void {
    const t = this.#step.add(1);
    this.#step.assign(t);
    const rate = this.#rate.current();
    parameters.forEach((parameter, i) => {
      const g = given[i]!;
      if (!this.#slots.has(parameter))
        throw new ConfigError(this.name, `${parameter.label} is none of its parameters`, "make the optimizer with it");
      this.#update(parameter, g, cast(t, parameter), cast(rate, parameter));
    });
  }

  /** All variables by name: `step`, `learningRate`, and the slots of each parameter as `weight.m`. */
  namedStates(): Map<string, State> {
    const found = new Map<string, State>([
      ["step", this.#step],
      ["learningRate", this.#rate],
    ]);
    for (const [parameter, slots] of this.#slots)
      for (const [name, state] of slots) found.set(`${parameter.label}.${name}`, state);
    return found;
  }

  states(): State[] {
    return [...this.namedStates().values()];
  }
}

const cast = (scalar: Tensor, like: Tensor): Tensor => scalar.cast(like.dtype);

function expectLearningRate(name: string, rate: number): number {
  if (!(rate >= 0 && Number.isFinite(rate)))
    throw new ConfigError(name, `the learning rate is ${rate}`, "give a finite number of at least 0");
  return rate;
}

function scalarState(value: number, dtype: "float32" | "float64", name: string): State<[]> {
  return new State({ shape: [], dtype }, arrayTypes[dtype].of(value), { name });
}

function zeroSlots(parameter: Parameter, names: readonly string[]): ReadonlyMap<string, State> {
  const { shape, dtype, label } = parameter;
  return new Map(
    names.map((name) => [
      name,
      new State({ shape: [...shape], dtype }, new arrayTypes[dtype](sizeOf(shape)), { name: `${label}.${name}` }),
    ]),
  );
}
