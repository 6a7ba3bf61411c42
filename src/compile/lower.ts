/** From a graph to a program for a target: the one way, for runs, exports and checks. */
import type { Node, Value } from "../graph/node.ts";
import type { Target } from "../graph/target.ts";
import { passes } from "./passes/index.ts";
import type { Lowering, Pass, Plan } from "./passes/pass.ts";
import { GraphProgram, type ProgramOptions } from "./program.ts";

/** A plan for a graph without checks and without states. */
export const noPlan: Plan = { conditions: [], states: [], inPlace: false };

/** What is lowered. */
export interface Source {
  readonly leaves: readonly Node[];
  readonly roots: readonly Value[];
  /** Values that a run looks at, one for each condition of the plan. Default: none. */
  readonly watched?: readonly Value[];
  /** Default: no checks, and nothing in place. */
  readonly plan?: Plan;
  /** The trace that the graph belongs to, if it belongs to one. */
  readonly trace?: object | undefined;
}

export interface LowerOptions extends Pick<ProgramOptions, "inputs" | "outputs"> {
  /** Default: all of them. None leaves the graph as it was written. */
  readonly passes?: readonly Pass[];
}

/**
 * The program of a graph. Where values are watched, behind the graph's outputs there is one that is 1 once the run has found them as they
 * must be.
 */
export function lower(source: Source, target: Target, options: LowerOptions = {}): GraphProgram {
  const { leaves, roots, watched = [], plan = noPlan, trace } = source;
  const start: Lowering = { leaves, roots, watched, plan, trace, inPlace: new Map() };
  const { roots: lowered, inPlace } = (options.passes ?? passes).reduce(
    (graph, pass) => pass.run(graph, target),
    start,
  );
  return new GraphProgram(leaves, lowered, target, { ...options, inPlace });
}
