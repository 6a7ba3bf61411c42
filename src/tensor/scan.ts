/** The one loop: a step written as a function, applied along the first axis of sequences. */
import { ConfigError, GraphError, ShapeError } from "../errors.ts";
import { aFunction, aRecord, described, expectArguments, expectOptions } from "../graph/arguments.ts";
import { currentPath, currentScope } from "../graph/scope.ts";
import { type Shape, sameShape, showType } from "../graph/types.ts";
import { loop } from "../ops/control.ts";
import { arange } from "./create.ts";
import type { Tensor } from "./tensor.ts";
import { flatten, type IsTree } from "./tree.ts";

/** One slice of each sequence: the types without their first axis. */
export type SliceOf<X> =
  X extends Tensor<infer S, infer D>
    ? Tensor<S extends readonly [number, ...infer R extends Shape] ? R : Shape, D>
    : { readonly [K in keyof X]: SliceOf<X[K]> };

/** Every step's outputs on top of each other: the types with a new first axis. */
export type StackOf<Y> =
  Y extends Tensor<infer S, infer D> ? Tensor<[number, ...S], D> : { readonly [K in keyof Y]: StackOf<Y[K]> };

export interface ScanOptions<T, X> {
  /** The state before the first step: a tensor, or arrays or records of tensors. */
  readonly init: T;
  /** Sequences along their first axis, all equally long. Without any, give `length`. */
  readonly xs?: X;
  /** Number of steps. Default: the first axis of `xs`. */
  readonly length?: number;
  /** From the last slice to the first. Outputs lie where the slices lay from which they were made. Default false. */
  readonly reverse?: boolean;
}

/**
 * Applies `cell` along the first axis of `xs`: it takes the state and one slice of each sequence and returns the next state
 * and an output, both as tensors, arrays or records. What comes back is the last state, and all outputs stacked.
 *
 * The cell is called once, to build one step; the graph is as large for a thousand steps as for one. It may use any tensor from
 * outside. What depends on neither state nor slice is computed once, before the loop: random numbers too, so draw them outside,
 * for all steps, and pass them in as a sequence. Differentiable, again and again.
 *
 * Throws ShapeError when the sequences differ in length or the cell changes the type of a state, GraphError when the cell assigns
 * to a variable.
 */
export function scan<T, Y, X = undefined>(
  cell: (state: T, x: SliceOf<X>) => readonly [state: NoInfer<T>, output: Y & IsTree<NoInfer<Y>>],
  options: ScanOptions<T & IsTree<T>, X & IsTree<X>>,
): { readonly state: T; readonly outputs: StackOf<Y> } {
  expectArguments("scan", [aFunction, aRecord], [cell, options]);
  expectOptions("scan", options, ["init", "xs", "length", "reverse"]);
  const { init, xs, length, reverse = false } = options;
  const states: Tensor[] = [];
  const given: Tensor[] = [];
  const asState = flatten("scan", init, states);
  const asSlices = flatten("scan", xs, given);
  const steps = stepsOf(given, length);
  // ONNX wants something to count by.
  const sequences = given.length > 0 ? given : [arange(steps) as Tensor];

  let asOutput: (outputs: readonly Tensor[]) => unknown;
  const outputs = loop(states, sequences, { length: steps, reverse }, (leaves) => {
    const results: Tensor[] = [];
    const before = new Map(currentScope().assigned);
    const returned: unknown = cell(asState(leaves) as T, asSlices(leaves.slice(states.length)) as SliceOf<X>);
    if (!Array.isArray(returned))
      throw new GraphError("scan", `the cell returns ${described(returned)}`, "return [state, output]", currentPath());
    const [next, output, ...more] = returned as readonly unknown[];
    expectNoAssignment(before);
    if (more.length > 0)
      throw new GraphError(
        "scan",
        `the cell returns ${2 + more.length} things`,
        "return [state, output]",
        currentPath(),
      );
    flatten("scan", next, results);
    expectStates(states, results);
    asOutput = flatten("scan", output, results);
    return results;
  });
  return { state: asState(outputs) as T, outputs: asOutput!(outputs) as StackOf<Y> };
}

function stepsOf(sequences: readonly Tensor[], length: number | undefined): number {
  const steps = length ?? sequences[0]?.shape[0];
  if (steps === undefined || !Number.isInteger(steps) || steps < 0)
    throw new ConfigError(
      "scan",
      sequences.length > 0
        ? `${showType(sequences[0]!)} has no axis to walk along`
        : `the length is ${described(length)}`,
      "give xs with a first axis, or a length",
    );
  const odd = sequences.find(({ shape }) => shape[0] !== steps);
  if (odd)
    throw new ShapeError(
      "scan",
      `${showType(odd)} does not have ${steps} slices`,
      "give sequences of the same length along their first axis",
    );
  return steps;
}

function expectStates(states: readonly Tensor[], next: readonly Tensor[]): void {
  const place = states.findIndex((state, i) => {
    const value = next[i];
    return !value || value.dtype !== state.dtype || !sameShape(value.shape, state.shape);
  });
  if (place < 0 && next.length === states.length) return;
  const [from, to] = [states[place], next[place]];
  throw new ShapeError(
    "scan",
    from && to
      ? `a state begins as ${showType(from)} and the cell gives ${showType(to)}`
      : `${states.length} states begin and the cell gives ${next.length}`,
    "return each state with the shape and dtype that it came with",
    currentPath(),
  );
}

function expectNoAssignment(before: ReadonlyMap<object, unknown>): void {
  const { assigned } = currentScope();
  for (const [state, value] of assigned) {
    if (before.get(state) === value) continue;
    const old = before.get(state);
    if (old === undefined) assigned.delete(state);
    else assigned.set(state, old);
    throw new GraphError(
      "scan",
      `the cell assigns to ${"label" in state ? state.label : "a variable"}, which would happen once and not at every step`,
      "make it a state of the loop, or assign after it; draw random numbers outside and pass them in as a sequence",
      currentPath(),
    );
  }
}
