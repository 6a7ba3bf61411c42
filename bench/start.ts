/** A network's first step, in a process of its own: what `peers/torch_start.py` measures, and how long the event loop stood still. */
import { readFileSync } from "node:fs";
import { currentEngine, defaultGenerator, init } from "glissade";
import { encoder, gpt2, type Network, resnet20 } from "./networks.ts";
import { workloads } from "./ours.ts";

/** Seconds of processor time but for `gap`; bytes. */
export interface Start {
  /** Until Glissade and its engine are there. */
  readonly imported: number;
  /** The model and the optimizer. */
  readonly made: number;
  /** The first step; all values drawn for `draws`. */
  readonly first: number;
  /** A later step, included in the first. */
  readonly later: number;
  /** The longest that the event loop stood still until the first step was done. */
  readonly gap?: number;
  readonly peak: number;
}

const networks: Readonly<Record<string, () => Network | Promise<Network>>> = {
  mlp: async () => ({ step: await workloads.mlp!() }),
  resnet20,
  encoder12: () => encoder(12),
  encoder24: () => encoder(24),
  gpt2,
};

/** The parameters of GPT-2 small. */
const count = 124_439_808;

function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

const name = process.argv[2]!;
currentEngine();
const imported = processorTime();
let last = performance.now();
let gap = 0;
const watch = setInterval(() => {
  const now = performance.now();
  gap = Math.max(gap, now - last);
  last = now;
}, 1);
const network = await networks[name]?.();
const made = processorTime();
if (network) await network.step();
else init.normal(0.02)([count], defaultGenerator.host);
const first = processorTime();
await new Promise((resolve) => setTimeout(resolve, 2));
clearInterval(watch);
await network?.step();
const before = processorTime();
await network?.step();
const after = processorTime();
const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))!;
const start: Start = {
  imported,
  made: made - imported,
  first: first - made,
  later: after - before,
  gap: gap / 1000,
  peak: Number(kilobytes) * 1024,
};
console.log(JSON.stringify(start));
