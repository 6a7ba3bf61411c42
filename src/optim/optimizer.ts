/** The parts that optimizers share: they find parameters, keep state for each, and make one graph of loss, gradients and update. */
import { partialGradients } from "../autodiff/gradients.ts";
import { ConfigError, DTypeError, GraphError, ShapeError } from "../errors.ts";
import {
  aFlag,
  aNumber,
  aTensor,
  described,
  expectArguments,
  type Kind,
  readingOptions,
  options as record,
  tensors,
} from "../graph/arguments.ts";
import { allocate, isFloat, sameShape, showType, type TensorType, type Values } from "../graph/types.ts";
import { Parameter, State, type Version } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { clipByGlobalNorm, clipByNorm, clipByValue, globalNorm } from "./clipping.ts";
import { guardGradients, guardLoss } from "./guards.ts";
import { StepCounts } from "./step-counts.ts";

/** Tensors that a rule keeps for each parameter, by name. */
export type Slots<Names extends string> = Readonly<Record<Names, Tensor>>;

/** The initial value of a slot. */
export interface SlotStart {
  /** Default 0. */
  readonly value?: number;
  /** Whether the slot is one float64 number for the whole parameter instead of one number for each element. Default false. */
  readonly scalar?: boolean;
}

/** The arguments of a rule for one parameter. */
export interface At<Names extends string, Hyper> {
  /** θₜ₋₁ */
  readonly theta: Tensor;
  /** gₜ */
  readonly g: Tensor;
  /** t, from 1, as a scalar in float64. Values computed from t, such as a bias correction, are cast to θ's dtype at the end. */
  readonly t: Tensor;
  /** α, as a scalar of θ's dtype. */
  readonly rate: Tensor;
  /** α, as a scalar in float64, for rules that compute a rate from it. */
  readonly preciseRate: Tensor;
  readonly slots: Slots<Names>;
  readonly hyper: Hyper;
}

/** An optimizer as its paper writes it: pure, for one parameter, all state explicit. */
export interface Rule<Names extends string, Hyper> {
  slots(hyper: Hyper): Readonly<Partial<Record<Names, SlotStart>>>;
  update(at: At<Names, Hyper>): { readonly theta: Tensor; readonly slots: Partial<Slots<Names>> };
}

/** A rule whose hyperparameters are chosen. */
export interface Method {
  readonly slots: ReadonlyMap<string, SlotStart>;
  update(at: Omit<At<string, never>, "hyper">): { readonly theta: Tensor; readonly slots: Slots<string> };
}

/** Chooses a rule's hyperparameters. */
export function withHyper<Names extends string, Hyper>(rule: Rule<Names, Hyper>, hyper: Hyper): Method {
  return {
    slots: new Map(Object.entries(rule.slots(hyper)) as [Names, SlotStart][]),
    update: (at) => rule.update({ ...at, hyper }) as ReturnType<Method["update"]>,
  };
}

/** Settings of every optimizer. */
export interface OptimizerOptions {
  /** α. It is a variable: changing it later does not recompile the graph. */
  readonly learningRate?: number;
  /** λ, the strength with which parameters are pulled towards 0. Default 0. */
  readonly weightDecay?: number;
  /**
   * Whether the decay is separate from the gradient. Coupled: λ·θ is added to the gradient, as an L2 penalty of the loss would. Decoupled:
   * θ shrinks by α·λ·θ in addition to the update (Loshchilov and Hutter 2019). Default: decoupled for adamW and lion, coupled for all
   * others.
   */
  readonly decoupled?: boolean;
}

/** The default options of an optimizer. */
export interface Defaults {
  readonly learningRate: number;
  readonly weightDecay?: number;
  readonly decoupled?: boolean;
}

interface HasParameters {
  parameters(): readonly Parameter[];
}

/** A module, or a list of parameters and modules. */
export type Parameters = HasParameters | readonly (Parameter | HasParameters)[];

/** Parameters with options of their own. Options that the group does not give are the optimizer's. */
export type ParameterGroup<Options extends OptimizerOptions = OptimizerOptions> = Omit<
  Partial<Options>,
  "learningRate"
