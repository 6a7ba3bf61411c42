/**
 * Processes and workers that end in the middle of a training: none may crash, and the exit code is the one that was asked for.
 * `npm run endings -- exits 1000`, `terminations 2000`, `short 500`; the random moments come from a seed, the third number.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { Worker } from "node:worker_threads";

const folder = import.meta.dirname;

/** Numbers from 0 to 1, the same for the same seed. */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** How a process should end, by the way in which it does; `delay` is how long it may train before. */
const expected = {
  exit: { code: 7, delay: 30 },
  early: { code: 7, delay: 400 },
  error: { code: 1, delay: 30 },
  rejection: { code: 1, delay: 30 },
  interrupt: { code: 130, delay: 30 },
  terminate: { signal: "SIGTERM", delay: 30 },
  kill: { signal: "SIGKILL", delay: 30 },
  together: { code: 9, delay: 30 },
  worker: { code: 7, delay: 30 },
  "worker-exit": { code: 0, delay: 30 },
  "worker-error": { code: 0, delay: 30 },
  unawaited: { code: 0, delay: 1 },
  short: { code: 0, delay: 1 },
};

async function endingOf(way, threads, onTheSpot, delay) {
  const child = path.join(folder, "endings-child.mjs");
  const process_ = spawn(process.execPath, [child, way, threads, onTheSpot, delay].map(String), { stdio: "ignore" });
  const [code, signal] = await once(process_, "exit");
  return { code, signal };
}

/** Lets processes end, two at a time; gives those that ended otherwise than they should. */
export async function endProcesses(ways, count, seed) {
  const random = randomFrom(seed);
  const wrong = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const i = next++;
      const way = ways[i % ways.length];
      const threads = 1 + (Math.floor(i / ways.length) % 2);
      const onTheSpot = random() < 0.7 ? 0 : 2;
      const { code = null, signal = null, delay } = expected[way];
      const moment = Math.floor(random() * delay);
      const ending = await endingOf(way, threads, onTheSpot, moment);
      if (ending.code !== code || ending.signal !== signal) wrong.push({ way, threads, onTheSpot, moment, ...ending });
    }
  };
  await Promise.all([worker(), worker()]);
  return wrong;
}

/** Terminates workers in the middle of their training. A crash would end this process. */
export async function terminateWorkers(count, seed) {
  const random = randomFrom(seed);
  const file = path.join(folder, "endings-worker.mjs");
  let next = 0;
  const one = async () => {
    while (next < count) {
      const i = next++;
      const workerData = { threads: 1 + (i % 2), onTheSpot: random() < 0.7 ? 0 : 2 };
      const worker = new Worker(file, { workerData });
      await once(worker, "message");
      await new Promise((resolve) => setTimeout(resolve, random() * 20));
      const code = await worker.terminate();
      if (code !== 1) throw new Error(`a terminated worker ended with ${code}`);
    }
  };
  await Promise.all([one(), one()]);
}

const all = Object.keys(expected).filter((way) => way !== "short" && way !== "unawaited");

const scenarios = {
  exits: (count, seed) => endProcesses(all, count, seed),
  short: (count, seed) => endProcesses(["short", "unawaited"], count, seed),
  async terminations(count, seed) {
    await terminateWorkers(count, seed);
    return [];
  },
};

if (process.argv[1] === import.meta.filename) {
  const [scenario = "exits", count = "1000", seed = "1"] = process.argv.slice(2);
  const started = performance.now();
  const wrong = await scenarios[scenario](Number(count), Number(seed));
  for (const ending of wrong) console.log(JSON.stringify(ending));
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  const memory = (process.memoryUsage.rss() / 1e6).toFixed(0);
  console.log(
    `${scenario}: ${count} endings, ${wrong.length} wrong, in ${seconds} s; ${memory} MB resident at the end`,
  );
  process.exitCode = wrong.length === 0 ? 0 : 1;
}
