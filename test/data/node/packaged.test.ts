/** Datasets out of packages and folders. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadFashionMnist } from "../../../src/data/node/fashion-mnist.ts";
import { readIdx } from "../../../src/data/node/idx.ts";
import { loadIris } from "../../../src/data/node/iris.ts";
import { ConfigError, DataError, FormatError } from "../../../src/errors.ts";
import { FileError } from "../../../src/files/node/atomic.ts";
import { idx } from "../../support/idx.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-data-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("iris", () => {
  test("has 50 flowers of each kind, split 40 to 10", async () => {
    const { train, test, classes, features } = await loadIris();
    expect([train.length, test.length, classes.length, features.length]).toEqual([120, 30, 3, 4]);
    const counts = (labels: ArrayLike<number>): number[] =>
      [0, 1, 2].map((kind) => Array.from(labels).filter((label) => label === kind).length);
    expect([counts(train.columns[1].values), counts(test.columns[1].values)]).toEqual([
      [40, 40, 40],
      [10, 10, 10],
    ]);
    // Means of all 150, as published with the data (scikit-learn's description of it).
    for (const [feature, mean] of [5.843, 3.057, 3.758, 1.199].entries()) {
      const all = [...train.columns[0].values, ...test.columns[0].values].filter((_, i) => i % 4 === feature);
      expect(all.reduce((sum, value) => sum + value, 0) / 150).toBeCloseTo(mean, 3);
    }
  });

  test("other seeds give other splits", async () => {
    const first = async (seed?: number): Promise<string> =>
      String((await loadIris(seed === undefined ? {} : { seed })).test.columns[0].values);
    expect(await first()).toBe(await first(0));
    expect(await first(1)).not.toBe(await first(0));
    await expect(loadIris({ seeds: 1 } as never)).rejects.toThrow(ConfigError);
  });
});

describe("readIdx", () => {
  const values = Uint8Array.from({ length: 6000 }, (_, i) => i % 251);
  const file = idx(0x08, [3, 2000], values);

  test("reads files packed with gzip and not", async () => {
    await writeFile(join(folder, "a"), file);
    await writeFile(join(folder, "a.gz"), gzipSync(file));
    for (const name of ["a", "a.gz"]) expect(await readIdx(join(folder, name))).toEqual({ shape: [3, 2000], values });
  });

  test.each([
    ["cut off", gzipSync(file).subarray(0, 100), "it cannot be unpacked"],
    ["damaged", Uint8Array.from(gzipSync(file), (byte, i) => (i === 60 ? byte ^ 255 : byte)), ""],
    ["a packed text", gzipSync("hello, world"), "which is no IDX file"],
    ["packed nothing", gzipSync(""), "less than a header"],
    // 64 MB of zeros behind a header of 10 bytes of values: refused before they are all unpacked.
    [
      "a packed file that holds more than it says",
      gzipSync(new Uint8Array([...idx(0x08, [10], new Uint8Array(10)), ...new Uint8Array(2 ** 22)])),
      "holds more than the 18 bytes",
    ],
    [
      "a packed file that says 8 GB and has none",
      gzipSync(Uint8Array.of(0, 0, 14, 1, 0x3f, 255, 255, 255)),
      "and there are 8",
    ],
  ])("refuses a file that is %s", async (_, bytes, sentence) => {
    await writeFile(join(folder, "a.gz"), bytes);
    const error = await readIdx(join(folder, "a.gz")).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FormatError);
    expect(String(error)).toContain(sentence);
  });

  test("names a file that is not there", async () => {
    await expect(readIdx(join(folder, "none"))).rejects.toThrow(FileError);
  });
});

describe("Fashion-MNIST", () => {
  const write = async (names: Readonly<Record<string, Uint8Array>>): Promise<void> => {
    await mkdir(folder, { recursive: true });
    for (const [name, bytes] of Object.entries(names)) await writeFile(join(folder, name), bytes);
  };
  const images = (count: number): Uint8Array =>
    idx(
      0x08,
      [count, 28, 28],
      Uint8Array.from({ length: 784 * count }, (_, i) => i % 256),
    );
  const labels = (...list: number[]): Uint8Array => idx(0x08, [list.length], list);

  test("comes from the four files of a folder, packed or not", async () => {
    await write({
      "train-images-idx3-ubyte.gz": gzipSync(images(3)),
      "train-labels-idx1-ubyte": labels(9, 0, 4),
      "t10k-images-idx3-ubyte": images(1),
      "t10k-labels-idx1-ubyte.gz": gzipSync(labels(2)),
    });
    const { train, test, classes } = await loadFashionMnist({ folder });
    expect([train.columns[0].shape, [...train.columns[1].values], test.length]).toEqual([[3, 1, 28, 28], [9, 0, 4], 1]);
    expect(train.columns[0].values[51]).toBe(Math.fround(51 / 255));
    expect(classes[9]).toBe("ankle boot");
  });

  test("says how to get it when it is not there", async () => {
    await expect(loadFashionMnist({ folder })).rejects.toThrow(DataError);
    await expect(loadFashionMnist({ folder })).rejects.toThrow("apt-get install dataset-fashion-mnist");
  });

  test.each([
    ["labels of another number", images(2), labels(1), "and the labels [1]"],
    ["a label beyond 9", images(1), labels(10), "label 0 is 10"],
    ["images of another size", idx(0x08, [1, 4, 4], new Uint8Array(16)), labels(1), "its images are [1, 4, 4]"],
    ["images of floats", idx(0x0d, [1, 28, 28], new Float32Array(784)), labels(1), "are no bytes"],
    ["no images", images(0), labels(), "[0, 28, 28]"],
  ])("refuses %s", async (_, wrongImages, wrongLabels, sentence) => {
    await write({
      "train-images-idx3-ubyte": wrongImages,
      "train-labels-idx1-ubyte": wrongLabels,
      "t10k-images-idx3-ubyte": images(1),
      "t10k-labels-idx1-ubyte": labels(2),
    });
    await expect(loadFashionMnist({ folder })).rejects.toThrow(sentence);
  });
});
