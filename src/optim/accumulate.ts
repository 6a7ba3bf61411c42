/** Gradients added up over several small batches, as if they had been one large one. */
import { gradients } from "../autodiff/gradients.ts";
import { ConfigError } from "../errors.ts";
import { currentScope } from "../graph/scope.ts";
import { arrayTypes, sizeOf } from "../graph/types.ts";
import { type Parameter, State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { MinimizeOptions, Optimizer } from "./optimizer.ts";

/**
 * Adds up gradients between updates:
 *
 *     const sums = new Accumulator(optimizer);
 *     const micro = compile((x, y) => { const loss = …; sums.add(loss); return loss; });
 *     const update = compile(() => { sums.apply(); });
 *
 * Micro-batches of the same size give the numbers of one large batch; for others give `add` their sizes as weights.
 */
export class Accumulator {
  readonly #optimizer: Optimizer;
  readonly #sums: ReadonlyMap<Parameter, State>;
  readonly #weight: State<[], "float32">;

  /** Takes one more tensor for each parameter. Throws ConfigError when the optimizer has none that is trained. */
  constructor(optimizer: Optimizer) {
    this.#optimizer = optimizer;
    this.#sums = new Map(
      optimizer.trained().map((parameter) => {
        const { shape, dtype, label } = parameter;
        const zeros = new arrayTypes[dtype](sizeOf(shape));
        return [parameter, new State({ shape: [...shape], dtype }, zeros, { name: `${label}.gradientSum` })];
      }),
    );
    this.#weight = new State({ shape: [], dtype: "float32" }, new Float32Array(1), { name: "accumulated weight" });
  }

  /**
   * Adds to the graph: the gradients of a loss, added to the sums with a weight, such as the number of examples (default 1). A
   * run whose loss is not finite adds nothing and throws a DataError.
   */
  add(loss: Tensor, weight: number = 1): void {
    if (!(weight > 0)) throw new ConfigError("Accumulator", `the weight is ${weight}`, "give a number above 0");
    const parameters = [...this.#sums.keys()];
    currentScope().guards.push({ value: loss, subject: "Accumulator.add" });
    gradients(loss, parameters).forEach((g, i) => {
      const sum = this.#sums.get(parameters[i]!)!;
      sum.assign(sum.add(weight === 1 ? g : g.mul(weight)));
    });
    this.#weight.assign(this.#weight.add(weight));
  }

  /** Adds to the graph: the optimizer's update by the averaged gradients, and sums of 0 for the next round. */
  apply(options: MinimizeOptions = {}): { readonly norm: Tensor } {
    const share = this.#weight.current().reciprocal();
    const parameters = [...this.#sums.keys()];
    const averages = parameters.map((parameter) => this.#sums.get(parameter)!.mul(share.cast(parameter.dtype)));
    const result = this.#optimizer.apply(parameters, averages, options);
    for (const sum of this.#sums.values()) sum.assign(sum.mul(0));
    this.#weight.assign(this.#weight.mul(0));
    return result;
  }

  /** The sums and their weight: what a checkpoint in the middle of a round must hold. */
  states(): State[] {
    return [...this.#sums.values(), this.#weight];
  }
}
