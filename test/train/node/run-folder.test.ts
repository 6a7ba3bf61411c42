/** The folder of a run: what is in it, and what becomes of it when things go wrong. */
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import {
  encodeWeights,
  findRuns,
  fit,
  linear,
  module,
  type RunOptions,
  randomGenerator,
  readMetrics,
  readRun,
  type TrainingEvent,
} from "../../../src/node.ts";
import { clockFields } from "../../../src/train/events.ts";
import { makeSetup, type PointsSetup, points } from "./setup.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-run-"));
});

afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

interface Trained {
  readonly events: TrainingEvent[];
  readonly weights: Uint8Array;
  readonly warnings: string[];
}

const usual: RunOptions = { epochs: 4, loggingSteps: 3, saveSteps: 5 };

async function train(path: string, options: RunOptions = {}, setup: PointsSetup = makeSetup()): Promise<Trained> {
  const events: TrainingEvent[] = [];
  await fit(setup, { ...usual, outputDir: path, ...options, onEvent: (event) => void events.push(event) });
  const warnings = events.flatMap((event) => (event.type === "warning" ? [event.message] : []));
  const { model, optimizer } = setup;
  return { events, weights: await encodeWeights({ model, optimizer }), warnings };
}

/** A training that stops after some steps. */
async function trainUntil(path: string, step: number, options: RunOptions = {}): Promise<void> {
  await fit(makeSetup(), { ...usual, outputDir: path, maxSteps: step, ...options });
}

const withoutClock = (records: readonly object[]): object[] =>
  records.map((record) => Object.fromEntries(Object.entries(record).filter(([name]) => !clockFields.includes(name))));

const metricsOf = async (path: string): Promise<object[]> => withoutClock(await readMetrics(path));

/** Another byte in the middle of a file. */
async function damage(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(path, bytes);
}

test("says what was done: configuration, status, metrics, checkpoints", async () => {
  const path = join(folder, "deep/run");
  const { events } = await train(path, {
    hyperparameters: { width: 16 },
    runName: "first",
    saveTotalLimit: 2,
    seed: 9,
  });
  expect((await readdir(path)).map((name) => name.replace(/tfevents.*/, "tfevents"))).toEqual([
    "checkpoints",
    "config.json",
    "events.out.tfevents",
    "metrics.jsonl",
    "status.json",
  ]);
  const report = await readRun(path);
  expect(report.config).toMatchObject({
    name: "first",
    model: { kind: "Sequential", parameters: 82, trainable: 82 },
    optimizer: { name: "adam", learningRate: 0.02, groups: [{ parameters: 82, weightDecay: 0, decoupled: false }] },
    schedule: "plateau",
    metrics: ["accuracy", "confusionMatrix"],
    options: { epochs: 4, loggingSteps: 3, saveSteps: 5, saveTotalLimit: 2, seed: 9 },
    hyperparameters: { width: 16 },
    seed: 9,
    steps: 32,
    versions: { node: process.versions.node, engine: "node", onnxruntime: "1.30.0" },
    git: { revision: expect.stringMatching(/^[0-9a-f]{40}$/) },
  });
  const best = events.findLast((event) => event.type === "evaluation" && event.isBest)!;
  expect(report.status).toMatchObject({
    state: "finished",
    step: 32,
    epoch: 4,
    best: { step: best.step },
    error: null,
  });
  expect(report).toMatchObject({ last: 32, best: best.step });
  expect(report.checkpoints.map(({ step }) => step)).toEqual([...new Set([best.step, 30, 32])].sort((a, b) => a - b));
  const told = events.filter(({ type }) => ["log", "evaluation", "epoch"].includes(type));
  expect(withoutClock(await readMetrics(path))).toEqual(withoutClock(told));
  expect(await findRuns(join(folder, "deep"))).toEqual([path]);
});

