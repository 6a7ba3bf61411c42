/** Gradients added up over several small batches, to train as with one large batch. */
import { ConfigError, GraphError, ShapeError } from "../errors.ts";
import { anOperand, aTensor, described, expectArguments, options as record } from "../graph/arguments.ts";
import { allocate, showShape } from "../graph/types.ts";
import { full } from "../tensor/create.ts";
import { type Parameter, State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { countedBy, guardGradients, guardLoss, guardScalar } from "./guards.ts";
import { type MinimizeOptions, minimizeKinds, namesOf, Optimizer } from "./optimizer.ts";

/**
 * Adds up gradients between updates:
 *
 *     const sums = gradientAccumulator(optimizer);
 *     const micro = compile((x, y) => { const loss = …; sums.add(loss, x.shape[0]); return loss; });
 *     const update = compile(() => { sums.apply(); });
 *
 * If each loss is a mean and its weight is the size of its batch, the update is that of the mean loss over one large batch.
 */
export class GradientAccumulator {
  readonly #optimizer: Optimizer;
  readonly #sums: ReadonlyMap<Parameter, State>;
  readonly #weight: State<[], "float64">;
  /** The parameters that the losses so far depend on. */
  readonly #reached = new Set<Parameter>();

  /** Allocates one tensor for each trained parameter. Throws GraphError when no parameter is trained. */
  constructor(optimizer: Optimizer) {
    this.#optimizer = optimizer;
    const trained = optimizer.trained();
    this.#sums = new Map(
      trained.map((parameter) => {
        const { shape, dtype, label } = parameter;
        const type = { shape: [...shape], dtype };
        return [parameter, new State(type, () => allocate(type), { name: `${label}.gradientSum` })];
      }),
    );
    this.#weight = new State({ shape: [], dtype: "float64" }, new Float64Array(1), { name: "weightSum" });
  }

  /**
   * Adds to the graph: the gradients of a loss, times a weight, are added to the sums. The weight is 1 by default; give the number of
   * examples that the loss is the mean of, or a scalar tensor if the number is known only in the run, such as the number of tokens that are
   * not padding. A run in which the tensor is 0 adds nothing, whatever its loss. Any other run in which the loss or a gradient is not
   * finite adds nothing and throws a DataError. Throws ConfigError for a number that is not positive, ShapeError for a tensor that is not a
   * scalar.
   */
  add(loss: Tensor, weight: number | Tensor = 1): void {
    expectArguments("gradientAccumulator.add", [aTensor, anOperand], [loss, weight]);
    if (typeof weight === "number" && !(weight > 0 && Number.isFinite(weight)))
      throw new ConfigError("gradientAccumulator", `the weight is ${weight}`, "give a finite number above 0");
    if (typeof weight !== "number" && weight.shape.length > 0)
      throw new ShapeError("gradientAccumulator", `the weight is ${showShape(weight.shape)}`, "give a scalar");
    const weightAs = (dtype: Tensor["dtype"]): Tensor | number =>
      typeof weight === "number" ? weight : weight.detach().cast(dtype);
    this.#trained();
    const subject = "gradientAccumulator.add";
    const { parameters, gradients: all } = this.#optimizer.gradients(loss);
    const gradients = all.map((g) => countedBy(weight, g));
    for (const parameter of parameters) this.#reached.add(parameter);
    guardLoss(subject, countedBy(weight, loss));
    if (typeof weight !== "number")
      guardScalar(
        subject,
        weightAs(this.#weight.dtype) as Tensor,
        (value) => `the weight is ${value}, so nothing was added`,
        "give a finite number, such as how many examples the loss is the mean of",
      );
    guardGradients(subject, parameters, gradients);
    gradients.forEach((g, i) => {
      const sum = this.#sums.get(parameters[i]!)!.current();
      this.#sums.get(parameters[i]!)!.assign(sum.add(weight === 1 ? g : g.mul(weightAs(g.dtype) as Tensor)));
    });
    const { dtype } = this.#weight;
    this.#weight.assign(this.#weight.current().add(weightAs(dtype) as Tensor<[], typeof dtype>));
  }

  /**
   * Adds to the graph: the optimizer updates the parameters with the averaged gradients, and the sums become 0 for the next round.
   * Parameters that no loss given to `add` depends on do not change. A run without an `add` since the last update changes nothing and
   * throws a DataError.
   */
  apply(options: MinimizeOptions = {}): { readonly norm: Tensor } {
    expectArguments("gradientAccumulator.apply", [record(minimizeKinds)], [options]);
    const share = this.#weight.current().reciprocal();
    guardScalar(
      "gradientAccumulator.apply",
      share,
      () => "no gradients were added since the last update, or all with the weight 0, so none was made",
      "run a step that calls add, with something that counts, before each step that calls apply",
    );
    // Which parameters the losses depend on is known only after a step that calls `add` has been traced.
    const isReached = (parameter: Parameter): boolean => this.#reached.size === 0 || this.#reached.has(parameter);
    const parameters = this.#trained().filter(isReached);
    const averages = parameters.map((parameter) => {
      const sum = this.#sums.get(parameter)!.current();
      return sum.mul(share.cast(sum.dtype) as Tensor);
    });
    const result = this.#optimizer.apply(parameters, averages, options);
    for (const state of this.states()) state.assign(full(state.shape, 0, state.dtype));
    return result;
  }

  /** Returns the sums and their total weight by name. A checkpoint in the middle of a round must hold them. */
  namedStates(): Map<string, State> {
    const names = namesOf([...this.#sums.keys()]);
    return new Map<string, State>([
      ["weightSum", this.#weight as State],
      ...[...this.#sums].map(([parameter, sum]) => [`${names.get(parameter)}.gradientSum`, sum] as const),
    ]);
  }

  states(): State[] {
    return [...this.namedStates().values()];
  }

  #trained(): readonly Parameter[] {
    const trained = this.#optimizer.trained();
    const late = trained.find((parameter) => !this.#sums.has(parameter));
    if (late)
      throw new GraphError(
        "gradientAccumulator",
        `${late.label} was frozen when the accumulator was made`,
        "make a new accumulator after unfreezing",
      );
    return trained;
  }
}

/**
 * Makes an accumulator that adds up the gradients of several small batches before one update of `optimizer`. Throws GraphError when the
 * optimizer trains no parameter.
 */
export function gradientAccumulator(optimizer: Optimizer): GradientAccumulator {
  if (!((optimizer as unknown) instanceof Optimizer))
    throw new ConfigError(
      "gradientAccumulator",
      `the optimizer is ${described(optimizer)}`,
      "give an optimizer: gradientAccumulator(adam(model))",
    );
  return new GradientAccumulator(optimizer);
}
