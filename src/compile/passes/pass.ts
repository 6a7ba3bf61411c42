/** What a pass is: a step from a graph as it was written to one that an engine runs fast. */
import type { InPlace } from "../../engine/engine.ts";
import type { Condition } from "../../graph/check.ts";
import type { Node, Value } from "../../graph/node.ts";
import type { Target } from "../../graph/target.ts";

/** What a run must meet, and which states it carries on. */
export interface Plan {
  /** What each of the watched values must be for a run to count. */
  readonly conditions: readonly Condition[];
  /** By output: the input, of each state that has both. Positions. */
  readonly states: readonly (readonly [output: number, input: number])[];
  /** Whether states may be written in place. */
  readonly inPlace: boolean;
}

/** A graph on its way through the passes. */
export interface Lowering {
  readonly leaves: readonly Node[];
  /** The graph's outputs. */
  readonly roots: readonly Value[];
  /** Values that a run looks at, by condition of the plan; none once the guard is in the graph. */
  readonly watched: readonly Value[];
  readonly plan: Plan;
  /** The trace that new nodes belong to. */
  readonly trace: object | undefined;
  readonly inPlace: InPlace;
}

export interface Pass {
  /** For debugging. */
  readonly name: string;
  run(graph: Lowering, target: Target): Lowering;
}
