/** A trained model as an ONNX file that any runtime opens: the forward pass with the weights inside. */
import { bind } from "../compile/bind.ts";
import { traceRoots } from "../compile/compile.ts";
import { GraphProgram } from "../compile/program.ts";
import { rewrite } from "../compile/rewrite.ts";
import { passes } from "../compile/rules/index.ts";
import type { Port, Target } from "../engine/engine.ts";
import { ConfigError, GraphError } from "../errors.ts";
import type { Values } from "../graph/types.ts";
import type { HasNamedStates } from "./weights.ts";
import { State } from "../tensor/state.ts";
import { Storage } from "../tensor/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";

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
 * The ONNX model of a function of tensors, for inputs like `examples`. Variables that the function reads become initializers
 * under their own names. Sizes are those of the examples, except that the first axis is open when all examples share it and
 * the function treats it as a batch. Throws GraphError when the function assigns to variables, as a training step does.
 */
export async function exportOnnx<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { identity, results, assigned } = traceRoots(fn, examples);
  if (assigned.size > 0)
    throw new GraphError(
      "exportOnnx",
      `the function assigns to ${[...assigned.keys()][0]!.label}`,
      "export the forward pass, in evaluation: model.eval()",
    );
  if (options.inputs && options.inputs.length !== examples.length)
    throw new ConfigError("exportOnnx", `${options.inputs.length} names for ${examples.length} inputs`, "name each input");
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
    ...(options.outputs && { outputs: options.outputs }),
  });
  const weights = new Map<Port, Values>();
  for (const [i, source] of bound.sources.entries()) {
    if (source instanceof State) weights.set(program.inputs[i]!, await source.data());
    else if (source instanceof Storage) weights.set(program.inputs[i]!, await source.read());
  }
  return program.onnx(weights);
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
