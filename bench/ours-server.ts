/** Serves one of our workloads; its name is the argument. GLISSADE_THREADS says how many threads. */
import { workloads } from "./ours.ts";
import { serve } from "./server.ts";

await serve("glissade", workloads[process.argv[2]!]!);
