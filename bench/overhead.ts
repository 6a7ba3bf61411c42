/** What our own code takes of a step: the mlp on an engine whose runs do nothing. `npm run overhead` */
import { type EngineBuffer, nodeEngine, useEngine } from "glissade";
import { arrayTypes } from "../src/graph/types.ts";
import { workloads } from "./ours.ts";

const steps = 20_000;

/** Prints the median and mean, in microseconds. Returns the exit code. */
export async function main(): Promise<number> {
  const engine = nodeEngine({ threads: 1 });
  // The loss must be finite, or the step is refused.
  const answer = (buffer: EngineBuffer): void => {
    if (buffer.type.shape.length === 0) buffer.write(arrayTypes[buffer.type.dtype].of(1));
  };
  useEngine({
    name: "idle",
    target: engine.target,
    buffer: (type, values) => engine.buffer(type, values),
    load: async () => ({ run: async (_inputs, outputs) => outputs.forEach(answer), release() {} }),
  });
  const step = await workloads.mlp!();
  const times: number[] = [];
  for (let i = 0; i < steps; i++) {
    const started = performance.now();
    await step();
    times.push(1000 * (performance.now() - started));
  }
  times.sort((a, b) => a - b);
  const mean = times.reduce((sum, time) => sum + time, 0) / steps;
  console.log(`our own code, a step of mlp: median ${times[steps / 2]!.toFixed(1)} µs, mean ${mean.toFixed(1)} µs`);
  return 0;
}
