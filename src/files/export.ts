/** A trained model as an ONNX file that any runtime opens: the forward pass with the weights inside. */
import type { ModelProto } from "onnx-buf";
import { bind } from "../compile/bind.ts";
import { traceRoots } from "../compile/compile.ts";
import { valuesOf } from "../compile/evaluate.ts";
import { encodeModel } from "../compile/onnx.ts";
import { GraphProgram } from "../compile/program.ts";
import { rewrite } from "../compile/rewrite.ts";
import { passes } from "../compile/rules/index.ts";
import type { Port, Target } from "../engine/engine.ts";
import { ConfigError, ShapeError } from "../errors.ts";
import type { Values } from "../graph/types.ts";
import { fromStorage, full } from "../tensor/create.ts";
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
 * step, keeps all variables outside: inputs under their own names, and an output `NAME.next` for each that is assigned. All weights are
 * those of one place in the queue, also while training goes on.
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
  const isBatched = batch !== undefined && examples.every(({ shape }) => shape[0] === batch);
  const pair = isBatched ? attemptBoth(fn, examples, options) : undefined;
  const exact = draftOf(fn, examples, options);
  // Everything that will be inside, at one place of the queue.
  const inside = [...new Set([exact, ...(pair ?? [])].flatMap((draft) => [...draft.inside.values()]))];
  const all = await valuesOf(inside.map((source) => (source instanceof Storage ? fromStorage(source) : source)));
  const values = new Map(inside.map((source, i) => [source, all[i]!]));
  const open = pair && openBatch(modelOf(pair[0], values), modelOf(pair[1], values));
  return encodeModel(open ?? modelOf(exact, values));
}

/** A function's graph, and what is to be inside its model: values of variables and constants, by port. */
interface Draft {
  readonly program: GraphProgram;
  readonly inside: ReadonlyMap<Port, State | Storage>;
}

function modelOf({ program, inside }: Draft, values: ReadonlyMap<State | Storage, Values>): ModelProto {
  return program.model(new Map([...inside].map(([port, source]) => [port, values.get(source)!])));
}

/** The graphs for two batch sizes, of which `openBatch` makes one; nothing where the function is for one size alone. */
function attemptBoth<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions,
): readonly [Draft, Draft] | undefined {
  try {
    const [first, second] = probes.map((size) =>
      draftOf(fn, examples.map((example) => withBatch(example, size)) as readonly Tensor[] as A, options),
    );
    return [first!, second!];
  } catch (error) {
    // Tracing it with the examples themselves tells what else may be wrong.
    if (error instanceof ShapeError) return undefined;
    throw error;
  }
}

/** Nothing of this size is ever computed: a trace looks at types alone. */
function withBatch({ shape, dtype }: Tensor, batch: number): Tensor {
  return full([batch, ...shape.slice(1)], 0, dtype);
}

function draftOf<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions,
): Draft {
  const { identity, results, assigned } = traceRoots(fn, examples);
  const bound = bind({ results, checks: [], assigned });
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
  const inside = new Map<Port, State | Storage>();
  for (const [i, source] of bound.sources.entries())
    if (source instanceof Storage || (source instanceof State && assigned.size === 0))
      inside.set(program.inputs[i]!, source);
  return { program, inside };
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
