/** Folders of images, and what is none. */
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import fc from "fast-check";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { decodeImage, listImageFolder, readImageFolder } from "../../../src/data/node/images.ts";
import { ConfigError, FormatError } from "../../../src/errors.ts";
import { FileError } from "../../../src/files/node/atomic.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-images-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** An image of one colour. */
const plain = (width: number, height: number, background: string) =>
  sharp({ create: { width, height, channels: 3, background } });

/** 2 × 2 pixels: red, green; blue, white. */
const four = sharp(Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255), {
  raw: { width: 2, height: 2, channels: 3 },
});

async function pets(): Promise<void> {
  for (const name of ["cats", "dogs/small", ".hidden"]) await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, "dogs/7.jpg"), await plain(9, 5, "blue").jpeg({ quality: 100 }).toBuffer());
  await writeFile(join(folder, "dogs/small/1.webp"), await plain(4, 4, "lime").webp({ lossless: true }).toBuffer());
  await writeFile(join(folder, "cats/b.png"), await plain(8, 8, "red").png().toBuffer());
  await writeFile(join(folder, "cats/a.GIF"), await plain(8, 8, "white").gif().toBuffer());
  await writeFile(join(folder, "cats/notes.txt"), "no image");
  await writeFile(join(folder, "cats/.DS_Store"), "no image");
}

describe("a folder of images", () => {
  test("has a class for each folder, the files in order, and pixels from 0 to 1", async () => {
    await pets();
    const { data, classes, files, ignored } = await readImageFolder(folder, { size: [2, 3] });
    expect(classes).toEqual(["cats", "dogs"]);
    expect(files.map(({ path, label }) => [path.slice(folder.length + 1), label])).toEqual([
      ["cats/a.GIF", 0],
      ["cats/b.png", 0],
      ["dogs/7.jpg", 1],
      ["dogs/small/1.webp", 1],
    ]);
    expect(ignored.map((path) => path.slice(folder.length + 1))).toEqual(["cats/notes.txt"]);
    const [images, labels] = data.columns;
    expectTypeOf(images.shape).toEqualTypeOf<readonly [number, 3, 2, 3]>();
    expect([images.shape, [...labels.values]]).toEqual([
      [4, 3, 2, 3],
      [0, 0, 1, 1],
    ]);
    const colours = [0, 1, 2, 3].map((i) => [0, 6, 12].map((at) => Math.round(images.values[18 * i + at]!)));
    expect(colours).toEqual([
      [1, 1, 1],
      [1, 0, 0],
      [0, 0, 1],
      [0, 1, 0],
    ]);
  });

  test("in grey has one channel", async () => {
    await pets();
    const { data } = await readImageFolder(folder, { size: [4, 4], channels: 1 });
    expect(data.columns[0].shape).toEqual([4, 1, 4, 4]);
  });

  test("that is too large for memory, or has an image too large, is refused before it is decoded", async () => {
    await pets();
    await expect(readImageFolder(folder, { size: [1000, 1000], mostBytes: 1e6 })).rejects.toThrow(
      "4 images of 3 × 1000",
    );
    await writeFile(join(folder, "dogs/bomb.png"), await plain(3000, 3000, "black").png().toBuffer());
    await expect(readImageFolder(folder, { size: [2, 2], mostPixels: 1e6 })).rejects.toThrow("raise mostPixels");
    await expect(readImageFolder(folder, { size: [2, 2], mostPixels: 1e6 })).rejects.toThrow("bomb.png");
  });

  test("names the file that is damaged", async () => {
    await pets();
    const png = await plain(64, 64, "red").png().toBuffer();
    await writeFile(join(folder, "dogs/cut.png"), png.subarray(0, 60));
    await writeFile(join(folder, "dogs/empty.png"), "");
    const error = await readImageFolder(folder, { size: [2, 2] }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FormatError);
    expect(String(error)).toMatch(/dogs\/(cut|empty)\.png: it cannot be decoded/);
  });

  test("without folders, with an empty one, or that is none is refused; links in a circle end", async () => {
    await expect(listImageFolder(folder)).rejects.toThrow("has no folders in it");
    await pets();
    await symlink(folder, join(folder, "cats/circle"));
    expect((await listImageFolder(folder)).files.length).toBe(4);
    await mkdir(join(folder, "birds"));
    await expect(listImageFolder(folder)).rejects.toThrow('the class "birds" has no images');
    await expect(listImageFolder(join(folder, "none"))).rejects.toThrow(FileError);
  });
});

