/** Draws examples with weights. */
import { ConfigError, DataError } from "../errors.ts";
import { aColumn, described, expectArguments } from "../graph/arguments.ts";
import type { Column } from "./dataset.ts";
import type { RandomBits } from "./shuffle.ts";

/** How a loader draws examples: its option `sample`. */
export interface SampleOptions {
  /**
   * The relative probability of each example; or `"balanced"`: all classes of the last column, which holds labels, are equally likely,
   * however many examples each has.
   */
  readonly weights: ArrayLike<number> | "balanced";
  /** Whether an example may be drawn more than once in an epoch. Default true. */
  readonly replacement?: boolean;
  /** The number of draws in an epoch. Default: the number of examples. */
  readonly examples?: number;
}

/**
 * Returns weights that make all classes equally likely: 1 / (number of examples of its class) for each example. Throws DataError if the
 * column is not one of labels.
 */
export function balancedWeights(labels: Column<readonly [number], "int32">): Float64Array {
  expectArguments("balancedWeights", [aColumn], [labels]);
  const { shape, dtype, values } = labels;
  if (shape.length !== 1 || dtype !== "int32")
    throw new DataError(
      "balanced weights",
      `the column is ${dtype} with ${shape.length} axes`,
      "give a column of labels: int32, one for each example",
    );
  const counts = new Map<number, number>();
  for (const label of values) counts.set(label, (counts.get(label) ?? 0) + 1);
  return Float64Array.from(values, (label) => 1 / counts.get(label)!);
}

/**
 * Draws by sums of weights in a binary tree: a draw walks down from the root. To remove an example, its weight becomes 0 and the sums above
 * it are added up anew, so that rounding errors do not accumulate and the draws are the same on every system.
 */
export class WeightedSampler {
  readonly #leaves: number;
  readonly #sums: Float64Array;
  readonly #count: number;
  readonly #positive: number;

  /** Throws DataError for weights that are negative, not numbers, or all 0, and unless there is one for each example. */
  constructor(weights: ArrayLike<number>, examples: number) {
    if (weights.length !== examples)
      throw new DataError(
        "loader",
        `there are ${weights.length} weights for ${examples} examples`,
        "give one for each example",
      );
    this.#count = examples;
    this.#leaves = 2 ** Math.ceil(Math.log2(Math.max(2, examples)));
    this.#sums = new Float64Array(2 * this.#leaves);
    let positive = 0;
    for (let i = 0; i < examples; i++) {
      const weight = weights[i]!;
      if (!(typeof weight === "number" && weight >= 0 && weight < Infinity))
        throw new DataError("loader", `weight ${i} is ${described(weight)}`, "give finite numbers from 0 on");
      this.#sums[this.#leaves + i] = weight;
      if (weight > 0) positive++;
    }
    this.#positive = positive;
    for (let at = this.#leaves - 1; at > 0; at--) this.#add(this.#sums, at);
    if (!(this.#sums[1]! > 0 && this.#sums[1]! < Infinity))
      throw new DataError(
        "loader",
        `the weights add up to ${this.#sums[1]}`,
        "give some example a weight above 0, and none so large that their sum is infinite",
      );
  }

  /** The number of examples with a positive weight. */
  get positive(): number {
    return this.#positive;
  }

  /** Returns the indices of `count` draws. */
  draw(count: number, replacement: boolean, random: RandomBits): Uint32Array {
    const sums = replacement ? this.#sums : this.#sums.slice();
    const drawn = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      let at = 1;
      let rest = uniform53(random) * sums[1]!;
      while (at < this.#leaves) {
        const left = sums[2 * at]!;
        // The walk never enters a half with weight 0, even after rounding.
        const goesRight = (rest >= left && sums[2 * at + 1]! > 0) || left === 0;
        if (goesRight) rest -= left;
        at = 2 * at + Number(goesRight);
      }
      drawn[i] = Math.min(at - this.#leaves, this.#count - 1);
      if (replacement) continue;
      sums[at] = 0;
      for (at >>= 1; at > 0; at >>= 1) this.#add(sums, at);
    }
    return drawn;
  }

  #add(sums: Float64Array, at: number): void {
    sums[at] = sums[2 * at]! + sums[2 * at + 1]!;
  }
}

/** Draws a uniform number in [0, 1) with 53 bits. */
function uniform53(random: RandomBits): number {
  return ((random.next() >>> 5) * 2 ** 26 + (random.next() >>> 6)) * 2 ** -53;
}

/** Throws ConfigError for a number of draws that is not possible. */
export function expectDraws(examples: number, replacement: boolean, positive: number): void {
  if (!Number.isSafeInteger(examples) || examples < 1)
    throw new ConfigError("loader", `sample.examples is ${described(examples)}`, "give a whole number from 1 on");
  if (!replacement && examples > positive)
    throw new DataError(
      "loader",
      `${examples} draws without replacement from ${positive} examples with a weight above 0`,
      `set sample.examples to ${positive} or less, or allow replacement`,
    );
}
