/** Activations: functions to use between layers, layers with parameters, and the curve and formula of each. */

import { gradients } from "../../autodiff/gradients.ts";
import { ConfigError, ShapeError } from "../../errors.ts";
import { aRecord, aTensor, expectArguments, expectOptions, optional } from "../../graph/arguments.ts";
import { currentPath } from "../../graph/scope.ts";
import type { AnySizes } from "../../graph/shape-types.ts";
import { type Shape, showShape } from "../../graph/types.ts";
import { halves } from "../../tensor/axes.ts";
import { concat, linspace, ones } from "../../tensor/create.ts";
import type { Parameter } from "../../tensor/state.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as functional from "../functional.ts";
import { constant, uniform } from "../initializers.ts";
import { type Module, module } from "../module.ts";
import { type BiasOf, expectSizes, type HasBias, parameter, weightAndBias } from "../parameters.ts";
import type { LinearOptions } from "./basic.ts";

type Float<S extends Shape> = Tensor<S, "float32">;

/** Returns the argument of an activation. Throws ConfigError unless it is a tensor. */
function given<T extends Tensor>(name: string, x: T): T {
  expectArguments(name, [aTensor], [x]);
  return x;
}

/** The tensor methods of the same names as functions, to use between layers: `sequential(linear(2, 8), relu, linear(8, 1))`. */
export const relu = <S extends Shape>(x: Float<S>): Float<S> => given("relu", x).relu();
/** (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ), as `Tensor.tanh`. */
export const tanh = <S extends Shape>(x: Float<S>): Float<S> => given("tanh", x).tanh();
/** 1 / (1 + e⁻ˣ), as `Tensor.sigmoid`. */
export const sigmoid = <S extends Shape>(x: Float<S>): Float<S> => given("sigmoid", x).sigmoid();
/** x·Φ(x), as `Tensor.gelu`. */
export const gelu = <S extends Shape>(x: Float<S>): Float<S> => given("gelu", x).gelu();
/** x·σ(x), as `Tensor.silu`. */
export const silu = <S extends Shape>(x: Float<S>): Float<S> => given("silu", x).silu();
/** x, or eˣ − 1 for x < 0, as `Tensor.elu`. */
export const elu = <S extends Shape>(x: Float<S>): Float<S> => given("elu", x).elu();
/** The scaled `elu` of self-normalizing networks, as `Tensor.selu`. */
export const selu = <S extends Shape>(x: Float<S>): Float<S> => given("selu", x).selu();
/** x, or x/100 for x < 0, as `Tensor.leakyRelu` without arguments. */
export const leakyRelu = <S extends Shape>(x: Float<S>): Float<S> => given("leakyRelu", x).leakyRelu();
/** x·tanh(softplus(x)), as `Tensor.mish`. */
export const mish = <S extends Shape>(x: Float<S>): Float<S> => given("mish", x).mish();
/** ln(1 + eˣ), as `Tensor.softplus`. */
export const softplus = <S extends Shape>(x: Float<S>): Float<S> => given("softplus", x).softplus();

type Gated = <S extends Shape>(x: Float<S>) => Float<AnySizes<S>>;

/** v·f(g), where v and g are the first and the second half of the last axis (Shazeer 2020). */
function gated(name: string, f: (gate: Tensor) => Tensor): Gated {
  return <S extends Shape>(x: Float<S>) => {
    const [value, gate] = halves(name, given(name, x as Tensor), -1);
    return value.mul(f(gate)) as unknown as Float<AnySizes<S>>;
  };
}

/** v·σ(g) for the halves v and g of the last axis (Dauphin et al. 2016): `sequential(linear(8, 32), glu, linear(16, 1))`. */
export const glu: Gated = gated("glu", (gate) => gate.sigmoid());
/** v·relu(g), like `glu` (Shazeer 2020). */
export const reglu: Gated = gated("reglu", (gate) => gate.relu());
/** v·gelu(g), like `glu` (Shazeer 2020). */
export const geglu: Gated = gated("geglu", (gate) => gate.gelu());
/** v·silu(g), like `glu` (Shazeer 2020). */
export const swiglu: Gated = gated("swiglu", (gate) => gate.silu());

/** A layer that `prelu` makes: relu with a learned slope for negative x. */
export interface Prelu<N extends number> extends Module {
  <S extends Shape>(x: Float<S>): Float<S>;
  /** The slope for negative x: one for all, or one for each channel. */
  readonly weight: Parameter<[N], "float32">;
}

/**
 * Makes relu with a learned slope for negative x, initially ¼ (He et al. 2015): one slope, or one for each channel of x (axis 1), as in
 * PyTorch. Throws ShapeError when x has a different number of channels.
 */
