/** Checks which examples of a batch influence which outputs: each example should influence only its own output. */
import { gradients } from "../autodiff/gradients.ts";
import { Sandbox } from "../compile/sandbox.ts";
import type { Column, Dataset } from "../data/dataset.ts";
import { ConfigError, DataError } from "../errors.ts";
import { isFloat } from "../graph/types.ts";
import { walk } from "../nn/module.ts";
import { hostStream } from "../random/generator.ts";
import { fromValues, stack } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type CompleteSetup, completeWithData, type TrainingSetup } from "../train/setup.ts";
import type { Explanation, SeedOption, Verdict } from "./report.ts";
import { asBatch, choose, expectCount, inEvaluation } from "./trials.ts";
import { counted, list } from "./words.ts";

/** Options of `check.mixing`. */
export interface MixingOptions extends SeedOption {
  /** The number of examples in the batch, at least 2 and at most half of the data. Default 6, or half of the data if that is less. */
  readonly examples?: number;
}

/** An example and the output of another example that it influences. */
export interface Pair {
  /** The positions of both in the batch. */
  readonly output: number;
  readonly input: number;
}

/** The influences between examples in one mode of the model. */
export interface Influences {
  /** [output][input]: how much the output of one example depends on the inputs of another. */
  readonly influence: readonly (readonly number[])[];
  /** The pairs that should be independent but are not. */
  readonly mixed: readonly Pair[];
}

/** What `check.mixing` found. */
export interface MixingReport {
  readonly check: "mixing";
  readonly verdict: Verdict;
  /**
   * "gradient": an influence is the largest |d output / d input|, where an example's output is a random sum of its
   * elements. "replacement", where inputs are ids: the largest change of an element of the output when the example is
   * replaced.
   */
  readonly method: "gradient" | "replacement";
  /** The influences with the model in its present mode. */
  readonly asItIs: Influences;
  readonly inEvaluation: Influences;
  /** The paths of batch normalisation layers, which mix examples in training by design. */
  readonly batchNorms: readonly string[];
}

/** Influences smaller than this share of the largest are rounding errors. */
const rounding = 1e-6;

/**
 * Checks whether the output of an example depends on other examples of its batch, in the model's present mode and in evaluation. Mixing in
 * evaluation fails. Mixing only in training passes if the model has batch normalisation, which causes it, and is a warning otherwise.
 * Outputs that depend on no input fail too. Throws ConfigError for options out of range, DataError for derivatives that are not finite, and
 * the errors of the setup's functions.
 */
export async function mixing<C extends readonly Column[]>(
  setup: TrainingSetup<C>,
  options: MixingOptions = {},
): Promise<MixingReport> {
  const complete = completeWithData("mixing", setup);
  const { model, train } = complete;
  const most = Math.floor(train.length / 2);
  const { examples = Math.max(2, Math.min(6, most)), seed = 0 } = options;
  expectCount("mixing", "examples", examples, 2);
  if (examples > most)
    throw new ConfigError(
      "mixing",
      `${examples} examples and as many to replace them, of ${train.length}`,
      most < 2 ? "give 4 training examples at least" : `set examples to ${most} or less`,
    );
  const chosen = choose(train, 2 * examples, seed);
  const isReal = inputsOf(chosen).every(({ dtype }) => isFloat(dtype));
  const look = (mode: Mode): Promise<number[][]> =>
    isReal ? byGradient(complete, chosen, mode) : byReplacement(complete, chosen, mode);
  const asItIs = influences(await look((build) => build()));
  const evaluated = influences(await look((build) => inEvaluation(model, build)));
  const batchNorms = [...walk(model)].filter(([, { kind }]) => kind === "BatchNorm").map(([path]) => path);
  return {
    check: "mixing",
    verdict: verdictOf(asItIs, evaluated, batchNorms.length > 0),
    method: isReal ? "gradient" : "replacement",
    asItIs,
    inEvaluation: evaluated,
    batchNorms,
  };
}

/** Runs a function with the model in one of its modes. */
type Mode = <R>(build: () => R) => R;

const inputsOf = ({ columns }: Dataset): readonly Column[] => columns.slice(0, Math.max(1, columns.length - 1));

/** Returns, for each pair, the largest derivative d (random sum of output i) / d (inputs of j). */
async function byGradient({ output }: CompleteSetup, chosen: Dataset, mode: Mode): Promise<number[][]> {
  const examples = chosen.length / 2;
  const data = chosen.take([...Array(examples).keys()]);
  const columns = inputsOf(data).length;
  const random = hostStream(0, "projection");
  const sandbox = await Sandbox.open();
  const derivatives = sandbox.compile((which: Tensor, ...batch: readonly Tensor[]) => {
    const inputs = batch.slice(0, columns);
    const outputs = output(...batch)
      .cast("float32")
      .reshape([examples, -1]);
    // The weights differ: with equal weights the sum of probabilities is 1 for any inputs.
    const weights = fromValues(
      Float32Array.from({ length: outputs.size }, () => random.normal()),
      outputs.shape,
    );
    const sum = outputs.mul(weights).sum(1).mul(which).sum();
    // This term makes the output depend on all inputs formally: an input that the output does not use then has the derivative 0.
    const whole = inputs.reduce((total, x) => total.add(x.mul(0).sum().cast("float32")), sum);
    const sizes = gradients(whole, inputs).map((g) => g.abs().cast("float32").reshape([examples, -1]).max(1));
    return stack(sizes).max(0);
  });
  const rows: number[][] = [];
  for (let i = 0; i < examples; i++) {
    const which = fromValues(
      Float32Array.from({ length: examples }, (_, k) => Number(k === i)),
      [examples],
    );
    rows.push([...(await mode(() => derivatives(which, ...asBatch(data))).data())]);
  }
  return rows;
}

