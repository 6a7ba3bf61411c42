/** Turns a graph into a program for a target. Runs, exports and checks all use this function. */
import type { Node, Value } from "../graph/node.ts";
import type { Target } from "../graph/target.ts";
import { passes } from "./passes/index.ts";
import type { Pass, PassGraph, Plan } from "./passes/pass.ts";
import { LeftTrail, Trail } from "./passes/trail.ts";
import { GraphProgram, type ProgramOptions } from "./program.ts";

/** A plan for a graph without checks and without states. */
export const noPlan: Plan = { conditions: [], states: [], inPlace: false };

/** The graph to lower, with its checks. */
export interface LowerSource {
  readonly leaves: readonly Node[];
  readonly roots: readonly Value[];
  /** Values that the run checks, one for each condition of the plan. Default: none. */
  readonly watched?: readonly Value[];
  /** Default: no checks, and no state written in place. */
  readonly plan?: Plan;
  /** The trace that the graph belongs to, if it belongs to one. */
  readonly trace?: object | undefined;
}

export interface LowerOptions extends Pick<ProgramOptions, "inputs" | "outputs"> {
  /** Default: all passes. An empty list leaves the graph as it was written. */
  readonly passes?: readonly Pass[];
  /** Where the decisions are noted. Default: nowhere. */
  readonly trail?: Trail;
}

/**
 * Returns the program of a graph. If the source has watched values, the program has one more output, the last: it is 1 when all watched
 * values meet their conditions.
 */
export function lower(source: LowerSource, target: Target, options: LowerOptions = {}): GraphProgram {
  const { leaves, roots, watched = [], plan = noPlan, trace } = source;
  const { trail = new Trail() } = options;
  const start: PassGraph = { leaves, roots, watched, plan, trace, inPlace: new Map(), trail };
  const { roots: lowered, inPlace } = (options.passes ?? passes).reduce(
    (graph, pass) => pass.run(graph, target),
    start,
  );
  return new GraphProgram(leaves, lowered, target, { ...options, inPlace });
}

/** Returns the program of a graph that follows the trail of another one; undefined if it cannot. */
export function lowerAlong(
  followed: Trail,
  isForMany: boolean,
  source: LowerSource,
  target: Target,
): GraphProgram | undefined {
  try {
    return lower(source, target, { trail: new Trail({ followed, isForMany }) });
  } catch (error) {
    if (error instanceof LeftTrail) return undefined;
    throw error;
  }
}