> & {
  readonly parameters: Parameters;
  /** The group's rate is the optimizer's rate times this factor. It is a variable, like the rate. Default 1. */
  readonly rateFactor?: number;
};

/** The things an optimizer can train: a module, a list of parameters and modules, or groups with options of their own. */
export type Trainable<Options extends OptimizerOptions = OptimizerOptions> =
  | Parameters
  | readonly ParameterGroup<Options>[];

/** How the gradients are processed before the update, in this order. */
export interface MinimizeOptions {
  /** Clips each element of each gradient to ± this value. */
  readonly clipValue?: number;
  /** Scales each gradient so that its own norm is at most this value. */
  readonly clipEachNorm?: number;
  /** Scales all gradients together so that their global norm is at most this value. */
  readonly clipNorm?: number;
}

/** The kinds of `MinimizeOptions`. */
export const minimizeKinds: Readonly<Record<keyof MinimizeOptions, Kind>> = {
  clipValue: aNumber,
  clipEachNorm: aNumber,
  clipNorm: aNumber,
};

/** Options of an optimizer's `apply`. */
export interface ApplyOptions extends MinimizeOptions {
  /** The loss whose gradients are given, a scalar. A run in which it is not finite changes nothing and throws a DataError. */
  readonly loss?: Tensor;
  /**
   * Whether a run in which a gradient is not finite changes nothing and throws a DataError. Default true; with false the update is made in
   * any case.
   */
  readonly guard?: boolean;
}

/** A number that graphs read as a variable: changing it does not recompile them. */
class Setting {
  readonly state: State<[]>;
  /** Returns the value if it is allowed, and throws otherwise. */
  readonly #expect: (value: number) => number;
  #given = 0;
  #version: Version | undefined;

  constructor(value: number, name: string, expect: (value: number) => number) {
    this.#expect = expect;
    this.state = scalarState(name);
    this.value = value;
  }

  /** The value that was assigned last, or loaded from a file since. */
  get value(): number {
    const written = this.state.version === this.#version ? undefined : this.state.version.known?.values?.[0];
    return written ?? this.#given;
  }

  set value(value: number) {
    this.state.write(Float64Array.of(this.#expect(value)));
    this.#given = value;
    this.#version = this.state.version;
  }
}

/** A group of an optimizer's parameters, with the group's own settings. */
export class OptimizerGroup {
  readonly parameters: readonly Parameter[];
  /** λ */
  readonly weightDecay: number;
  readonly decoupled: boolean;
  /** Internal. */
  readonly method: Method;
  readonly #factor: Setting;
  readonly #counts: StepCounts;

  /** Internal: use `sgd`, `adam`, … */
  constructor(name: string, group: ParameterGroup, defaults: Defaults, method: Method) {
    this.parameters = parametersOf(group.parameters);
    this.weightDecay = expectAtLeastZero(name, "the weight decay", group.weightDecay ?? defaults.weightDecay ?? 0);
    this.decoupled = group.decoupled ?? defaults.decoupled ?? false;
    this.method = method;
    this.#factor = new Setting(group.rateFactor ?? 1, "rateFactor", (value) =>
      expectAtLeastZero(name, "the rate factor", value),
    );
    this.#counts = new StepCounts(this.parameters);
  }

  /**
   * The group's rate is the optimizer's rate times this factor. An assigned value takes effect from the next run on, without recompilation.
   */
  get rateFactor(): number {
    return this.#factor.value;
  }

  set rateFactor(value: number) {
    this.#factor.value = value;
  }

  /** Internal: the number of steps in which a parameter of the group took part. */
  get step(): State<[]> {
    return this.#counts.step;
  }

  /** Internal: for each parameter, how many of these steps it took no part in. */
  get missedSteps(): State<[number]> {
    return this.#counts.missed;
  }

  /** Internal: adds a step in which some of the parameters take part to the graph, and returns t of each of these. */
  nextStep(taking: ReadonlySet<Parameter>): ReadonlyMap<Parameter, Tensor> {
    return this.#counts.next(taking);
  }

  /** Internal: the variable behind `rateFactor`. */
  get factor(): State<[]> {
    return this.#factor.state;
  }
}

/** An optimizer over the parameters of a model. Made by `sgd`, `adam`, … */
export class Optimizer {
  readonly name: string;
  /** The groups that the optimizer was made with; empty if it was made with a model or parameters. */
  readonly groups: readonly OptimizerGroup[];
  /** The groups, or one group of all parameters. */
  readonly #all: readonly OptimizerGroup[];
  readonly #rate: Setting;
  /** The parameters that were reported because the loss does not depend on them. */
  readonly #noted = new Set<Parameter>();
  readonly #places: ReadonlyMap<Parameter, { readonly group: OptimizerGroup; readonly slots: Map<string, State> }>;