describe("goes on", () => {
  let whole: Trained;
  let metrics: object[];
  let wholeFolder: string;

  beforeAll(async () => {
    wholeFolder = await mkdtemp(join(tmpdir(), "glissade-whole-"));
    whole = await train(wholeFolder);
    metrics = await metricsOf(wholeFolder);
  });

  afterAll(() => rm(wholeFolder, { recursive: true }));

  test.each([3, 5, 8, 13, 16, 31])("stopped after %i steps, with the same weights and metrics", async (step) => {
    const stop = new AbortController();
    const result = await fit(makeSetup(), {
      ...usual,
      outputDir: folder,
      signal: stop.signal,
      loggingSteps: 3,
      onEvent: (event) => event.step >= step && stop.abort(),
    });
    expect(result.reason).toBe("stopped");
    const { weights, events } = await train(folder, { resumeFromCheckpoint: true });
    expect(events[0]).toMatchObject({ type: "start", isResumed: true, step: result.step });
    expect(weights).toEqual(whole.weights);
    expect(await metricsOf(folder)).toEqual(metrics);
  });

  test.each<[string, RunOptions]>([
    ["epochs that are cut short", { limitTrainBatches: 3 }],
    ["a share of the batches", { limitTrainBatches: 0.3, limitValidationBatches: 1 }],
    ["a few batches alone", { overfitBatches: 3 }],
    ["steps of several batches", { gradientAccumulationSteps: 3, maxGradNorm: 0.1 }],
    ["evaluations and checkpoints at the same steps", { evalSteps: 3, saveSteps: 3, loggingSteps: 1 }],
    ["an end in the middle of an epoch", { maxSteps: 11 }],
    ["early stopping", { epochs: 30, earlyStoppingPatience: 1, earlyStoppingThreshold: 0.3 }],
  ])("from each of its checkpoints, with %s", async (_, options) => {
    const path = join(folder, "whole");
    const undisturbed = await train(path, { saveSteps: 2, saveTotalLimit: 100, ...options });
    const lines = await metricsOf(path);
    const { checkpoints } = await readRun(path);
    expect(checkpoints.length).toBeGreaterThan(3);
    for (const { step } of checkpoints) {
      const copy = join(folder, `from-${step}`);
      await cp(path, copy, { recursive: true });
      await writeFile(join(copy, "checkpoints/last"), `step-${step}\n`);
      const { weights, warnings } = await train(copy, { saveSteps: 2, ...options, resumeFromCheckpoint: true });
      expect(warnings).toEqual([]);
      expect(weights, `from step ${step}`).toEqual(undisturbed.weights);
      expect(await metricsOf(copy), `from step ${step}`).toEqual(lines);
    }
  });

  test("from the folder of another run, in one of its own", async () => {
    await trainUntil(folder, 17);
    const path = join(folder, "next");
    const { weights } = await train(path, { resumeFromCheckpoint: join(folder, "checkpoints/step-15") });
    expect(weights).toEqual(whole.weights);
    expect(await metricsOf(path)).toEqual(metrics.slice(-(await readMetrics(path)).length));
    expect((await readMetrics(path))[0]!.step).toBeGreaterThan(15);
    const again = await train(join(folder, "again"), { resumeFromCheckpoint: folder });
    expect(again.events[0]).toMatchObject({ step: 17 });
  });

  describe("with what was frozen, and what was in evaluation mode", () => {
    /** The first layer is frozen, and the dropout in evaluation mode; an event frees both and freezes the last layer. */
    async function trainThawing(
      path: string,
      isDue: (event: TrainingEvent) => boolean,
      options: RunOptions,
      stop?: { readonly at: number },
    ): Promise<Uint8Array> {
      const setup = makeSetup();
      const { model, optimizer } = setup;
      const layers = Object.fromEntries(model.namedModules());
      layers["0"]!.freeze();
      layers["2"]!.eval();
      const ended = new AbortController();
      await fit(setup, {
        ...usual,
        outputDir: path,
        ...options,
        signal: ended.signal,
        onEvent(event) {
          if (stop && event.step >= stop.at) ended.abort();
          if (!isDue(event)) return;
          layers["0"]!.unfreeze();
          layers["2"]!.train();
          layers["3"]!.freeze();
        },
      });
      return encodeWeights({ model, optimizer });
    }

    test.each<[string, (event: TrainingEvent) => boolean, RunOptions]>([
      ["an epoch", ({ type, epoch }) => type === "epoch" && epoch === 2, {}],
      ["an evaluation", ({ type, epoch }) => type === "evaluation" && epoch === 2, {}],
    ])("changed after %s", async (_, isDue, options) => {
      const whole = await trainThawing(join(folder, "whole"), isDue, options);
      for (const at of [9, 17, 22, 26]) {
        const path = join(folder, `to-${at}`);
        await trainThawing(path, isDue, options, { at });
        expect(await trainThawing(path, isDue, { ...options, resumeFromCheckpoint: true }), `${at}`).toEqual(whole);
      }
    });

    function freezing(): PointsSetup {
      const setup = makeSetup();
      setup.model.namedModules().get("0")!.freeze();
      return setup;
    }

    test("a checkpoint that does not tell leaves them as the setup makes them", async () => {
      await trainUntil(folder, 10);
      const file = join(folder, "checkpoints/step-10/trainer.json");
      const { sheet } = JSON.parse(await readFile(file, "utf8")) as { sheet: { state: Record<string, unknown> } };
      delete sheet.state.settings;
      const text = JSON.stringify(sheet);
      const sha256 = createHash("sha256").update(text).digest("hex");
      await writeFile(file, `{"sha256":"${sha256}","sheet":${text}}\n`);
      const setup = freezing();
      const { warnings } = await train(folder, { resumeFromCheckpoint: true }, setup);
      expect(warnings).toEqual([]);
      expect(setup.model.parameters().map(({ trainable }) => trainable)).toEqual([false, false, true, true]);
    });

    test("those of another run, and a warning says so where the setup's are others", async () => {
      await trainUntil(folder, 17);
      const resumeFromCheckpoint = join(folder, "checkpoints/step-15");
      const { weights, warnings } = await train(join(folder, "next"), { resumeFromCheckpoint }, freezing());
      expect(weights).toEqual(whole.weights);
      expect(warnings).toEqual([
        "the other run's checkpoint has frozen: nothing; in evaluation mode: nothing. So the training goes on, and the setup has others: " +
          'to change that, freeze in `onEvent` at "start"',
      ]);
    });
  });

  test("stopped before the first step", async () => {
    const { events } = await train(folder, { signal: AbortSignal.abort() });
    expect(events.map(({ type }) => type)).toEqual(["start", "checkpoint", "end"]);
    expect((await train(folder, { resumeFromCheckpoint: true })).weights).toEqual(whole.weights);
    expect(await metricsOf(folder)).toEqual(metrics);
  });

  test("begins where there is nothing to go on from", async () => {
    expect((await train(folder, { resumeFromCheckpoint: true })).weights).toEqual(whole.weights);
  });

  test("says that it is done when it is", async () => {
    await train(folder);
    const before = await metricsOf(folder);
    const { events, weights } = await train(folder, { resumeFromCheckpoint: true });
    expect(events.map(({ type }) => type)).toEqual(["start", "end"]);
    expect(weights).toEqual(whole.weights);
    expect(await metricsOf(folder)).toEqual(before);
  });

  test.each<[string, (checkpoint: string) => Promise<void>]>([
    ["a bit of the weights is another", (path) => damage(join(path, "model.safetensors"))],
    ["a bit of the optimizer is another", (path) => damage(join(path, "optimizer.safetensors"))],
    ["a bit of the sheet is another", (path) => damage(join(path, "trainer.json"))],
    ["the weights are cut off", (path) => writeFile(join(path, "model.safetensors"), new Uint8Array(12))],
    ["the sheet is empty", (path) => writeFile(join(path, "trainer.json"), "")],
    ["a file is missing", (path) => rm(join(path, "optimizer.safetensors"))],
    ["all of it is missing", (path) => rm(path, { recursive: true })],
  ])("from the checkpoint before, with a warning, where %s", async (_, spoil) => {
    await trainUntil(folder, 24);
    await spoil(join(folder, "checkpoints/step-24"));
    const { weights, warnings, events } = await train(folder, { resumeFromCheckpoint: true });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("step-24");
    expect(events.find(({ type }) => type === "start")).toMatchObject({ step: 20, isResumed: true });
    expect(weights).toEqual(whole.weights);
    expect(await metricsOf(folder)).toEqual(metrics);
  });

  test("from the newest, where `last` names nothing", async () => {
    await trainUntil(folder, 24);
    await writeFile(join(folder, "checkpoints/last"), "the best of all\n");
    const { weights, warnings } = await train(folder, { resumeFromCheckpoint: true });
    expect(warnings[0]).toContain("names no checkpoint: the best of all");
    expect(weights).toEqual(whole.weights);
  });

  test("not where every checkpoint is damaged", async () => {
    await trainUntil(folder, 24);
    for (const name of await readdir(join(folder, "checkpoints")))
      if (name.startsWith("step-")) await damage(join(folder, "checkpoints", name, "model.safetensors"));
    await expect(train(folder, { resumeFromCheckpoint: true })).rejects.toThrow("no checkpoint is whole");
  });

  test("not with another model, whose names it says", async () => {
    await trainUntil(folder, 24);
    const other = linear(2, 2);
    const setup = { ...makeSetup(), model: other } as unknown as PointsSetup;
    await expect(train(folder, { resumeFromCheckpoint: true }, setup)).rejects.toThrow("holds another architecture");
  });

  test("when parts of checkpoints that were never finished lie about", async () => {
    await trainUntil(folder, 24);
    await mkdir(join(folder, "checkpoints/.writing-step-25-abc"));
    await cp(join(folder, "checkpoints/step-24"), join(folder, "checkpoints/.writing-step-22-abc"), {
      recursive: true,
    });
    expect((await train(folder, { resumeFromCheckpoint: true })).weights).toEqual(whole.weights);
    expect((await readdir(join(folder, "checkpoints"))).filter((name) => name.startsWith("."))).toEqual([]);
  });
});

