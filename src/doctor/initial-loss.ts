/** Compares the loss before training with the loss of guessing: −log(1/K). */
import { Sandbox } from "../compile/sandbox.ts";
import type { Column } from "../data/dataset.ts";
import { loader } from "../data/tensors.ts";
import { ConfigError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { completeWithData, type TrainingSetup } from "../train/setup.ts";
import type { Explanation, SeedOption, Verdict } from "./report.ts";
import { choose, expectCount, mean } from "./trials.ts";
import { count, show } from "./words.ts";

/** Options of `check.initialLoss`. */
export interface InitialLossOptions extends SeedOption {
  /** The approximate number of examples over which the loss is averaged. Default 1,024. */
  readonly examples?: number;
  /** The expected loss. Default: log K for K classes. */
  readonly expected?: number;
}

/** What `check.initialLoss` found. */
export interface InitialLossReport {
  readonly check: "initial-loss";
  /** "skip" when the expected loss is not known. */
  readonly verdict: Verdict;
  readonly observed: number;
  readonly expected?: number;
  /** observed / expected */
  readonly ratio?: number;
  readonly classes?: number;
  /** How far the outputs of an example are from each other, or a single output from 0. It is large for a network that is confident. */
  readonly outputDeviation: number;
  readonly batchSize: number;
}

/**
 * Compares the loss of an untrained model with log K, the loss of giving each of K classes the probability 1/K. A loss between ¾ and 1½
 * times log K passes; between ½ and 2 times is a warning. Layers keep their present mode, and no variable is updated. Throws ConfigError
 * for options out of range, and the errors of the setup's functions.
 */
export async function initialLoss<C extends readonly Column[]>(
  setup: TrainingSetup<C>,
  options: InitialLossOptions = {},
): Promise<InitialLossReport> {
  const { train, batchSize, loss: lossOf, output, ...complete } = completeWithData("initial-loss", setup);
  const { examples = 1024, seed = 0 } = options;
  expectCount("initial-loss", "examples", examples, 1);
  if (options.expected !== undefined && !(options.expected > 0 && Number.isFinite(options.expected)))
    throw new ConfigError("initial-loss", `the expected loss is ${options.expected}`, "give a number above 0");
  const sandbox = await Sandbox.open();
  const look = sandbox.compile((...batch: readonly Tensor[]) => {
    const outputs = output(...batch).cast("float32");
    const centre = widthOf(outputs) > 1 ? outputs.mean(-1, { keepDims: true }) : 0;
    return { loss: lossOf(...batch), outputs, spread: outputs.sub(centre).square().mean() };
  });
  const losses: number[] = [];
  const spreads: number[] = [];
  let width = 1;
  for (const batch of loader(choose(train, Math.max(examples, batchSize), seed), { batchSize, dropLast: true })) {
    const { loss, outputs, spread } = look(...batch);
    losses.push(await loss.item());
    spreads.push(await spread.item());
    width = widthOf(outputs);
  }
  const areLabels = train.columns.at(-1)!.dtype === "int32";
  const classes = complete.classes ?? (areLabels ? Math.max(2, width) : undefined);
  const observed = mean(losses);
  const expected = options.expected ?? (classes && Math.log(classes));
  const ratio = expected === undefined ? undefined : observed / expected;
  return {
    check: "initial-loss",
    verdict: ratio === undefined && Number.isFinite(observed) ? "skip" : judge(ratio ?? Number.NaN),
    observed,
    ...(expected !== undefined && ratio !== undefined && { expected, ratio }),
    ...(classes !== undefined && { classes }),
    outputDeviation: Math.sqrt(mean(spreads)),
    batchSize,
  };
}

/** The number of outputs of an example, or of one place of a sequence. */
const widthOf = ({ shape }: Tensor): number => (shape.length > 1 ? shape.at(-1)! : 1);

function judge(ratio: number): Verdict {
  if (ratio >= 3 / 4 && ratio <= 3 / 2) return "pass";
  return ratio >= 1 / 2 && ratio <= 2 ? "warn" : "fail";
}

/** Explains a report in sentences. */
export function explainInitialLoss(report: InitialLossReport): Explanation {
  const { verdict, observed, expected, ratio, classes, outputDeviation } = report;
  const spread = `the outputs of an example have the deviation ${show(outputDeviation, 3)}`;
  const advice = verdict === "pass" ? [] : [causeOf(report)];
  if (expected === undefined || ratio === undefined)
    return {
      headline: `the loss is ${show(observed)}; what it should be is not known for such targets`,
      details: [spread],
      advice,
    };
  const isGuess = classes !== undefined && expected === Math.log(classes);
  const wanted = isGuess
    ? `one who guesses has −log(1/${count(classes)}) = ${show(expected)}`
    : `${show(expected)} is expected`;
  return {
    headline: `the loss is ${show(observed)}; ${wanted}`,
    details: [`ratio ${show(ratio, 3)}; ${spread}`],
    advice,
  };
}

function causeOf({ observed, ratio, batchSize }: InitialLossReport): string {
  if (!Number.isFinite(observed))
    return (
      "the loss is no number before anything has been learnt: look for NaN in the data, a logarithm or a division of 0, " +
      "and an exponential of large outputs"
    );
  if (ratio === undefined) return "give the setup `classes`, or the check `expected`";
  if (batchSize > 4 && ratio > 0.75 * batchSize && ratio < 1.5 * batchSize)
    return (
      `it is about ${batchSize} times too large, the number of examples in a batch: the loss is a sum and should be ` +
      "the mean"
    );
  if (ratio > 1)
    return (
      "the network is sure of what it cannot know yet: its output layer is too large. Draw the last weights smaller " +
      "(init.xavierNormal, or a tenth of what they are), begin its bias at 0, and standardise the inputs. Penalties " +
      "added to the loss show here too"
    );
  return (
    "an untrained network cannot know more than one who guesses: has this one been trained, can it see the targets " +
    "among its inputs, or does the mean count padding?"
  );
}
