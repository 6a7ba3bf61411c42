/** Exports a trained model as an ONNX file that any runtime can open: the forward pass with the weights inside. */

import type { ModelProto, NodeProto } from "onnx-buf";
import { bind } from "../compile/bind.ts";
import { type TracedRoots, traceRoots } from "../compile/compile.ts";
import { valuesOf } from "../compile/evaluate.ts";
import { lower } from "../compile/lower.ts";
import type { GraphProgram } from "../compile/program.ts";
import { nodesOf, openNodes } from "../compile/recording.ts";
import { ConfigError, printable, quoted } from "../errors.ts";
import {
  aFunction,
  aRecord,
  described,
  expectArguments,
  expectOptions,
  optional,
  tensors,
} from "../graph/arguments.ts";
import { areOfOneOp, collect, type Node } from "../graph/node.ts";
import type { Port, Target } from "../graph/target.ts";
import type { Shape, Values } from "../graph/types.ts";
import { inMode } from "../nn/module.ts";
import { Probes } from "../onnx/formula.ts";
import { encodeModel, type OpenNodes, opsets } from "../onnx/model.ts";
import { type Obstacle, openAxes } from "../onnx/open-axes.ts";
import { fromStorage } from "../tensor/create.ts";
import { State } from "../tensor/state.ts";
import { Storage } from "../tensor/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type DynamicAxes, type OpenSize, openSizesOf, probeSizes, resized } from "./dynamic-axes.ts";
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
  /**
   * The axes of the inputs whose sizes stay open, by the input's name, with a name for each: `{ ids: { 0: "batch", 1: "time" } }`, or in
   * short `{ ids: ["batch", "time"] }`. All other sizes are those of the examples. Default: the first axis of all inputs, as `batch`, where
   * that is possible.
   */
  readonly dynamicAxes?: DynamicAxes;
  /**
   * Called with the reason when the size of the batch had to be fixed, unless `dynamicAxes` asks for it. Default: writes a line to standard
   * error.
   */
  readonly onFixedBatch?: (reason: string) => void;
}

/** The file uses only ONNX's own operators, so every runtime can open it. */
const portable: Target = { contrib: false };

/**
 * Returns the ONNX model of a function of tensors, for inputs with the types of `examples`. Variables that the function reads become
 * initializers under their own names, and modules are in evaluation. The sizes of the axes that `dynamicAxes` names are open: the model takes
 * any size there, and all other sizes are those of the examples. Without `dynamicAxes`, the first axis is open, as `batch`, if all examples
 * have the same first size and the function treats it as a batch. A function that assigns to variables, such as a training step, gets all
 * variables as inputs under their own names, and an output `NAME.next` for each assigned variable. All weights have their values at one place
 * of the queue, also while training continues. Throws ConfigError when the number of input names differs from the number of examples, for an
 * unknown option or opset, and for an axis that cannot be open: with the op that prevents it.
 *
 * A function with open axes is traced for several of their sizes. Its model computes each shape, and each number that depends on a size, from
 * the sizes of the inputs. A function that looks at a size (`if (x.shape[1] > 100)`) is one model only for sizes on the same side.
 */
export async function exportOnnx<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  expectArguments("exportOnnx", [aFunction, tensors, optional(aRecord)], [fn, examples, options]);
  expectOptions("exportOnnx", options, [
    "inputs",
    "outputs",
    "names",
    "training",
    "opset",
    "dynamicAxes",
    "onFixedBatch",
  ]);
  if (options.opset !== undefined && !opsets.includes(options.opset))
    throw new ConfigError("exportOnnx", `the opset is ${described(options.opset)}`, `give ${opsets.join(" or ")}`);
  if (options.inputs && options.inputs.length !== examples.length)
    throw new ConfigError(
      "exportOnnx",
      `${options.inputs.length} names for ${examples.length} inputs`,
      "name each input",
    );
  const sizes = options.dynamicAxes
    ? openSizesOf(
        options.dynamicAxes,
        examples.map((_, i) => inputName(options, i)),
        examples,
      )
    : batchOf(examples);
  const exact = draftOf(fn, examples, options, portable);
  const many = sizes.length > 0 ? draftMany(fn, examples, options, sizes, exact) : undefined;
  // All values stored in the file are read at one place of the queue.
  const inside = new Set([...exact.inside.values(), ...(many && "drafts" in many ? storedIn(many.drafts) : [])]);
  const sources = [...inside];
  const all = await valuesOf(sources.map((source) => (source instanceof Storage ? fromStorage(source) : source)));
  const values = new Map(sources.map((source, i) => [source, all[i]!]));
  const open = many && "drafts" in many ? opened(many, sizes, values, options) : many;
  if (open && !("problem" in open)) return encodeModel(open);
  if (open && options.dynamicAxes) {
    const names = open.axes.map((axis) => sizes[axis]!.name);
    const them = names.map(quoted).join(" and ");
    throw new ConfigError(
      "exportOnnx",
      `${them} cannot be open, because ${open.problem}`,
      `take sizes from the input's shape (x.shape[axis]) in place of fixed numbers, or leave ${them} out of dynamicAxes`,
    );
  }
  if (open) (options.onFixedBatch ?? sayFixed)(open.problem);
  return encodeModel(modelOf(exact, values, options));
}

const inputName = ({ inputs }: ExportOptions, i: number): string => inputs?.[i] ?? `input${i}`;

