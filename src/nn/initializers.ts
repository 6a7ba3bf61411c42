/** Initial values of parameters, drawn on the JavaScript side. */
import { ConfigError, ShapeError } from "../errors.ts";
import { type Shape, showShape, sizeOf } from "../graph/types.ts";
import type { PhiloxStream } from "../random/philox.ts";

/** Draws the values of a parameter of a shape. */
export type Initializer = (shape: Shape, random: PhiloxStream) => Float32Array;

/** How many values a unit reads and how many units read each value, for a weight laid out as [out, in, …]. */
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

const draw = (shape: Shape, next: () => number): Float32Array => Float32Array.from({ length: sizeOf(shape) }, next);

export function constant(value: number): Initializer {
  return (shape) => new Float32Array(sizeOf(shape)).fill(value);
}

/** Uniform in [−bound, bound). */
export function uniform(bound: number): Initializer {
  if (!(bound >= 0)) throw new ConfigError("uniform", `the bound is ${bound}`, "give a number of at least 0");
  return (shape, random) => draw(shape, () => (2 * random.uniform() - 1) * bound);
}

/** Normal with mean 0. */
export function normal(deviation: number): Initializer {
  if (!(deviation >= 0))
    throw new ConfigError("normal", `the deviation is ${deviation}`, "give a number of at least 0");
  return (shape, random) => draw(shape, () => random.normal() * deviation);
}

/** Glorot and Bengio 2010: uniform with variance 2 / (n_in + n_out), so a = √(6 / (n_in + n_out)). */
export const xavierUniform: Initializer = (shape, random) => {
  const { fanIn, fanOut } = fans(shape);
  return uniform(Math.sqrt(6 / (fanIn + fanOut)))(shape, random);
};

/** Glorot and Bengio 2010: normal with variance 2 / (n_in + n_out). */
export const xavierNormal: Initializer = (shape, random) => {
  const { fanIn, fanOut } = fans(shape);
  return normal(Math.sqrt(2 / (fanIn + fanOut)))(shape, random);
};

/** The gain g in σ = g/√n_in: √2 where half of the units are silent, 1 where they are linear around zero. */
type Activation = "relu" | "tanh" | "linear";
const gains: Readonly<Record<Activation, number>> = { relu: Math.SQRT2, tanh: 1, linear: 1 };

/** He et al. 2015: normal with deviation √(2 / n_in) before relu, √(1 / n_in) before tanh. */
export function heNormal(activation: Activation = "relu"): Initializer {
  return (shape, random) => normal(gains[activation] / Math.sqrt(fans(shape).fanIn))(shape, random);
}

/** He et al. 2015: uniform with the variance of `heNormal`, so a = √(6 / n_in) before relu, √(3 / n_in) before tanh. */
export function heUniform(activation: Activation = "relu"): Initializer {
  return (shape, random) => uniform(gains[activation] * Math.sqrt(3 / fans(shape).fanIn))(shape, random);
}
