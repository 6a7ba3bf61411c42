/** Evaluation: the loss and the metrics over all batches, added up inside the graph and read once. */
import { type Compiled, compile } from "../compile/compile.ts";
import { claim, valuesOf } from "../compile/evaluate.ts";
import { type BatchSource, epochOf } from "../data/batches.ts";
import { DataError } from "../errors.ts";
import { arrayTypes, sizeOf, type Values } from "../graph/types.ts";
import { inMode } from "../nn/module.ts";
import { countedBy } from "../optim/guards.ts";
import { full } from "../tensor/create.ts";
import { State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { EvaluationReport } from "./events.ts";
import type { HostCount, HostMetric, Measured, MetricValue, SummedMetric } from "./metrics.ts";
import { type CompleteSetup, examplesIn, expectSynchronous } from "./setup.ts";

/** How many batches are queued before the first is awaited. */
const window = 8;

/** Evaluates a setup, any number of times. */
export class Evaluator {
  readonly #setup: CompleteSetup;
  readonly #summed: readonly SummedMetric[];
  readonly #host: readonly HostMetric[];
  /** The sums, by the names of the metric and of its number. */
  readonly #sums = new Map<string, State>();
  readonly #judge: Compiled<readonly Tensor[], Tensor[]>;
  /** The names of the tensors that each host metric reads, in the order of `#judge`. */
  #read: readonly (readonly string[])[] = [];

  constructor(setup: CompleteSetup) {
    this.#setup = setup;
    this.#summed = setup.metrics.filter((metric) => "sums" in metric);
    this.#host = setup.metrics.filter((metric) => "reads" in metric);
    this.#judge = compile((...batch: readonly Tensor[]) =>
      inMode(false, () => {
        const { carried } = setup;
        return carried ? carried.during("evaluation", () => this.#measure(batch)) : this.#measure(batch);
      }),
    );
  }

  /** Evaluates one epoch of a source. Throws DataError if the epoch has no batch. */
  async run(source: BatchSource): Promise<EvaluationReport> {
    try {
      return await this.#run(source);
    } catch (error) {
      await this.#judge.finished().catch(() => {}); //  batches after a failed one have failed too
      throw error;
    }
  }

  async #run(source: BatchSource): Promise<EvaluationReport> {
    const started = performance.now();
    for (const state of this.#sums.values()) state.write(zerosOf(state));
    this.#setup.carried?.reset("evaluation");
    const counts = this.#host.map((metric) => metric.begin());
    const queued: (readonly Tensor[])[] = [];
    let [examples, batches] = [0, 0];
    const epoch = epochOf(source);
    for (;;) {
      const next = epoch.next();
      const batch = next instanceof Promise ? await next : next;
      if (!batch) break;
      queued.push(claim(this.#judge(...batch)));
      examples += examplesIn(batch);
      batches++;
      if (queued.length >= 2 * window) await this.#count(counts, queued.splice(0, window));
    }
    if (batches === 0)
      throw new DataError(
        "evaluation",
        "there is no batch to evaluate on",
        "give validation data with one example at least",
      );
    await this.#count(counts, queued);
    const sums = await this.#values();
    const loss = sums.get("loss")!;
    const metrics: Record<string, MetricValue> = {};
    for (const metric of this.#setup.metrics)
      metrics[metric.name] =
        "sums" in metric ? metric.value(ownSums(sums, metric.name)) : counts[this.#host.indexOf(metric)]!.value();
    const weight = sums.get("weight")![0]!;
    if (weight === 0)
      throw new DataError(
        "evaluation",
        "nothing counts: the weights of all batches are 0",
        "give validation data in which something counts, or look at `weight` of the setup",
      );
    return {
      loss: loss[0]! / weight,
      metrics,
      examples,
      seconds: (performance.now() - started) / 1000,
    };
  }

  /** Adds a batch's numbers to the sums, in the batch's graph. Returns the loss and the tensors that host metrics read. */
  #measure(batch: readonly Tensor[]): Tensor[] {
    const measured = new Batch(this.#setup, batch);
    const { loss, weight } = measured;
    this.#add("loss", loss.cast("float64").mul(weight) as Tensor);
    this.#add("weight", weight);
    for (const metric of this.#summed)
      for (const [name, value] of Object.entries(expectSynchronous(metric.name, "sums", metric.sums(measured))))
        this.#add(keyOf(metric.name, name), value);
    const read = this.#host.map((metric) =>
      Object.entries(expectSynchronous(metric.name, "reads", metric.reads(measured))),
    );
    this.#read = read.map((entries) => entries.map(([name]) => name));
    return [loss, ...read.flatMap((entries) => entries.map(([, tensor]) => tensor))];
  }

  #add(name: string, value: Tensor): void {
    const { shape } = value;
    const sum =
      this.#sums.get(name) ??
      new State({ shape: [...shape], dtype: "float64" }, new Float64Array(sizeOf(shape)), { name });
    this.#sums.set(name, sum);
    sum.assign(sum.add(value.cast("float64") as Tensor) as Tensor<readonly number[], "float64">);
  }

  /** Waits for batches, and passes their values to the host metrics. */
  async #count(counts: readonly HostCount[], batches: readonly (readonly Tensor[])[]): Promise<void> {
    const values = await valuesOf(batches.flat());
    if (counts.length === 0) return;
    const width = batches[0]?.length ?? 0;
    for (const [i, tensors] of batches.entries()) {
      let at = 1; //  after the loss
      for (const [k, count] of counts.entries()) {
        const names = this.#read[k]!;
        const own = names.map((name, j) => [name, at + j] as const);
        at += names.length;
        count.add(
          Object.fromEntries(own.map(([name, j]) => [name, values[i * width + j]!])),
          Object.fromEntries(own.map(([name, j]) => [name, tensors[j]!.shape])),
        );
      }
    }
  }

  async #values(): Promise<ReadonlyMap<string, Values>> {
    const values = await valuesOf([...this.#sums.values()]);
    return new Map([...this.#sums.keys()].map((name, i) => [name, values[i]!]));
  }
}

const zerosOf = ({ shape, dtype }: State): Values => new arrayTypes[dtype](sizeOf(shape));

function ownSums(sums: ReadonlyMap<string, Values>, metric: string): { readonly [name: string]: Values } {
  const start = keyOf(metric, "");
  const own = [...sums].filter(([name]) => name.startsWith(start));
  return Object.fromEntries(own.map(([name, values]) => [name.slice(start.length), values]));
}

/** The key of a metric's sum. A line end separates the names, since names may contain dots. */
const keyOf = (metric: string, name: string): string => `${metric}\n${name}`;

/** What metrics see of a batch. Each part is computed when it is first used. */
class Batch implements Measured {
  readonly batch: readonly Tensor[];
  readonly #setup: CompleteSetup;
  #output: Tensor | undefined;
  #loss: Tensor | undefined;
  #given: Tensor | number | undefined;

  constructor(setup: CompleteSetup, batch: readonly Tensor[]) {
    this.#setup = setup;
    this.batch = batch;
  }

  get output(): Tensor {
    this.#output ??= this.#setup.output(...this.batch);
    return this.#output;
  }

  get loss(): Tensor {
    this.#loss ??= countedBy(this.#givenWeight, this.#setup.loss(...this.batch));
    return this.#loss;
  }

  get target(): Tensor {
    return this.batch.at(-1)!;
  }

  /** A float64 scalar. */
  get weight(): Tensor {
    const weight = this.#givenWeight;
    return typeof weight === "number" ? full([], weight, "float64") : weight.cast("float64");
  }

  get #givenWeight(): Tensor | number {
    this.#given ??= this.#setup.weight?.(...this.batch) ?? examplesIn(this.batch);
    return this.#given;
  }
}
