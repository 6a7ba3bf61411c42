/** Statistics of weights, activations and gradients, computed inside the training graph in some steps. */

import { gradients } from "../autodiff/gradients.ts";
import { ConfigError } from "../errors.ts";
import { aFunction, aRecord, expectArguments, optional, withStates } from "../graph/arguments.ts";
import { collect } from "../graph/node.ts";
import type { Plateaus } from "../graph/op.ts";
import { observedBy, type StepObserver } from "../graph/scope.ts";
import { isFloat, resolveAxis, type Shape } from "../graph/types.ts";
import { type Module, walk } from "../nn/module.ts";
import { where } from "../tensor/create.ts";
import { Parameter } from "../tensor/state.ts";
import { Tensor } from "../tensor/tensor.ts";

/** Options of `observe`. */
export interface ObserveOptions {
  /** An output of sigmoid, tanh or elu counts as saturated within this distance of an end of its range. Default 0.01. */
  readonly tolerance?: number;
  /** The axis of units. Default: the last axis; axis 1, the channels, if there are four axes or more. */
  readonly unitAxis?: number;
}

/** The statistics of one output, all scalars. Types rather than interfaces, so that a compiled function can return them. */
export type OutputReport = {
  /** √Σy² */
  readonly norm: Tensor<[]>;
  readonly mean: Tensor<[]>;
  /** The standard deviation of all elements. */
  readonly deviation: Tensor<[]>;
  /** The norm of d loss / d y; 0 when the loss does not depend on it. Only when a loss is given, and not inside loops. */
  readonly gradientNorm?: Tensor<[]>;
  /** The share of elements at an end of the activation's range, where its slope is 0 or nearly so. Activations only. */
  readonly saturated?: Tensor<[]>;
  /** The share of units that are saturated in every example: for relu, units that are 0 for the whole batch. Activations only. */
  readonly dead?: Tensor<[]>;
};

/** The statistics of one parameter, all scalars. */
export type ParameterReport = {
  /** The norm at the start of the run. */
  readonly norm: Tensor<[]>;
  /** The norm of d loss / d parameter, before any clipping; 0 when the loss does not depend on it. Only when a loss is given. */
  readonly gradientNorm?: Tensor<[]>;
  /**
   * ‖new value − old‖ / ‖old‖; 0 when the value does not change, infinite when zeros change. Only when the graph assigns to the parameter.
   */
  readonly updateRatio?: Tensor<[]>;
};

/** The statistics by path. */
export type LensReport = {
  readonly outputs: { readonly [path: string]: OutputReport };
  readonly parameters: { readonly [path: string]: ParameterReport };
};

/** The observations during a call of a model. */
export interface Observation<R> {
  /** What the call returned. */
  readonly result: R;
  /** The outputs of modules and activations by path, in the order in which they were returned. */
  readonly outputs: ReadonlyMap<string, Tensor>;
  /**
   * Returns the statistics, as scalars in the same graph. With a loss they include the norms of its gradients, which the compiler shares
   * with the optimizer's gradients. When called after the optimizer, they include the update. Throws the errors of `gradients`.
   */
  report(loss?: Tensor): LensReport;
}

/**
 * Calls a model, or a function that calls it, and keeps the outputs of its modules and activations. The model need not be changed:
 *
 *     const step = compile((x: Images, y: Labels, look: boolean) => {
 *       const seen = observe(model, () => model(x));
 *       const loss = crossEntropy(seen.result, y);
 *       optimizer.minimize(loss);
 *       return { loss, report: look ? seen.report(loss) : undefined };
 *     });
 *
 * Observation has a cost only where a report is made: with `look` false the graph is the same as without `observe`.
 *
 * Outputs are named by the path of their module; a function in `sequential` by its position. An activation inside a module, such as
 * `first(x).relu()`, is named by the module's path and its own name: `relu`, `encoder.relu`. A second output with the same name is
 * `relu#2`, and a module that returns several tensors has `rnn[0]`, `rnn[1]`. Each tensor is listed once: a module that returns its last
 * child's output is not listed again. Outputs inside the cell of a `scan` or of a recurrent layer are observed for all steps at once, along
 * a new first axis: `decoder.forgetGate`. Throws ConfigError for a tolerance outside [0, ½).
 */
