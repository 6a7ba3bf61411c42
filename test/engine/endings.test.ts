/** Processes and workers that end in the middle of their runs; the long script beside `test/long/endings.mjs` does it by the thousand. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";

const folder = path.resolve("test/long");

/** How a process of test/long/endings-child.mjs ends that was told to end in some way after some milliseconds. */
async function endingOf(way: string, threads: number, onTheSpot: number, delay: number): Promise<string | number> {
  const words = [path.join(folder, "endings-child.mjs"), way, threads, onTheSpot, delay].map(String);
  try {
    await promisify(execFile)(process.execPath, words);
    return 0;
  } catch (error) {
    const { signal, code } = error as { signal: string | null; code: number };
    return signal ?? code;
  }
}

test.each([
  ["short", 0],
  ["unawaited", 0],
  ["exit", 7],
  ["early", 7],
  ["error", 1],
  ["rejection", 1],
  ["interrupt", 130],
  ["terminate", "SIGTERM"],
  ["together", 9],
  ["worker", 7],
  ["worker-exit", 0],
  ["worker-error", 0],
])("a process that ends by the way called %s ends with %s", async (way, wanted) => {
  expect(await endingOf(way, 2, 0, 10)).toBe(wanted);
});

test("a run of many seconds does not hold up the end of the process", async () => {
  const started = performance.now();
  expect(await endingOf("long-run", 1, 0, 20)).toBe(7);
  // The run alone would take several times as long.
  expect(performance.now() - started).toBeLessThan(20_000);
});

test("terminated workers give back what they had, sessions and all", async () => {
  const residents: number[] = [];
  for (let i = 0; i < 5; i++) {
    const workerData = { threads: 1 + (i % 2), onTheSpot: 2 * (i % 2), width: 512, batch: 2048 };
    const worker = new Worker(path.join(folder, "endings-worker.mjs"), { workerData });
    await once(worker, "message");
    expect(await worker.terminate()).toBe(1);
    residents.push(process.memoryUsage().rss / 2 ** 20);
  }
  // What a worker holds is about fifty MiB.
  expect(residents.at(-1)! - residents[1]!).toBeLessThan(50);
});
