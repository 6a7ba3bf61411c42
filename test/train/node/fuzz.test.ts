/** Files of a run that somebody has edited, cut off or made up: a clear error, or a run that goes on; no crash, no hang, nothing by half. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeWeights, fit, GlissadeError, readMetrics, readRun } from "../../../src/node.ts";
import { loadCheckpoint } from "../../../src/train/node/checkpoints.ts";
import { readPointer } from "../../../src/train/node/layout.ts";
import { randomFrom } from "./kills.mjs";
import { makeSetup } from "./setup.ts";

const times = 200;

let folder: string;
let run: string;
let scratch: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-fuzz-"));
  run = join(folder, "run");
  scratch = join(folder, "scratch");
  await fit(makeSetup(), { epochs: 2, loggingSteps: 3, saveSteps: 5, outputDir: run });
  await cp(run, scratch, { recursive: true });
});

afterAll(() => rm(folder, { recursive: true }));

/** Words that JSON is made of, and some that it is not. */
const words = [
  "null",
  "-1",
  "1e999",
  "[]",
  "{}",
  '""',
  "true",
  "0.5",
  ",",
  "}",
  '"step-9"',
  "\u0000",
  '{"__proto__":1}',
  "9".repeat(400),
];

/** A file's bytes with something wrong in them. */
function spoiled(bytes: Uint8Array, random: () => number): Uint8Array {
  const at = Math.floor(random() * bytes.length);
  const part = Math.floor(random() * Math.min(40, bytes.length - at));
  const word = new TextEncoder().encode(words[Math.floor(random() * words.length)]);
  switch (Math.floor(random() * 6)) {
    case 0:
      return bytes.slice(0, at); //  cut off
    case 1: {
      const copy = bytes.slice();
      copy[at]! ^= 1 << Math.floor(random() * 8);
      return copy;
    }
    case 2:
      return Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + part)]); //  a piece out
    case 3:
      return Uint8Array.from([...bytes.subarray(0, at), ...word, ...bytes.subarray(at + part)]); //  another piece in
    case 4:
      return Uint8Array.from({ length: part * 10 }, () => Math.floor(random() * 256)); //  something else
    default:
      return Uint8Array.from([...bytes, ...bytes.subarray(at)]); //  too long
  }
}

/** A JSON file in which a value somewhere is another: it gets past the parser. */
function revalued(bytes: Uint8Array, random: () => number): Uint8Array {
  const text = new TextDecoder().decode(bytes);
  const places = [...text.matchAll(/(?<=[:[,]\s*)(-?\d[\d.e+-]*|"[^"]*"|true|false|null)(?=\s*[,}\]])/g)];
  const { index, 0: old } = places[Math.floor(random() * places.length)]!;
  const word = words[Math.floor(random() * 8)]!;
  return new TextEncoder().encode(text.slice(0, index) + word + text.slice(index + old.length));
}

async function tryFiles(file: string, seed: number, isJson: boolean, read: () => Promise<unknown>): Promise<number> {
  const random = randomFrom(seed);
  const whole = new Uint8Array(await readFile(join(run, file))); //  `slice` of a Buffer would be a view
  let refused = 0;
  try {
    for (let i = 0; i < times; i++) {
      const spoil = isJson && i % 2 === 0 ? revalued : spoiled;
      let bytes = spoil(whole, random);
      while (Buffer.compare(bytes, whole) === 0) bytes = spoil(whole, random);
      await writeFile(join(scratch, file), bytes);
      try {
        await read();
      } catch (error) {
        refused++;
        expect(error, String(error)).toBeInstanceOf(GlissadeError);
        expect((error as GlissadeError).message.length).toBeLessThan(3000);
        expect((error as GlissadeError).message).toContain(file.split("/").at(-1)!.split(".")[0]);
      }
    }
  } finally {
    await writeFile(join(scratch, file), whole);
  }
  return refused;
}

test.each<[string, () => Promise<unknown>, number]>([
  ["config.json", () => readRun(scratch), 100],
  ["status.json", () => readRun(scratch), 100],
  ["metrics.jsonl", () => readMetrics(scratch), 80],
  ["checkpoints/step-16/trainer.json", () => loadCheckpoint(join(scratch, "checkpoints/step-16")), times],
  ["checkpoints/step-16/model.safetensors", () => loadCheckpoint(join(scratch, "checkpoints/step-16")), times],
  ["checkpoints/step-16/optimizer.safetensors", () => loadCheckpoint(join(scratch, "checkpoints/step-16")), times],
  ["checkpoints/last", () => readPointer(join(scratch, "checkpoints/last")), 50],
])("%s, spoiled 200 times", async (file, read, least) => {
  const refused = await tryFiles(file, file.length, /json$/.test(file), read);
  expect(refused).toBeGreaterThanOrEqual(least); //  a number in place of a number is a config too
});

test("checkpoints whose checksums somebody has made right: refused, or loaded whole", async () => {
  const { decodeTrainer } = await import("../../../src/train/node/checkpoints.ts");
  const { createHash } = await import("node:crypto");
  const random = randomFrom(3);
  const whole = await readFile(join(run, "checkpoints/step-16/trainer.json"), "utf8");
  const sheet = whole.slice(whole.indexOf('"sheet":') + 8, -2);
  let refused = 0;
  for (let i = 0; i < times; i++) {
    const bytes = revalued(new TextEncoder().encode(sheet), random);
    const text = new TextDecoder().decode(bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    try {
      decodeTrainer(`{"sha256":"${sha256}","sheet":${text}}\n`, "trainer.json");
    } catch (error) {
      refused++;
      expect(error, String(error)).toBeInstanceOf(GlissadeError);
    }
  }
  expect(refused).toBeGreaterThan(100);
});

test("a run whose files are spoiled at random goes on, or says why not; a model that is not loaded is left as it was", {
  timeout: 120_000,
}, async () => {
  const random = randomFrom(9);
  const files = (await readdir(run, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && !entry.name.startsWith("events"))
    .map((entry) => join(entry.parentPath.slice(run.length), entry.name));
  let [went, refused] = [0, 0];
  for (let i = 0; i < 25; i++) {
    await rm(scratch, { recursive: true });
    await cp(run, scratch, { recursive: true });
    const file = files[Math.floor(random() * files.length)]!;
    await writeFile(join(scratch, file), spoiled(new Uint8Array(await readFile(join(run, file))), random));
    const setup = makeSetup();
    const before = await encodeWeights(setup.model);
    try {
      const options = { epochs: 2, loggingSteps: 3, saveSteps: 5, outputDir: scratch, resumeFromCheckpoint: true };
      await fit(setup, { ...options, onEvent: () => {} });
      went++;
    } catch (error) {
      refused++;
      expect(error, `${file}: ${String(error)}`).toBeInstanceOf(GlissadeError);
      expect(await encodeWeights(setup.model)).toEqual(before);
    }
  }
  expect(went).toBeGreaterThan(10);
  expect(went + refused).toBe(25);
});
