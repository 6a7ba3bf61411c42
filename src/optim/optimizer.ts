/** What optimizers share: finding parameters, keeping state for each, making one graph of loss, gradients and update. */
import { gradients } from "../autodiff/gradients.ts";
import { ConfigError, GraphError } from "../errors.ts";
import { currentScope } from "../graph/scope.ts";
import { arrayTypes, type Shape, sizeOf } from "../graph/types.ts";
import { type Parameter, State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { clipByGlobalNorm, clipByValue, globalNorm } from "./clipping.ts";

/** Tensors that a rule keeps for each parameter, by name. */
export type Slots<Names extends string> = Readonly<Record<Names, Tensor>>;

/** How a slot begins. */
export interface SlotStart {
  /** Default 0. */
  readonly value?: number;
  /** One number for the whole parameter instead of one for each element. Default false. */
  readonly scalar?: boolean;
}

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
  slots(hyper: Hyper): Readonly<Partial<Record<Names, SlotStart>>>;
  update(at: At<Names, Hyper>): { readonly theta: Tensor; readonly slots: Partial<Slots<Names>> };
}

/** Parameters that are trained a little differently from others. */
export interface ParameterGroup {
  readonly parameters: Parameters;
  /** The group's rate is the optimizer's times this. Default 1. */
  readonly rateFactor?: number;
  /** In place of the optimizer's. */
  readonly weightDecay?: number;
}

/** A module, or a list of parameters. */
export type Parameters = { parameters(): readonly Parameter[] } | readonly Parameter[];

/** Whatever has parameters: a module, a list of parameters, or groups of them with settings of their own. */
export type Trainable = Parameters | readonly ParameterGroup[];

/** Settings of every optimizer. */
export interface OptimizerOptions {
  /** α. A state variable: changing it later compiles nothing again. */
  readonly learningRate?: number;
  /** λ, how strongly parameters are pulled towards 0. Default 0. */
  readonly weightDecay?: number;
}

/** How α and λ stand when nothing is said, and where the decay goes. */
export interface Defaults {
  readonly learningRate: number;
  readonly weightDecay?: number;
  /**
   * "coupled": λ·θ is added to the gradient, as an L2 penalty of the loss would. "decoupled": θ shrinks by α·λ·θ beside the
   * update (Loshchilov and Hutter 2019).
   */
  readonly decay?: "coupled" | "decoupled";
}

/** What becomes of the gradients before the update. */
export interface MinimizeOptions {
  /** Scales all gradients together so that their global norm is at most this. */
  readonly clipNorm?: number;
  /** Cuts each element of each gradient to ± this. */
  readonly clipValue?: number;
}

interface Settings {
  readonly rateFactor: number;
  readonly weightDecay: number;
}

/** An optimizer over the parameters of a model. Made by `sgd`, `adam`, … */
export class Optimizer {
  readonly name: string;
  readonly #settings: ReadonlyMap<Parameter, Settings>;
  readonly #rate: State<[]>;
  readonly #step: State<[]>;
  readonly #slots: ReadonlyMap<Parameter, ReadonlyMap<string, State>>;
  readonly #update: (parameter: Parameter, g: Tensor, t: Tensor, rate: Tensor) => void;
  #learningRate: number;

  /** Internal: use `sgd`, `adam`, … */
  constructor(
    target: Trainable,
    options: OptimizerOptions,
    defaults: Defaults,
    rule: Rule<string, unknown>,
    hyper: unknown,
  ) {
    this.name = rule.name;
    const decay = options.weightDecay ?? defaults.weightDecay ?? 0;
    this.#settings = settingsOf(rule.name, target, decay);
    const parameters = [...this.#settings.keys()];
    if (parameters.length === 0)
      throw new ConfigError(
        rule.name,
        "the model has no parameters",
        "pass a module with layers, or a list of parameters",
      );
    this.#learningRate = expectLearningRate(rule.name, options.learningRate ?? defaults.learningRate);
    const dtype = parameters.every((parameter) => parameter.dtype === "float64") ? "float64" : "float32";
    this.#rate = scalarState(this.#learningRate, dtype, "learningRate");
    this.#step = scalarState(0, dtype, "step");
    const starts = Object.entries(rule.slots(hyper)) as [string, SlotStart][];
    this.#slots = new Map(parameters.map((parameter) => [parameter, slotsOf(parameter, starts)]));
    const isDecoupled = defaults.decay === "decoupled";
    this.#update = (parameter, given, t, common) => {
      const { rateFactor, weightDecay } = this.#settings.get(parameter)!;
      const own = this.#slots.get(parameter)!;
      const slots = Object.fromEntries([...own].map(([name, state]) => [name, state.current()]));
      const rate = rateFactor === 1 ? common : common.mul(rateFactor);
      const before = parameter.current();
      const isDecayed = weightDecay !== 0;
      const g = isDecayed && !isDecoupled ? given.add(before.mul(weightDecay)) : given; //  g ← g + λ·θ
      const theta = isDecayed && isDecoupled ? before.mul(rate.mul(-weightDecay).add(1)) : before; //  θ ← θ − α·λ·θ
      const next = rule.update({ theta, g, t, rate, slots, hyper });
      parameter.assign(next.theta);
      for (const [name, state] of own) state.assign(next.slots[name]!);
    };
  }