  /** Internal: use `sgd`, `adam`, … */
  constructor(name: string, groups: readonly OptimizerGroup[], hasGroups: boolean, rate: number) {
    this.name = name;
    this.groups = hasGroups ? groups : [];
    this.#all = groups;
    this.#rate = new Setting(rate, "learningRate", (value) => expectAtLeastZero(name, "the learning rate", value));
    const places = new Map<Parameter, { group: OptimizerGroup; slots: Map<string, State> }>();
    for (const group of groups)
      for (const parameter of group.parameters) {
        if (places.has(parameter))
          throw new ConfigError(name, `${parameter.label} is in two groups`, "put each parameter into one group");
        places.set(parameter, { group, slots: slotsOf(parameter, group.method) });
      }
    this.#places = places;
    if (places.size === 0)
      throw new ConfigError(name, "the model has no parameters", "pass a module with layers, or a list of parameters");
  }

  /** Internal: the groups, or one group of all parameters. */
  get allGroups(): readonly OptimizerGroup[] {
    return this.#all;
  }

  /** All parameters that the optimizer was made with, frozen ones included. */
  get parameters(): readonly Parameter[] {
    return [...this.#places.keys()];
  }

  /** α. An assigned value takes effect from the next run on, without recompilation. */
  get learningRate(): number {
    return this.#rate.value;
  }

  set learningRate(value: number) {
    this.#rate.value = value;
  }

  /**
   * Adds to the graph: gradients of the loss, and the parameters' next values. Nothing is computed until the graph runs. A run in which the
   * loss or a gradient is not finite changes nothing and throws a DataError. Returns the global norm of the gradients before any clipping;
   * it is computed only if it is used. Parameters that the loss does not depend on do not change, not even by decay, and are reported once
   * on standard error. Throws GraphError when the loss depends on no parameter, or when all parameters are frozen.
   */
  minimize(loss: Tensor, options: MinimizeOptions = {}): { readonly norm: Tensor } {
    expectArguments(`${this.name}.minimize`, [aTensor, record(minimizeKinds)], [loss, options]);
    const { parameters, gradients } = this.gradients(loss);
    guardLoss(`${this.name}.minimize`, loss);
    guardGradients(`${this.name}.minimize`, parameters, gradients);
    return this.apply(parameters, gradients, { ...options, guard: false });
  }

  /**
   * Returns the parameters that `minimize` would update, with the gradients of the loss: parameters that are not frozen and that the loss
   * depends on. Unfrozen parameters that it does not depend on are reported once on standard error. Throws GraphError when no parameter is
   * left.
   */
  gradients(loss: Tensor): { readonly parameters: readonly Parameter[]; readonly gradients: readonly Tensor[] } {
    expectArguments(`${this.name}.gradients`, [aTensor], [loss]);
    const trained = this.trained();
    const found = partialGradients(loss, trained);
    const parameters = trained.filter((_, i) => found[i]);
    if (parameters.length === 0)
      throw new GraphError(
        this.name,
        "the loss does not depend on any of the parameters",
        "check that the forward pass uses them, and that they were not assigned to in between",
      );
    this.#note(trained.filter((_, i) => !found[i]));
    return { parameters, gradients: found.filter((gradient) => gradient !== undefined) };
  }

  /** Reports parameters that the loss does not depend on, each once. */
  #note(unreached: readonly Parameter[]): void {
    const fresh = unreached.filter((parameter) => !this.#noted.has(parameter));
    for (const parameter of fresh) this.#noted.add(parameter);
    if (fresh.length === 0) return;
    const shown = fresh.slice(0, 8).map(({ label }) => label);
    const more = fresh.length > shown.length ? ` and ${fresh.length - shown.length} more` : "";
    console.error(`glissade: ${this.name}: the loss does not depend on ${shown.join(", ")}${more}: left alone`);
  }

  /** Returns the parameters that are not frozen. Throws GraphError when all are frozen. */
  trained(): readonly Parameter[] {
    const trained = this.parameters.filter((parameter) => parameter.trainable);
    if (trained.length === 0)
      throw new GraphError(this.name, "all parameters are frozen", "call unfreeze() on what should learn");
    return trained;
  }

  /**
   * Adds only the update to the graph, for gradients that were computed, clipped or averaged elsewhere: one gradient for each of the
   * parameters. A run in which a gradient is not finite changes nothing and throws a DataError. Throws ConfigError for a parameter that the
   * optimizer was not made with, ShapeError for gradients that do not fit and for a loss that is not a scalar.
   */
  apply(
    parameters: readonly Parameter[],
    given: readonly Tensor[],
    applyOptions: ApplyOptions = {},
  ): { readonly norm: Tensor } {
    const kinds = [parameterList, tensors, record({ ...minimizeKinds, loss: aTensor, guard: aFlag })];
    expectArguments(`${this.name}.apply`, kinds, [parameters, given, applyOptions]);
    const { loss, guard = true, ...options } = applyOptions;
    this.#expectFit(parameters, given);
    if (loss) expectLoss(this.name, loss);
    if (loss) guardLoss(`${this.name}.apply`, loss);
    if (guard) guardGradients(`${this.name}.apply`, parameters, given);
    const norm = globalNorm(given);
    const clipped = clip(given, options);
    const rate = this.#rate.state.current();
    const taking = new Set(parameters);
    const shared = new Map<OptimizerGroup, { times: ReadonlyMap<Parameter, Tensor>; rate: Tensor }>();
    for (const [i, parameter] of parameters.entries()) {
      const { group, slots } = this.#places.get(parameter)!;
      const { times, rate: own } = shared.get(group) ?? {
        times: group.nextStep(taking),
        rate: this.groups.length > 0 ? rate.mul(group.factor.current()) : rate,
      };
      shared.set(group, { times, rate: own });
      update(parameter, clipped[i]!, group, slots, times.get(parameter)!, own);
    }
    return { norm };
  }

  /**
   * Returns all variables by name: `learningRate`, `step`, `missedSteps` (for each parameter, in how many steps it was frozen or the loss did
   * not depend on it), and the slots of each parameter, such as `weight.m`. With groups there are also `groups.0.rateFactor`, and
   * `groups.0.step` and `groups.0.missedSteps` in place of `step` and `missedSteps`. `encodeWeights` and `decodeWeights` accept an optimizer like a model.
   * Training that continues after both are restored gives the same numbers, bit for bit.
   */
  namedStates(): Map<string, State> {
    const found = new Map<string, State>([["learningRate", this.#rate.state]]);
    const add = (start: string, { step, missedSteps }: OptimizerGroup): void =>
      void found.set(`${start}step`, step).set(`${start}missedSteps`, missedSteps);
    if (this.groups.length === 0) add("", this.#all[0]!);
    for (const [i, group] of this.groups.entries()) {
      found.set(`groups.${i}.rateFactor`, group.factor);
      add(`groups.${i}.`, group);
    }
    const names = namesOf(this.parameters);
    for (const [parameter, { slots }] of this.#places)
      for (const [name, state] of slots) found.set(`${names.get(parameter)}.${name}`, state);
    return found;
  }

  states(): State[] {
    return [...this.namedStates().values()];
  }

  #expectFit(parameters: readonly Parameter[], given: readonly Tensor[]): void {
    if (parameters.length !== given.length)
      throw new ShapeError(
        this.name,
        `${given.length} gradients for ${parameters.length} parameters`,
        "give one gradient for each parameter",
      );
    for (const [i, parameter] of parameters.entries()) {
      if (!this.#places.has(parameter))
        throw new ConfigError(this.name, `${parameter.label} is none of its parameters`, "make the optimizer with it");
      if (!sameShape(parameter.shape, given[i]!.shape))
        throw new ShapeError(
          this.name,
          `${parameter.label} is ${showType(parameter)}, its gradient ${showType(given[i]!)}`,
          "give a gradient of the parameter's shape",
        );
    }
  }
}

/**
 * Makes an optimizer for a model or for groups of parameters. `method` chooses the rule for the options of each group, and throws for
 * options that it does not accept.
 */
export function optimizerOf<Options extends OptimizerOptions>(
  name: string,
  target: Trainable<Options>,
  options: Options,
  defaults: Defaults,
  method: (options: Options) => Method,
): Optimizer {
  expectArguments(name, [someParameters, optionsOf(options)], [target, options]);
  const groups = isGrouped(target) ? target : [{ parameters: target } as ParameterGroup<Options>];
  const made = groups.map((group) => {
    if ("learningRate" in group)
      throw new ConfigError(
        name,
        "a group has a learning rate",
        "give rateFactor: the group's rate is the optimizer's, times this",
      );
    const whole = { ...options, ...group };
    return new OptimizerGroup(name, whole, defaults, readingOptions(name, whole, method, common));
  });
  return new Optimizer(name, made, isGrouped(target), options.learningRate ?? defaults.learningRate);
}

/**
 * Defines a new optimizer. The rule is the update of one parameter, as its paper writes it. Parameter groups, weight decay, clipping,
 * guards, files and updates in place then work as for the built-in optimizers. Returns a function that makes optimizers: `lars(model, {
 * learningRate: 0.1 })`. Options that are not given to this function are those of `defaults`, or undefined in the rule.
 */
export function defineOptimizer<Options extends OptimizerOptions, Names extends string>(
  name: string,
  defaults: Defaults,
  rule: Rule<Names, Options>,
): (target: Trainable<Options>, options?: Options) => Optimizer {
  return (target, options) =>
    optimizerOf(name, target, options ?? ({} as Options), defaults, (own) => withHyper(rule, { ...own }));
}

const parameterList: Kind = (value) =>
  Array.isArray(value) && value.every((each) => each instanceof Parameter)
    ? undefined
    : "give an array of parameters, such as model.parameters()";

const someParameters = (value: unknown): string | undefined =>
  (typeof value === "object" || typeof value === "function") &&
  value !== null &&
  (Array.isArray(value) || "parameters" in value)
    ? undefined
    : "give a module, an array of parameters or modules, or groups: [{ parameters, rateFactor }]";

const optionsOf = (options: unknown) => (): string | undefined =>
  typeof options === "object" && options !== null ? undefined : "give options as a record: { learningRate: 0.01 }";

/** The options of every optimizer and every group. */
const common = ["learningRate", "weightDecay", "decoupled", "rateFactor", "parameters"];

/** Tells groups from modules: in a group `parameters` is a value, such as a module; in a module it is a method. */
function isGrouped<Options extends OptimizerOptions>(
  target: Trainable<Options>,
): target is readonly ParameterGroup<Options>[] {
  if (!Array.isArray(target)) return false;
  const [first] = target as readonly (Parameter | HasParameters | ParameterGroup<Options>)[];
  if (typeof first !== "object" || first === null || !("parameters" in first)) return false;
  return typeof first.parameters !== "function" || "parameters" in first.parameters;
}

/** Computes the next value of one parameter and of its slots. */
function update(
  parameter: Parameter,
  given: Tensor,
  { method, weightDecay, decoupled }: OptimizerGroup,
  own: ReadonlyMap<string, State>,
  t: Tensor,
  preciseRate: Tensor,
): void {
  const before = parameter.current();
  const as = (scalar: Tensor): Tensor => scalar.cast(parameter.dtype);
  const isDecayed = weightDecay !== 0;
  const g = isDecayed && !decoupled ? given.add(before.mul(weightDecay)) : given; //  g ← g + λ·θ
  const theta = isDecayed && decoupled ? before.mul(as(preciseRate.mul(-weightDecay).add(1))) : before; //  θ ← θ − α·λ·θ
  const slots = Object.fromEntries([...own].map(([name, state]) => [name, state.current()]));
  const next = method.update({ theta, g, t, rate: as(preciseRate), preciseRate, slots });
  parameter.assign(next.theta);
  for (const [name, state] of own) state.assign(next.slots[name]!);
}

/** Throws ShapeError for a loss that is not a scalar, DTypeError for a loss that is not real. */
function expectLoss(subject: string, loss: Tensor): void {
  if (loss.shape.length > 0)
    throw new ShapeError(subject, `the loss is ${showType(loss)}`, "reduce it to a scalar: .mean() or .sum()");
  if (!isFloat(loss.dtype))
    throw new DTypeError(subject, `the loss is ${showType(loss)}`, "give a float32 or float64 tensor");
}

function clip(given: readonly Tensor[], { clipValue, clipEachNorm, clipNorm }: MinimizeOptions): readonly Tensor[] {
  const cut = clipValue === undefined ? given : clipByValue(given, clipValue);
  const each = clipEachNorm === undefined ? cut : clipByNorm(cut, clipEachNorm).gradients;
  return clipNorm === undefined ? each : clipByGlobalNorm(each, clipNorm).gradients;
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

/** Returns the number. Throws ConfigError unless it is finite and at least 0. */
export function expectAtLeastZero(name: string, what: string, value: number): number {
  if (!(value >= 0 && Number.isFinite(value)))
    throw new ConfigError(name, `${what} is ${value}`, "give a finite number of at least 0");
  return value;
}

/** Returns the parameters, each once. */
export function parametersOf(target: Parameters): readonly Parameter[] {
  const holds = (each: unknown): boolean =>
    each instanceof Parameter ||
    (((typeof each === "object" && each !== null) || typeof each === "function") && "parameters" in each);
  if (!holds(target) && !(Array.isArray(target) && target.every(holds)))
    throw new ConfigError(
      "optimizer",
      `the parameters are ${described(target)}`,
      "give a module, an array of parameters or modules, or groups: [{ parameters, rateFactor }]",
    );
  if ("parameters" in target) return target.parameters();
  return [...new Set(target.flatMap((each) => (each instanceof Parameter ? [each] : each.parameters())))];
}

/** A scalar variable in float64. It is rounded only where it is combined with a parameter. */
function scalarState(name: string): State<[]> {
  return new State({ shape: [], dtype: "float64" }, Float64Array.of(0), { name });
}

function slotsOf({ shape, dtype: own, label }: Parameter, { slots }: Method): Map<string, State> {
  return new Map(
    [...slots].map(([name, { value = 0, scalar = false }]) => {
      const type: TensorType = scalar ? { shape: [], dtype: "float64" } : { shape, dtype: own };
      // The values are made when they are first needed. Zeros take no memory before they are written to.
      const values = (): Values => (value === 0 ? allocate(type) : allocate(type).fill(value));
      return [name, new State(type, values, { name: `${label}.${name}` })];
    }),
  );
}

/** Returns a name for each parameter: its label, and a number from the second parameter with the same label on: `weight`, `weight#2`. */
export function namesOf(parameters: readonly Parameter[]): ReadonlyMap<Parameter, string> {
  const seen = new Map<string, number>();
  return new Map(
    parameters.map((parameter) => {
      const count = (seen.get(parameter.label) ?? 0) + 1;
      seen.set(parameter.label, count);
      return [parameter, count === 1 ? parameter.label : `${parameter.label}#${count}`];
    }),
  );
}
