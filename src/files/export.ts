/** A trained model as an ONNX file that any runtime opens: the forward pass with the weights inside. */
import type { ModelProto } from "onnx-buf";
import { bind } from "../compile/bind.ts";
import { traceRoots } from "../compile/compile.ts";
import { encodeModel } from "../compile/onnx.ts";
import { GraphProgram } from "../compile/program.ts";
import { rewrite } from "../compile/rewrite.ts";
import { passes } from "../compile/rules/index.ts";
import type { Port, Target } from "../engine/engine.ts";
import { ConfigError, ShapeError } from "../errors.ts";
import type { Values } from "../graph/types.ts";
import { full } from "../tensor/create.ts";
import { State } from "../tensor/state.ts";
import { Storage } from "../tensor/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { openBatch, probes } from "./open-batch.ts";
import type { HasNamedStates } from "./weights.ts";

export interface ExportOptions {
  /** Names of the inputs, in the order of the function's arguments. Default `input0`, `input1`, … */
  readonly inputs?: readonly string[];
  /** Names of the outputs. Default `output0`, … */
  readonly outputs?: readonly string[];
  /** Where the weights' names come from. Default: what the variables call themselves. */
  readonly names?: HasNamedStates;
}

/** ONNX's own operators alone, so that every runtime can open the file. */
const portable: Target = { contrib: false };

/**
 * The ONNX model of a function of tensors, for inputs of the types of `examples`. Variables that the function reads become
 * initializers under their own names. Where all examples share their first axis and the function treats it as a batch, its
 * size is left open; all other sizes are those of the examples. A function that assigns to variables, such as a training
 * step, keeps all variables outside: inputs under their own names, and an output `NAME.next` for each that is assigned.
 * Throws ConfigError when there are not as many names as inputs.
 */
export async function exportOnnx<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  if (options.inputs && options.inputs.length !== examples.length)
    throw new ConfigError(
      "exportOnnx",
      `${options.inputs.length} names for ${examples.length} inputs`,
      "name each input",
    );
  const batch = examples[0]?.shape[0];
  if (batch !== undefined && examples.every(({ shape }) => shape[0] === batch)) {
    const [first, second] = probes.map(
      (size) => examples.map((example) => withBatch(example, size)) as readonly Tensor[],
    );
    const open = await attemptBoth(fn, first as A, second as A, options);
    if (open) return encodeModel(open);
  }
  return encodeModel(await modelOf(fn, examples, options));
}

/** The model with an open batch, when the function can be traced at two sizes and they differ in the batch alone. */
async function attemptBoth<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  first: A,
  second: A,
  options: ExportOptions,
): Promise<ModelProto | undefined> {
  try {
    return openBatch(await modelOf(fn, first, options), await modelOf(fn, second, options));
  } catch (error) {
    // A function for one batch size alone; tracing it with the examples themselves tells what else may be wrong.
    if (error instanceof ShapeError) return undefined;
    throw error;
  }
}

/** Nothing of this size is ever computed: a trace looks at types alone. */
function withBatch({ shape, dtype }: Tensor, batch: number): Tensor {
  return full([batch, ...shape.slice(1)], 0, dtype);
}

async function modelOf<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions,
): Promise<ModelProto> {
  const { identity, results, assigned } = traceRoots(fn, examples);
  const bound = bind({ results, guards: [], assigned });
  const states = new Map([...(options.names?.namedStates() ?? [])].map(([name, state]) => [state, name]));
  const inputNames = bound.sources.map((source, i) =>
    typeof source === "number"
      ? (options.inputs?.[source] ?? `input${source}`)
      : source instanceof State
        ? (states.get(source) ?? source.label)
        : `constant${i}`,
  );
  const roots = rewrite(bound.roots, passes, portable, identity);
  const program = new GraphProgram(bound.leaves, roots, portable, {
    inputs: unique(inputNames),
    outputs: [
      ...results.map((_, i) => options.outputs?.[i] ?? `output${i}`),
      ...[...assigned.keys()].map((state) => `${states.get(state) ?? state.label}.next`),
    ],
  });
  const weights = new Map<Port, Values>();
  for (const [i, source] of bound.sources.entries()) {
    if (source instanceof State && assigned.size === 0) weights.set(program.inputs[i]!, await source.data());
    else if (source instanceof Storage) weights.set(program.inputs[i]!, await source.read());
  }
  return program.model(weights);
}

/** Two variables may call themselves the same; in a file they may not. */
function unique(names: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return names.map((name) => {
    const count = seen.get(name) ?? 0;
    seen.set(name, count + 1);
    return count === 0 ? name : `${name}.${count}`;
  });
}
