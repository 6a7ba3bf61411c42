/** The compiled training step: loss, gradients and update for one batch, or for several whose gradients are accumulated. */
import { compile } from "../compile/compile.ts";
import { currentScope } from "../graph/scope.ts";
import { inMode } from "../nn/module.ts";
import { gradientAccumulator } from "../optim/accumulate.ts";
import { guardWeight } from "../optim/guards.ts";
import { State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { savedStates } from "./checkpoint.ts";
import type { CompleteOptions } from "./options.ts";
import { type CompleteSetup, examplesIn } from "./setup.ts";

/** The results of a queued batch: tensors that have values once its run is done. */
export interface QueuedBatch {
  readonly loss: Tensor;
  /** The batch's weight; a number if it is known without a run. */
  readonly weight: number | Tensor;
}

/** Makes steps. */
export interface TrainingStep {
  /** Queues a batch, with its update if each batch makes one. With `look`, returns its gradients by name, before clipping. */
  batch(
    batch: readonly Tensor[],
    look: boolean,
  ): QueuedBatch & { readonly norm?: Tensor; readonly gradients?: ReadonlyMap<string, Tensor> };
  /** Queues the update with all batches since the last update; absent if each batch makes its own. */
  readonly update?: () => { readonly norm?: Tensor };
  /** Waits for everything that was queued. Throws the first error that was not reported yet. */
  finished(): Promise<void>;
}

/**
 * Compiles a setup's training step. Modules keep their mode, training or evaluation; but if the whole model is in evaluation mode, the
 * step puts it in training mode. While the step is traced, `note` is called with the variables that it changes and no checkpoint holds.
 */
export function trainingStep(
  setup: CompleteSetup,
  options: CompleteOptions,
  note: (states: readonly State[]) => void,
): TrainingStep {
  const { optimizer, model } = setup;
  const { gradientAccumulationSteps, maxGradNorm } = options;
  const mode = model.training ? undefined : true;
  const clip = maxGradNorm === undefined ? {} : { clipNorm: maxGradNorm };
  const saved = savedStates(setup);
  const weights = new Map<string, number>();
  const signature = (batch: readonly Tensor[]): string => batch.map(({ shape }) => shape.join()).join(" ");

  /** Returns the loss of a batch and its weight. If the weight is a number, it is also stored by the batch's shapes. */
  const weigh = (batch: readonly Tensor[]): QueuedBatch => {
    const loss = setup.carried ? setup.carried.during("training", () => setup.loss(...batch)) : setup.loss(...batch);
    const weight = setup.weight?.(...batch) ?? examplesIn(batch);
    if (setup.weight && typeof weight === "number") weights.set(signature(batch), weight);
    return { loss, weight };
  };
  const results = ({ loss, weight }: QueuedBatch, norm?: Tensor): Tensor[] => [
    loss,
    ...(typeof weight === "number" ? [] : [weight]),
    ...(norm && maxGradNorm !== undefined ? [norm] : []),
  ];
  const noteUnsaved = (own: readonly State[] = []): void => {
    const changed = [...currentScope().assigned.keys()].filter((key): key is State => key instanceof State);
    note(changed.filter((state) => !saved.has(state) && !own.includes(state)));
  };
  const queued = (batch: readonly Tensor[], [loss, ...rest]: readonly Tensor[]): ReturnType<TrainingStep["batch"]> => {
    const known = setup.weight ? weights.get(signature(batch)) : examplesIn(batch);
    const weight = known ?? rest.shift()!;
    const norm = maxGradNorm !== undefined && gradientAccumulationSteps === 1 ? rest.shift() : undefined;
    const gradients = rest.length > 0 ? new Map(rest.map((gradient, i) => [looked[i]!, gradient])) : undefined;
    return { loss: loss!, weight, ...(norm && { norm }), ...(gradients && { gradients }) };
  };
  const names = new Map([...model.namedStates()].map(([name, state]) => [state, name]));
  /** The names of the parameters whose gradients a step returns. */
  let looked: readonly string[] = [];

  if (gradientAccumulationSteps === 1) {
    const learn = compile(function step(look: boolean, ...batch: readonly Tensor[]): Tensor[] {
      return inMode(mode, () => {
        const weighed = weigh(batch);
        const { loss, weight } = weighed;
        guardWeight("fit", loss, weight);
        const seen = look ? optimizer.gradients(loss) : undefined;
        const { norm } = seen
          ? optimizer.apply(seen.parameters, seen.gradients, { ...clip, loss })
          : optimizer.minimize(loss, clip);
        setup.afterUpdate();
        noteUnsaved();
        if (seen) looked = seen.parameters.map((parameter) => names.get(parameter) ?? parameter.label);
        return [...results(weighed, norm), ...(seen?.gradients ?? [])];
      });
    });
    return { batch: (batch, look) => queued(batch, learn(look, ...batch)), finished: () => learn.finished() };
  }

  const sums = gradientAccumulator(optimizer);
  const add = compile(function batchOfStep(...batch: readonly Tensor[]): Tensor[] {
    return inMode(mode, () => {
      const weighed = weigh(batch);
      sums.add(weighed.loss, weighed.weight);
      noteUnsaved(sums.states());
      return results(weighed);
    });
  });
  const update = compile(function step(): Tensor[] {
    return inMode(mode, () => {
      const { norm } = sums.apply(clip);
      setup.afterUpdate();
      return maxGradNorm === undefined ? [] : [norm];
    });
  });
  return {
    batch: (batch) => queued(batch, add(...batch)),
    update: () => {
      const [norm] = update();
      return norm ? { norm } : {};
    },
    async finished() {
      await add.finished();
      await update.finished();
    },
  };
}
