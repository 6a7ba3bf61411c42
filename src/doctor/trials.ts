/** Helpers for checks that train a little: examples, batches, and a step whose variables are discarded. */
import type { Compiled } from "../compile/compile.ts";
import type { Sandbox } from "../compile/sandbox.ts";
import type { Dataset } from "../data/dataset.ts";
import { permutation } from "../data/shuffle.ts";
import { loader, toTensor } from "../data/tensors.ts";
import { ConfigError } from "../errors.ts";
import { type Module, walk } from "../nn/module.ts";
import { expectSeed, hostStream } from "../random/generator.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { CompleteSetup } from "../train/setup.ts";

/** Returns some examples of a dataset, chosen at random; all of them if it has no more. */
export function choose(data: Dataset, examples: number, seed: number): Dataset {
  expectSeed("check", seed);
  if (examples >= data.length) return data;
  return data.take(permutation(data.length, hostStream(seed, "choice")).subarray(0, examples));
}

/** Returns the tensors of a whole dataset. */
export function asBatch(data: Dataset): Tensor[] {
  return data.columns.map(toTensor);
}

/** Yields batches without end. Each epoch has its own order. */
export function* batches(data: Dataset, batchSize: number, seed: number): Generator<Tensor[], never> {
  const epochs = loader(data, { batchSize, shuffle: true, seed, dropLast: true });
  while (true) yield* epochs;
}

/** Makes a training step that returns the loss before the update. A loss that is not finite is not an error here: the caller checks it. */
export function trainingStep(
  { loss: lossOf, optimizer }: CompleteSetup,
  sandbox: Sandbox,
): Compiled<readonly Tensor[], Tensor> {
  return sandbox.compile((...batch: readonly Tensor[]) => {
    const loss = lossOf(...batch);
    const { parameters, gradients } = optimizer.gradients(loss);
    optimizer.apply(parameters, gradients, { guard: false });
    return loss;
  });
}

/** Runs `build` with a module and everything in it in evaluation, then restores the mode of each part. */
export function inEvaluation<R>(model: Module, build: () => R): R {
  const modes = [...walk(model)].map(([, part]) => ({ part, training: part.training }));
  model.eval();
  try {
    return build();
  } finally {
    for (const { part, training } of modes) training ? part.train() : part.eval();
  }
}

/** Throws ConfigError unless `value` is a whole number from `least` on. */
export function expectCount(check: string, name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least)
    throw new ConfigError(check, `${name} is ${value}`, `give a whole number from ${least} on`);
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