export function observe<R>(model: Module, call: () => R, options: ObserveOptions = {}): Observation<R> {
  expectArguments("observe", [withStates, aFunction, optional(aRecord)], [model, call, options]);
  const { tolerance = 0.01 } = options;
  if (!(tolerance >= 0 && tolerance < 0.5))
    throw new ConfigError("observe", `the tolerance is ${tolerance}`, "give a number from 0 to below ½");
  const parameters = [...model.namedStates()].flatMap(([path, state]): Held[] =>
    state instanceof Parameter ? [{ path, parameter: state, before: state.current() }] : [],
  );
  const notes = new Notes(new Map([...walk(model)].reverse().map(([path, module]) => [module, path])));
  const result = observedBy(notes, call);
  const seen = notes.byPath();
  return {
    result,
    outputs: new Map([...seen].map(([path, { value }]) => [path, value])),
    report: (loss) => report(seen, parameters, loss, { ...options, tolerance }),
  };
}

/** A parameter and its value before the first assignment. */
interface Held {
  readonly path: string;
  readonly parameter: Parameter;
  readonly before: Tensor;
}

interface Note {
  path: string;
  readonly value: Tensor;
  readonly plateaus: Plateaus | undefined;
  /** Whether the output has its own path. An activation that is all of a module or step takes the path of that module or step. */
  isNamed: boolean;
  /** Whether the output is inside a loop, with its steps stacked. */
  readonly isInside: boolean;
}

/** The notes of an observer, one for each value. */
class Notes implements StepObserver {
  readonly #paths: ReadonlyMap<object, string>;
  readonly #notes = new Map<string, Note>();

  readonly #outside: Notes | undefined;

  constructor(paths: ReadonlyMap<object, string>, outside?: Notes) {
    this.#paths = paths;
    this.#outside = outside;
  }

