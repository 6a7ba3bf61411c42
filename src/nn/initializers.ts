/** Initial values of parameters, drawn on the JavaScript side. */

import { ConfigError, ShapeError } from "../errors.ts";
import { aNumber, expectArguments, optional, sizes } from "../graph/arguments.ts";
import { type Shape, showShape, sizeOf } from "../graph/types.ts";
import type { PhiloxStream } from "../random/stream.ts";

/** Draws the values of a parameter with a given shape. */
export interface Initializer {
  (shape: Shape, random: PhiloxStream): Float32Array;
  /**
   * Skips the random numbers that the values need, and returns a function that draws the values later. An initializer with `later` draws a
   * parameter's values when they are first needed, and never if a file provides others. An initializer without it draws them at once.
   */
  readonly later?: Later;
}

type Later = (shape: Shape, random: PhiloxStream) => () => Float32Array;

/** The fan-in and fan-out of a weight [out, in, …]: how many values each unit reads, and how many units read each value. */
function fans(shape: Shape): { readonly fanIn: number; readonly fanOut: number } {
  const [out, into, ...field] = shape;
  if (out === undefined || into === undefined)
    throw new ShapeError(
      "initializer",
      `${showShape(shape)} has no inputs and outputs`,
      "use it for weights of two axes or more",
    );
  return { fanIn: into * sizeOf(field), fanOut: out * sizeOf(field) };
}

/** An initializer that can draw its values later. */
const waiting = (later: Later): Initializer =>
  Object.assign(
    (shape: Shape, random: PhiloxStream) => {
      expectArguments("initializer", [sizes, aStream], [shape, random]);
      return later(shape, random)();
    },
    { later },
  );

/** Checks the stream of random numbers. Initializers that draw no numbers do not need one. */
const aStream = (value: unknown): string | undefined =>
  value === undefined || (typeof value === "object" && value !== null && "reserve" in value)
    ? undefined
    : "give a generator's `host`, or pass the initializer to a layer";

function drawing(random: PhiloxStream | undefined): PhiloxStream {
  if (random) return random;
  throw new ConfigError(
    "initializer",
    "it draws numbers and was given nothing to draw from",
    "give a generator's `host`",
  );
}

/** An initializer that draws uniformly from [−bound, bound), where the bound depends on the shape. */
const uniformBy = (boundOf: (shape: Shape) => number): Initializer =>
  waiting((shape, random) => {
    const bound = boundOf(shape);
    const own = drawing(random).reserve(sizeOf(shape));
    return () => own.uniforms(sizeOf(shape), bound);
  });

/** An initializer that draws from the normal distribution with mean 0, where the deviation depends on the shape. */
const normalBy = (deviationOf: (shape: Shape) => number): Initializer =>
  waiting((shape, random) => {
    const deviation = deviationOf(shape);
    const own = drawing(random).reserveBlocks(sizeOf(shape));
    return () => own.normals(sizeOf(shape), deviation);
  });

/** Every value is `value`. */
export function constant(value: number): Initializer {
  expectArguments("constant", [aNumber], [value]);
  return waiting((shape) => () => new Float32Array(sizeOf(shape)).fill(value));
}

/** Every value is 0. */
export const zeros: Initializer = constant(0);

/** Every value is 1. */
export const ones: Initializer = constant(1);

/** Uniform in [−bound, bound). */
export function uniform(bound: number): Initializer {
  expectArguments("uniform", [aNumber], [bound]);
  if (!(bound >= 0)) throw new ConfigError("uniform", `the bound is ${bound}`, "give a number of at least 0");
  return uniformBy(() => bound);
}

/** Normal with mean 0. */
export function normal(deviation: number): Initializer {
  expectArguments("normal", [aNumber], [deviation]);
  if (!(deviation >= 0))
    throw new ConfigError("normal", `the deviation is ${deviation}`, "give a number of at least 0");
  return normalBy(() => deviation);
}