  /** All parameters that the optimizer was made with, frozen ones included. */
  get parameters(): readonly Parameter[] {
    return [...this.#settings.keys()];
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
   * loss is not finite changes nothing and throws a DataError. Returns the global norm of the gradients as they were before
   * any clipping: it is computed only if somebody looks at it. Throws GraphError when the loss does not depend on the
   * parameters, or when all of them are frozen.
   */
  minimize(loss: Tensor, options: MinimizeOptions = {}): { readonly norm: Tensor } {
    const trained = this.trained();
    currentScope().guards.push({ value: loss, subject: `${this.name}.minimize` });
    return this.apply(trained, gradients(loss, trained), options);
  }

  /** The parameters that are not frozen. Throws GraphError when all are. */
  trained(): readonly Parameter[] {
    const trained = this.parameters.filter((parameter) => parameter.trainable);
    if (trained.length === 0)
      throw new GraphError(this.name, "all parameters are frozen", "call unfreeze() on what should learn");
    return trained;
  }

  /** The update alone, for gradients that were computed, clipped or averaged otherwise. */
  apply(
    parameters: readonly Parameter[],
    given: readonly Tensor[],
    { clipNorm, clipValue }: MinimizeOptions = {},
  ): { readonly norm: Tensor } {
    const norm = globalNorm(given);
    const cut = clipValue === undefined ? given : clipByValue(given, clipValue);
    const clipped = clipNorm === undefined ? cut : clipByGlobalNorm(cut, clipNorm).gradients;
    const t = this.#step.add(1);
    this.#step.assign(t);
    const rate = this.#rate.current();
    parameters.forEach((parameter, i) => {
      if (!this.#slots.has(parameter))
        throw new ConfigError(this.name, `${parameter.label} is none of its parameters`, "make the optimizer with it");
      this.#update(parameter, clipped[i]!, t.cast(parameter.dtype), rate.cast(parameter.dtype));
    });
    return { norm };
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

/** Throws ConfigError for a fraction, such as a decay rate of an average, outside [0, 1). */
export function expectFractions(name: string, what: string, ...values: readonly number[]): void {
  if (!values.every((value) => value >= 0 && value < 1))
    throw new ConfigError(name, `${what} ${values.join(", ")}`, "give numbers from 0 to below 1");
}

/** Throws ConfigError unless ε is positive. */
export function expectEpsilon(name: string, epsilon: number): void {
  if (!(epsilon > 0)) throw new ConfigError(name, `epsilon is ${epsilon}`, "give a small positive number");
}

export const parametersOf = (target: Parameters): readonly Parameter[] =>
  "parameters" in target ? target.parameters() : target;

function settingsOf(name: string, target: Trainable, weightDecay: number): Map<Parameter, Settings> {
  const isGrouped = (list: Trainable): list is readonly ParameterGroup[] =>
    Array.isArray(list) && list.length > 0 && "parameters" in (list[0] as object) && typeof list[0] !== "function";
  const groups = isGrouped(target) ? target : [{ parameters: target }];
  const found = new Map<Parameter, Settings>();
  for (const group of groups) {
    const settings = { rateFactor: group.rateFactor ?? 1, weightDecay: group.weightDecay ?? weightDecay };
    if (!(settings.rateFactor >= 0) || !(settings.weightDecay >= 0))
      throw new ConfigError(
        name,
        `the rate factor is ${settings.rateFactor} and the weight decay ${settings.weightDecay}`,
        "give numbers of at least 0",
      );
    for (const parameter of parametersOf(group.parameters)) {
      if (found.has(parameter))
        throw new ConfigError(name, `${parameter.label} is in two groups`, "put each parameter into one group");
      found.set(parameter, settings);
    }
  }
  return found;
}

function expectLearningRate(name: string, rate: number): number {
  if (!(rate >= 0 && Number.isFinite(rate)))
    throw new ConfigError(name, `the learning rate is ${rate}`, "give a finite number of at least 0");
  return rate;
}

function scalarState(value: number, dtype: "float32" | "float64", name: string): State<[]> {
  return new State({ shape: [], dtype }, arrayTypes[dtype].of(value), { name });
}

function slotsOf(
  { shape, dtype, label }: Parameter,
  starts: readonly (readonly [string, SlotStart])[],
): ReadonlyMap<string, State> {
  return new Map(
    starts.map(([name, { value = 0, scalar = false }]) => {
      const own: Shape = scalar ? [] : shape;
      const values = new arrayTypes[dtype](sizeOf(own)).fill(value);
      return [name, new State({ shape: [...own], dtype }, values, { name: `${label}.${name}` })];
    }),
  );
}
