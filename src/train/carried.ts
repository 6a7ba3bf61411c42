/** A state that a training carries from batch to batch, as truncated back-propagation through time needs it. */
import { ConfigError, ShapeError } from "../errors.ts";
import { aFunction, aWhole, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import { arrayTypes, sizeOf, type TensorType, type Values } from "../graph/types.ts";
import { State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { flatten, type IsTree, pathsIn } from "../tensor/tree.ts";

/** What batches belong to: each has a state of its own. */
type Purpose = "training" | "evaluation";

/** The variables that hold the state of one purpose and one batch size. */
interface Held {
  readonly variables: readonly State[];
  readonly build: (parts: readonly unknown[]) => unknown;
  readonly paths: readonly string[];
}

/** A state that `fit` carries from batch to batch. Made by `carriedState`. */
export class CarriedState<S> {
  readonly #start: (batch: number) => S;
  readonly #batchSize: number;
  /** By purpose and batch size. That of the training is there from the beginning, as checkpoints hold it. */
  readonly #held = new Map<string, Held>();
  /** The batch that is being traced: whose it is, and the state before it. */
  #tracing: { readonly purpose: Purpose; batch?: number } | undefined;

  constructor(start: (batch: number) => S, batchSize: number) {
    this.#start = start;
    this.#batchSize = batchSize;
    this.#hold("training", batchSize);
  }

  /**
   * Returns the state before a batch of so many sequences: what `after` was given for the batch before, and the start for the first batch of
   * an epoch or an evaluation. Outside of `fit` and `validate`, as in the checks of `check`, it is the start. Throws ShapeError for a
   * training's batch of another size than the state's.
   */
  before(batch: number): S {
    const tracing = this.#tracing;
    if (!tracing) return this.#start(batch);
    if (tracing.purpose === "training" && batch !== this.#batchSize)
      throw new ShapeError(
        "carriedState",
        `a batch has ${batch} sequences, and the state is of ${this.#batchSize}`,
        "give batches of one size, as languageModelBatches does",
      );
    tracing.batch = batch;
    const { variables, build } = this.#hold(tracing.purpose, batch);
    // The loss and a metric may both ask for the state before the batch: what `after` has assigned meanwhile does not count.
    return build(variables.map((variable) => variable.leaf)) as S;
  }

  /** Keeps the state after a batch for the next one. No gradient flows from there to this batch. */
  after(state: S): void {
    const tracing = this.#tracing;
    if (!tracing) return;
    if (tracing.batch === undefined)
      throw new ConfigError(
        "carriedState",
        "after is called without before",
        "begin a batch with carried.before(batch)",
      );
    const { variables } = this.#hold(tracing.purpose, tracing.batch);
    const parts: Tensor[] = [];
    flatten("carriedState", state, parts, "the state holds a");
    if (parts.length !== variables.length)
      throw new ShapeError(
        "carriedState",
        `the state has ${parts.length} tensors after a batch and ${variables.length} before it`,
        "return a state of the same form",
      );
    for (const [i, variable] of variables.entries()) variable.assign(parts[i] as Tensor<readonly number[]>);
  }

  /** Internal: builds the graph of a batch. */
  during<R>(purpose: Purpose, build: () => R): R {
    const outer = this.#tracing;
    this.#tracing = { purpose };
    try {
      return build();
    } finally {
      this.#tracing = outer;
    }
  }

  /** Internal: goes back to the start, for the next epoch or evaluation. */
  reset(purpose: Purpose): void {
    for (const [key, { variables }] of this.#held)
      if (key.startsWith(purpose)) for (const variable of variables) variable.write(zerosOf(variable));
  }

  /** The variables that a checkpoint holds. */
  namedStates(): Map<string, State> {
    const { variables, paths } = this.#hold("training", this.#batchSize);
    return new Map(variables.map((variable, i) => [paths[i]!, variable]));
  }

  /** The variables of `namedStates`. */
  states(): State[] {
    return [...this.namedStates().values()];
  }

  #hold(purpose: Purpose, batch: number): Held {
    const key = `${purpose} ${batch}`;
    const known = this.#held.get(key);
    if (known) return known;
    const start = this.#start(batch);
    const parts: Tensor[] = [];
    const build = flatten("carriedState", start, parts, "the state holds a");
    const paths = pathsIn(start);
    const variables = parts.map(
      ({ shape, dtype }, i) => new State({ shape, dtype }, zerosOf({ shape, dtype }), { name: `carried.${paths[i]}` }),
    );
    const held = { variables, build, paths };
    this.#held.set(key, held);
    return held;
  }
}

const zerosOf = ({ shape, dtype }: TensorType): Values => new arrayTypes[dtype](sizeOf(shape));

/** Options of `carriedState`. */
export interface CarriedStateOptions {
  /** The number of sequences in a batch of the training. */
  readonly batchSize: number;
}

/**
 * Makes a state that `fit` carries from batch to batch. `start` returns tensors, also in arrays and records, of which only shapes and dtypes
 * count: a state begins with zeros, at each epoch and at each evaluation. Give it to the setup as `carried`, and use it in the loss:
 *
 *     const carried = carriedState((batch) => model.startState(batch), { batchSize: 32 });
 *     const loss = (inputs, targets) => {
 *       const { logits, state } = model(inputs, { state: carried.before(inputs.shape[0]!) });
 *       carried.after(state);
 *       return crossEntropy(logits, targets);
 *     };
 *
 * Checkpoints hold it, so a resumed training goes on with the same bits. Evaluations have a state of their own. Batches must come in order:
 * from `languageModelBatches`, or a loader that does not shuffle.
 */
export function carriedState<S>(
  start: (batch: number) => S & IsTree<S>,
  options: CarriedStateOptions,
): CarriedState<S> {
  expectArguments("carriedState", [aFunction, optionsOf({ batchSize: aWhole })], [start, options ?? {}]);
  const batchSize = options?.batchSize;
  if (!(batchSize >= 1))
    throw new ConfigError("carriedState", `batchSize is ${batchSize}`, "give the batch size of the training");
  return new CarriedState(start, batchSize);
}