describe("an image", () => {
  test("is channel after channel, row after row", async () => {
    const pixels = await decodeImage(await four.clone().png().toBuffer(), { size: [2, 2] });
    expect([...pixels]).toEqual([1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1]);
  });

  test.each([
    ["RGBA", () => plain(4, 4, "#ff0000").ensureAlpha(0).png().toBuffer(), [0, 0, 0]],
    ["grey", () => plain(4, 4, "white").greyscale().png().toBuffer(), [1, 1, 1]],
    ["16 bits", () => plain(4, 4, "white").toColourspace("rgb16").png().toBuffer(), [1, 1, 1]],
    ["a palette", () => plain(4, 4, "blue").png({ palette: true }).toBuffer(), [0, 0, 1]],
    ["CMYK", () => plain(4, 4, "white").toColourspace("cmyk").jpeg().toBuffer(), [1, 1, 1]],
  ])("in %s becomes RGB", async (_, bytes, colour) => {
    const pixels = await decodeImage(await bytes(), { size: [1, 1] });
    expect([...pixels].map(Math.round)).toEqual(colour);
  });

  test("is turned as its camera says", async () => {
    const turned = await four.clone().withMetadata({ orientation: 3 }).png().toBuffer();
    expect([...(await decodeImage(turned, { size: [2, 2] }))].slice(0, 4)).toEqual([1, 0, 0, 1]);
    expect([...(await decodeImage(turned, { size: [2, 2] }))].slice(8)).toEqual([1, 1, 0, 0]);
  });

  test.each([
    [undefined, "give the size"],
    [{}, "there is no size"],
    [{ size: 64 }, "give [height, width]"],
    [{ size: [0, 4] }, "give [height, width]"],
    [{ size: [4, 4], channels: 4 }, "give 1 or 3"],
    [{ size: [4, 4], fit: "crop" }, '"contain"'],
    [{ size: [4, 4], colour: 1 }, "there is no option"],
  ])("with the options %j is refused", async (options, sentence) => {
    const error = await decodeImage(new Uint8Array(1), options as never).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toContain(sentence);
  });

  test("300 mutated images are decoded, or refused by an error of ours", async () => {
    const originals = await Promise.all([
      four.clone().png().toBuffer(),
      plain(16, 16, "red").jpeg().toBuffer(),
      plain(16, 16, "red").gif().toBuffer(),
      plain(16, 16, "red").webp().toBuffer(),
      plain(16, 16, "red").tiff().toBuffer(),
    ]);
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...originals), fc.nat(), fc.nat(255), fc.nat(), async (image, at, byte, cut) => {
        const bytes = Uint8Array.from(image.subarray(0, cut % 3 === 0 ? cut % image.length : image.length));
        if (bytes.length > 0) bytes[at % bytes.length] = byte;
        try {
          expect((await decodeImage(bytes, { size: [3, 3], mostPixels: 10_000 })).length).toBe(27);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
          refused++;
        }
      }),
      { numRuns: 300 },
    );
    expect(refused).toBeGreaterThan(50);
  });
});

test("without the package that decodes, the error says which to install", async () => {
  const outfile = join(folder, "program.mjs");
  await build({
    stdin: {
      contents: `import { readImageFolder } from ${JSON.stringify(resolve("src/data/node/images.ts"))};
        readImageFolder(".", { size: [2, 2] }).catch((error) => console.log(error.name, error.message));`,
      resolveDir: process.cwd(),
    },
    bundle: true,
    platform: "node",
    format: "esm",
    outfile,
  });
  const { stdout } = spawnSync(process.execPath, [outfile], { cwd: folder, encoding: "utf8" });
  expect(stdout).toContain("DataError images: the npm package `sharp`");
  expect(stdout).toContain("npm install sharp");
});
