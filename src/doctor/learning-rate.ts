/** The learning-rate range test (Smith 2017, "Cyclical learning rates for training neural networks"). */
import { Sandbox } from "../compile/sandbox.ts";
import type { Column } from "../data/dataset.ts";
import { ConfigError } from "../errors.ts";
import { arrayTypes } from "../graph/types.ts";
import { smoother } from "../train/history.ts";
import { completeWithData, type TrainingSetup } from "../train/setup.ts";
import type { Explanation, StepsOptions, Verdict } from "./report.ts";
import { batches, expectCount, trainingStep } from "./trials.ts";
import { counted, show } from "./words.ts";

/** Options of `check.learningRate`. */
export interface LearningRateOptions extends StepsOptions {
  /** The first rate. Default 1e-7. */
  readonly from?: number;
  /** The last rate, unless training diverges before. Default 10. */
  readonly to?: number;
  /** The number of steps from the first to the last rate. Default 200. */
  readonly steps?: number;
  /** β, the decay of the average that smooths the losses. Default 0.9. */
  readonly smoothing?: number;
}

/** One step of the test. */
export interface RatePoint {
  readonly rate: number;
  readonly loss: number;
  /** The exponentially weighted average of the losses so far, bias-corrected. */
  readonly smoothed: number;
}

/** What `check.learningRate` found. */
export interface LearningRateReport {
  readonly check: "learning-rate";
  readonly verdict: Verdict;
  /** The setup's own rate. The verdict is about this rate. */
  readonly own: number;
  /** A rate to start with; absent if the loss fell at no rate. */
  readonly suggestion?: number;
  /** The rate at which the smoothed loss fell fastest, over the logarithm of the rate. */
  readonly steepest?: number;
  /** The rate at which the smoothed loss was lowest. */
  readonly lowest?: number;
  /** The rate at which training diverged; absent if it did not. */
  readonly divergedAt?: number;
  readonly points: readonly RatePoint[];
}

/** Training has diverged when the smoothed loss is this many times its lowest value. */
const breakdown = 4;

/**
 * Raises the rate exponentially, with one step at each rate, until the smoothed loss is four times its lowest value or NaN. The suggestion
 * is the smaller of two rates: the rate at which the loss fell fastest, and a tenth of the rate at which it was lowest; both rules are in
 * use. The verdict is about the setup's own rate. It fails from half the rate at which training diverged, and when the loss fell at no
 * rate; it is a warning above the rate with the lowest loss, and below a hundredth of the suggestion. All variables, including the
 * optimizer's rate, keep their values. Throws ConfigError for options out of range, and the errors of the setup's functions.
 */
export async function learningRate<C extends readonly Column[]>(
  setup: TrainingSetup<C>,
  options: LearningRateOptions = {},
): Promise<LearningRateReport> {
  const complete = completeWithData("learning-rate", setup);
  const { from = 1e-7, to = 10, steps = 200, smoothing = 0.9, seed = 0, onStep } = options;
  expectCount("learning-rate", "steps", steps, 20);
  if (!(from > 0 && to > from && Number.isFinite(to)))
    throw new ConfigError("learning-rate", `from ${from} to ${to}`, "give two numbers above 0, the lower first");
  if (!(smoothing >= 0 && smoothing < 1))
    throw new ConfigError("learning-rate", `the smoothing is ${smoothing}`, "give a number from 0 to below 1");
  const { optimizer } = complete;
  const sandbox = await Sandbox.open();
  const rate = sandbox.of(optimizer.namedStates().get("learningRate")!);
  const step = trainingStep(complete, sandbox);
  const stream = batches(complete.train, complete.batchSize, seed);
  const points: RatePoint[] = [];
  const follow = smoother(smoothing);
  let lowest: RatePoint | undefined;
  let divergedAt: number | undefined;
  while (points.length < steps && divergedAt === undefined) {
    const at = from * (to / from) ** (points.length / (steps - 1));
    rate.write(arrayTypes[rate.dtype].of(at));
    const loss = await step(...stream.next().value).item();
    const point = { rate: at, loss, smoothed: follow(loss) };
    points.push(point);
    if (!lowest || point.smoothed < lowest.smoothed) lowest = point;
    if (hasBrokenDown(point, points[0]!, lowest)) divergedAt = at;
    onStep?.(points.length, steps);
  }
  const found = suggest(points);
  return {
    check: "learning-rate",
    verdict: verdictOf(optimizer.learningRate, found, divergedAt),
    own: optimizer.learningRate,
    ...found,
    ...(divergedAt !== undefined && { divergedAt }),
    points,
  };
}

