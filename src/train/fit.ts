/** `fit`: the training loop. */
import { claim, valuesOf } from "../compile/evaluate.ts";
import { type BatchSource, type EpochOfBatches, epochOf } from "../data/batches.ts";
import type { Column } from "../data/dataset.ts";
import { ConfigError, DataError } from "../errors.ts";
import { decodeWeights, encodeWeights } from "../files/weights.ts";
import { Plateau } from "../optim/schedules.ts";
import { Parameter, type State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { explainAnomaly } from "./anomaly.ts";
import {
  asSaved,
  type BestEvaluation,
  type Checkpoint,
  captureVariables,
  type MeanState,
  type RunStore,
  restoreSettings,
  restoreVariables,
  settingsOf,
  type TrainerState,
} from "./checkpoint.ts";
import { Evaluator } from "./evaluation.ts";
import type {
  EndReason,
  EpochEvent,
  EvaluationEvent,
  EvaluationReport,
  TrainingEvent,
  TrainingPlace,
} from "./events.ts";
import type { Metric } from "./metrics.ts";
import { Notebook } from "./notes.ts";
import { type CompleteOptions, completeOptions, expectEvaluations, type FitOptions, fitKinds } from "./options.ts";
import { type CompleteSetup, completeSetup, examplesIn, type TrainingSetup } from "./setup.ts";
import { sourcesOf, validationSource, within } from "./sources.ts";
import { type QueuedBatch, type TrainingStep, trainingStep } from "./step.ts";
import { histogramOf, type Summary } from "./tensorboard.ts";

/** How a training ended. */
export interface FitResult {
  readonly reason: EndReason;
  /** Number of updates of the weights, including those before a resume. */
  readonly step: number;
  /** Number of epochs, with a fraction if the last one was left early. */
  readonly epoch: number;
  /** All epochs and evaluations, including those before a resume. */
  readonly epochs: readonly EpochEvent[];
  readonly evaluations: readonly EvaluationEvent[];
  /** The best evaluation, by `metricForBestModel`; absent without evaluations. */
  readonly best?: EvaluationEvent;
  /** Seconds since the start or the resume. */
  readonly seconds: number;
}

/**
 * Trains a model:
 *
 *     const result = await fit({ model, loss, train, validation, optimizer: adam(model), metrics: [metric.accuracy()] }, { epochs: 10 });
 *
 * Steps are queued without waiting for their losses, which are read a few at a time. Throws ConfigError for an invalid setup or invalid
 * options, DataError when a loss or a gradient is not finite: the weights are then those before that step, or of a few steps later, since
 * later steps may have been queued already; checkpoints are from before that step.
 */
export async function fit<C extends readonly Column[]>(
  setup: TrainingSetup<C>,
  options: FitOptions = {},
): Promise<FitResult> {
  const [checked, complete] = [completeSetup("fit", setup), completeOptions("fit", options)];
  expectEvaluations("fit", options, checked);
  return new Training(checked, complete).run();
}

/** Options of `validate`. */
export interface ValidateOptions {
  /** The most batches to evaluate on; a number below 1 is a share of all batches. Default: all. */
  readonly limitValidationBatches?: number;
}

/**
 * Returns the loss and the metrics of a setup over its `validation` data, or over `train` if there are none, with the model in evaluation
 * mode. Throws ConfigError for an invalid setup.
 */
export async function validate<C extends readonly Column[]>(
  setup: TrainingSetup<C>,
  options: ValidateOptions = {},
): Promise<EvaluationReport> {
  const { limitValidationBatches } = completeOptions("validate", options, {
    limitValidationBatches: fitKinds.limitValidationBatches,
  });
  const complete = completeSetup("validate", setup);
  const source = validationSource(complete.validation ?? complete.train, complete.batchSize);
  return new Evaluator(complete).run(within(source, limitValidationBatches, "limitValidationBatches"));
}

/** How many batches form a group, whose losses are read together. Slow batches form smaller groups. At most two groups are in the queue. */
const group = 8;

/** Milliseconds after which a group is closed. */
const groupTime = 50;

/** A running weighted mean. */
class Mean {
  #sum: number;
  #weight: number;

  constructor({ sum, weight }: MeanState = { sum: 0, weight: 0 }) {
    this.#sum = sum;
    this.#weight = weight;
  }

  /** Counts a value. A value of weight 0 counts nothing, even if it is NaN. */
  add(value: number, weight: number): void {
    if (weight === 0) return;
    this.#sum += value * weight;
    this.#weight += weight;
  }

  /** Returns the mean so far, and begins the next one. */
  take(): number {
    const mean = this.#sum / this.#weight;
    this.#sum = 0;
    this.#weight = 0;
    return mean;
  }

  get state(): MeanState {
    return { sum: this.#sum, weight: this.#weight };
  }
}

/** A queued batch whose results have not been read yet. */
interface Unread extends QueuedBatch {
  norm?: Tensor;
  readonly examples: number;
  /** The log event that is due after this batch. */
  log?: DueLog;
}

interface DueLog extends TrainingPlace {
  readonly learningRate: number;
}

/** The part of the trainer's state that is known when a step is queued, before it has run. */
type QueuedState = Omit<TrainerState, "means" | "examples" | "history">;

/** One run of `fit`. */
export class Training {
  readonly #setup: CompleteSetup;
  readonly #options: CompleteOptions;
  readonly #store: RunStore | undefined;
  readonly #saving: SavingPlan;
  readonly #step: TrainingStep;
  readonly #evaluator: Evaluator;
  readonly #metric: { readonly greaterIsBetter: boolean };

  // The state after all queued steps.
  #steps = 0;
  #epochs = 0;
  #batch = 0;
  #isExhausted = false;
  #source!: BatchSource;
  #validation: BatchSource | undefined;
  #stepsPerEpoch: number | undefined;
  #plateau: Plateau | undefined;
  #best: BestEvaluation | null = null;
  #bad = 0;
  #evaluatedAt = 0;
  /** The place of the last checkpoint, as a key. */
  #savedAt = "";
  /** Ends when the last checkpoint has been stored. */
  #saved: Promise<void> = Promise.resolve();
  #saveFailure: { readonly error: unknown } | undefined;
  #isStopping: EndReason | undefined;
  /** The weights of the best model, in memory, if `loadBestModelAtEnd` is set and no store keeps them. */
  #bestModel: Promise<Uint8Array> | undefined;
  #unread: Unread[] = [];
  #batchesOfGroup = 0;
  #groupBegan = 0;
  #batchesOfStep = 0;
  /** The gradients of the last step, if histograms of them are due. */
  #gradients: ReadonlyMap<string, Tensor> | undefined;
  #isUnsavedNoted = false;

  // The state after all recorded steps. Jobs run one after the other, each when the values that it reads have arrived.
  #record: Promise<void> = Promise.resolve();
  #earlier: Promise<void> = Promise.resolve();
  #means = { log: new Mean(), norm: new Mean(), epoch: new Mean() };
  #examples = 0;
  #history: { epochs: EpochEvent[]; evaluations: EvaluationEvent[] } = { epochs: [], evaluations: [] };
  readonly #clock = new Clock();

  constructor(setup: CompleteSetup, options: CompleteOptions, store?: RunStore, saving: SavingPlan = neverSaving) {
    this.#setup = setup;
    this.#options = options;
    this.#store = store;
    this.#saving = saving;
    this.#metric = this.#metricForBest();
    this.#plateau = setup.schedule instanceof Plateau ? setup.schedule : undefined;
    this.#step = trainingStep(setup, options, (states) => this.#noteUnsaved(states));
    this.#evaluator = new Evaluator(setup);
  }

  async run(): Promise<FitResult> {
    let failure: unknown;
    try {
      await this.#begin();
      while (!this.#isStopping) await this.#epoch();
      return await this.#end(this.#isStopping);
    } catch (error) {
      failure = error;
      // Steps that were queued after a failed one have failed too. Their errors must not be reported later.
      await this.#step.finished().catch(() => {});
      throw error;
    } finally {
      // Everything before a failure is recorded.
      await this.#record.catch(() => {});
      await this.#saved.catch(() => {});
      await this.#store?.close(failure);
    }
  }

  // Beginning and end

  async #begin(): Promise<void> {
    const { train, validation } = await sourcesOf(this.#setup, this.#options);
    this.#source = train;
    this.#validation = validation;
    const { gradientAccumulationSteps, epochs, maxSteps, seed, signal } = this.#options;
    if (train.batches !== undefined) this.#stepsPerEpoch = Math.ceil(train.batches / gradientAccumulationSteps);
    const checkpoint = await this.#store?.open(
      { setup: this.#setup, options: this.#options, steps: this.#totalSteps },
      (message) => this.#warn(message),
    );
    if (checkpoint) {
      const { hasAverage } = restoreVariables(this.#setup, checkpoint, "");
      this.#restore(checkpoint.trainer);
      await this.#restoreSettings(checkpoint);
      if (!hasAverage)
        await this.#warn("the checkpoint has no average of the weights: it begins with the weights there");
    } else if (seed !== undefined) this.#setup.generator.seed(seed);
    const { optimizer } = this.#setup;
    await this.#tell({
      type: "start",
      ...this.#place(),
      ...(this.#totalSteps !== undefined && { steps: this.#totalSteps }),
      ...(Number.isFinite(epochs) && { epochs }),
      ...(this.#stepsPerEpoch !== undefined && { stepsPerEpoch: this.#stepsPerEpoch }),
      parameters: optimizer.parameters.reduce((sum, { trainable, size }) => sum + (trainable ? size : 0), 0),
      isResumed: checkpoint !== undefined,
    });
    if (this.#epochs >= epochs || this.#steps >= maxSteps) this.#isStopping = "finished";
    if (signal?.aborted) this.#isStopping ??= "stopped";
  }

  async #end(reason: EndReason): Promise<FitResult> {
    if (reason === "finished" && this.#steps > this.#evaluatedAt) await this.#evaluate();
    if (this.#saving.atEnd) await this.#save(false);
    if (this.#options.fastDevRun) await this.#tryCheckpoint();
    await this.#drain();
    await this.#saved;
    await this.#takeModel(reason);
    const seconds = this.#clock.seconds;
    await this.#tell({ type: "end", reason, ...this.#place(), seconds });
    const { epochs, evaluations } = this.#history;
    const best = evaluations.find(({ step }) => step === this.#best?.step);
    return {
      reason,
      step: this.#steps,
      epoch: this.#place().epoch,
      epochs,
      evaluations,
      ...(best && { best }),
      seconds,
    };
  }

  /** Takes a checkpoint in memory and resumes from it, to test both. */
  async #tryCheckpoint(): Promise<void> {
    await this.#drain();
    const trainer = this.#stateAt(this.#queuedState());
    const checkpoint = { ...(await captureVariables(this.#setup)), trainer };
    restoreVariables(this.#setup, checkpoint, "");
    this.#restore(JSON.parse(JSON.stringify(trainer)) as TrainerState);
    await this.#restoreSettings(checkpoint);
  }

  /** Gives the model the weights with which the training ends, if they are not those that it has. */
  async #takeModel(reason: EndReason): Promise<void> {
    const { model, average } = this.#setup;
    if (this.#options.loadBestModelAtEnd && this.#best && reason !== "stopped") {
      const bytes = this.#bestModel ? await this.#bestModel : await this.#store?.modelAt(this.#best.step);
      if (bytes) decodeWeights(model, bytes, "the best model");
    } else if (average) decodeWeights(model, await average.during(() => encodeWeights(model)), "the averages");
  }

  // Steps

  async #epoch(): Promise<void> {
    if (!this.#isExhausted) {
      if (this.#batch === 0) this.#setup.carried?.reset("training");
      const epoch = epochOf(this.#source);
      try {
        await this.#trainOn(epoch);
      } catch (error) {
        await epoch.leave().catch(() => {}); //  the caller must get the error that stopped the epoch, not this one
        throw error;
      }
      if (this.#isStopping && !this.#isExhausted) return epoch.leave();
    }
    await this.#endEpoch();
  }

  /** Makes the remaining steps of an epoch, or those until the training must end. */
  async #trainOn(epoch: EpochOfBatches): Promise<void> {
    const { gradientAccumulationSteps, maxSteps, signal } = this.#options;
    for (;;) {
      const next = epoch.next();
      const batch = next instanceof Promise ? await next : next;
      if (!batch) break;
      if (this.#batchesOfStep === 0) this.#setRate();
      this.#queue(batch);
      if (this.#options.detectAnomalies) await this.#expectSound(batch);
      this.#isExhausted = this.#source.state().batch === 0 || this.#batch === this.#source.batches;
      if (this.#batchesOfStep < gradientAccumulationSteps && !(this.#step.update && this.#isExhausted)) continue;
      await this.#endStep();
      if (this.#steps >= maxSteps) this.#isStopping ??= "finished";
      if (signal?.aborted) this.#isStopping = "stopped";
      if (this.#isStopping) return;
    }
    if (this.#batch === 0)
      throw new DataError("fit", "an epoch has no batch", "give training data with one example at least");
    this.#isExhausted = true;
    if (this.#batchesOfStep > 0) await this.#endStep(); //  needed if the source did not know which batch was the last
  }

  #setRate(): void {
    const { optimizer, schedule } = this.#setup;
    const rate = schedule instanceof Plateau ? schedule.rate : schedule?.(this.#steps);
    if (rate !== undefined && rate !== optimizer.learningRate) optimizer.learningRate = rate;
  }

  #queue(batch: readonly Tensor[]): void {
    const look = (this.#steps + 1) % this.#saving.histograms === 0;
    const { gradients, ...queued } = this.#step.batch(batch, look);
    claim([queued.loss]); //  the record reads it, or an earlier batch has failed
    this.#unread.push({ ...queued, examples: examplesIn(batch) });
    this.#gradients = gradients;
    this.#batch++;
    this.#batchesOfStep++;
    this.#batchesOfGroup++;
  }

  /** Waits for a batch. If an op has produced NaN or an infinity, throws an error that names this op. */
  async #expectSound(batch: readonly Tensor[]): Promise<void> {
    try {
      await valuesOf([this.#unread.at(-1)!.loss]);
    } catch (error) {
      throw await explainAnomaly(this.#setup, batch, error);
    }
  }

  /** Makes the update, if the batch did not include it, and everything that is due after a step. */
  async #endStep(): Promise<void> {
    const { norm } = this.#step.update?.() ?? {};
    if (norm) this.#unread.at(-1)!.norm = norm;
    this.#batchesOfStep = 0;
    this.#steps++;
    const { loggingSteps, evalStrategy, evalSteps } = this.#options;
    if (this.#steps % loggingSteps === 0) {
      const { learningRate } = this.#setup.optimizer;
      this.#unread.at(-1)!.log = { ...this.#place(), learningRate };
    }
    if (this.#batchesOfGroup >= group || performance.now() - this.#groupBegan > groupTime) await this.#readLater();
    if (this.#saveFailure) throw this.#saveFailure.error;
    if (this.#steps % this.#saving.histograms === 0) this.#noteHistograms();
    const isBest = evalStrategy === "steps" && this.#steps % evalSteps === 0 && (await this.#evaluate());
    if (isBest || this.#steps % this.#saving.steps === 0) await this.#save(isBest);
  }

  async #endEpoch(): Promise<void> {
    const isBest = this.#options.evalStrategy === "epoch" && (await this.#evaluate());
    this.#epochs++;
    this.#batch = 0;
    this.#isExhausted = false;
    void this.#read();
    const place = this.#place();
    void this.#later(() => this.#tellEpoch(place));
    if (isBest || this.#saving.epochs) await this.#save(isBest);
    await this.#drain();
    const { epochs, signal } = this.#options;
    if (this.#epochs >= epochs) this.#isStopping ??= "finished";
    if (signal?.aborted) this.#isStopping = "stopped";
  }

  // Evaluation

  /** Evaluates the model. Returns whether the result is the best so far and must be saved. */
  async #evaluate(): Promise<boolean> {
    if (!this.#validation || this.#options.evalStrategy === "no") return false;
    await this.#drain();
    this.#clock.pause();
    const { average } = this.#setup;
    const run = (): Promise<EvaluationReport> => this.#evaluator.run(this.#validation!);
    const report = await (average ? average.withAverages(run) : run());
    this.#clock.goOn();
    const value = this.#valueOf(report);
    const isBest = this.#isBetter(value);
    this.#evaluatedAt = this.#steps;
    this.#bad = isBest ? 0 : this.#bad + 1;
    if (isBest) this.#best = { step: this.#steps, value };
    this.#plateau?.update(value);
    if (this.#bad >= this.#options.earlyStoppingPatience) this.#isStopping ??= "early-stopping";
    if (isBest && this.#options.loadBestModelAtEnd && !this.#saving.best) {
      this.#bestModel = asSaved(this.#setup, () => encodeWeights(this.#setup.model));
      await this.#bestModel;
    }
    const event: EvaluationEvent = { type: "evaluation", ...this.#place(), ...report, isBest };
    this.#history.evaluations.push(event);
    await this.#later(() => this.#tell(event)); //  it may change settings, which the next step must have
    return isBest && this.#saving.best;
  }

  #valueOf({ loss, metrics }: EvaluationReport): number {
    const name = this.#options.metricForBestModel;
    const value = name === "loss" ? loss : metrics[name];
    if (typeof value !== "number")
      throw new ConfigError("fit", `metricForBestModel is ${name}, which is a table`, "name a metric that is a number");
    return value;
  }

  #isBetter(value: number): boolean {
    if (Number.isNaN(value)) return false;
    if (!this.#best) return true;
    const gain = this.#metric.greaterIsBetter ? value - this.#best.value : this.#best.value - value;
    return gain > this.#options.earlyStoppingThreshold;
  }

  #metricForBest(): { readonly greaterIsBetter: boolean } {
    const { metricForBestModel: name, greaterIsBetter } = this.#options;
    const own: Pick<Metric, "greaterIsBetter"> | undefined =
      name === "loss" ? { greaterIsBetter: false } : this.#setup.metrics.find((metric) => metric.name === name);
    if (!own)
      throw new ConfigError(
        "fit",
        `metricForBestModel is ${name}, and the setup has no such metric`,
        `name one of: ${["loss", ...this.#setup.metrics.map((metric) => metric.name)].join(", ")}`,
      );
    return { greaterIsBetter: greaterIsBetter ?? own.greaterIsBetter };
  }

  // The record

  /** Runs a job when all earlier jobs are done. */
  #later(job: () => Promise<void> | void): Promise<void> {
    this.#record = this.#record.then(job);
    this.#record.catch(() => {}); //  the next caller that waits for the record gets the error
    return this.#record;
  }

  /** Reads the results of queued batches once they have arrived. */
  #read(): Promise<void> {
    const unread = this.#unread;
    if (unread.length === 0) return this.#record;
    this.#unread = [];
    const place = this.#place();
    return this.#later(async () => {
      const tensors = unread.flatMap(({ loss, weight, norm }) => [
        loss,
        ...(typeof weight === "number" ? [] : [weight]),
        ...(norm ? [norm] : []),
      ]);
      const values = (await valuesOf(tensors)).values();
      const number = (): number => Number(values.next().value![0]);
      let last = 0;
      this.#clock.count(
        unread.reduce((sum, { examples }) => sum + examples, 0),
        place.step,
      );
      for (const { weight, norm, examples, log } of unread) {
        const loss = number();
        const share = typeof weight === "number" ? weight : number();
        if (share !== 0) last = loss;
        this.#means.log.add(loss, share);
        this.#means.epoch.add(loss, share);
        if (norm) this.#means.norm.add(number(), 1);
        this.#examples += examples;
        if (log) await this.#tellLog(log);
      }
      await this.#tellProgress(place, last);
    });
  }

  /** Does the same as `#read`, and waits for the group before, so that the queue stays short. */
  async #readLater(): Promise<void> {
    const earlier = this.#earlier;
    this.#earlier = this.#read();
    this.#batchesOfGroup = 0;
    await earlier;
    this.#groupBegan = performance.now();
  }

  /** Waits until everything has been recorded. */
  async #drain(): Promise<void> {
    await this.#read();
  }

  async #tellLog({ learningRate, ...place }: DueLog): Promise<void> {
    const { log, norm } = this.#means;
    await this.#tell({
      type: "log",
      ...place,
      loss: log.take(),
      learningRate,
      ...(norm.state.weight > 0 && { gradientNorm: norm.take() }),
      examplesPerSecond: this.#clock.rate,
    });
  }

  /** Records histograms of the weights and of the step's gradients. */
  #noteHistograms(): void {
    void this.#read();
    const place = this.#place();
    const parameters = [...this.#setup.model.namedStates()].filter(([, state]) => state instanceof Parameter);
    const tensors = new Map<string, Tensor>([
      ...parameters.map(([name, parameter]) => [`weights/${name}`, parameter] as const),
      ...[...(this.#gradients ?? [])].map(([name, gradient]) => [`gradients/${name}`, gradient] as const),
    ]);
    const values = valuesOf([...tensors.values()]);
    values.catch(() => {}); //  the job below gets the error
    void this.#later(async () => {
      const all = (await values).map((each): Summary => ({ kind: "histogram", histogram: histogramOf(each) }));
      const summaries = new Map([...tensors.keys()].map((name, i) => [name, all[i]!]));
      await this.#store?.note(place, { scalars: {}, summaries });
    });
  }

  async #tellProgress(place: TrainingPlace, loss: number): Promise<void> {
    if (!this.#options.onEvent) return;
    const steps = this.#totalSteps;
    await this.#tell({
      type: "progress",
      ...place,
      ...(steps !== undefined && { steps, secondsLeft: this.#clock.secondsFor(steps - place.step) }),
      loss,
      examplesPerSecond: this.#clock.rate,
    });
  }

  async #tellEpoch(place: TrainingPlace): Promise<void> {
    const event: EpochEvent = {
      type: "epoch",
      ...place,
      loss: this.#means.epoch.take(),
      examples: this.#examples,
      examplesPerSecond: this.#clock.rate,
      seconds: this.#clock.seconds,
    };
    this.#examples = 0;
    this.#history.epochs.push(event);
    await this.#tell(event);
  }

  async #tell(event: TrainingEvent): Promise<void> {
    await this.#store?.record(event);
    const { onEvent } = this.#options;
    if (!onEvent) return;
    const notebook = new Notebook(this.#store?.encodeImage);
    await onEvent(event, notebook);
    if (notebook.notes) await this.#store?.note(event, notebook.notes);
  }

  async #warn(message: string): Promise<void> {
    if (!this.#options.onEvent) console.error(`glissade: fit: ${message}`);
    await this.#tell({ type: "warning", ...this.#place(), message });
  }

  #noteUnsaved(states: readonly State[]): void {
    if (!this.#store || states.length === 0 || this.#isUnsavedNoted) return;
    this.#isUnsavedNoted = true;
    const names = states.map(({ label }) => label).join(", ");
    void this.#later(() =>
      this.#warn(
        `each step changes ${names}, which no checkpoint holds, so that a resumed training would differ: give the setup what they belong to, ` +
          "as `generator` or in `state`",
      ),
    );
  }

  // Checkpoints

  /** Takes a checkpoint at this place in the queue. It is written while training continues. */
  async #save(isBest: boolean): Promise<void> {
    const key = `${this.#steps} ${this.#epochs} ${this.#evaluatedAt}`;
    if (!this.#store || (this.#savedAt === key && !isBest)) return;
    this.#savedAt = key;
    await this.#saved; //  one checkpoint at a time
    await this.#drain(); //  an event before the checkpoint may change settings, which belong to it
    const place = this.#place();
    const store = this.#store;
    const variables = captureVariables(this.#setup);
    variables.catch(() => {}); //  the save below gets the error
    const queued = this.#queuedState();
    // This job runs once everything before the checkpoint has been recorded.
    let mark: unknown;
    let trainer: TrainerState | undefined;
    const marked = this.#later(async () => {
      trainer = this.#stateAt(queued);
      mark = await store.mark();
    });
    const save = async (): Promise<void> => {
      await marked;
      const path = await this.#saving.attempt(
        async () => store.save({ ...(await variables), trainer: trainer! }, mark, isBest),
        (message) => this.#warn(message),
      );
      if (path !== undefined) await this.#tell({ type: "checkpoint", ...place, path, isBest });
    };
    this.#saved = save();
    this.#saved.catch((error: unknown) => {
      this.#saveFailure = { error };
    });
  }

  #queuedState(): QueuedState {
    return {
      step: this.#steps,
      epochs: this.#epochs,
      batch: this.#batch,
      isExhausted: this.#isExhausted,
      source: this.#source.state(),
      plateau: this.#plateau?.state ?? null,
      best: this.#best,
      bad: this.#bad,
      evaluatedAt: this.#evaluatedAt,
      settings: settingsOf(this.#setup),
    };
  }

  #stateAt(queued: QueuedState): TrainerState {
    const { log, norm, epoch } = this.#means;
    return {
      ...queued,
      means: { log: log.state, norm: norm.state, epoch: epoch.state },
      examples: this.#examples,
      history: { epochs: [...this.#history.epochs], evaluations: [...this.#history.evaluations] },
    };
  }

  /** Sets what is frozen and which modules are in evaluation mode, as it was when the checkpoint was taken. */
  async #restoreSettings({ trainer: { settings }, isOfAnotherRun }: Checkpoint): Promise<void> {
    if (!settings) return;
    const given = settingsOf(this.#setup);
    restoreSettings(this.#setup, settings);
    if (!isOfAnotherRun || JSON.stringify(given) === JSON.stringify(settings)) return;
    const { frozen, evaluating } = settings;
    await this.#warn(
      `the other run's checkpoint has frozen: ${frozen.join(", ") || "nothing"}; in evaluation mode: ` +
        `${evaluating.map((path) => path || "the model").join(", ") || "nothing"}. So the training goes on, and the setup has others: ` +
        'to change that, freeze in `onEvent` at "start"',
    );
  }

  #restore(state: TrainerState): void {
    this.#steps = state.step;
    this.#savedAt = `${state.step} ${state.epochs} ${state.evaluatedAt}`;
    this.#epochs = state.epochs;
    this.#batch = state.batch;
    this.#isExhausted = state.isExhausted;
    this.#best = state.best;
    this.#bad = state.bad;
    this.#evaluatedAt = state.evaluatedAt;
    if (this.#plateau && state.plateau) this.#plateau.state = state.plateau;
    const { log, norm, epoch } = state.means;
    this.#means = { log: new Mean(log), norm: new Mean(norm), epoch: new Mean(epoch) };
    this.#examples = state.examples;
    this.#history = { epochs: [...state.history.epochs], evaluations: [...state.history.evaluations] };
    this.#source.resume(state.source);
    if (this.#bad >= this.#options.earlyStoppingPatience) this.#isStopping = "early-stopping";
  }

  // Places

  get #totalSteps(): number | undefined {
    const { epochs, maxSteps } = this.#options;
    const most = Math.min(maxSteps, this.#stepsPerEpoch === undefined ? maxSteps : epochs * this.#stepsPerEpoch);
    return Number.isFinite(most) ? most : undefined;
  }

  #place(): TrainingPlace {
    const { batches } = this.#source;
    return { step: this.#steps, epoch: this.#epochs + (batches ? this.#batch / batches : 0) };
  }
}

/** When checkpoints are taken, and what happens when one cannot be written. */
export interface SavingPlan {
  /** Steps between checkpoints. */
  readonly steps: number;
  /** Steps between records of histograms of weights and gradients. */
  readonly histograms: number;
  readonly epochs: boolean;
  /** Whether a checkpoint is taken after each evaluation that is the best so far. */
  readonly best: boolean;
  readonly atEnd: boolean;
  /** Calls `save` and returns its path; `undefined` if it failed and training must continue. */
  attempt(save: () => Promise<string>, warn: (message: string) => Promise<void>): Promise<string | undefined>;
}

const neverSaving: SavingPlan = {
  steps: Number.POSITIVE_INFINITY,
  histograms: Number.POSITIVE_INFINITY,
  epochs: false,
  best: false,
  atEnd: false,
  attempt: (save) => save(),
};

/** Measures the time and counts the examples of this process. */
class Clock {
  readonly #started = performance.now();
  #paused = 0;
  #pausedAt = 0;
  /** The time when the first steps were done. The time before includes compiling, so the rates leave it out. */
  #first: { readonly time: number; readonly paused: number; readonly step: number } | undefined;
  #examples = 0;
  #step = 0;

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  pause(): void {
    this.#pausedAt = performance.now();
  }

  goOn(): void {
    this.#paused += performance.now() - this.#pausedAt;
  }

  count(examples: number, step: number): void {
    this.#step = step;
    if (this.#first) this.#examples += examples;
    else this.#first = { time: performance.now(), paused: this.#paused, step };
  }

  /** Examples per second, without evaluations. */
  get rate(): number {
    if (!this.#first) return 0;
    const { time, paused } = this.#first;
    const seconds = (performance.now() - time - (this.#paused - paused)) / 1000;
    return seconds > 0 ? this.#examples / seconds : 0;
  }

  /** Returns how many seconds `steps` steps will take, including evaluations. */
  secondsFor(steps: number): number {
    if (!this.#first || this.#step === this.#first.step) return 0;
    const { time, step } = this.#first;
    return (steps * (performance.now() - time)) / 1000 / (this.#step - step);
  }
}
