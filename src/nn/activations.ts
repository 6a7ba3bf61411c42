/** Activations: layers with parameters of their own, and what each of the others looks like. */
import { gradients } from "../autodiff/gradients.ts";
import { ConfigError } from "../errors.ts";
import type { Shape } from "../graph/types.ts";
import { linspace } from "../tensor/create.ts";
import type { Parameter } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { affine } from "./functional.ts";
import { constant, type Initializer, uniform } from "./initializers.ts";
import type { LinearOptions } from "./layers.ts";
import { type Module, module } from "./module.ts";
import { expectSizes, parameter } from "./parameters.ts";

export interface Prelu<N extends number> extends Module {
  <S extends Shape>(x: Tensor<S, "float32">): Tensor<S, "float32">;
  /** The slope for negative x, ¼ at first: one for all, or one for each element of the last axis. */
  readonly weight: Parameter<[N], "float32">;
}

/** relu with a learned slope for negative x (He et al. 2015). */
export function prelu<const N extends number = 1>(
  slopes: N = 1 as N,
  options: { /** Default ¼. */ readonly start?: number } = {},
): Prelu<N> {
  expectSizes("prelu", [slopes]);
  const weight = parameter([slopes], constant(options.start ?? 0.25));
  return module("Prelu", { weight }, <S extends Shape>(x: Tensor<S, "float32">) =>
    x.prelu(weight as Tensor),
  ) as Prelu<N>;
}

export interface Maxout<I extends number, O extends number> extends Module {
  <L extends Shape>(x: Tensor<[...L, I], "float32">): Tensor<[...L, O], "float32">;
  /** [pieces · outputs, inputs]: the pieces one after the other. */
  readonly weight: Parameter<[number, I], "float32">;
  readonly bias: Parameter<[number], "float32">;
}

export interface MaxoutOptions extends LinearOptions {
  /** How many linear functions the largest is taken of. Default 2. */
  readonly pieces?: number;
}

/** max(w₁·x + b₁, w₂·x + b₂, …) over the last axis (Goodfellow et al. 2013): does not saturate, and has parameters for each piece. */
export function maxout<const I extends number, const O extends number>(
  inputs: I,
  outputs: O,
  options: MaxoutOptions = {},
): Maxout<I, O> {
  const { pieces = 2, generator } = options;
  expectSizes("maxout", [inputs, outputs, pieces]);
  const usual: Initializer = uniform(1 / Math.sqrt(inputs));
  const weight = parameter([pieces * outputs, inputs], options.weight ?? usual, generator);
  const bias = parameter([pieces * outputs], options.bias ?? usual, generator);
  return module("Maxout", { weight, bias }, (x: Tensor) => {
    const all = affine(x as Tensor<number[], "float32">, weight, bias) as Tensor;
    return all.reshape([...x.shape.slice(0, -1), pieces, outputs]).max(-2);
  }) as never;
}

/** One activation, for those who want to look at it. */
export interface Activation {
  /** f(x) as one writes it. */
  readonly formula: string;
  /** f′(x) as one writes it. */
  readonly derivative: string;
  readonly apply: (x: Tensor) => Tensor;
}

/** The activations by name, with formulas; Φ and φ are the normal distribution and its density, σ is the sigmoid. */
export const activations: Readonly<Record<ActivationName, Activation>> = {
  sigmoid: { formula: "1 / (1 + e⁻ˣ)", derivative: "σ(x)·(1 − σ(x))", apply: (x) => x.sigmoid() },
  tanh: { formula: "(1 − e⁻²ˣ) / (1 + e⁻²ˣ)", derivative: "1 − tanh² x", apply: (x) => x.tanh() },
  relu: { formula: "max(0, x)", derivative: "1 for x > 0, else 0", apply: (x) => x.relu() },
  leakyRelu: { formula: "x for x > 0, else 0.01·x", derivative: "1 for x > 0, else 0.01", apply: (x) => x.leakyRelu() },
  prelu: { formula: "x for x > 0, else a·x", derivative: "1 for x > 0, else a", apply: (x) => x.leakyRelu(0.25) },
  elu: { formula: "x for x > 0, else eˣ − 1", derivative: "1 for x > 0, else eˣ", apply: (x) => x.elu() },
  selu: {
    formula: "1.0507·(x for x > 0, else 1.6733·(eˣ − 1))",
    derivative: "1.0507·(1 for x > 0, else 1.6733·eˣ)",
    apply: (x) => x.selu(),
  },
  gelu: { formula: "x·Φ(x)", derivative: "Φ(x) + x·φ(x)", apply: (x) => x.gelu() },
  silu: { formula: "x·σ(x)", derivative: "σ(x)·(1 + x·(1 − σ(x)))", apply: (x) => x.silu() },
  mish: {
    formula: "x·tanh(ln(1 + eˣ))",
    derivative: "tanh s + x·σ(x)·(1 − tanh² s), s = ln(1 + eˣ)",
    apply: (x) => x.mish(),
  },
  softplus: { formula: "ln(1 + eˣ)", derivative: "σ(x)", apply: (x) => x.softplus() },
  softsign: { formula: "x / (1 + |x|)", derivative: "1 / (1 + |x|)²", apply: (x) => x.softsign() },
  hardSigmoid: {
    formula: "min(max(x/6 + ½, 0), 1)",
    derivative: "1/6 for |x| < 3, else 0",
    apply: (x) => x.hardSigmoid(),
  },
  hardSwish: {
    formula: "x·min(max(x/6 + ½, 0), 1)",
    derivative: "0 for x < −3, 1 for x > 3, else x/3 + ½",
    apply: (x) => x.hardSwish(),
  },
};

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
  | "hardSigmoid"
  | "hardSwish";

export interface Curve {
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** f′(x), by differentiation. */
  readonly slope: readonly number[];
}

/** An activation's curve and slope at `points` places between two ends. Throws ConfigError for a name that is none of them. */
export async function activationCurve(
  activation: ActivationName | ((x: Tensor) => Tensor),
  options: { readonly from?: number; readonly to?: number; readonly points?: number } = {},
): Promise<Curve> {
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
  const [slope] = gradients(y.sum(), [x]);
  const [xs, ys, slopes] = await Promise.all([x, y, slope!].map(async (each) => [...(await each.data())]));
  return { x: xs!, y: ys!, slope: slopes! };
}
