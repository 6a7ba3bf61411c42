/** Kills a training again and again, and lets it go on each time. For the test with twenty kills, and the long script with 200. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, watch } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";

const child = path.join(import.meta.dirname, "kill-child.mjs");

/** Numbers from 0 to 1, the same for the same seed. */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Runs the training to its end, undisturbed. */
export async function runWhole(folder) {
  const training = spawn(process.execPath, [child, folder], { stdio: ["ignore", "ignore", "inherit"] });
  const [code] = await once(training, "exit");
  if (code !== 0) throw new Error(`the training ended with ${code}`);
}

/**
 * Runs the training and kills it: a random time after its first step, or, every second time, a random time after it has begun to write
 * a checkpoint. Returns whether it was killed before it was done, and whether a checkpoint was half written.
 */
async function runAndKill(folder, random, whileSaving) {
  const checkpoints = path.join(folder, "checkpoints");
  await mkdir(checkpoints, { recursive: true });
  const training = spawn(process.execPath, [child, folder, "4"], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(training, "exit");
  let watcher;
  const kill = (delay) => setTimeout(() => training.kill("SIGKILL"), delay);
  training.stdout.once("data", () => {
    if (!whileSaving) kill(random() * 250);
    else {
      let left = Math.floor(random() * 4);
      watcher = watch(checkpoints, (_, name) => {
        if (!name?.startsWith(".writing-") || left-- > 0) return;
        watcher.close();
        kill(random() * 6);
      });
    }
  });
  const [code, signal] = await ended;
  watcher?.close();
  if (signal !== "SIGKILL" && code !== 0) throw new Error(`the training ended with ${code}`);
  const halves = readdirSync(checkpoints).filter((name) => name.startsWith(".writing-"));
  return { isKilled: signal === "SIGKILL", isHalf: halves.length > 0 };
}

/** Trainings that are killed, until there have been so many kills; `begin` makes a new folder when one is done. */
export async function killOften(count, seed, begin, onEnd) {
  const random = randomFrom(seed);
  let [kills, halves, trainings] = [0, 0, 0];
  let folder = await begin();
  while (kills < count) {
    const { isKilled, isHalf } = await runAndKill(folder, random, kills % 2 === 1);
    if (isKilled) kills++;
    if (isHalf) halves++;
    if (isKilled) continue;
    await onEnd(folder);
    trainings++;
    folder = await begin();
  }
  await runWhole(folder);
  await onEnd(folder);
  return { kills, halves, trainings: trainings + 1 };
}

/** What must be the same whatever happened on the way: the last checkpoint's weights, and the metrics without what clocks say. */
export function outcome(folder) {
  const checkpoints = path.join(folder, "checkpoints");
  const last = readFileSync(path.join(checkpoints, "last"), "utf8").trim();
  const digest = (name) =>
    createHash("sha256")
      .update(readFileSync(path.join(checkpoints, last, name)))
      .digest("hex");
  const lines = readFileSync(path.join(folder, "metrics.jsonl"), "utf8").trimEnd().split("\n");
  return {
    last,
    best: readFileSync(path.join(checkpoints, "best"), "utf8").trim(),
    checkpoints: readdirSync(checkpoints).sort(),
    model: digest("model.safetensors"),
    optimizer: digest("optimizer.safetensors"),
    metrics: lines.map((line) => {
      const { time, seconds, examplesPerSecond, ...rest } = JSON.parse(line);
      return rest;
    }),
  };
}
