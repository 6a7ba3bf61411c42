/** Event files, read back by TensorBoard's own message definitions, give what was logged. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode } from "fast-png";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  decodeSafetensors,
  encodeWeights,
  fit,
  type MetricRecord,
  type RunOptions,
  readMetrics,
} from "../../../src/node.ts";
import { histogramOf } from "../../../src/train/tensorboard.ts";
import { readEvents, type SummaryValue } from "../../support/tensorboard.ts";
import { makeSetup } from "./setup.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-events-"));
});

afterEach(() => rm(folder, { recursive: true }));

const usual: RunOptions = { epochs: 3, loggingSteps: 3, saveSteps: 4, maxGradNorm: 0.5 };

/** The numbers of a folder's event files, by name and step. */
function scalarsIn(path: string): Map<string, number> {
  const all = readEvents(path).flatMap(({ step, values }) =>
    values.flatMap(({ tag, simple_value: value }) =>
      value === undefined ? [] : [[`${tag} ${step}`, Number(value)] as const],
    ),
  );
  expect(new Set(all.map(([key]) => key)).size).toBe(all.length); //  nothing is there twice
  return new Map(all);
}

/** The same from the metrics. */
function expected(records: readonly MetricRecord[]): [string, number][] {
  return records.flatMap((record) =>
    Object.entries(numbersOf(record)).map(([tag, value]): [string, number] => [
      `${tag} ${record.step}`,
      Math.fround(value),
    ]),
  );
}

function numbersOf(record: MetricRecord): { readonly [tag: string]: number } {
  switch (record.type) {
    case "log":
      return {
        "train/loss": record.loss,
        "train/learningRate": record.learningRate,
        "train/gradientNorm": record.gradientNorm!,
        "train/examplesPerSecond": record.examplesPerSecond,
      };
    case "evaluation":
      return { "validation/loss": record.loss, "validation/accuracy": record.metrics.accuracy as number };
    case "epoch":
      return { "epoch/loss": record.loss };
    case "own":
      return record.values;
  }
}

test("every number that was logged, at its step", async () => {
  await fit(makeSetup(), { ...usual, outputDir: folder });
  const events = readEvents(folder);
  expect(events[0]).toMatchObject({ fileVersion: "brain.Event:2", step: 0 });
  const times = events.map(({ wallTime }) => wallTime);
  expect(Math.abs(times[0]! - Date.now() / 1000)).toBeLessThan(60);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  const records = await readMetrics(folder);
  expect(records.length).toBeGreaterThan(10);
  expect(scalarsIn(folder)).toEqual(new Map(expected(records)));
});

test("after a stop and a resume, in two files, nothing is missing and nothing is there twice", async () => {
  const stop = new AbortController();
  await fit(makeSetup(), {
    ...usual,
    outputDir: folder,
    saveSteps: 100,
    signal: stop.signal,
    onEvent: ({ step, type }) => type === "checkpoint" && step === 8 && stop.abort(),
  });
  await rm(join(folder, "checkpoints/last")); //  as if it had been killed behind the checkpoint of step 8
  for (const name of await readdir(join(folder, "checkpoints")))
    if (name.startsWith("step-") && name !== "step-8") await rm(join(folder, "checkpoints", name), { recursive: true });
  await fit(makeSetup(), { ...usual, outputDir: folder, resumeFromCheckpoint: true });
  expect((await readdir(folder)).filter((name) => name.startsWith("events."))).toHaveLength(2);
  expect(scalarsIn(folder)).toEqual(new Map(expected(await readMetrics(folder))));
});

test("numbers, text, images and distributions of one's own", async () => {
  const grey = { shape: [2, 3], values: [0, 0.5, 1, 1, 0.5, 0] };
  const red = { shape: [1, 2, 3], values: Uint8Array.of(255, 0, 0, 128, 0, 0) };
  await fit(makeSetup(), {
    ...usual,
    outputDir: folder,
    onEvent(event, record) {
      if (event.type !== "epoch") return;
      record.scalars({ "own/epoch": event.epoch, "own/loss": event.loss });
      record.text("notes", `**epoch** ${event.epoch}`);
      record.image("grey", grey);
      record.image("red", red);
      record.histogram("values", [-1, 0, 0, 0.5, 2, Number.NaN]);
    },
  });
  expect((await readMetrics(folder)).filter(({ type }) => type === "own")).toHaveLength(3);
  expect(scalarsIn(folder)).toEqual(new Map(expected(await readMetrics(folder))));
  const of = (tag: string): SummaryValue[] =>
    readEvents(folder).flatMap(({ values }) => values.filter((value) => value.tag === tag));
  const texts = of("notes");
  expect(texts).toHaveLength(3);
  expect(texts[1]!.metadata!.plugin_data.plugin_name).toBe("text");
  expect(texts[1]!.tensor!.dtype).toBe("DT_STRING");
  expect(Buffer.from(texts[1]!.tensor!.string_val[0]!, "base64").toString()).toBe("**epoch** 2");
  const image = of("grey")[0]!.image!;
  expect(image).toMatchObject({ width: 3, height: 2, colorspace: 1 });
  const png = decode(Buffer.from(image.encoded_image_string, "base64"));
  expect([png.width, png.height, png.channels, ...png.data]).toEqual([3, 2, 1, 0, 128, 255, 255, 128, 0]);
  const colours = decode(Buffer.from(of("red")[0]!.image!.encoded_image_string, "base64"));
  expect([...colours.data]).toEqual([...red.values]);
  const { num, sum, bucket, bucket_limit: limits } = of("values")[0]!.histo!;
  expect([num, sum]).toEqual([5, 1.5]);
  expect(bucket.reduce((a, b) => a + b)).toBe(5);
  expect(bucket).toHaveLength(limits.length);
});

test("distributions of weights and gradients, every so many steps", async () => {
  const setup = makeSetup();
  await fit(setup, { ...usual, outputDir: folder, histogramSteps: 12 });
  const events = readEvents(folder).filter(({ values }) => values.some(({ histo }) => histo));
  expect(events.map(({ step }) => step)).toEqual([12, 24]);
  const names = ["0.weight", "0.bias", "3.weight", "3.bias"];
  const tags = events[1]!.values.map(({ tag }) => tag);
  expect([...tags].sort()).toEqual(names.flatMap((name) => [`gradients/${name}`, `weights/${name}`]).sort());
  const saved = decodeSafetensors(await encodeWeights(setup.model)).tensors.get("0.weight")!.values;
  const { sum, num } = events[1]!.values.find(({ tag }) => tag === "weights/0.weight")!.histo!;
  expect(num).toBe(32);
  expect(sum).toBeCloseTo(
    Array.from(saved).reduce((a, b) => a + b, 0),
    10,
  );
});

test("a histogram counts each value in the bucket whose upper end is the first not below it", () => {
  const values = Array.from({ length: 1000 }, (_, i) => Math.tan(i) * 10 ** ((i % 7) - 3));
  const { limits, counts, count, min, max, sum, sumOfSquares } = histogramOf([...values, Number.POSITIVE_INFINITY]);
  expect(count).toBe(1000);
  expect([min, max]).toEqual([Math.min(...values), Math.max(...values)]);
  expect(sum).toBeCloseTo(
    values.reduce((a, b) => a + b, 0),
    6,
  );
  expect(sumOfSquares / values.reduce((a, b) => a + b * b, 0)).toBeCloseTo(1, 12);
  const own = limits.map((limit, i) => values.filter((v) => v <= limit && v > (limits[i - 1] ?? -Infinity)).length);
  expect(counts).toEqual(own);
});
