/** The loop of the library: a step, written as a function, is applied along the first axis of sequences. */
import { ConfigError, GraphError, ShapeError } from "../errors.ts";
import { aFunction, aRecord, described, expectArguments, expectOptions } from "../graph/arguments.ts";
import { currentPath, currentScope, type Scope } from "../graph/scope.ts";
import { type Shape, sameShape, showType } from "../graph/types.ts";
import { observedLoop } from "../ops/control.ts";
import { arange } from "./create.ts";
import type { Tensor } from "./tensor.ts";
import { flatten, type IsTree } from "./tree.ts";

/** One slice of each sequence: the types without their first axis. */
export type SliceOf<X> =
  X extends Tensor<infer S, infer D>
    ? Tensor<S extends readonly [number, ...infer R extends Shape] ? R : Shape, D>
    : { readonly [K in keyof X]: SliceOf<X[K]> };

/** The outputs of all steps, stacked: the types with a new first axis. */
export type StackOf<Y> =
  Y extends Tensor<infer S, infer D> ? Tensor<[number, ...S], D> : { readonly [K in keyof Y]: StackOf<Y[K]> };

/** Options of `scan`. */
export interface ScanOptions<T, X> {
  /** The state before the first step: a tensor, or arrays or records of tensors. */
  readonly init: T;
  /** Sequences along their first axis, all equally long. Without any, give `length`. */
  readonly xs?: X;
  /** Number of steps. Default: the first axis of `xs`. */
  readonly length?: number;
  /** Whether to go from the last slice to the first. Each output has the position of the slice it was made from. Default false. */
  readonly reverse?: boolean;
}

/**
 * Applies `cell` along the first axis of `xs`. The cell takes the state and one slice of each sequence, and returns the next state and
 * an output, both as tensors, arrays or records. `scan` returns the last state, and all outputs stacked.
 *
 * The cell is called to build one step, so the graph is as large for a thousand steps as for one. The cell may use any tensor from
 * outside. Values that depend on neither state nor slice are computed once, before the loop. Random numbers are drawn anew at every step:
 * the same numbers as from as many draws outside of the loop. A variable that the cell assigns to becomes one more state, so the next
 * step sees the assigned value (the cell is then called twice). Differentiable, any number of times.
 *
 * Throws ShapeError when the sequences differ in length or the cell changes the type of a state, GraphError when the cell minimizes a loss.
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
  // ONNX needs a sequence, whose length is the number of steps.
  const sequences = given.length > 0 ? given : [arange(steps) as Tensor];

  let asOutput: (outputs: readonly Tensor[]) => unknown;
  /** Builds the loop with some variables as additional states. Returns also which variables the cell assigns to. */
  const run = (variables: readonly Tensor[]): ReturnType<typeof observedLoop> & { assigned: readonly Tensor[] } => {
    let assigned: readonly Tensor[] = [];
    const init = [...states, ...variables.map((variable) => variable.current())];
    const looped = observedLoop(init, sequences, { length: steps, reverse }, (leaves) => {
      const before = leaves.slice(states.length, init.length);
      const [nextStates, outputs]: [Tensor[], Tensor[]] = [[], []];
      const after = insideCell(variables, before, () => {
        const [next, output] = expectPair(
          cell(asState(leaves) as T, asSlices(leaves.slice(init.length)) as SliceOf<X>),
        );
        flatten("scan", next, nextStates);
        asOutput = flatten("scan", output, outputs);
      });
      expectStates(states, nextStates);
      assigned = [...after.keys()];
      return [...nextStates, ...variables.map((variable, i) => after.get(variable) ?? before[i]!), ...outputs];
    });
    return { ...looped, assigned };
  };
  // Which variables the cell assigns to is known only after it was called. If there are new ones, the loop is built again.
  let variables: readonly Tensor[] = [];
  let { results, tell, assigned } = run(variables);
  for (let more = assigned; more.length > 0; more = assigned.filter((each) => !variables.includes(each))) {
    variables = [...variables, ...more];
    ({ results, tell, assigned } = run(variables));
  }
  tell();
  const [last, finals] = [
    results.slice(0, states.length),
    results.slice(states.length, states.length + variables.length),
  ];
  for (const [i, variable] of variables.entries()) currentScope().assigned.set(variable, finals[i]!);
  const outputs = results.slice(states.length + variables.length);
  return { state: asState(last) as T, outputs: asOutput!(outputs) as StackOf<Y> };
}

function expectPair(returned: unknown): readonly [state: unknown, output: unknown] {
  if (!Array.isArray(returned))
    throw new GraphError("scan", `the cell returns ${described(returned)}`, "return [state, output]", currentPath());
  if (returned.length > 2)
    throw new GraphError("scan", `the cell returns ${returned.length} things`, "return [state, output]", currentPath());
  return [returned[0], returned[1]];
}

/** Builds a step in which variables have the given values. Returns the step's assignments, which are not made outside of the loop. */
function insideCell(
  variables: readonly Tensor[],
  values: readonly Tensor[],
  build: () => void,
): ReadonlyMap<Tensor, Tensor> {
  const { assigned, checks } = currentScope() as Scope<Tensor> & { readonly assigned: Map<Tensor, Tensor> };
  const before = new Map(assigned);
  const checksBefore = checks.length;
  for (const [i, variable] of variables.entries()) assigned.set(variable, values[i]!);
  const start = new Map(assigned);
  try {
    build();
    if (checks.length > checksBefore)
      throw new GraphError(
        "scan",
        "the cell minimizes a loss",
        "return what the loss is made of, and minimize it after the loop",
        currentPath(),
      );
    return new Map([...assigned].filter(([variable, value]) => start.get(variable) !== value));
  } finally {
    checks.length = checksBefore;
    assigned.clear();
    for (const [variable, value] of before) assigned.set(variable, value);
  }
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