export function prelu<const N extends number = 1>(
  slopes: N = 1 as N,
  options: { /** Default ¼. */ readonly start?: number } = {},
): Prelu<N> {
  expectOptions("prelu", options, ["start"]);
  expectSizes("prelu", [slopes]);
  const weight = parameter([slopes], constant(options.start ?? 0.25));
  return module("Prelu", { weight }, <S extends Shape>(x: Float<S>) => {
    const [, channels, ...space] = (x as Tensor).shape;
    if (slopes !== 1 && slopes !== channels)
      throw new ShapeError(
        "prelu",
        `${slopes} slopes for x ${showShape((x as Tensor).shape)}`,
        "give one slope, or one for each element of axis 1",
        currentPath(),
      );
    return x.prelu((slopes === 1 ? weight : weight.reshape([slopes, ...space.map(() => 1)])) as Tensor);
  }) as Prelu<N>;
}

/** A layer that `maxout` makes: the largest of several linear functions, for each output. */
export interface Maxout<I extends number, O extends number, Bias extends boolean = true> extends Module {
  <L extends Shape>(x: Tensor<[...L, I], "float32">): Tensor<[...L, O], "float32">;
  /** [pieces · outputs, inputs]: the pieces one after the other. */
  readonly weight: Parameter<[number, I], "float32">;
  /** Undefined with `bias: false`. */
  readonly bias: BiasOf<Bias, number>;
}

/** Options of `maxout`. */
export interface MaxoutOptions extends LinearOptions {
  /** The number of linear functions of which the layer takes the maximum. Default 2. */
  readonly pieces?: number;
}

/**
 * Makes a layer that computes max(w₁·x + b₁, w₂·x + b₂, …) over the last axis (Goodfellow et al. 2013). It does not saturate, and has
 * separate parameters for each piece.
 */
export function maxout<const I extends number, const O extends number, const P extends MaxoutOptions = object>(
  inputs: I,
  outputs: O,
  options?: P & MaxoutOptions,
): Maxout<I, O, HasBias<P>> {
  expectOptions("maxout", options, ["pieces", "weight", "bias", "generator"]);
  const { pieces = 2, ...rest } = options ?? ({} as MaxoutOptions);
  expectSizes("maxout", [inputs, outputs, pieces]);
  const units = pieces * outputs;
  const children = weightAndBias([units, inputs], units, uniform(1 / Math.sqrt(inputs)), rest);
  const { weight, bias } = children;
  return module("Maxout", children, (x: Tensor) => {
    const all = functional.linear(x as Tensor<number[], "float32">, weight, bias) as Tensor;
    return all.reshape([...x.shape.slice(0, -1), pieces, outputs]).max(-2);
  }) as never;
}

/** The description of one activation. */
export interface Activation {
  /** f(x) in mathematical notation. */
  readonly formula: string;
  /** f′(x) in mathematical notation. */
  readonly derivative: string;
  /** The values of letters other than x in the drawn curve. */
  readonly letters?: Readonly<Record<string, number>>;
  /** Computes the activation with these values of the letters. */
  readonly apply: (x: Tensor) => Tensor;
}

/** A gated unit as a function of its gate x, with the gated value 1. */
const byGate =
  (unit: Gated) =>
  (x: Tensor): Tensor =>
    unit(concat([ones(x.shape), x], -1) as Float<Shape>).reshape(x.shape);

/**
 * The activations by name, with formulas. Φ and φ are the normal distribution and its density, σ is the sigmoid. Gated units compute v·f(x)
 * from a value v and a gate x; maxout computes the largest of several linear functions.
 */
