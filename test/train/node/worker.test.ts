/** Training in a worker thread: the same bits, an event loop that stays free, an end when it is wanted. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type * as source from "../../../src/node.ts";
import type { TrainingEvent, TrainingSetup } from "../../../src/node.ts";
import makeSetup from "./worker-setup.mjs";

// Workers run the build, and this side must be of the same one.
const build = new URL("../../../dist/node.js", import.meta.url).href;
const { encodeWeights, fit, fitInWorker, readMetrics } = (await import(build)) as typeof source;

const module = join(import.meta.dirname, "worker-setup.mjs");
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-worker-"));
});

afterEach(() => rm(folder, { recursive: true }));

test("gives the bits of the main thread, and its events, while this thread does other things", async () => {
  const options = { epochs: 20, loggingSteps: 10, gradientAccumulationSteps: 2, maxGradNorm: 1, seed: 11 };
  const setup = makeSetup({ width: 32 }) as TrainingSetup & ReturnType<typeof makeSetup>;
  const here: TrainingEvent[] = [];
  const mine = await fit(setup, {
    ...options,
    outputDir: join(folder, "here"),
    onEvent: (event) => void here.push(event),
  });
  const there: TrainingEvent[] = [];
  let turns = 0;
  const turning = setInterval(() => turns++, 5);
  const theirs = await fitInWorker(module, {
    ...options,
    outputDir: join(folder, "there"),
    data: { width: 32 },
    onEvent: (event) => void there.push(event),
  });
  clearInterval(turning);
  expect(turns).toBeGreaterThan(10);
  expect(theirs.weights).toEqual(await encodeWeights(setup.model));
  const told = (events: readonly TrainingEvent[]): unknown[] =>
    events
      .filter(({ type }) => type !== "progress" && type !== "checkpoint")
      .map((event) => JSON.stringify(event, (name, value) => (/econd/.test(name) ? 0 : (value as unknown))));
  expect(told(there)).toEqual(told(here));
  expect(theirs).toMatchObject({ reason: mine.reason, step: mine.step, best: { loss: mine.best!.loss } });
  expect((await readMetrics(join(folder, "there"))).length).toBe((await readMetrics(join(folder, "here"))).length);
});

test("makes no step when a signal has said so already", async () => {
  const { reason, step } = await fitInWorker(module, { epochs: 6, signal: AbortSignal.abort() });
  expect({ reason, step }).toEqual({ reason: "stopped", step: 0 });
});

test("ends when a signal says so, and goes on from where it was", async () => {
  const stop = new AbortController();
  const options = { epochs: 6, outputDir: folder, loggingSteps: 1 };
  const stopped = await fitInWorker(new URL(`file://${module}`), {
    ...options,
    epochs: 6000,
    signal: stop.signal,
    onEvent: ({ step }) => {
      if (step > 10) stop.abort();
    },
  });
  expect(stopped.reason).toBe("stopped");
  const rest = await fitInWorker(module, {
    ...options,
    epochs: Math.ceil(stopped.epoch) + 1,
    resumeFromCheckpoint: true,
  });
  expect(rest.reason).toBe("finished");
  const setup = makeSetup() as TrainingSetup & ReturnType<typeof makeSetup>;
  await fit(setup, { epochs: Math.ceil(stopped.epoch) + 1, loggingSteps: 1 });
  expect(rest.weights).toEqual(await encodeWeights(setup.model));
});

describe("what goes wrong there is told here", () => {
  test.each<[string, string, string]>([
    ["throw", "the setup is not to be had", "Error"],
    ["data", "holds NaN", "DataError"],
    ["exit", "the worker ended with code 3", "EngineError"],
  ])("%s", async (broken, sentence, name) => {
    const error: unknown = await fitInWorker(module, { data: { broken } }).then(
      () => expect.fail("nothing was thrown"),
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ name, message: expect.stringContaining(sentence) });
  });

  test("options that cannot be, or cannot be sent, and modules that are not there", async () => {
    await expect(fitInWorker(module, { epochs: 0 })).rejects.toThrow("epochs is 0");
    await expect(fitInWorker(module, { data: () => 3 })).rejects.toThrow("cannot be sent");
    await expect(fitInWorker(join(folder, "no.mjs"))).rejects.toThrow("there is no module");
    await expect(fitInWorker(3 as unknown as string)).rejects.toThrow("give the path or URL");
  });
});