  inside(): StepObserver {
    return new Notes(this.#paths, this);
  }

  get seen(): readonly Tensor[] {
    return [...this.#notes.values()].map(({ value }) => value);
  }

  tell(stacks: readonly Tensor[]): void {
    const outside = this.#outside!;
    for (const [i, note] of [...this.#notes.values()].entries())
      outside.#write({ ...note, value: stacks[i]!, isInside: true });
  }

  pathOf(module: object): string {
    return this.#paths.get(module) ?? "";
  }

  applied(value: Tensor): void {
    const { op, params, path } = value.node;
    const plateaus = op.plateaus?.(params);
    if (plateaus && isWatched(value))
      this.#write({
        path: path === "" ? op.name : `${path}.${op.name}`,
        value,
        plateaus,
        isNamed: false,
        isInside: false,
      });
  }

  called(path: string, result: unknown): void {
    for (const [name, value] of tensorsIn(path || "(whole)", result)) {
      const note = this.#write({ path: name, value, plateaus: undefined, isNamed: true, isInside: false });
      if (!note.isNamed) Object.assign(note, { path: name, isNamed: true });
    }
  }

  /** Returns the existing note of the value, or adds this note. */
  #write(note: Note): Note {
    const key = `${note.value.node.id}.${note.value.index}`;
    const known = this.#notes.get(key) ?? note;
    this.#notes.set(key, known);
    return known;
  }

  /** Returns the notes by path, in the order of the outputs. The second note with the same path gets #2. */
  byPath(): ReadonlyMap<string, Note> {
    const found = new Map<string, Note>();
    for (const note of this.#notes.values()) {
      let name = note.path;
      for (let i = 2; found.has(name); i++) name = `${note.path}#${i}`;
      found.set(name, note);
    }
    return found;
  }
}

const isWatched = ({ dtype, size }: Tensor): boolean => isFloat(dtype) && size > 0;

/** Yields the real tensors in a module's result. */
function* tensorsIn(path: string, result: unknown): Generator<[string, Tensor]> {
  if (result instanceof Tensor) {
    const value = result.current();
    if (isWatched(value)) yield [path, value];
  } else if (Array.isArray(result) || (typeof result === "object" && isRecord(result)))
    for (const [name, part] of Object.entries(result)) yield* tensorsIn(`${path}[${name}]`, part);
}

const isRecord = (value: object | null): value is object =>
  value !== null && Object.getPrototypeOf(value) === Object.prototype;

function report(
  seen: ReadonlyMap<string, Note>,
  parameters: readonly Held[],
  loss: Tensor | undefined,
  options: ObserveOptions & { readonly tolerance: number },
): LensReport {
  const whole = [...seen.values()].filter(({ isInside }) => !isInside);
  const targets = [...whole.map(({ value }) => value), ...parameters.map(({ before }) => before)];
  const norms = loss && new Map(gradientNorms(loss, targets).map((norm, i) => [targets[i]!, norm]));
  const outputs = [...seen].map(([path, { value, plateaus, isInside }]) => [
    path,
    {
      norm: normOf(value),
      mean: value.mean(),
      deviation: value.variance().sqrt(),
      ...(norms && !isInside && { gradientNorm: norms.get(value)! }),
      ...(plateaus && flatShares(value, plateaus, options)),
    } as OutputReport,
  ]);
  const rest = parameters.map(({ path, parameter, before }) => {
    const after = parameter.current();
    const norm = normOf(before);
    const isAssigned = after.node !== before.node || after.index !== before.index;
    return [
      path,
      {
        norm,
        ...(norms && { gradientNorm: norms.get(before)! }),
        ...(isAssigned && { updateRatio: ratio(normOf(after.sub(before)), norm) }),
      } as ParameterReport,
    ];
  });
  return { outputs: Object.fromEntries(outputs), parameters: Object.fromEntries(rest) };
}

const normOf = (x: Tensor): Tensor<[]> => x.mul(x).sum().sqrt() as Tensor<[]>;

/** Returns a / b, and 0 where a is 0. */
const ratio = (a: Tensor<[]>, b: Tensor<[]>): Tensor<[]> => where(a.equal(0), a, a.div(b));

function gradientNorms(loss: Tensor, targets: readonly Tensor[]): Tensor<[]>[] {
  const reached = new Set(collect([loss.current()]));
  const used = targets.filter(({ node }) => reached.has(node));
  const norms = new Map(gradients(loss, used).map((gradient, i) => [used[i]!, normOf(gradient)]));
  return targets.map((target) => norms.get(target) ?? (target.scalar(0) as Tensor<[]>));
}

function flatShares(
  y: Tensor,
  { low, high, reached }: Plateaus,
  { tolerance, unitAxis }: ObserveOptions & { readonly tolerance: number },
): Pick<Required<OutputReport>, "saturated" | "dead"> {
  const near = reached ? 0 : tolerance;
  const sides = [
    ...(low === undefined ? [] : [y.lessEqual(low + near)]),
    ...(high === undefined ? [] : [y.greaterEqual(high - near)]),
  ] as Tensor<Shape, "bool">[];
  const flat = sides.reduce((a, b) => a.or(b)).cast(y.dtype) as Tensor;
  const rank = y.shape.length;
  const axis = rank < 2 ? undefined : resolveAxis("observe", unitAxis ?? (rank < 4 ? -1 : 1), rank);
  const others = [...y.shape.keys()].filter((each) => each !== axis);
  const counts = flat.sum(others) as Tensor;
  return {
    saturated: counts.sum().mul(1 / y.size) as Tensor<[]>,
    dead: counts
      .equal(y.size / counts.size)
      .cast(y.dtype)
      .mean() as Tensor<[]>,
  };
}
