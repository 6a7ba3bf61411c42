/** Checks whether a model uses its inputs. */
import { Sandbox } from "../compile/sandbox.ts";
import type { Column } from "../data/dataset.ts";
import { ConfigError } from "../errors.ts";
import { zeros } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type CompleteSetup, completeWithData, type TrainingSetup } from "../train/setup.ts";
import type { Explanation, Skipped, StepsOptions, Verdict } from "./report.ts";
import { batches, expectCount, mean, trainingStep } from "./trials.ts";
import { count, show } from "./words.ts";

/** What replaces the inputs: zeros, or the inputs of other examples, which works for ids and lengths too. */
export type WithoutInputs = "zeros" | "shuffled";

/** Options of `check.baseline`. */
export interface BaselineOptions extends StepsOptions {
  /** The number of steps of each of the two trainings. Default 200. */
  readonly steps?: number;
  /** Default "shuffled". */
  readonly without?: WithoutInputs;
}

/** What `check.baseline` found. */
export interface BaselineReport {
  readonly check: "baseline";
  readonly verdict: Verdict;
  readonly without: WithoutInputs;
  /** The loss before each step. */
  readonly losses: readonly number[];
  /** The loss before each step of the training without the inputs. */
  readonly baselineLosses: readonly number[];
  /** The mean losses over the last quarter of the steps. */
  readonly loss: number;
  readonly baseline: number;
  /** The difference in standard errors. From 3 on it is not due to chance. */
  readonly significance: number;
}

/**
 * Trains twice from the same state, with the inputs and without them: the loss must become lower with the inputs. Passes when it is lower
 * by at least a tenth and by more than chance explains (3 standard errors). A significant difference of less than a tenth is a warning.
 * Skipped for data of one column. The setup's variables keep their values. Throws ConfigError for options out of range, and the errors of
 * the setup's functions.
 */
export async function baseline<C extends readonly Column[]>(
  setup: TrainingSetup<C>,
  options: BaselineOptions = {},
): Promise<BaselineReport | Skipped<"baseline">> {
  const complete = completeWithData("baseline", setup);
  const { steps = 200, without = "shuffled", seed = 0, onStep } = options;
  expectCount("baseline", "steps", steps, 8);
  if (without !== "zeros" && without !== "shuffled")
    throw new ConfigError("baseline", `without is ${String(without)}`, 'give "zeros" or "shuffled"');
  if (complete.train.columns.length < 2)
    return { check: "baseline", verdict: "skip", reason: "the data have one column, inputs and targets in one" };
  const data = (order: number): Iterator<Tensor[], never> => batches(complete.train, complete.batchSize, seed + order);
  const [own, others] = [data(0), data(1)];
  const losses = await train(
    complete,
    steps,
    () => own.next().value,
    (done) => onStep?.(done, 2 * steps),
  );
  const again = data(0);
  const blind = (): Tensor[] => {
    const batch = again.next().value;
    const inputs =
      without === "zeros" ? batch.map(({ shape, dtype }) => zeros([...shape], dtype)) : others.next().value;
    return [...inputs.slice(0, -1), batch.at(-1)!];
  };
  const baselineLosses = await train(complete, steps, blind, (done) => onStep?.(steps + done, 2 * steps));
  const [withInputs, withoutInputs] = [ending(losses), ending(baselineLosses)];
  const difference = withoutInputs.mean - withInputs.mean;
  const significance = difference / Math.hypot(withInputs.error, withoutInputs.error);
  return {
    check: "baseline",
    verdict: verdictOf(significance, difference / Math.abs(withoutInputs.mean)),
    without,
    losses,
    baselineLosses,
    loss: withInputs.mean,
    baseline: withoutInputs.mean,
    significance,
  };
}

async function train(
  setup: CompleteSetup,
  steps: number,
  next: () => Tensor[],
  onStep: (done: number) => void,
): Promise<number[]> {
  const step = trainingStep(setup, await Sandbox.open());
  const losses: number[] = [];
  while (losses.length < steps) {
    losses.push(await step(...next()).item());
    onStep(losses.length);
  }
  return losses;
}

/** The mean of the last quarter and its standard error. */
function ending(losses: readonly number[]): { readonly mean: number; readonly error: number } {
  const last = losses.slice(-Math.max(2, Math.ceil(losses.length / 4)));
  const centre = mean(last);
  const variance = last.reduce((sum, loss) => sum + (loss - centre) ** 2, 0) / (last.length - 1);
  return { mean: centre, error: Math.sqrt(variance / last.length) };
}

function verdictOf(significance: number, gain: number): Verdict {
  if (!(significance >= 3)) return "fail";
  return gain >= 0.1 ? "pass" : "warn";
}

/** Explains a report in sentences. */
export function explainBaseline(report: BaselineReport): Explanation {
  const { verdict, without, losses, loss, baseline, significance } = report;
  const blind = without === "zeros" ? "zeros for inputs" : "the inputs of other examples";
  const details = [
    `means of the last quarter of ${count(losses.length)} steps, ${show(significance, 3)} standard errors apart`,
  ];
  return {
    headline: `the loss is ${show(loss)} with the inputs and ${show(baseline)} with ${blind}`,
    details,
    advice: verdict === "pass" ? [] : [causeOf(report)],
  };
}

function causeOf({ verdict, losses, loss, baseline }: BaselineReport): string {
  if (!Number.isFinite(loss) || !Number.isFinite(baseline))
    return "a loss became NaN: lower the learning rate, or look for NaN in the data";
  if (loss > losses[0]!) return "the loss grows: the learning rate is too high; the learning-rate check suggests one";
  if (verdict === "warn")
    return "the inputs help, but little: train longer, or look at what becomes of them on the way";
  return (
    "the model learns nothing from its inputs: they do not reach the output (multiplied by 0, dead units, the wrong " +
    "column), inputs and targets do not belong together (shuffled apart), or the rate is too low for so few steps"
  );
}
