/** Exports a trained model as an ONNX file that any runtime can open: the forward pass with the weights inside. */

import type { ModelProto } from "onnx-buf";
import { bind } from "../compile/bind.ts";
import { type TracedRoots, traceRoots } from "../compile/compile.ts";
import { valuesOf } from "../compile/evaluate.ts";
import { lower } from "../compile/lower.ts";
import type { GraphProgram } from "../compile/program.ts";
import { ConfigError, printable, ShapeError } from "../errors.ts";
import {
  aFunction,
  aRecord,
  described,
  expectArguments,
  expectOptions,
  optional,
  tensors,
} from "../graph/arguments.ts";
import type { Port, Target } from "../graph/target.ts";
import type { Values } from "../graph/types.ts";
import { inMode } from "../nn/module.ts";
import { encodeModel, opsets } from "../onnx/model.ts";
import { openBatch, probes } from "../onnx/open-batch.ts";
import { fromStorage, full } from "../tensor/create.ts";
import { State } from "../tensor/state.ts";
import { Storage } from "../tensor/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { HasNamedStates } from "./weights.ts";

/** Options of `exportOnnx`. */
export interface ExportOptions {
  /** Names of the inputs, in the order of the function's arguments. Default `input0`, `input1`, … */
  readonly inputs?: readonly string[];
  /** Names of the outputs. Default `output0`, … */
  readonly outputs?: readonly string[];
  /** The model or other object that names the weights. Default: the variables' own names. */
  readonly names?: HasNamedStates;
  /**
   * Whether modules are in training. Default: evaluation; but if the function assigns to variables even in evaluation, as a training step
   * does, each module keeps its own mode.
   */
  readonly training?: boolean;
  /** The version of ONNX's operators: 20 or 21, the default. */
  readonly opset?: number;
  /** Called with the reason when the size of the batch had to be fixed. Default: writes a line to standard error. */
  readonly onFixedBatch?: (reason: string) => void;
}

/** The file uses only ONNX's own operators, so every runtime can open it. */
const portable: Target = { contrib: false };

/**
 * Returns the ONNX model of a function of tensors, for inputs with the types of `examples`. Variables that the function reads become
 * initializers under their own names, and modules are in evaluation. If all examples have the same first size and the function treats the
 * first axis as a batch, its size is left open; all other sizes are those of the examples. A function that assigns to variables, such as a
 * training step, gets all variables as inputs under their own names, and an output `NAME.next` for each assigned variable. All weights have
 * their values at one place of the queue, also while training continues. Throws ConfigError when the number of input names differs from the
 * number of examples, and for an unknown option or opset.
 */
export async function exportOnnx<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  expectArguments("exportOnnx", [aFunction, tensors, optional(aRecord)], [fn, examples, options]);
  expectOptions("exportOnnx", options, ["inputs", "outputs", "names", "training", "opset", "onFixedBatch"]);
  if (options.opset !== undefined && !opsets.includes(options.opset))
    throw new ConfigError("exportOnnx", `the opset is ${described(options.opset)}`, `give ${opsets.join(" or ")}`);
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
  // All values stored in the file are read at one place of the queue.
  const inside = [
    ...new Set([exact, ...(Array.isArray(pair) ? pair : [])].flatMap((draft) => [...draft.inside.values()])),
  ];
  const all = await valuesOf(inside.map((source) => (source instanceof Storage ? fromStorage(source) : source)));
  const values = new Map(inside.map((source, i) => [source, all[i]!]));
  const open = Array.isArray(pair)
    ? openBatch(modelOf(pair[0]!, values, options), modelOf(pair[1]!, values, options))
    : pair;
  if (typeof open === "object") return encodeModel(open);
  if (open !== undefined) (options.onFixedBatch ?? sayFixed)(open);
  return encodeModel(modelOf(exact, values, options));
}

/** A function's graph, and the values stored in its model: values of variables and constants, by port. */
interface Draft {
  readonly program: GraphProgram;
  readonly inside: ReadonlyMap<Port, State | Storage>;
}

function modelOf(
  { program, inside }: Draft,
  values: ReadonlyMap<State | Storage, Values>,
  { opset }: ExportOptions,
): ModelProto {
  return program.model(new Map([...inside].map(([port, source]) => [port, values.get(source)!])), opset);
}

function sayFixed(reason: string): void {
  console.warn(`glissade: exportOnnx keeps the examples' batch size, because ${printable(reason, 500)}`);
}

/** Returns the graphs for two batch sizes, which `openBatch` turns into one; or the reason why the function works for one size only. */
function attemptBoth<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions,
): [Draft, Draft] | string {
  try {
    const [first, second] = probes.map((size) =>
      draftOf(fn, examples.map((example) => withBatch(example, size)) as readonly Tensor[] as A, options),
    );
    return [first!, second!];
  } catch (error) {
    // Other errors also occur when the function is traced with the examples themselves, and are thrown then.
    if (error instanceof ShapeError) return `the function takes no other: ${error.subject}: ${error.problem}`;
    throw error;
  }
}

/** A tensor of the type with another batch size. It is never computed: tracing uses only types. */
function withBatch({ shape, dtype }: Tensor, batch: number): Tensor {
  return full([batch, ...shape.slice(1)], 0, dtype);
}

function draftOf<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions,
): Draft {
  const { identity, results, assigned } = tracedInMode(fn, examples, options.training);
  const bound = bind({ results, checks: [], assigned });
  const states = new Map([...(options.names?.namedStates() ?? [])].map(([name, state]) => [state, name]));
  const inputNames = bound.sources.map((source, i) =>
    typeof source === "number"
      ? (options.inputs?.[source] ?? `input${source}`)
      : source instanceof State
        ? (states.get(source) ?? source.label)
        : `constant${i}`,
  );
  const program = lower({ leaves: bound.leaves, roots: bound.roots, trace: identity }, portable, {
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

function tracedInMode<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  training: boolean | undefined,
): TracedRoots {
  const traced = inMode(training ?? false, () => traceRoots(fn, examples));
  return training === undefined && traced.assigned.size > 0 ? traceRoots(fn, examples) : traced;
}

/** Makes names distinct: two variables may have the same name, but not in one file. */
function unique(names: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return names.map((name) => {
    const count = seen.get(name) ?? 0;
    seen.set(name, count + 1);
    return count === 0 ? name : `${name}.${count}`;
  });
}
