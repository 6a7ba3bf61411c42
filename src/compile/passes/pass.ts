/** Passes: the steps that turn a graph as it was written into one that an engine runs faster. */
import type { InPlace } from "../../engine/engine.ts";
import type { Condition } from "../../graph/check.ts";
import type { Node, Value } from "../../graph/node.ts";
import type { Target } from "../../graph/target.ts";
import type { Trail } from "./trail.ts";

/** The checks of a run, and the states that it updates. */
export interface Plan {
  /** The condition that each watched value must meet for a run to count. */
  readonly conditions: readonly Condition[];
  /** For each state that is both read and written: the positions of its output and of its input. */
  readonly states: readonly (readonly [output: number, input: number])[];
  /** Whether states may be written in place. */
  readonly inPlace: boolean;
}

/** A graph on its way through the passes. */
export interface PassGraph {
  readonly leaves: readonly Node[];
  /** The graph's outputs. */
  readonly roots: readonly Value[];
  /** The values that the run checks, one for each condition of the plan; empty once the guard is in the graph. */
  readonly watched: readonly Value[];
  readonly plan: Plan;
  /** The trace that new nodes belong to. */
  readonly trace: object | undefined;
  readonly inPlace: InPlace;
  /** What the passes decide, or the decisions that they follow. */
  readonly trail: Trail;
}

export interface Pass {
  /** For debugging. */
  readonly name: string;
  run(graph: PassGraph, target: Target): PassGraph;
}
