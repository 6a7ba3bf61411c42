/** From the start of a process to its first finished training step, 10,000 images read. `npm run startup` */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { median } from "./shared.ts";

const runs = 15;

/** Milliseconds since the child's process started, by its own clock. */
interface Stages {
  readonly imported: number;
  readonly read: number;
  readonly stepped: number;
}

const run = promisify(execFile);

/** Prints a line for each stage. Returns the exit code. */
export async function main(_: string, bundles: string): Promise<number> {
  const script = path.join(bundles, "first-step.mjs");
  const rows: Record<string, number[]> = {};
  const note = (stage: string, milliseconds: number): void => {
    rows[stage] ??= [];
    rows[stage].push(milliseconds);
  };
  await run(process.execPath, [script]); // the disk's cache is warm from here on
  for (let i = 0; i < runs; i++) {
    const started = performance.now();
    await run(process.execPath, ["-e", ""]);
    note("Node by itself", performance.now() - started);
    const spawned = performance.now();
    const { stdout } = await run(process.execPath, [script]);
    const all = performance.now() - spawned;
    const { imported, read, stepped } = JSON.parse(stdout) as Stages;
    note("start to Glissade imported", imported);
    note("10,000 images read", read - imported);
    note("model, session and first step", stepped - read);
    note("start to first step", stepped);
    note("start to the end of the process", all);
  }
  for (const [stage, times] of Object.entries(rows))
    console.log(
      `${stage.padEnd(32)} ${median(times).toFixed(0).padStart(4)} ms, ${Math.min(...times).toFixed(0)}–${Math.max(...times).toFixed(0)}`,
    );
  return 0;
}
