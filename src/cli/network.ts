/** The trained network as commands use it: its input, what its output means, guesses for examples, and as a file. */

import { epochOf } from "../data/batches.ts";
import { Dataset } from "../data/dataset.ts";
import { Loader } from "../data/loader.ts";
import { ConfigError, printable } from "../errors.ts";
import { exportOnnx } from "../files/export.ts";
import type { DType, Shape } from "../graph/types.ts";
import { isModule } from "../nn/module.ts";
import type { PreparedRecipe } from "../recipes/recipe.ts";
import { zeros } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { validationSource } from "../train/sources.ts";

/** What the last column of the data asks for. */
export type Task = "classes" | "numbers";

/** The type of a column of a batch, the examples' number left out. */
export interface NetworkColumn {
  readonly shape: Shape;
  readonly dtype: DType;
  /** Whether the first axis is time: for sequences that are padded, and for ids. */
  readonly isSequence: boolean;
}

/** A network with what is known of its data. */
export interface Network {
  readonly columns: readonly NetworkColumn[];
  readonly task: Task;
  /** What the classes, or the numbers of the output, are called. */
  readonly names: readonly string[];
  /** Probabilities of classes, or numbers, of inputs: all columns but the last. */
  answer(...inputs: readonly Tensor[]): Tensor;
}

/** Looks at one batch of the data. Throws ConfigError for data without one. */
export async function networkOf(prepared: PreparedRecipe): Promise<Network> {
  const batch = await firstBatch(prepared);
  const { setup, prediction } = prepared;
  // Sequences are padded to the length that the recipe names, or to the longest.
  const known = judgedOn(prepared)?.columns ?? [];
  const columns = batch.map(({ shape, dtype }, i) => {
    if (!known[i]?.offsets) return { shape: shape.slice(1), dtype, isSequence: dtype === "int32" && shape.length > 1 };
    const [, longest, ...step] = known[i].shape;
    return { shape: [prediction.length ?? longest!, ...step], dtype, isSequence: true };
  });
  const last = columns.at(-1)!;
  const task: Task = last.dtype === "int32" && last.shape.length === 0 && !prediction.targets ? "classes" : "numbers";
  const output = (...inputs: readonly Tensor[]): Tensor =>
    setup.output
      ? setup.output(...(inputs as readonly never[]))
      : (setup.model as unknown as (...each: readonly Tensor[]) => Tensor)(inputs[0]!);
  const answer = (...inputs: readonly Tensor[]): Tensor =>
    task === "classes" ? (output(...inputs).softmax() as Tensor) : output(...inputs);
  const inputs = columns
    .slice(0, -1)
    .map(({ shape, dtype }) => zeros([batch[0]!.shape[0]!, ...shape], dtype) as Tensor);
  const count = answer(...inputs).shape.at(-1) ?? 1;
  const given = task === "classes" ? prediction.classes : prediction.targets;
  const names = given ?? Array.from({ length: count }, (_, i) => (task === "classes" ? String(i) : `output ${i}`));
  if (given && given.length !== count)
    throw new ConfigError(
      "prediction",
      `there are ${given.length} names for ${count} ${task === "classes" ? "classes" : "numbers"}`,
      "give the recipe's prediction a name for each",
    );
  return { columns, task, names, answer };
}

async function firstBatch({ setup }: PreparedRecipe): Promise<readonly Tensor[]> {
  const source = validationSource(setup.validation ?? setup.train, setup.batchSize ?? 64);
  const before = source.state();
  const epoch = epochOf(source);
  const batch = await epoch.next();
  await epoch.leave();
  source.resume(before); //  as if nobody had looked
  if (!batch) throw new ConfigError("data", "there is no batch in the data", "give one example at least");
  return batch;
}

/** The dataset of the examples that a network is judged on, where it is in memory. */
export function judgedOn({ setup }: PreparedRecipe): Dataset | undefined {
  const source = setup.validation ?? setup.train;
  if (source instanceof Dataset) return source;
  return source instanceof Loader ? source.dataset : undefined;
}

/** Says why an exported model does not take all sizes. */
export const notOpen = (reason: string): string => `Not every size is open: ${printable(reason, 500)}`;

/**
 * The network from its inputs to what it says of them, as ONNX: for any batch and for sequences of any length, where that is possible. A
 * network for one size is no reason to stop: `onFixed` is told why its sizes are fixed.
 */
export async function networkAsOnnx(
  prepared: PreparedRecipe,
  network: Network,
  onFixed: (reason: string) => void = () => {},
): Promise<Uint8Array> {
  const { setup, prediction } = prepared;
  const inputs = network.columns.slice(0, -1);
  const name = prediction.image ? "images" : "inputs";
  const names = inputs.map((_, i) => (inputs.length === 1 ? name : `${name}${i}`));
  const { answer, task } = network;
  const examples = inputs.map(({ shape, dtype }) => zeros([1, ...shape], dtype) as Tensor);
  const options = {
    inputs: names,
    outputs: [task === "classes" ? "probabilities" : "outputs"],
    ...(isModule(setup.model) && { names: setup.model }),
    onFixedBatch: onFixed,
  };
  const lengths = [...new Set(inputs.flatMap(({ shape, isSequence }) => (isSequence ? [shape[0]!] : [])))];
  if (lengths.length === 0) return exportOnnx(answer, examples, options);
  const axes = inputs.map(({ shape, isSequence }): string[] => {
    const which = lengths.indexOf(shape[0]!);
    return ["batch", ...(isSequence ? [which === 0 ? "time" : `time${which + 1}`] : [])];
  });
  try {
    const dynamicAxes = Object.fromEntries(names.map((each, i) => [each, axes[i]!]));
    return await exportOnnx(answer, examples, { ...options, dynamicAxes });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    onFixed(error.problem);
    return exportOnnx(answer, examples, { ...options, onFixedBatch: () => {} });
  }
}
