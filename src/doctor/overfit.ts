/** Checks that a model can memorise a few examples. */
import { Sandbox } from "../compile/sandbox.ts";
import type { Column } from "../data/dataset.ts";
import { ConfigError } from "../errors.ts";
import { completeWithData, type TrainingSetup } from "../train/setup.ts";
import type { Explanation, StepsOptions, Verdict } from "./report.ts";
import { asBatch, choose, expectCount, inEvaluation, trainingStep } from "./trials.ts";
import { counted, show } from "./words.ts";

/** Options of `check.overfit`. */
export interface OverfitOptions extends StepsOptions {
  /** The number of examples to memorise. Default 8. */
  readonly examples?: number;
  /** The largest number of steps. Default 500. */
  readonly steps?: number;
  /** The examples count as learnt when the loss has fallen to this share of its first value. Default 0.01. */
  readonly share?: number;
}

/** What `check.overfit` found. */
export interface OverfitReport {
  readonly check: "overfit";
  readonly verdict: Verdict;
  readonly examples: number;
  /** The loss before each step. */
  readonly losses: readonly number[];
  /** The loss that counts as learnt. */
  readonly target: number;
  /** The loss at the end, with the model in evaluation, where dropout has no effect. */
  readonly final: number;
  readonly learningRate: number;
}

/**
 * Trains on a few examples until their loss is almost 0. Any model with enough parameters can do this; if it cannot, something is wrong
 * with the model, the loss or the optimizer. Passes when the loss, in training or in evaluation, falls to `share` times the first loss; a
 * tenth of the first loss is a warning. The setup's variables keep their values. Throws ConfigError for options out of range, and the
 * errors of the setup's functions.
 */
export async function overfit<C extends readonly Column[]>(
  setup: TrainingSetup<C>,
  options: OverfitOptions = {},
): Promise<OverfitReport> {
  const complete = completeWithData("overfit", setup);
  const { examples = 8, steps = 500, share = 0.01, seed = 0, onStep } = options;
  expectCount("overfit", "examples", examples, 1);
  expectCount("overfit", "steps", steps, 1);
  if (!(share > 0 && share < 1)) throw new ConfigError("overfit", `the share is ${share}`, "give a number from 0 to 1");
  const few = choose(complete.train, examples, seed);
  const batch = asBatch(few);
  const sandbox = await Sandbox.open();
  const step = trainingStep(complete, sandbox);
  const losses: number[] = [];
  const target = (): number => share * Math.abs(losses[0]!);
  do {
    losses.push(await step(...batch).item());
    onStep?.(losses.length, steps);
  } while (losses.length < steps && losses.at(-1)! > target()); //  stops when the loss is low enough, or NaN
  const judge = sandbox.compile(complete.loss);
  const final = await inEvaluation(complete.model, () => judge(...batch)).item();
  return {
    check: "overfit",
    verdict: verdictOf(Math.min(losses.at(-1)!, final), losses[0]!, target()),
    examples: few.length,
    losses,
    target: target(),
    final,
    learningRate: complete.optimizer.learningRate,
  };
}

function verdictOf(last: number, first: number, target: number): Verdict {
  if (last <= target) return "pass";
  return last <= first / 10 ? "warn" : "fail";
}

/** Explains a report in sentences. */
export function explainOverfit(report: OverfitReport): Explanation {
  const { verdict, examples, losses, target, final, learningRate } = report;
  const details = [
    `from ${show(losses[0]!)} to ${show(losses.at(-1)!)}, ${show(final)} in evaluation; ${show(target)} counts as learnt`,
    `learning rate ${show(learningRate)}`,
  ];
  const steps = counted(losses.length, "step");
  const who = counted(examples, "example");
  if (verdict === "pass") return { headline: `${who} learnt by heart in ${steps}`, details, advice: [] };
  return { headline: `${who} not learnt by heart in ${steps}`, details, advice: [causeOf(report)] };
}

function causeOf({ verdict, losses }: OverfitReport): string {
  const [first, last, lowest] = [losses[0]!, losses.at(-1)!, Math.min(...losses)];
  if (!Number.isFinite(last))
    return `the loss became ${last}: lower the learning rate (see the learning-rate check), or look for NaN in the data`;
  if (verdict === "warn")
    return (
      "it falls, but not to the end: more steps or a higher rate may do, or something keeps it up, such as dropout, " +
      "weight decay or smoothed labels"
    );
  if (last > 2 * first || (lowest < first / 10 && last > 5 * lowest))
    return "the loss jumps up again: the learning rate is too high; the learning-rate check suggests one";
  if (lowest > 0.95 * first)
    return (
      "the loss does not fall: no gradient reaches the parameters (detached, frozen, dead relus, saturated sigmoids), " +
      "the optimizer has others, or the rate is far too low"
    );
  return (
    "it falls and gets stuck: equal inputs with different targets, inputs without scale that saturate the units, too " +
    "few parameters, a loss that cannot be 0 (penalties, smoothed labels, a softmax taken twice), or outputs that " +
    "cannot reach the targets"
  );
}
