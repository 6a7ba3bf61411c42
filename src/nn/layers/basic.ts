/** Layers: modules with parameters in PyTorch's names and layouts, so that PyTorch's checkpoints load unchanged. */
import {
  aFunction,
  aNumber,
  anything,
  aTensor,
  aWhole,
  expectArguments,
  expectOptions,
  options as optionsOf,
} from "../../graph/arguments.ts";
import { withName } from "../../graph/scope.ts";
import type { Agree, ShapeMismatch } from "../../graph/shape-types.ts";
import type { Shape } from "../../graph/types.ts";
import type { PhiloxStream } from "../../random/stream.ts";
import { embed, expectRow } from "../../tensor/create.ts";
import type { Parameter } from "../../tensor/state.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as functional from "../functional.ts";
import { defaultGenerator, type Generator } from "../generator.ts";
import { type Initializer, normal, uniform } from "../initializers.ts";
import { type Module, module } from "../module.ts";
import {
  type BiasOf,
  type BiasOption,
  expectRate,
  expectSizes,
  type HasBias,
  parameter,
  weightAndBias,
} from "../parameters.ts";
import type { OverChannels } from "./normalization.ts";

/** A layer that `linear` makes: y = x·weightᵀ + bias. */
export interface Linear<I extends number, O extends number, Bias extends boolean = true> extends Module {
  <L extends Shape>(x: Tensor<[...L, I], "float32">): Tensor<[...L, O], "float32">;
  readonly weight: Parameter<[O, I], "float32">;
  /** Undefined with `bias: false`. */
  readonly bias: BiasOf<Bias, O>;
}

/** Options of `linear`. */
export interface LinearOptions {
  /** Default: uniform in ±1/√inputs, as in PyTorch. */
  readonly weight?: Initializer;
  /** How the bias begins, or `false` for a layer without one. Default: uniform in ±1/√inputs, as in PyTorch. */
  readonly bias?: BiasOption;
  readonly generator?: Generator;
}

/** Makes a layer that computes y = x·Wᵀ + b over the last axis, W [outputs, inputs]; without b if `bias` is false. */
export function linear<const I extends number, const O extends number, const P extends LinearOptions = object>(
  inputs: I,
  outputs: O,
  options?: P & LinearOptions,
): Linear<I, O, HasBias<P>> {
  expectOptions("linear", options, ["weight", "bias", "generator"]);
  expectSizes("linear", [inputs, outputs]);
  const children = weightAndBias([outputs, inputs], outputs, uniform(1 / Math.sqrt(inputs)), options ?? {});
  const { weight, bias } = children;
  return module("Linear", children, <L extends Shape>(x: Tensor<[...L, I], "float32">) =>
    functional.linear(x, weight, bias),
  ) as unknown as Linear<I, O, HasBias<P>>;
}

/** A layer that `embedding` makes: a table of vectors. */
export interface Embedding<V extends number, W extends number> extends Module {
  <S extends Shape>(ids: Tensor<S, "int32">): Tensor<[...S, W], "float32">;
  readonly weight: Parameter<[V, W], "float32">;
}

/** Options of `embedding`. */
export interface EmbeddingOptions {
  /** Default: standard normal, as in PyTorch. */
  readonly weight?: Initializer;
  /**
   * The id of padding: its vector begins as zeros, also with `weight`, and gets no gradient through the layer. Values that are written or
   * loaded into it stay, as in PyTorch. Default: none.
   */
  readonly paddingIdx?: number;
  readonly generator?: Generator;
}

/**
 * Makes a layer that maps each of `count` ids to a vector of `width` numbers. Throws ConfigError for sizes that are not whole numbers from 1
 * on, and for a `paddingIdx` that is not one of the ids.
 */
export function embedding<const V extends number, const W extends number>(
  count: V,
  width: W,
  options: EmbeddingOptions = {},
): Embedding<V, W> {
  const known = optionsOf({ weight: aFunction, paddingIdx: aWhole, generator: anything });
  expectArguments("embedding", [anything, anything, known], [count, width, options]);
  expectSizes("embedding", [count, width]);
  const { weight: initializer = normal(1), paddingIdx, generator } = options;
  if (paddingIdx !== undefined) expectRow("embedding", paddingIdx, count);
  const begins = paddingIdx === undefined ? initializer : withZeroRow(initializer, paddingIdx);
  const weight = parameter([count, width], begins, generator);
  const padding = paddingIdx === undefined ? {} : { paddingIdx };
  return module("Embedding", { weight }, <S extends Shape>(ids: Tensor<S, "int32">) => embed(weight, ids, padding));
}