describe("a run that is there already", () => {
  test("is not touched unless that is wanted", async () => {
    const { weights } = await train(folder);
    const before = await readFile(join(folder, "metrics.jsonl"), "utf8");
    await expect(train(folder)).rejects.toThrow("holds a run already");
    expect(await readFile(join(folder, "metrics.jsonl"), "utf8")).toBe(before);
    await writeFile(join(folder, "notes.txt"), "mine");
    expect((await train(folder, { overwriteOutputDir: true })).weights).toEqual(weights);
    expect(await readFile(join(folder, "notes.txt"), "utf8")).toBe("mine");
  });

  test("is not trained by two", async () => {
    const inside = async (): Promise<void> => {
      await train(folder, { resumeFromCheckpoint: true });
    };
    let complaint: unknown;
    await fit(makeSetup(), {
      ...usual,
      outputDir: folder,
      onEvent: async ({ type }) => {
        if (type === "start") complaint = await inside().catch((error: unknown) => error);
      },
    });
    expect(String(complaint)).toContain(`process ${process.pid} is training into`);
  });

  test("was interrupted, if its process is no more", async () => {
    await train(folder);
    const file = join(folder, "status.json");
    const status = JSON.parse(await readFile(file, "utf8")) as { state: string; process: { started: number } };
    status.state = "running";
    status.process.started -= 1;
    await writeFile(file, JSON.stringify(status));
    expect((await readRun(folder)).status.state).toBe("interrupted");
  });

  test("tells of the failure that ended it", async () => {
    const setup = makeSetup();
    const loss: typeof setup.loss = (x, y) => setup.loss(x, y).sub(100).log();
    await expect(train(folder, {}, { ...setup, loss })).rejects.toThrow("NaN");
    expect((await readRun(folder)).status).toMatchObject({ state: "failed", error: expect.stringContaining("NaN") });
  });
});