/** Whether the smoothed loss is four times its lowest value; for losses below 0, whether it is above the first loss. */
function hasBrokenDown({ smoothed }: RatePoint, first: RatePoint, lowest: RatePoint): boolean {
  return !(smoothed <= (lowest.smoothed > 0 ? breakdown * lowest.smoothed : first.smoothed));
}

interface Found {
  readonly suggestion: number;
  readonly steepest: number;
  readonly lowest: number;
}

/** Finds the suggestion without the first tenth of the points, where the average has not settled, and without the divergence. */
function suggest(points: readonly RatePoint[]): Found | undefined {
  const start = Math.floor(points.length / 10);
  const looked = points.slice(start).filter(({ smoothed }) => Number.isFinite(smoothed));
  const lowest = looked.reduce<RatePoint | undefined>((a, b) => (a && a.smoothed <= b.smoothed ? a : b), undefined);
  if (!lowest) return undefined;
  const falling = looked.slice(0, looked.indexOf(lowest) + 1);
  const [first] = falling;
  // A fall of less than a twentieth can come from an easy batch after a hard one.
  if (falling.length < 3 || !(first!.smoothed - lowest.smoothed > Math.abs(first!.smoothed) / 20)) return undefined;
  let steepest = falling[1]!;
  let slope = Number.POSITIVE_INFINITY;
  for (let i = 1; i + 1 < falling.length; i++) {
    const change = falling[i + 1]!.smoothed - falling[i - 1]!.smoothed; //  steps of log rate are equal
    if (change < slope) [slope, steepest] = [change, falling[i]!];
  }
  const suggestion = Math.min(steepest.rate, lowest.rate / 10);
  return { suggestion, steepest: steepest.rate, lowest: lowest.rate };
}

function verdictOf(own: number, found: Found | undefined, divergedAt = Number.POSITIVE_INFINITY): Verdict {
  if (!found || own >= divergedAt / 2) return "fail";
  return own > found.lowest || own < found.suggestion / 100 ? "warn" : "pass";
}

/** Explains a report in sentences. */
export function explainLearningRate(report: LearningRateReport): Explanation {
  const { verdict, own, suggestion, steepest, lowest, divergedAt, points } = report;
  if (suggestion === undefined || steepest === undefined || lowest === undefined) {
    const [first, last] = [points[0]!, points.at(-1)!];
    const isNumber = Number.isFinite(last.loss);
    return {
      headline: `the loss fell at no rate from ${show(first.rate, 2)} to ${show(last.rate, 2)}`,
      details: [`from ${show(first.loss)} to ${show(last.loss)} in ${counted(points.length, "step")}`],
      advice: [
        isNumber
          ? "something else than the rate is wrong: make the other checks first, overfit above all"
          : `the loss became ${last.loss}: look for NaN in the data, a logarithm or a division of 0`,
      ],
    };
  }
  const end = divergedAt === undefined ? "the training never broke down" : `it broke down at ${show(divergedAt, 2)}`;
  return {
    headline: `${show(suggestion, 2)} is a rate to begin with; yours is ${show(own, 2)}`,
    details: [`the loss fell fastest at ${show(steepest, 2)} and was lowest at ${show(lowest, 2)}; ${end}`],
    advice: verdict === "pass" ? [] : [causeOf(verdict, own > lowest)],
  };
}

function causeOf(verdict: Verdict, isHigh: boolean): string {
  if (verdict === "fail") return "your rate is where the training breaks down, or close to it: lower it";
  return isHigh
    ? "your rate is where the loss rises again: lower it, or let it decay soon"
    : "your rate is far below: training will work, and take much longer than it has to";
}
