/** Our side of the comparison: the workloads of `peers/torch_steps.py`, through the public API. */
import type { Workload } from "./server.ts";

/** Same sizes, losses and optimizer as the peers' workload of the same name. */
export const workloads: Readonly<Record<string, Workload>> = {};
