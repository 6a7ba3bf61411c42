/** Helpers with which layers make their parameters. */
import { ConfigError, GraphError } from "../errors.ts";
import {
  aFunction,
  aRecord,
  aTensor,
  described,
  expectArguments,
  expectOptions,
  optional,
  sizes,
} from "../graph/arguments.ts";
import type { Data } from "../graph/op.ts";
import { copyOf, type DType, expectRoom, type Shape, type Values } from "../graph/types.ts";
import { Parameter, State, type StateOptions } from "../tensor/state.ts";
import { Tensor } from "../tensor/tensor.ts";
import { defaultGenerator, type Generator } from "./generator.ts";
import type { Initializer } from "./initializers.ts";

/** Throws ConfigError unless all sizes are whole numbers from 1 on. */
export function expectSizes(subject: string, sizes: readonly number[]): void {
  if (!sizes.every((size) => Number.isSafeInteger(size) && size > 0))
    throw new ConfigError(subject, `the sizes are ${sizes.map(described).join(", ")}`, "give whole numbers from 1 on");
}

/** Throws ConfigError unless a rate is in [0, 1). */
export function expectRate(rate: number): void {
  if (!(rate >= 0 && rate < 1))
    throw new ConfigError("dropout", `the rate is ${rate}`, "give a number from 0 to below 1");
}

/**
 * Makes a parameter: a variable that optimizers update. `parameter([64, 32], heNormal())` is float32; its values are drawn when they are
 * first needed, if the initializer can draw later, so a large model whose weights come from a file is made at once. `parameter(tensor([1,
 * 2]))` has the shape, the dtype and the values of a tensor. Throws ConfigError for sizes that are not whole numbers from 1 on, EngineError
 * for more values than can be held, GraphError for a tensor whose values have yet to be computed.
 */
export function parameter<const S extends Shape>(
  shape: readonly [...S],
  initializer: Initializer,
  generator?: Generator,
): Parameter<S, "float32">;
/** Makes a parameter from a tensor's shape, dtype and values. */
export function parameter<S extends Shape, D extends DType>(
  values: Tensor<S, D>,
  options?: StateOptions,
): Parameter<S, D>;
export function parameter(
  first: Shape | Tensor,
  second?: Initializer | StateOptions,
  generator: Generator = defaultGenerator,
): Parameter {
  if (first instanceof Tensor) {
    expectArguments("parameter", [aTensor, optional(aRecord)], [first, second]);
    return new Parameter(first, knownValues("parameter", first), stateOptions("parameter", second as StateOptions));
  }
  expectArguments("parameter", [sizes, aFunction], [first, second]);
  expectSizes("parameter", first);
  const initializer = second as Initializer;
  const { host } = generator;
  const type = { shape: first, dtype: "float32" } as const;
  expectRoom(type);
  const values = initializer.later ? initializer.later(first, host) : initializer(first, host);
  return new Parameter(type, values);
}

/**
 * Makes a variable that no optimizer updates, with the shape, the dtype and the values of a tensor: `state(zeros([10]))`. In expressions it
 * stands for its value; `assign` sets the value that it will have when the run is done. Throws GraphError for a tensor whose values have
 * yet to be computed.
 */
export function state<S extends Shape, D extends DType>(values: Tensor<S, D>, options?: StateOptions): State<S, D> {
  expectArguments("state", [aTensor, optional(aRecord)], [values, options]);
  const { shape, dtype } = values;
  return new State({ shape, dtype }, knownValues("state", values), stateOptions("state", options));
}

function stateOptions(subject: string, options: StateOptions = {}): StateOptions {
  expectOptions(subject, options, ["name", "persistent"]);
  return options;
}

/** The values of a tensor that are known without a run: values from JavaScript, or those of an op without inputs, such as zeros. */
function knownValues(subject: string, x: Tensor): Values {
  const { node } = x;
  if (node.source?.kind === "host" && node.source.storage.values) return node.source.storage.values;
  if (node.inputs.length > 0 || node.source)
    throw new GraphError(
      subject,
      "the values of the tensor have yet to be computed",
      `give values that are known: ${subject}(tensor(await x.array()))`,
    );
  const data: Data = { shape: x.shape, dtype: x.dtype, values: new Float64Array(x.size) };
  node.op.evaluate([], [data], node.params);
  return copyOf(data.values, x.dtype);
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