/** Normal with mean 0; values further than `limit` deviations from the mean (default 2) are drawn again. */
export function truncatedNormal(deviation: number, limit: number = 2): Initializer {
  expectArguments("truncatedNormal", [aNumber, optional(aNumber)], [deviation, limit]);
  if (!(deviation >= 0 && limit > 0))
    throw new ConfigError(
      "truncatedNormal",
      `the deviation is ${deviation} and the limit ${limit}`,
      "give a deviation of at least 0 and a limit above 0",
    );
  return (shape, random) =>
    Float32Array.from({ length: sizeOf(shape) }, () => {
      let z = random.normal();
      while (Math.abs(z) > limit) z = random.normal();
      return z * deviation;
    });
}

/** LeCun et al. 1998: normal with deviation √(1 / n_in). */
export const lecunNormal: Initializer = normalBy((shape) => 1 / Math.sqrt(fans(shape).fanIn));

/** LeCun et al. 1998: uniform with variance 1 / n_in, so a = √(3 / n_in). */
export const lecunUniform: Initializer = uniformBy((shape) => Math.sqrt(3 / fans(shape).fanIn));

/**
 * Orthogonal rows of length `gain` in a random direction, or orthogonal columns if there are fewer columns than rows. Axes from the third
 * on count as columns (Saxe, McClelland and Ganguli 2014).
 */
export function orthogonal(gain: number = 1): Initializer {
  return (shape, random) => {
    const { fanIn } = fans(shape);
    const rows = shape[0]!;
    const [count, length] = rows <= fanIn ? [rows, fanIn] : [fanIn, rows];
    const vectors: Float64Array[] = [];
    while (vectors.length < count) {
      const vector = Float64Array.from({ length }, () => random.normal());
      // Gram–Schmidt orthogonalisation, run twice, which is enough for full precision (Giraud, Langou and Rozložník 2005).
      for (let pass = 0; pass < 2; pass++)
        for (const other of vectors) {
          const along = vector.reduce((sum, value, i) => sum + value * other[i]!, 0);
          for (let i = 0; i < length; i++) vector[i]! -= along * other[i]!;
        }
      const norm = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
      if (norm > 1e-6) vectors.push(vector.map((value) => value / norm));
    }
    return Float32Array.from(
      { length: rows * fanIn },
      (_, at) =>
        gain *
        (rows <= fanIn ? vectors[Math.floor(at / fanIn)]![at % fanIn]! : vectors[at % fanIn]![Math.floor(at / fanIn)]!),
    );
  };
}

/** Ones on the diagonal of a matrix, zeros elsewhere: the layer passes its inputs on unchanged (Le, Jaitly and Hinton 2015). */
export const identity: Initializer = waiting((shape) => {
  const [rows, columns] = shape;
  if (shape.length !== 2) throw new ShapeError("identity", `${showShape(shape)} is no matrix`, "use it for two axes");
  return () =>
    Float32Array.from({ length: rows! * columns! }, (_, at) => Number(Math.floor(at / columns!) === at % columns!));
});

/** Glorot and Bengio 2010: uniform with variance 2 / (n_in + n_out), so a = √(6 / (n_in + n_out)). */
export const xavierUniform: Initializer = uniformBy((shape) => {
  const { fanIn, fanOut } = fans(shape);
  return Math.sqrt(6 / (fanIn + fanOut));
});

/** Glorot and Bengio 2010: normal with variance 2 / (n_in + n_out). */
export const xavierNormal: Initializer = normalBy((shape) => {
  const { fanIn, fanOut } = fans(shape);
  return Math.sqrt(2 / (fanIn + fanOut));
});

/**
 * The activation, which decides the gain g in σ = g/√n_in: √2 for relu, where half of the units give 0; 1 for units that are linear around
 * zero.
 */
type Activation = "relu" | "tanh" | "linear";
const gains: Readonly<Record<Activation, number>> = { relu: Math.SQRT2, tanh: 1, linear: 1 };

/** He et al. 2015: normal with deviation √(2 / n_in) before relu, √(1 / n_in) before tanh. */
export function heNormal(activation: Activation = "relu"): Initializer {
  return normalBy((shape) => gains[activation] / Math.sqrt(fans(shape).fanIn));
}

/** He et al. 2015: uniform with the variance of `heNormal`, so a = √(6 / n_in) before relu, √(3 / n_in) before tanh. */
export function heUniform(activation: Activation = "relu"): Initializer {
  return uniformBy((shape) => gains[activation] * Math.sqrt(3 / fans(shape).fanIn));
}
