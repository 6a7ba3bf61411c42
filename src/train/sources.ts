/** The batches of a training and of its evaluations. */
import { type BatchSource, epochOf, fixedBatches, limited } from "../data/batches.ts";
import { Dataset } from "../data/dataset.ts";
import { loader } from "../data/tensors.ts";
import { ConfigError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { CompleteOptions } from "./options.ts";
import type { CompleteSetup } from "./setup.ts";

/** The batches of a training. */
export interface Sources {
  readonly train: BatchSource;
  readonly validation: BatchSource | undefined;
}

/** Makes loaders from datasets, and applies the limits in the options. */
export async function sourcesOf(setup: CompleteSetup, options: CompleteOptions): Promise<Sources> {
  const { batchSize } = setup;
  const { seed = 0, overfitBatches, limitTrainBatches, limitValidationBatches } = options;
  const shuffle = overfitBatches === undefined; //  with `overfitBatches`, the first batches must be the same each time
  const given = setup.train instanceof Dataset ? loader(setup.train, { batchSize, shuffle, seed }) : setup.train;
  if (overfitBatches !== undefined) {
    const few = fixedBatches(await firstOf(given, overfitBatches));
    return { train: few, validation: setup.validation && few };
  }
  const validation = setup.validation && validationSource(setup.validation, batchSize);
  return {
    train: within(given, limitTrainBatches, "limitTrainBatches"),
    validation: validation && within(validation, limitValidationBatches, "limitValidationBatches"),
  };
}

/** Returns the batches to evaluate on. Those of a dataset are in its order. */
export function validationSource(data: Dataset | BatchSource, batchSize: number): BatchSource {
  return data instanceof Dataset ? loader(data, { batchSize: Math.min(batchSize, data.length) }) : data;
}

/** Returns a source with a limit: a number of batches, or, below 1, a share of them. */
export function within(source: BatchSource, limit: number | undefined, name: string): BatchSource {
  if (limit === undefined) return source;
  if (limit >= 1) return limited(source, limit);
  if (source.batches === undefined)
    throw new ConfigError(
      "fit",
      `${name} is ${limit}, a share, of a source that does not know its number of batches`,
      "give a number of batches",
    );
  return limited(source, Math.max(1, Math.round(limit * source.batches)));
}

async function firstOf(source: BatchSource, count: number): Promise<(readonly Tensor[])[]> {
  const batches: (readonly Tensor[])[] = [];
  const epoch = epochOf(source);
  while (batches.length < count) {
    const batch = await epoch.next();
    if (!batch) break;
    batches.push(batch);
  }
  await epoch.leave();
  if (batches.length === 0) throw new ConfigError("fit", "the training data have no batch", "give some examples");
  return batches;
}
