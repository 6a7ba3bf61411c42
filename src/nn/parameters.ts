/** What layers make their parameters with. */
import { ConfigError } from "../errors.ts";
import type { Shape } from "../graph/types.ts";
import { Parameter } from "../tensor/state.ts";
import { defaultGenerator, type Generator } from "./generator.ts";
import type { Initializer } from "./initializers.ts";

/** Throws ConfigError unless all sizes are whole numbers from 1 on. */
export function expectSizes(subject: string, sizes: readonly number[]): void {
  if (!sizes.every((size) => Number.isSafeInteger(size) && size > 0))
    throw new ConfigError(subject, `the sizes are ${sizes.join(", ")}`, "give whole numbers from 1 on");
}

/** A float32 parameter with initial values. Throws ConfigError for sizes that are no whole numbers from 1 on. */
export function parameter<const S extends Shape>(
  shape: readonly [...S],
  initializer: Initializer,
  generator: Generator = defaultGenerator,
): Parameter<S, "float32"> {
  expectSizes("parameter", shape);
  return new Parameter({ shape, dtype: "float32" }, initializer(shape, generator.host));
}
