/** Reads folders of images in Node, where each folder is a class. The npm package `sharp` decodes the images, if it is installed. */
import { readdir, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import type Sharp from "sharp";
import { requirePackage } from "../../engine/node/packages.ts";
import { ConfigError, DataError, FormatError, quoted } from "../../errors.ts";
import { FileError, readFileChecked } from "../../files/node/atomic.ts";
import { aText, bytesOfFile, described, expectArguments, options as optionsOf } from "../../graph/arguments.ts";
import { type Column, Dataset } from "../dataset.ts";

/** Options of `decodeImage`. */
export interface ImageOptions<H extends number = number, W extends number = number, C extends 1 | 3 = 1 | 3> {
  /** The height and width in pixels to which each image is resized: `[64, 64]`. */
  readonly size: readonly [height: H, width: W];
  /** 3 for red, green and blue, 1 for grey. Default 3. */
  readonly channels?: C;
  /**
   * How an image with other proportions is fitted: `fill` stretches it, `cover` cuts off the excess, `contain` adds black edges. Default
   * `fill`.
   */
  readonly fit?: "fill" | "cover" | "contain";
  /** The most pixels of an image file: a larger image is refused before it is decoded. Default 100 million. */
  readonly mostPixels?: number;
}

/** Options of `readImageFolder`. */
export interface ImageFolderOptions<H extends number = number, W extends number = number, C extends 1 | 3 = 1 | 3>
  extends ImageOptions<H, W, C> {
  /**
   * The most bytes of the dataset, at 4 for each pixel and channel: a larger dataset is refused before any image is decoded. Default 4 ·
   * 2³⁰.
   */
  readonly mostBytes?: number;
}

/** The images of a folder as files. */
export interface ImageFiles {
  /** The names of the folders, in the order of the labels. */
  readonly classes: readonly string[];
  /** The images, class after class. */
  readonly files: readonly { readonly path: string; readonly label: number }[];
  /** The files in the folders whose names are not those of images. */
  readonly ignored: readonly string[];
}

/** The images of a folder in memory. */
export interface ImageFolder<H extends number, W extends number, C extends 1 | 3> extends ImageFiles {
  /** Images, float32 from 0 to 1, [examples, channels, height, width]; labels, int32. */
  readonly data: Dataset<
    readonly [images: Column<readonly [number, C, H, W], "float32">, labels: Column<readonly [number], "int32">]
  >;
}

const extensions = new Set([".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".avif"]);
const mostFileBytes = 2 ** 28;
const usualPixels = 1e8;
const usualBytes = 2 ** 32;

/**
 * Lists the images of a folder with one folder for each class, such as `cats/1.png` and `dogs/7.jpg`; folders inside a class belong to the
 * class. Names that begin with a dot are skipped. Throws DataError for a folder without classes and a class without images, FileError when
 * a folder cannot be read.
 */
export async function listImageFolder(folder: string): Promise<ImageFiles> {
  expectArguments("listImageFolder", [aText], [folder]);
  const classes = (await entriesOf(folder)).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  if (classes.length === 0)
    throw new DataError(
      "image folder",
      `${quoted(folder)} has no folders in it`,
      "put the images of each class into a folder with its name: pets/cats/1.png",
    );
  const files: { path: string; label: number }[] = [];
  const ignored: string[] = [];
  for (const [label, name] of classes.entries()) {
    const before = files.length;
    const open = [join(folder, name)];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      const inside: string[] = [];
      for (const entry of await entriesOf(at)) {
        const path = join(at, entry.name);
        if (entry.isDirectory()) inside.push(path);
        else if (extensions.has(extname(entry.name).toLowerCase())) files.push({ path, label });
        else ignored.push(path);
      }
      open.push(...inside.reverse());
    }
    if (files.length === before)
      throw new DataError(
        "image folder",
        `the class ${quoted(name)} has no images`,
        `put images into it (${[...extensions].join(", ")}), or remove the folder`,
      );
  }
  return { classes, files, ignored };
}

async function entriesOf(folder: string) {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const shown = entries.filter(({ name }) => !name.startsWith("."));
    return shown.sort((a, b) => (a.name < b.name ? -1 : 1)); //  by code units: the same on every system
  } catch (cause) {
    const code = String((cause as { code?: unknown } | null)?.code ?? "");
    throw new FileError("image folder", `${quoted(folder)} cannot be read (${code})`, "check the path", code, {
      cause,
    });
  }
}

/**
 * Reads all images of a folder with one folder for each class, resized, into memory: `const { data, classes } = await
 * readImageFolder("pets", { size: [64, 64] })`. The needed memory is compared with `mostBytes` before an image is decoded; for larger data,
 * decode in a `stream` with `decodeImage`. Needs the npm package `sharp`. Throws DataError when it is not installed, and for folders as
 * `listImageFolder` does; FormatError, with the file, for an image that is damaged or too large.
 */
export async function readImageFolder<const H extends number, const W extends number, const C extends 1 | 3 = 3>(
  folder: string,
  options: ImageFolderOptions<H, W, C>,
): Promise<ImageFolder<H, W, C>> {
  const { mostBytes = usualBytes, ...rest } = expectRecord("readImageFolder", options);
  const { height, width, channels } = expectImageOptions("readImageFolder", rest);
  if (!(typeof mostBytes === "number" && mostBytes > 0))
    throw new ConfigError("readImageFolder", `mostBytes is ${described(mostBytes)}`, "give a number of bytes");
  decoder();
  const listed = await listImageFolder(folder);
  const each = channels * height * width;
  const count = listed.files.length;
  if (4 * each * count > mostBytes)
    throw new DataError(
      "image folder",
      `${count} images of ${channels} × ${height} × ${width} take ${((4 * each * count) / 2 ** 30).toPrecision(3)} GiB, and ${(mostBytes / 2 ** 30).toPrecision(3)} are allowed`,
      "choose a smaller size, raise mostBytes, or read the images in a stream with decodeImage",
    );
  const values = new Float32Array(each * count);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const { path } = listed.files[i]!;
      const { size } = await stat(path);
      if (size > mostFileBytes)
        throw new FormatError(path, `it has ${size} bytes, and an image has at most ${mostFileBytes}`, "remove it");
      values.set(await decodeImage(await readFileChecked(path), rest as ImageOptions, path), each * i);
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  const labels = Int32Array.from(listed.files, ({ label }) => label);
  const data: ImageFolder<H, W, C>["data"] = new Dataset([
    { shape: [count, channels as C, height as H, width as W], dtype: "float32", values },
    { shape: [count], dtype: "int32", values: labels },
  ]);
  return { ...listed, data };
}

/**
 * Decodes the bytes of an image (PNG, JPEG, WebP, GIF, TIFF, AVIF) to pixels, rotated according to its EXIF orientation and resized:
 * float32 from 0 to 1, as [channels, height, width]. Transparent parts become black; of several pictures in a file the first is used.
 * `source` is the image's name in messages. Needs the npm package `sharp`. Throws DataError when it is not installed, FormatError for bytes
 * that are not an image, are damaged or have more pixels than `mostPixels`.
 */
export async function decodeImage(
  bytes: Uint8Array,
  options: ImageOptions,
  source: string = "image",
): Promise<Float32Array> {
  expectArguments("decodeImage", [bytesOfFile, () => undefined, aText], [bytes, options, source]);
  const { height, width, channels, fit, mostPixels } = expectImageOptions("decodeImage", options);
  const sharp = decoder();
  let pixels: Uint8Array;
  try {
    const image = sharp(bytes, { limitInputPixels: mostPixels, failOn: "error" })
      .autoOrient()
      .flatten({ background: "black" })
      .resize(width, height, { fit, background: "black" })
      .toColourspace(channels === 1 ? "b-w" : "srgb");
    const { data, info } = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    if (info.channels !== channels || data.length !== channels * height * width)
      throw new Error(`it was decoded to ${info.channels} channels of ${info.height} × ${info.width} pixels`);
    pixels = data;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(
      source,
      `it cannot be decoded: ${reason}`,
      /pixel limit/i.test(reason)
        ? "make it smaller, or raise mostPixels"
        : "check that it opens in a viewer, or remove it",
      "",
      { cause },
    );
  }
  const area = height * width;
  const values = new Float32Array(channels * area);
  for (let channel = 0; channel < channels; channel++)
    for (let i = 0; i < area; i++) values[channel * area + i] = pixels[i * channels + channel]! / 255;
  return values;
}

let loaded: typeof Sharp | undefined;

/** Loads the package `sharp`. Throws DataError when it is not installed. */
function decoder(): typeof Sharp {
  try {
    loaded ??= requirePackage("sharp") as typeof Sharp;
    return loaded;
  } catch (cause) {
    throw new DataError(
      "images",
      "the npm package `sharp`, which decodes them, is not installed or does not run here",
      "npm install sharp",
      "",
      { cause },
    );
  }
}

function expectRecord<O>(subject: string, options: O): O {
  if (typeof options === "object" && options !== null) return options;
  throw new ConfigError(subject, `the options are ${described(options)}`, "give the size: { size: [64, 64] }");
}

const isSide = (value: unknown): boolean =>
  Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= 16384;

const imageOptions = optionsOf({
  size: (value) =>
    Array.isArray(value) && value.length === 2 && value.every(isSide)
      ? undefined
      : "give [height, width], whole numbers from 1 to 16384,",
  channels: (value) => (value === 1 || value === 3 ? undefined : "give 1 or 3"),
  fit: (value) =>
    ["fill", "cover", "contain"].includes(value as string) ? undefined : 'give "fill", "cover" or "contain"',
  mostPixels: (value) => (Number.isSafeInteger(value) && (value as number) > 0 ? undefined : "give a whole number"),
});

function expectImageOptions(subject: string, options: ImageOptions) {
  expectRecord(subject, options);
  expectArguments(subject, [() => undefined, imageOptions], [undefined, options]);
  const { size, channels = 3, fit = "fill", mostPixels = usualPixels } = options;
  if (size === undefined)
    throw new ConfigError(subject, "there is no size", "give [height, width]: { size: [64, 64] }");
  const [height, width] = size;
  return { height, width, channels, fit, mostPixels };
}