/** Returns, for each pair, the largest change of output i when the inputs of j are replaced. */
async function byReplacement({ output }: CompleteSetup, chosen: Dataset, mode: Mode): Promise<number[][]> {
  const examples = chosen.length / 2;
  const places = [...Array(examples).keys()];
  const outputs = async (rows: readonly number[]): Promise<readonly number[]> => {
    // Each run has its own sandbox, so that all start with the same generators and statistics.
    const run = (await Sandbox.open()).compile((...batch: readonly Tensor[]) => output(...batch));
    return [...(await mode(() => run(...asBatch(chosen.take(rows)))).data())];
  };
  const before = await outputs(places);
  const size = before.length / examples;
  const columns: number[][] = [];
  for (const j of places) {
    const after = await outputs(places.map((place) => (place === j ? examples + j : place)));
    const changes = places.map((i) =>
      before
        .slice(i * size, (i + 1) * size)
        .reduce((most, value, k) => Math.max(most, Math.abs(value - after[i * size + k]!)), 0),
    );
    columns.push(changes);
  }
  return places.map((i) => columns.map((column) => column[i]!));
}

/** Throws DataError where an influence is not finite. */
function influences(influence: readonly (readonly number[])[]): Influences {
  const pairs = influence.flatMap((row, output) => row.map((size, input) => ({ output, input, size })));
  const bad = pairs.find(({ size }) => !Number.isFinite(size));
  if (bad)
    throw new DataError(
      "mixing",
      `the influence of input ${bad.input} on output ${bad.output} is ${bad.size}`,
      "find out first where it comes from: check the data and the initial loss",
    );
  const largest = Math.max(...pairs.map(({ size }) => size));
  const mixed = pairs.filter(({ output, input, size }) => output !== input && size > rounding * largest);
  return { influence, mixed: mixed.map(({ output, input }) => ({ output, input })) };
}

function verdictOf(asItIs: Influences, evaluated: Influences, hasBatchNorm: boolean): Verdict {
  if (isBlind(evaluated) || evaluated.mixed.length > 0) return "fail";
  return asItIs.mixed.length === 0 || hasBatchNorm ? "pass" : "warn";
}

/** Whether no output depends on its own example. */
const isBlind = ({ influence }: Influences): boolean => influence.every((row, i) => row[i] === 0);

/** Explains a report in sentences. */
export function explainMixing(report: MixingReport): Explanation {
  const { verdict, method, asItIs, inEvaluation, batchNorms } = report;
  const how = method === "gradient" ? "by derivatives" : "by replacing examples";
  const details = [`${counted(asItIs.influence.length, "example")}, ${how}`];
  if (isBlind(inEvaluation))
    return {
      headline: "the output of an example does not depend on its inputs",
      details,
      advice: ["dead or saturated units, a factor of 0, or a part that is detached: there is nothing to learn with"],
    };
  if (verdict === "fail")
    return {
      headline: `outputs depend on other examples of the batch: ${pairs(inEvaluation)}`,
      details: [...details, ...matrix(inEvaluation)],
      advice: [
        "a reshape where a transpose was meant, or a softmax, mean or normalisation over the batch axis: what the " +
          "model says of an example must not hang on its neighbours",
      ],
    };
  if (verdict === "warn")
    return {
      headline: `in training examples influence each other, in evaluation none does: ${pairs(asItIs)}`,
      details: [...details, ...matrix(asItIs)],
      advice: ["no layer of batch normalisation would explain it: look for what else behaves differently in training"],
    };
  if (asItIs.mixed.length === 0)
    return { headline: "every output depends on its own example alone", details, advice: [] };
  return {
    headline: "in training examples influence each other, in evaluation none does",
    details: [...details, `batch normalisation does that by what it is: ${list(batchNorms)}`],
    advice: [],
  };
}

function pairs({ influence, mixed }: Influences): string {
  if (mixed.length === influence.length * (influence.length - 1)) return "all of them on all";
  return `${counted(mixed.length, "pair")}, such as output ${mixed[0]!.output} on input ${mixed[0]!.input}`;
}

/** The influences as text, one row for each output. */
function matrix({ influence, mixed }: Influences): string[] {
  const isMixed = (output: number, input: number): boolean =>
    mixed.some((pair) => pair.output === output && pair.input === input);
  const cell = (output: number, input: number, size: number): string => {
    if (output === input) return size === 0 ? "·" : "■";
    return isMixed(output, input) ? "✗" : "·";
  };
  return influence.map(
    (row, output) => `output ${output}: ${row.map((size, input) => cell(output, input, size)).join(" ")}`,
  );
}
