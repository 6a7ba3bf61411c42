/**
 * One side of a comparison, in a process of its own. It says `Ready` once it is warm, then answers each line "run" on
 * standard input with a `Burst` and computes nothing in between. `peers/torch_steps.py` speaks the same language. Ours answers to
 * "next 8" as well: a burst of eight steps that goes on with the weights of the one before.
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
  /** Milliseconds of a processor for a step, all threads together; not every peer says. */
  readonly processor?: number;
  /** Loss of the first step from fresh weights, and of the last. */
  readonly first: number;
  readonly last: number;
}

/** What a burst should take. */
const burstMilliseconds = 500;

/** But no burst has fewer steps, or what fresh weights cost would show. */
const fewestSteps = 4;
const mostSteps = 1000;

/** So many steps one after the other go on with the same weights. */
const freshAfter = 300;

/**
 * Serves until standard input ends. Each burst of "run" trains from fresh weights, so that all bursts do the same work: after
 * thousands of steps on one batch moments and gradients become denormal, and arithmetic slow.
 */
export async function serve(peer: string, workload: Workload, notes: readonly string[] = []): Promise<void> {
  const warmUp = await burst(workload, 3);
  const quick = Math.ceil(burstMilliseconds / Math.min(...warmUp.times));
  const steps = Math.min(mostSteps, Math.max(fewestSteps, quick));
  say({ peer, notes } satisfies Ready);
  let under = { step: await workload(), made: 0 };
  for await (const line of createInterface({ input: process.stdin })) {
    const [, count] = /^next ([1-9]\d*)$/.exec(line) ?? [];
    if (line !== "run" && !count)
      throw new Error(`A bench server understands "run" and "next 8", not ${JSON.stringify(line)}.`);
    if (!count) say(await burst(workload, steps));
    else {
      if (under.made > freshAfter) under = { step: await workload(), made: 0 };
      under.made += Number(count);
      say(await timed(under.step, Number(count)));
    }
  }
  process.exit(0);
}

async function burst(workload: Workload, steps: number): Promise<Burst> {
  return timed(await workload(), steps);
}

/** Times `steps` steps; the one before them, from fresh weights or with cold caches, is not among them. */
async function timed(step: () => Promise<number>, steps: number): Promise<Burst> {
  const first = await step();
  let last = first;
  const times: number[] = [];
  const before = process.cpuUsage();
  for (let i = 0; i < steps; i++) {
    const started = performance.now();
    last = await step();
    times.push(performance.now() - started);
  }
  const { user, system } = process.cpuUsage(before);
  return { times, processor: (user + system) / 1000 / steps, first, last };
}

function say(message: Ready | Burst): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
