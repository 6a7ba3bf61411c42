/** Types that describe a run's folder and a training in a worker. */
export type { WorkerOptions, WorkerResult } from "./fit-in-worker.ts";
export type { MetricRecord, OwnRecord, RunConfig, RunState, RunStatus } from "./layout.ts";
export type { RunReport } from "./read.ts";
