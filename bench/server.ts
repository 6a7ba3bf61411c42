/**
 * One side of a comparison, in a process of its own. It says `Ready` once it is warm, then answers each line "run" on
 * standard input with a `Burst` and computes nothing in between. `peers/torch_steps.py` speaks the same language.
 */
import { createInterface } from "node:readline";

/** Builds a network with fresh weights and returns its training step, which resolves to the loss. */
export type Workload = () => Promise<() => Promise<number>>;

/** The first line a server writes. */
export interface Ready {
  /** Name and version. */
  readonly peer: string;
  /** What keeps this side from its best, if anything does. */
  readonly notes: readonly string[];
}

/** The answer to "run". */
export interface Burst {
  /** Milliseconds of each step. */
  readonly times: readonly number[];
  /** Loss of the first step from fresh weights, and of the last. */
  readonly first: number;
  readonly last: number;
}

/** What a burst should take. */
const burstMilliseconds = 500;

/** But no burst has fewer steps, or what fresh weights cost would show. */
const fewestSteps = 4;
const mostSteps = 1000;

/**
 * Serves until standard input ends. Each burst trains from fresh weights, so that all bursts do the same work: after
 * thousands of steps on one batch moments and gradients become denormal, and arithmetic slow.
 */
export async function serve(peer: string, workload: Workload, notes: readonly string[] = []): Promise<void> {
  const warmUp = await burst(workload, 3);
  const quick = Math.ceil(burstMilliseconds / Math.min(...warmUp.times));
  const steps = Math.min(mostSteps, Math.max(fewestSteps, quick));
  say({ peer, notes } satisfies Ready);
  for await (const line of createInterface({ input: process.stdin })) {
    if (line !== "run") throw new Error(`A bench server understands "run" only, not ${JSON.stringify(line)}.`);
    say(await burst(workload, steps));
  }
  process.exit(0);
}

/** Times `steps` steps; the first from fresh weights is not among them. */
async function burst(workload: Workload, steps: number): Promise<Burst> {
  const step = await workload();
  const first = await step();
  let last = first;
  const times: number[] = [];
  for (let i = 0; i < steps; i++) {
    const started = performance.now();
    last = await step();
    times.push(performance.now() - started);
  }
  return { times, first, last };
}

function say(message: Ready | Burst): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