export const activations: Readonly<Record<ActivationName, Activation>> = {
  sigmoid: { formula: "1 / (1 + e⁻ˣ)", derivative: "σ(x)·(1 − σ(x))", apply: (x) => x.sigmoid() },
  tanh: { formula: "(1 − e⁻²ˣ) / (1 + e⁻²ˣ)", derivative: "1 − tanh²(x)", apply: (x) => x.tanh() },
  relu: { formula: "max(0, x)", derivative: "1 for x > 0, else 0", apply: (x) => x.relu() },
  leakyRelu: { formula: "x for x > 0, else 0.01·x", derivative: "1 for x > 0, else 0.01", apply: (x) => x.leakyRelu() },
  prelu: {
    formula: "x for x > 0, else a·x",
    derivative: "1 for x > 0, else a",
    letters: { a: 0.25 },
    apply: (x) => x.leakyRelu(0.25),
  },
  elu: { formula: "x for x > 0, else eˣ − 1", derivative: "1 for x > 0, else eˣ", apply: (x) => x.elu() },
  selu: {
    formula: "1.0507·x for x > 0, else 1.7581·(eˣ − 1)",
    derivative: "1.0507 for x > 0, else 1.7581·eˣ",
    apply: (x) => x.selu(),
  },
  gelu: { formula: "x·Φ(x)", derivative: "Φ(x) + x·φ(x)", apply: (x) => x.gelu() },
  silu: { formula: "x·σ(x)", derivative: "σ(x)·(1 + x·(1 − σ(x)))", apply: (x) => x.silu() },
  mish: {
    formula: "x·tanh(ln(1 + eˣ))",
    derivative: "tanh(ln(1 + eˣ)) + x·σ(x)·(1 − tanh²(ln(1 + eˣ)))",
    apply: (x) => x.mish(),
  },
  softplus: { formula: "ln(1 + eˣ)", derivative: "σ(x)", apply: (x) => x.softplus() },
  softsign: { formula: "x / (1 + |x|)", derivative: "1 / (1 + |x|)²", apply: (x) => x.softsign() },
  hardTanh: {
    formula: "min(max(x, −1), 1)",
    derivative: "1 for |x| < 1, else 0",
    apply: (x) => x.hardTanh(),
  },
  hardSigmoid: {
    formula: "min(max(x/6 + ½, 0), 1)",
    derivative: "1/6 for |x| < 3, else 0",
    apply: (x) => x.hardSigmoid(),
  },
  hardSwish: {
    formula: "x·min(max(x/6 + ½, 0), 1)",
    derivative: "0 for x < −3, else 1 for x > 3, else x/3 + ½",
    apply: (x) => x.hardSwish(),
  },
  maxout: {
    formula: "max(w₁·x + b₁, w₂·x + b₂)",
    derivative: "w₁ for w₁·x + b₁ > w₂·x + b₂, else w₂",
    letters: { "w₁": 1, "b₁": -0.5, "w₂": -0.5, "b₂": 0.25 },
    apply: (x) => x.sub(0.5).maximum(x.mul(-0.5).add(0.25)),
  },
  glu: { formula: "v·σ(x)", derivative: "v·σ(x)·(1 − σ(x))", letters: { v: 1 }, apply: byGate(glu) },
  reglu: { formula: "v·max(0, x)", derivative: "v for x > 0, else 0", letters: { v: 1 }, apply: byGate(reglu) },
  geglu: { formula: "v·x·Φ(x)", derivative: "v·(Φ(x) + x·φ(x))", letters: { v: 1 }, apply: byGate(geglu) },
  swiglu: {
    formula: "v·x·σ(x)",
    derivative: "v·σ(x)·(1 + x·(1 − σ(x)))",
    letters: { v: 1 },
    apply: byGate(swiglu),
  },
};

/** The name of an activation in `activations`. */
export type ActivationName =
  | "sigmoid"
  | "tanh"
  | "relu"
  | "leakyRelu"
  | "prelu"
  | "elu"
  | "selu"
  | "gelu"
  | "silu"
  | "mish"
  | "softplus"
  | "softsign"
  | "hardTanh"
  | "hardSigmoid"
  | "hardSwish"
  | "maxout"
  | "glu"
  | "reglu"
  | "geglu"
  | "swiglu";

/** An activation and its derivative at some points, from `activationCurve`: arrays of one length. */
export interface Curve {
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** f′(x), by differentiation. */
  readonly slope: readonly number[];
}

const nameOrFunction = (value: unknown): string | undefined =>
  typeof value === "string" || typeof value === "function"
    ? undefined
    : "give an activation's name, or a function of a tensor";

/** Computes an activation's curve and slope at `points` places between two ends. Throws ConfigError for an unknown name. */
export async function activationCurve(
  activation: ActivationName | ((x: Tensor) => Tensor),
  options: { readonly from?: number; readonly to?: number; readonly points?: number } = {},
): Promise<Curve> {
  expectArguments("activationCurve", [nameOrFunction, optional(aRecord)], [activation, options]);
  const { from = -4, to = 4, points = 161 } = options;
  const apply = typeof activation === "string" ? activations[activation]?.apply : activation;
  if (!apply)
    throw new ConfigError(
      "activationCurve",
      `there is no ${activation}`,
      `one of ${Object.keys(activations).join(", ")}`,
    );
  const x: Tensor = linspace(from, to, points);
  const y = apply(x);
  expectArguments("activationCurve: the function's result", [aTensor], [y]);
  const [slope] = gradients(y.sum(), [x]);
  const [xs, ys, slopes] = await Promise.all([x, y, slope!].map(async (each) => [...(await each.data())]));
  return { x: xs!, y: ys!, slope: slopes! };
}
