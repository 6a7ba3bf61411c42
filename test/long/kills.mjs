/**
 * A training is killed at random moments, also while it writes a checkpoint, and goes on, again and again: it must end as one that was
 * never stopped, bit for bit. `npm run kills -- 200 1`: how many kills, and the seed of the moments.
 */
import assert from "node:assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { killOften, outcome, runWhole } from "../train/node/kills.mjs";

const [count = 200, seed = 1] = process.argv.slice(2).map(Number);
const folder = await mkdtemp(path.join(tmpdir(), "glissade-kills-"));
await runWhole(path.join(folder, "whole"));
const whole = outcome(path.join(folder, "whole"));
let runs = 0;
const { kills, halves, trainings } = await killOften(
  count,
  seed,
  () => path.join(folder, `run-${runs++}`),
  async (run) => {
    assert.deepStrictEqual(outcome(run), whole);
    await rm(run, { recursive: true });
    console.log(`${path.basename(run)} ended as the undisturbed one`);
  },
);
await rm(folder, { recursive: true });
console.log(
  `${kills} kills, ${halves} of them in the middle of a checkpoint; trainings ended: ${trainings}, all with the same bits`,
);