/** An initializer of tables, [rows, width], whose values in one row are zeros; the others are those of `initializer`. */
function withZeroRow(initializer: Initializer, row: number): Initializer {
  // A copy: the values may be the caller's own.
  const zeroed = (values: Float32Array, [, width]: Shape): Float32Array =>
    values.slice().fill(0, row * width!, (row + 1) * width!);
  const { later } = initializer;
  return Object.assign((shape: Shape, random: PhiloxStream) => zeroed(initializer(shape, random), shape), {
    ...(later && {
      later: (shape: Shape, random: PhiloxStream) => {
        const draw = later(shape, random);
        return () => zeroed(draw(), shape);
      },
    }),
  });
}

/** A layer that `dropout` makes. */
export interface Dropout extends Module {
  <S extends Shape>(x: Tensor<S, "float32">): Tensor<S, "float32">;
}

/** Makes a layer that sets random elements to 0 in training and does nothing in evaluation. The generator draws the masks. */
export function dropout(rate: number, options: { readonly generator?: Generator } = {}): Dropout {
  expectArguments("dropout", [aNumber], [rate]);
  expectOptions("dropout", options, ["generator"]);
  expectRate(rate);
  const generator = options.generator ?? defaultGenerator;
  const self: Dropout = module("Dropout", {}, <S extends Shape>(x: Tensor<S, "float32">) =>
    self.training ? functional.dropout(x, rate, generator) : x,
  );
  return self;
}

/** Joins all axes after the first: [batch, …] becomes [batch, features]. Used in `sequential` between layers for images and `linear`. */
export function flatten<N extends number, R extends Shape>(
  x: Tensor<[N, ...R], "float32">,
): Tensor<[N, number], "float32"> {
  expectArguments("flatten", [aTensor], [x]);
  return (x as Tensor).flatten(1) as Tensor<[N, number], "float32">;
}

/** A layer as `sequential` takes it: a module, or a function of a tensor such as `(x) => x.relu()`. */
export type Step = (x: Tensor) => Tensor;

/** Layers applied one after the other, which map the last axis from I to O. */
export interface Sequential<I extends number, O extends number> extends Module {
  <L extends Shape>(x: Tensor<[...L, I], "float32">): Tensor<[...L, O], "float32">;
}

/** Layers applied one after the other. TypeScript knows the argument of the first and the result of the last. */
export interface SequentialSteps<First extends Step, Last extends Step> extends Module {
  (x: Parameters<First>[0]): ReturnType<Last>;
}

/**
 * Whether a step keeps the shape, as activations, dropout and batchNorm do. A step whose type allows other sizes, such as `glu`, does not.
 */
type Keeps<F> = F extends OverChannels<number> ? true : KeepsAny<F>;
type KeepsAny<F> =
  F extends <S extends Shape>(x: Tensor<S, "float32">) => Tensor<S, "float32">
    ? F extends (x: Tensor<[1], "float32">) => Tensor<[2], "float32">
      ? false
      : true
    : false;

/** The input and output sizes of steps that map the last axis; a message where two steps do not fit; false for other steps. */
type Ends<Steps, In extends number | undefined = undefined, Out extends number = number> = Steps extends readonly [
  infer First,
  ...infer Rest,
]
  ? First extends Linear<infer I, infer O, boolean>
    ? In extends number
      ? Agree<Out, I, "no"> extends ShapeMismatch<string>
        ? `sequential: a layer takes ${I}, and the one before it gives ${Out}`
        : Ends<Rest, In, O>
      : Ends<Rest, I, O>
    : Keeps<First> extends true
      ? Ends<Rest, In, Out>
      : false
  : In extends number
    ? readonly [In, Out]
    : false;

/** The type of the last step; for a list of unknown length, the type of any step. */
type LastOf<Steps extends readonly Step[]> = Steps extends readonly [...unknown[], infer Last extends Step]
  ? Last
  : Steps[number];

type Chained<Steps extends readonly Step[]> =
  Ends<Steps> extends readonly [infer I extends number, infer O extends number]
    ? Sequential<I, O>
    : SequentialSteps<Steps[0], LastOf<Steps>>;

/**
 * Makes a module that applies layers one after the other. Modules are named by their position, as in PyTorch. Functions count too:
 * `sequential(linear(2, 3), relu, linear(3, 1))` has `0.weight` and `2.weight`. To pass a list of layers, spread it:
 * `sequential(...blocks)`. Without layers, the result is the argument.
 */
export function sequential<const Steps extends readonly Step[]>(
  ...steps: Ends<Steps> extends infer Message extends string ? { [K in keyof Steps]: ShapeMismatch<Message> } : Steps
): Chained<Steps> {
  const all = steps as readonly Step[];
  const children: Record<string, Module> = {};
  for (const [i, step] of all.entries()) if (isLayer(step)) children[i] = step;
  return module("Sequential", children, (x: Tensor) =>
    all.reduce((y, step, i) => (isLayer(step) ? step(y) : withName(String(i), () => step(y))), x),
  ) as never;
}

function isLayer(step: Step): step is Step & Module {
  return typeof step === "function" && "children" in step;
}