describe("a disk that is full", () => {
  /** From a moment on the disk takes nothing, until it does again. */
  async function fullDisk(): Promise<{ fill(): void; free(): void }> {
    const handle = await open(import.meta.filename);
    const methods = Object.getPrototypeOf(handle) as typeof handle;
    await handle.close();
    let isFull = false;
    for (const name of ["write", "writeFile"] as const) {
      const real = methods[name] as (...args: unknown[]) => unknown;
      vi.spyOn(methods, name).mockImplementation(function (this: unknown, ...args: unknown[]) {
        if (isFull) return Promise.reject(Object.assign(new Error("full"), { code: "ENOSPC" }));
        return real.apply(this, args);
      } as never);
    }
    return {
      fill() {
        isFull = true;
      },
      free() {
        isFull = false;
      },
    };
  }

  const steps = async (): Promise<number[]> => (await readRun(folder)).checkpoints.map(({ step }) => step);

  test("is told of, and training goes on; what could not be written comes later", async () => {
    const disk = await fullDisk();
    const whole = await train(join(folder, "whole"));
    const events: TrainingEvent[] = [];
    const setup = makeSetup();
    await fit(setup, {
      ...usual,
      outputDir: folder,
      onEvent: (event) => {
        events.push(event);
        if (event.type === "epoch" && event.epoch === 1) disk.fill();
        if (event.type === "epoch" && event.epoch === 3) disk.free();
      },
    });
    const warnings = events.flatMap((event) => (event.type === "warning" ? [event.message] : []));
    expect(
      warnings.some((text) => /step-1\d cannot be written: no space is left on the disk.*goes on/.test(text)),
    ).toBe(true);
    expect(warnings.some((text) => /metrics\.jsonl cannot be appended to: no space/.test(text))).toBe(true);
    expect(await encodeWeights({ model: setup.model, optimizer: setup.optimizer })).toEqual(whole.weights);
    expect(await metricsOf(folder)).toEqual(await metricsOf(join(folder, "whole")));
    expect((await readRun(folder)).last).toBe(32);
    expect((await readdir(join(folder, "checkpoints"))).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("ends the training where that is asked for, and everything before is intact", async () => {
    const disk = await fullDisk();
    const run = fit(makeSetup(), {
      ...usual,
      outputDir: folder,
      onSaveError: "stop",
      onEvent: (event) => {
        if (event.type === "epoch" && event.epoch === 2) disk.fill();
      },
    });
    await expect(run).rejects.toThrow("no space is left on the disk");
    disk.free();
    expect((await steps()).at(-1)).toBeGreaterThanOrEqual(10);
    const { weights, warnings } = await train(folder, { resumeFromCheckpoint: true });
    expect(warnings).toEqual([]);
    vi.restoreAllMocks();
    expect(weights).toEqual((await train(join(folder, "whole"))).weights);
    expect(await metricsOf(folder)).toEqual(await metricsOf(join(folder, "whole")));
  });

  test("a folder that cannot be made is told of too, or refused", async () => {
    await writeFile(join(folder, "file"), "");
    const path = join(folder, "file/run");
    const { warnings, events } = await train(path);
    expect(warnings[0]).toMatch(/file\/run cannot be made: a part of the path is a file.*training goes on/);
    expect(events.at(-1)).toMatchObject({ type: "end", reason: "finished" });
    await expect(train(path, { onSaveError: "stop" })).rejects.toThrow("cannot be made");
  });
});

test("a state that no checkpoint holds is told of, and belongs into one", async () => {
  const noise = randomGenerator(3);
  const setup = makeSetup();
  const noisy = module("Noisy", { inner: setup.model }, (x: Parameters<typeof setup.model>[0]) =>
    setup.model(x).add(noise.normal([2])),
  );
  const changed = { ...setup, model: noisy } as unknown as PointsSetup;
  const loss: typeof setup.loss = (x, y) => setup.loss(x, y).add(noise.normal([]).mul(0.1));
  const { warnings } = await train(folder, {}, { ...changed, loss });
  expect(warnings[0]).toContain("each step changes generator.state, which no checkpoint holds");
  const held = await train(join(folder, "held"), {}, { ...changed, loss, state: { noise } } as never);
  expect(held.warnings).toEqual([]);
});

test("nothing is written in a fast run, and nothing without a folder", async () => {
  await train(join(folder, "fast"), { fastDevRun: true });
  await fit(makeSetup(), { epochs: 1 });
  expect(await readdir(folder)).toEqual([]);
});

test.each<[string, RunOptions, string]>([
  [
    "saveSteps without a folder",
    { outputDir: undefined as never, saveSteps: 5 },
    "there is saveSteps and no outputDir",
  ],
  [
    "a resume without a folder",
    { outputDir: undefined as never, resumeFromCheckpoint: true },
    "resumeFromCheckpoint and no",
  ],
  ...[
    { saveStrategy: "epoch" as const },
    { saveTotalLimit: 1 },
    { onSaveError: "stop" as const },
    { hyperparameters: { width: 3 } },
    { runName: "first" },
    { tensorboard: true },
    { histogramSteps: 1 },
    { overwriteOutputDir: true },
  ].map((options): [string, RunOptions, string] => {
    const [name] = Object.keys(options) as [string];
    const without = { outputDir: undefined as never, saveSteps: undefined as never };
    return [`${name} without a folder`, { ...without, ...options }, `there is ${name} and no outputDir`];
  }),
  ["saveSteps after epochs", { saveSteps: 5, saveStrategy: "epoch" }, 'there is saveSteps and saveStrategy "epoch"'],
  ["saveSteps of nothing", { saveSteps: 5, saveStrategy: "no" }, 'there is saveSteps and saveStrategy "no"'],
  [
    "a limit of nothing",
    { saveSteps: undefined as never, saveTotalLimit: 5, saveStrategy: "no" },
    'there is saveTotalLimit and saveStrategy "no"',
  ],
  ["histograms nowhere", { histogramSteps: 5, tensorboard: false }, "there is histogramSteps and tensorboard: false"],
  [
    "a run that goes on and is replaced",
    { resumeFromCheckpoint: true, overwriteOutputDir: true },
    "there is overwriteOutputDir and resumeFromCheckpoint: true",
  ],
  ["no folder's name", { outputDir: "" }, "outputDir is empty"],
  ["a strategy without steps", { saveSteps: undefined as never, saveStrategy: "steps" }, "there are no saveSteps"],
  ["a limit of none", { saveTotalLimit: 0 }, "saveTotalLimit is 0"],
  ["a checkpoint that is none", { resumeFromCheckpoint: "/nowhere/at/all" }, "there is no such file"],
  ["a policy that there is not", { onSaveError: "ignore" as never }, 'give "continue" or "stop"'],
])("%s is refused", async (_, options, sentence) => {
  const points_ = points(8);
  await expect(train(folder, options, { ...makeSetup(), train: points_ } as never)).rejects.toThrow(sentence);
});