/** The first axis of all examples, if it has the same size everywhere. */
function batchOf(examples: readonly Tensor[]): OpenSize[] {
  const size = examples[0]?.shape[0];
  if (size === undefined || examples.some(({ shape }) => shape[0] !== size)) return [];
  return [{ name: "batch", size, places: examples.map((_, input) => ({ input, axis: 0 })) }];
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
  openNodes?: OpenNodes,
): ModelProto {
  return program.model(new Map([...inside].map(([port, source]) => [port, values.get(source)!])), opset, openNodes);
}

function sayFixed(reason: string): void {
  console.warn(`glissade: exportOnnx keeps the examples' batch size, because ${printable(reason, 500)}`);
}

/** A function's graphs for several sizes of the open axes, which `openAxes` turns into one. */
interface Drafts {
  readonly probes: Probes;
  readonly drafts: readonly Draft[];
  /** For each node of the first graph, in the order of `nodesOf`, the open axes of its first input if any of its sizes is open. */
  readonly open: readonly (ReadonlySet<number> | undefined)[];
}

/** Returns the graphs for several sizes of the open axes, or the reason why the function works for no other sizes. */
function draftMany<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions,
  open: readonly OpenSize[],
  exact: Draft,
): Drafts | Obstacle {
  const nodes = nodesOf(exact.program.body);
  const taken = new Set([0, 1, 2, 3, 4, ...nodes.flatMap(({ outputs }) => outputs.flatMap(({ shape }) => shape))]);
  const sizes = probeSizes(open, taken, (point) => {
    const { results, assigned } = tracedInMode(fn, resized(examples, open, point) as readonly Tensor[] as A, options);
    return collect([...results, ...assigned.values()]).length;
  });
  if ("problem" in sizes) return sizes;
  const probes = new Probes(sizes);
  const drafts = probes.points.map((point) =>
    draftOf(fn, resized(examples, open, point) as readonly Tensor[] as A, options, { ...portable, manySizes: true }),
  );
  const [first, ...others] = drafts.map(({ program }) => nodesOf(program.body)) as [Node[], ...Node[][]];
  const axes = first.map((): Set<number> | undefined => undefined);
  for (const [i, other] of others.entries()) {
    const differs = openNodes(first, other);
    if (!differs) {
      const at = first.find((node, k) => !other[k] || !areOfOneOp(node, other[k])) ?? first.at(-1);
      const changed = probes.changed(i + 1);
      const where = changed.map((axis) => `${open[axis]!.name} = ${probes.points[i + 1]![axis]}`).join(" and ");
      return { axes: changed, problem: `${at ? originOf(at) : "the function"} is another operation for ${where}` };
    }
    for (const [k, isOpen] of differs.entries()) {
      if (!isOpen) continue;
      axes[k] ??= new Set();
      const [a, b] = [firstShape(first[k]!), firstShape(other[k]!)];
      for (const [axis, size] of a.entries()) if (size !== b[axis]) axes[k].add(axis);
    }
  }
  return { probes, drafts, open: axes };
}

/** The shape of a node's first input. */
function firstShape({ inputs: [input] }: Node): Shape {
  return input ? input.node.outputs[input.index]!.shape : [];
}

/** The values inside of the models for other sizes that are not those of the first model, such as a table made for one size. */
function storedIn([first, ...others]: readonly Draft[]): (State | Storage)[] {
  const known = [...first!.inside.values()];
  const different = others.flatMap(({ inside }) => [...inside.values()].filter((source, i) => source !== known[i]));
  return [...known, ...different];
}

/** Makes one model of the graphs for several sizes, or returns what prevents it. */
function opened(
  { drafts, probes, open }: Drafts,
  sizes: readonly OpenSize[],
  values: ReadonlyMap<State | Storage, Values>,
  options: ExportOptions,
): ModelProto | Obstacle {
  const origins = new Map<NodeProto, Node>();
  const known = [...drafts[0]!.inside.values()];
  const models = drafts.map((draft, point) => {
    const nodes = nodesOf(draft.program.body);
    const axes = new Map(nodes.flatMap((node, i) => (open[i] ? [[node, open[i]] as const] : [])));
    // Weights that are the same for all sizes are in the first model only.
    const own = [...draft.inside.values()].map((source, i): [State | Storage, Values] => {
      const isKnown = point > 0 && source === known[i];
      return [source, isKnown ? values.get(source)!.slice(0, 0) : values.get(source)!];
    });
    return modelOf(draft, new Map(own), options, { axes, origins: point === 0 ? origins : new Map() });
  });
  return openAxes(models, {
    names: sizes.map(({ name }) => name),
    probes,
    originOf(node) {
      const origin = origins.get(node);
      return origin && originOf(origin);
    },
  });
}

/** The op of a node, and the module that it was made in. */
const originOf = ({ op, path }: Node): string => `the op ${op.name}${path ? ` in ${path}` : ""}`;

function draftOf<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor | readonly Tensor[],
  examples: A,
  options: ExportOptions,
  target: Target,
): Draft {
  const { identity, results, assigned } = tracedInMode(fn, examples, options);
  const bound = bind({ results, checks: [], assigned });
  const states = new Map([...(options.names?.namedStates() ?? [])].map(([name, state]) => [state, name]));
  const inputNames = bound.sources.map((source, i) =>
    typeof source === "number"
      ? inputName(options, source)
      : source instanceof State
        ? (states.get(source) ?? source.label)
        : `constant${i}`,
  );
  const program = lower({ leaves: bound.leaves, roots: bound.roots, trace: identity }, target, {
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
  { training }: ExportOptions,
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
