/** Types that a run's folder is described in. */
export type { MetricRecord, OwnRecord, RunConfig, RunState, RunStatus } from "./layout.ts";
export type { RunReport } from "./read.ts";
