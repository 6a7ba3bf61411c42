/** What layers make their parameters with. */
import { ConfigError } from "../errors.ts";
import { aFunction, described, expectArguments, sizes } from "../graph/arguments.ts";
import { expectRoom, type Shape } from "../graph/types.ts";
import { Parameter } from "../tensor/state.ts";
import { defaultGenerator, type Generator } from "./generator.ts";
import type { Initializer } from "./initializers.ts";

/** Throws ConfigError unless all sizes are whole numbers from 1 on. */
export function expectSizes(subject: string, sizes: readonly number[]): void {
  if (!sizes.every((size) => Number.isSafeInteger(size) && size > 0))
    throw new ConfigError(subject, `the sizes are ${sizes.map(described).join(", ")}`, "give whole numbers from 1 on");
}

/**
 * A float32 parameter with initial values, drawn when they are first needed where the initializer can wait: a large model whose
 * weights come from a file is made at once. What is drawn is the same either way. Throws ConfigError for sizes that are no whole
 * numbers from 1 on, EngineError for more values than can be held.
 */
export function parameter<const S extends Shape>(
  shape: readonly [...S],
  initializer: Initializer,
  generator: Generator = defaultGenerator,
): Parameter<S, "float32"> {
  expectArguments("parameter", [sizes, aFunction], [shape, initializer]);
  expectSizes("parameter", shape);
  const { host } = generator;
  expectRoom({ shape, dtype: "float32" });
  const values = initializer.later ? initializer.later(shape, host) : initializer(shape, host);
  return new Parameter({ shape, dtype: "float32" }, values);
}

/** How a bias begins, or `false` for none. */
export type BiasOption = Initializer | false;

/** Whether a layer made with these options has a bias. */
export type HasBias<Options> = Options extends { readonly bias: false } ? false : true;

/** The bias of a layer: undefined where the layer has none. */
export type BiasOf<Bias extends boolean, O extends number> = Bias extends true ? Parameter<[O], "float32"> : undefined;

/** The weight and the bias of a layer as children, in that order; no bias where it is `false`. */
export function weightAndBias<const S extends Shape>(
  shape: readonly [...S],
  outputs: number,
  usual: Initializer,
  { weight, bias, generator }: { weight?: Initializer; bias?: BiasOption; generator?: Generator },
): { readonly weight: Parameter<S, "float32">; readonly bias?: Parameter<[number], "float32"> } {
  const w = parameter(shape, weight ?? usual, generator);
  return bias === false ? { weight: w } : { weight: w, bias: parameter([outputs], bias ?? usual, generator) };
}
