/** The random number generator for initial weights, dropout masks and samples. */

import { ConfigError, ShapeError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import {
  aNumber,
  anOperand,
  aTensor,
  aText,
  aWhole,
  expectArguments,
  options as record,
  wholeSizes,
} from "../graph/arguments.ts";
import { type Shape, showType, sizeOf } from "../graph/types.ts";
import { randomBits } from "../ops/random.ts";
import { expectSeed, fromHostWords, hostStream, hostWords, initialState } from "../random/generator.ts";
import { type Key, keyOf, splitKey } from "../random/philox.ts";
import type { PhiloxStream } from "../random/stream.ts";
import { concat, fromValues, where } from "../tensor/create.ts";
import { State, type Version } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * A generator of random numbers. They depend only on the seed, the stream and the number of draws before, so every engine gives the same
 * bits. `host` gives numbers to JavaScript; the other methods make tensors, whose values are drawn anew in every run of their graph.
 */
export class Generator {
  /** The position inside graphs. It is a variable, so a compiled step can advance it. */
  readonly state: State<[4], "int32">;
  #host: PhiloxStream;
  #key: Key;
  #stream: number;
  /** The position on the JavaScript side, as a variable that files can save and load. */
  readonly #hostState: State<[5], "int32">;
  /** The version of `#hostState` that the JavaScript side was last written to or read from. */
  #hostVersion: Version;

  /** `seed` is a whole number from 0 to 2⁵³ − 1, `stream` one below 2²⁹; different streams are independent. */
  constructor(seed: number, stream: number = 0) {
    expectSeed("Generator", seed);
    this.#stream = stream;
    this.#key = keyOf(seed);
    this.#host = hostStream(this.#key, "generator", stream);
    this.state = new State({ shape: [4], dtype: "int32" }, initialState(this.#key, stream), {
      name: "generator.state",
      keepsOldValues: true, //  values that were drawn can be read one after the other
    });
    const words = hostWords(this.#key, stream, this.#host);
    this.#hostState = new State({ shape: [5], dtype: "int32" }, words, { name: "generator.host" });
    this.#hostVersion = this.#hostState.version;
  }

  /** Restarts the generator from a seed. */
  seed(seed: number): void {
    expectSeed("seed", seed);
    this.#restart(keyOf(seed));
  }

  /**
   * Returns a separate generator for a part of a program. The same seed and name always give the same generator: its numbers do not depend
   * on how much other parts draw. Splitting draws no number.
   */
  split(name: string): Generator {
    expectArguments("split", [aText], [name]);
    this.#catchUp();
    const part = new Generator(0, this.#stream);
    part.#restart(splitKey(this.#key, name));
    return part;
  }

  #restart(key: Key): void {
    this.#catchUp();
    this.#key = key;
    this.#host = hostStream(key, "generator", this.#stream);
    this.state.write(initialState(key, this.#stream));
  }

  /** The numbers for JavaScript. */
  get host(): PhiloxStream {
    this.#catchUp();
    return this.#host;
  }

  /**
   * Returns the generator's positions, inside graphs and on the JavaScript side, as variables. `encodeWeights` and `saveWeights` therefore
   * accept a generator like a model. Training with dropout that continues from a file gives the same numbers, bit for bit, if the file
   * holds the generator: `saveWeights({ model, optimizer, generator: defaultGenerator }, path)`.
   */
  namedStates(): Map<string, State> {
    this.#catchUp();
    this.#hostState.write(hostWords(this.#key, this.#stream, this.#host));
    this.#hostVersion = this.#hostState.version;
    return new Map<string, State>([
      ["state", this.state],
      ["host", this.#hostState],
    ]);
  }

  states(): State[] {
    return [...this.namedStates().values()];
  }

  /** Updates the JavaScript side if a file was loaded into `#hostState`. */
  #catchUp(): void {
    const { version } = this.#hostState;
    if (version === this.#hostVersion) return;
    this.#hostVersion = version;
    const { key, stream, host } = fromHostWords(version.known!.values!);
    this.#key = key;
    this.#stream = stream;
    this.#host = host;
  }

  /** Draws float32 numbers, uniform in [low, high), by default [0, 1). `high` itself occurs only through rounding. */
  uniform<const S extends Shape>(shape: readonly [...S], options: UniformOptions = {}): Tensor<S, "float32"> {
    expectArguments("uniform", [wholeSizes, record({ low: aNumber, high: aNumber })], [shape, options]);
    const { low = 0, high = 1 } = options;
    if (!(Number.isFinite(low) && Number.isFinite(high) && low <= high))
      throw new ConfigError("uniform", `the bounds are ${low} and ${high}`, "give two finite numbers, the lower first");
    const unit = this.#bits(shape, 24, "float32");
    const scaled = unit.mul((high - low) * 2 ** -24);
    return low === 0 ? scaled : scaled.add(low);
  }

  /** Draws int32 numbers from `low` to `high` − 1, each equally likely to within 2⁻²⁴ of the range. The range has at most 2²⁴ numbers. */
  integers<const S extends Shape>(shape: readonly [...S], low: number, high: number): Tensor<S, "int32"> {
    expectArguments("integers", [wholeSizes, aNumber, aNumber], [shape, low, high]);
    const isRange = Number.isSafeInteger(low) && Number.isSafeInteger(high) && low < high && high - low <= 2 ** 24;
    if (!isRange || low < -(2 ** 31) || high > 2 ** 31)
      throw new ConfigError(
        "integers",
        `the range goes from ${low} to ${high}`,
        "give two whole numbers, the lower first, at most 2^24 apart and within int32",
      );
    const unit = this.uniform(shape);
    return unit
      .mul(high - low)
      .floor()
      .cast("int32")
      .add(low);
  }

  /**
   * Draws float32 normal numbers (Box and Muller 1958), by default with mean 0 and standard deviation 1; at most 5.8 deviations from the
   * mean.
   */
  normal<const S extends Shape>(shape: readonly [...S], options: NormalOptions = {}): Tensor<S, "float32"> {
    expectArguments("normal", [wholeSizes, record(normalKinds)], [shape, options]);
    const { mean, deviation } = normalOptions("normal", options);
    const size = sizeOf(shape);
    const half = Math.ceil(size / 2);
    // 1 − u is in (0, 1], where the logarithm is finite; each radius serves two angles at right angles to each other.
    const radius = this.uniform([half]).neg().add(1).log().mul(-2).sqrt().mul(deviation);
    const angle = this.uniform([half], { high: 2 * Math.PI });
    const both = concat([radius.mul(angle.cos()), radius.mul(angle.sin())], 0) as Tensor<[number], "float32">;
    const values = (size % 2 === 0 ? both : both.slice([0, size])).reshape([...shape]) as Tensor<S, "float32">;
    return mean === 0 ? values : values.add(mean);
  }

  /**
   * Draws float32 normal numbers within `limit` standard deviations of the mean (default 2), by the inverse of the distribution function.
   */
  truncatedNormal<const S extends Shape>(
    shape: readonly [...S],
    options: NormalOptions & { readonly limit?: number } = {},
  ): Tensor<S, "float32"> {
    const kinds = { ...normalKinds, limit: aNumber };
    expectArguments("truncatedNormal", [wholeSizes, record(kinds)], [shape, options]);
    const { mean, deviation } = normalOptions("truncatedNormal", options);
    const { limit = 2 } = options;
    if (!(limit > 0 && limit <= 5))
      throw new ConfigError(
        "truncatedNormal",
        `the limit is ${limit}`,
        "give a number of deviations above 0, at most 5",
      );
    const edge = erf(limit / Math.SQRT2);
    const sides = asOpen(this.#bits(shape as Shape, 23, "float32"))
      .mul(2)
      .sub(1)
      .mul(edge) as Tensor<Shape, "float32">;
    const z = inverseErf(sides).mul(Math.SQRT2).clip(-limit, limit) as Tensor<S, "float32">;
    const scaled = deviation === 1 ? z : z.mul(deviation);
    return mean === 0 ? scaled : scaled.add(mean);
  }

  /** Draws float32 numbers with density e⁻ˣ, x ≥ 0. */
  exponential<const S extends Shape>(shape: readonly [...S]): Tensor<S, "float32"> {
    expectArguments("exponential", [wholeSizes], [shape]);
    return asExponential(this.#bits(shape, 23, "float32"));
  }

  /**
   * Draws float32 numbers with the distribution function exp(−e⁻ˣ) (Gumbel 1954). The argmax of logits plus such numbers is a sample of the
   * logits' softmax.
   */
  gumbel<const S extends Shape>(shape: readonly [...S]): Tensor<S, "float32"> {
    expectArguments("gumbel", [wholeSizes], [shape]);
    return asGumbel(this.#bits(shape, 23, "float32"));
  }

  /** Draws bools: true with the probability given for each element, or with one probability for all elements of a shape. */
  bernoulli<S extends Shape>(probability: Tensor<S, "float32">): Tensor<S, "bool">;
  bernoulli<const S extends Shape>(probability: number, shape: readonly [...S]): Tensor<S, "bool">;
  bernoulli(probability: Tensor<Shape, "float32"> | number, shape: Shape = []): Tensor<Shape, "bool"> {
    expectArguments("bernoulli", [anOperand, wholeSizes], [probability, shape]);
    if (typeof probability !== "number") return this.uniform(probability.shape).less(probability);
    if (!(probability >= 0 && probability <= 1))
      throw new ConfigError("bernoulli", `the probability is ${probability}`, "give a number from 0 to 1");
    // The words themselves are compared, not the fractions that they stand for: the same result, without the fractions in memory.
    return this.#bits([...shape], 24, "float32").less(probability * 2 ** 24);
  }

  /** Draws a class for each row of logits [...rows, classes] from the row's softmax, by the Gumbel-max trick. Returns int32 [...rows]. */
  categorical<L extends Shape>(logits: Tensor<readonly [...L, number], "float32">): Tensor<L, "int32"> {
    expectArguments("categorical", [aTensor], [logits]);
    if (logits.shape.length === 0 || logits.shape.at(-1) === 0)
      throw new ShapeError(
        "categorical",
        `logits of ${showType(logits)} have no classes to draw from`,
        "give a tensor whose last axis has at least one class",
      );
    const noisy = (logits as Tensor<Shape, "float32">).add(this.gumbel(logits.shape) as Tensor<Shape, "float32">);
    return noisy.argmax(-1) as unknown as Tensor<L, "int32">;
  }

  /**
   * Returns the numbers 0 … count − 1 in random order, int32 [count]: the order that sorts `count` random words. `x.take(order)` shuffles
   * the rows of x. Equal words keep their order; 10⁵ numbers have about one such pair.
   */
  permutation<const N extends number>(count: N): Tensor<[N], "int32"> {
    expectArguments("permutation", [aWhole], [count]);
    if (count < 0) throw new ConfigError("permutation", `the count is ${count}`, "give a whole number from 0 on");
    return this.#bits([count], 32, "int32").argsort(0) as Tensor<[N], "int32">;
  }

  #bits<const S extends Shape, D extends "int32" | "float32">(
    shape: readonly [...S],
    bits: 23 | 24 | 32,
    dtype: D,
  ): Tensor<S, D> {
    const drawn = apply(randomBits, [this.state], { shape: [...shape], bits, dtype });
    this.state.assign(this.state.add(oneDraw));
    return drawn as Tensor<S, D>;
  }
}

/** 23 random bits as a uniform number in (0, 1), without either end. */
const asOpen = <S extends Shape>(bits: Tensor<S, "float32">): Tensor<S, "float32"> => bits.add(1 / 2).mul(2 ** -23);
const asExponential = <S extends Shape>(bits: Tensor<S, "float32">): Tensor<S, "float32"> => asOpen(bits).log().neg();
const asGumbel = <S extends Shape>(bits: Tensor<S, "float32">): Tensor<S, "float32"> => asExponential(bits).log().neg();

/**
 * Draws what `Generator.gumbel` draws, from a generator's state that is given as a tensor. Returns the numbers and the next state. For loops
 * that carry their own random numbers: each has its own seed, and they do not disturb each other.
 */
export function gumbelFrom(
  state: Tensor<[4], "int32">,
  shape: Shape,
): { readonly noise: Tensor<Shape, "float32">; readonly state: Tensor<[4], "int32"> } {
  const bits = apply(randomBits, [state], { shape: [...shape], bits: 23, dtype: "float32" });
  return { noise: asGumbel(bits as Tensor<Shape, "float32">), state: state.add(oneDraw) };
}

/** Options of a generator's `uniform`. */
export interface UniformOptions {
  /** Default 0. */
  readonly low?: number;
  /** Default 1. */
  readonly high?: number;
}

/** Options of a generator's `normal`. */
export interface NormalOptions {
  /** Default 0. */
  readonly mean?: number;
  /** The standard deviation; default 1. */
  readonly deviation?: number;
}

const normalKinds = { mean: aNumber, deviation: aNumber } as const;

function normalOptions(subject: string, { mean = 0, deviation = 1 }: NormalOptions): Required<NormalOptions> {
  if (!(Number.isFinite(mean) && deviation >= 0 && Number.isFinite(deviation)))
    throw new ConfigError(
      subject,
      `the mean is ${mean} and the deviation ${deviation}`,
      "give a finite mean and a finite deviation of at least 0",
    );
  return { mean, deviation };
}

/** Giles 2012, table 5: polynomials in w = −log(1 − x²), shifted, whose product with x is erf⁻¹(x) to float32. */
const central = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 2.1858087e-4, -1.25372503e-3, -4.17768164e-3,
  2.46640727e-1, 1.50140941,
];
const tails = [
  -2.00214257e-4, 1.00950558e-4, 1.34934322e-3, -3.67342844e-3, 5.73950773e-3, -7.6224613e-3, 9.43887047e-3, 1.00167406,
  2.83297682,
];

function inverseErf(x: Tensor<Shape, "float32">): Tensor<Shape, "float32"> {
  const w = x.mul(x).neg().add(1).log().neg();
  const polynomial = (coefficients: readonly number[], at: Tensor<Shape, "float32">): Tensor<Shape, "float32"> =>
    coefficients
      .slice(2)
      .reduce((sum, coefficient) => sum.mul(at).add(coefficient), at.mul(coefficients[0]!).add(coefficients[1]!));
  return x.mul(where(w.less(5), polynomial(central, w.sub(2.5)), polynomial(tails, w.sqrt().sub(3))));
}

/** Abramowitz and Stegun 7.1.5: the Taylor series, which has converged for |x| ≤ 3.6 after 100 terms. */
function erf(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; n < 100; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const oneDraw = fromValues(Int32Array.of(0, 0, 0, 1), [4]);

/**
 * Makes a generator of random numbers for a model, a layer or a program. `seed` is a whole number from 0 to 2⁵³ − 1, `stream` a whole
 * number below 2²⁹, default 0; different streams are independent. Throws ConfigError for other values.
 */
export function randomGenerator(seed: number, stream: number = 0): Generator {
  return new Generator(seed, stream);
}

/** The generator that is used when no other is given. Its seed is 0 until `seed` changes it. */
export const defaultGenerator: Generator = new Generator(0);

/** Seeds the default generator. The same seed before a model is built gives the same initial model and the same training. */
export function seed(value: number): void {
  defaultGenerator.seed(value);
}
