/** Fashion-MNIST in Node: 70,000 pictures of clothes, from a folder of IDX files. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DataError, FormatError, quoted } from "../../errors.ts";
import { aText, expectArguments, options as optionsOf } from "../../graph/arguments.ts";
import { showShape } from "../../graph/types.ts";
import { type Column, Dataset } from "../dataset.ts";
import { readIdx } from "./idx.ts";

/** Images, float32 from 0 (paper) to 1 (ink), [examples, 1, 28, 28]; labels, int32 from 0 to 9. */
export type FashionMnistDataset = Dataset<
  readonly [images: Column<readonly [number, 1, 28, 28], "float32">, labels: Column<readonly [number], "int32">]
>;

/** Options of `loadFashionMnist`. */
export interface FashionMnistOptions {
  /**
   * The folder with the four IDX files, packed with gzip or not. Default: the folder of Debian's package,
   * /usr/share/datasets/fashion-mnist.
   */
  readonly folder?: string;
}

/** What `loadFashionMnist` returns. */
export interface FashionMnist {
  /** 60,000 images. */
  readonly train: FashionMnistDataset;
  /** 10,000 images. */
  readonly test: FashionMnistDataset;
  /** The names of the classes, in the order of the labels. */
  readonly classes: readonly string[];
}

const classes = ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

const usualFolder = "/usr/share/datasets/fashion-mnist";
const howToGet =
  "install Debian's package (apt-get install dataset-fashion-mnist), or unpack it (apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist*.deb DIR) " +
  "and give { folder: 'DIR/usr/share/datasets/fashion-mnist' }; or download the four files named on github.com/zalandoresearch/fashion-mnist into a folder";

/**
 * Loads Fashion-MNIST: 60,000 pictures of clothes for training and 10,000 for testing, in the authors' split and order. Throws DataError
 * when the files do not exist, FormatError when one of them is damaged or a different file. (Xiao, Rasul and Vollgraf 2017; MIT licence.)
 */
export async function loadFashionMnist(options: FashionMnistOptions = {}): Promise<FashionMnist> {
  expectArguments("loadFashionMnist", [optionsOf({ folder: aText })], [options]);
  const { folder = usualFolder } = options;
  const [train, test] = await Promise.all([read(folder, "train"), read(folder, "t10k")]);
  return { train, test, classes };
}

async function read(folder: string, part: "train" | "t10k"): Promise<FashionMnistDataset> {
  const [imagesFile, labelsFile] = [
    find(folder, `${part}-images-idx3-ubyte`),
    find(folder, `${part}-labels-idx1-ubyte`),
  ];
  const [images, labels] = await Promise.all([readIdx(imagesFile), readIdx(labelsFile)]);
  const count = labels.shape[0]!;
  if (`${images.shape}` !== `${[count, 28, 28]}` || labels.shape.length !== 1 || count === 0)
    throw new FormatError(
      imagesFile,
      `its images are ${showShape(images.shape)}, and the labels ${showShape(labels.shape)}`,
      "give the files of Fashion-MNIST: [examples, 28, 28] and [examples]",
    );
  const wrong = labels.values.findIndex((label) => !(label >= 0 && label <= 9));
  if (wrong >= 0 || !(images.values instanceof Uint8Array) || !(labels.values instanceof Uint8Array))
    throw new FormatError(
      labelsFile,
      wrong >= 0 ? `label ${wrong} is ${labels.values[wrong]}` : "its values, or those of the images, are no bytes",
      "give the files of Fashion-MNIST, whose labels go from 0 to 9",
    );
  const bytes: Uint8Array = images.values;
  const pixels = new Float32Array(bytes.length);
  for (let i = 0; i < pixels.length; i++) pixels[i] = bytes[i]! / 255;
  return new Dataset([
    { shape: [count, 1, 28, 28], dtype: "float32", values: pixels },
    { shape: [count], dtype: "int32", values: Int32Array.from(labels.values) },
  ]);
}

function find(folder: string, name: string): string {
  const found = [join(folder, name), join(folder, `${name}.gz`)].find((path) => existsSync(path));
  if (found) return found;
  throw new DataError("loadFashionMnist", `there is no file ${name} or ${name}.gz in ${quoted(folder)}`, howToGet);
}
