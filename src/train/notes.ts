/** What a user records in addition to what `fit` records itself. */
import { ConfigError } from "../errors.ts";
import { aRecord, aText, described, expectArguments } from "../graph/arguments.ts";
import { histogramOf, type Summary } from "./tensorboard.ts";

/** An image: the values of its pixels, row by row from the top. */
export interface Picture {
  /** [height, width] for grey, or [height, width, channels] with 1 (grey), 3 (red, green, blue) or 4 channels (with opacity). */
  readonly shape: readonly number[];
  /** Values from 0 to 1, or from 0 to 255 in a Uint8Array. */
  readonly values: ArrayLike<number>;
}

/**
 * Records your own values in a run's folder: numbers in `metrics.jsonl` and the event files, everything else only in the event files.
 * `onEvent` is given a recorder. What it records on "log", "evaluation" and "epoch" events is the same in a training that was
 * interrupted and resumed. Without a folder, nothing is recorded.
 */
export interface Recorder {
  /** Records numbers by name. */
  scalars(values: { readonly [name: string]: number }): void;
  /** Records a text in Markdown. */
  text(name: string, text: string): void;
  image(name: string, picture: Picture): void;
  /** Records a histogram of values. */
  histogram(name: string, values: ArrayLike<number>): void;
}

/** What was recorded in one call of `onEvent`. */
export interface Notes {
  readonly scalars: { readonly [name: string]: number };
  readonly summaries: ReadonlyMap<string, Summary>;
}

/** A recorder that stores what it is given. `encode` makes a PNG file from pixels. */
export class Notebook implements Recorder {
  readonly #encode: Encoder | undefined;
  /** The records. Created when something is recorded, since most calls record nothing. */
  notes: { readonly scalars: Record<string, number>; readonly summaries: Map<string, Summary> } | undefined;

  constructor(encode: Encoder | undefined) {
    this.#encode = encode;
  }

  #note(name: string, summary: Summary): void {
    this.notes ??= { scalars: {}, summaries: new Map() };
    this.notes.summaries.set(name, summary);
    if (summary.kind === "scalar") this.notes.scalars[name] = summary.value;
  }

  scalars(values: { readonly [name: string]: number }): void {
    expectArguments("scalars", [aRecord], [values]);
    for (const [name, value] of Object.entries(values)) {
      if (typeof value !== "number")
        throw new ConfigError("scalars", `${name} is ${described(value)}`, "give numbers: await tensor.item()");
      this.#note(name, { kind: "scalar", value });
    }
  }

  text(name: string, text: string): void {
    expectArguments("text", [aText, aText], [name, text]);
    this.#note(name, { kind: "text", text });
  }

  image(name: string, picture: Picture): void {
    expectArguments("image", [aText, aRecord], [name, picture]);
    const pixels = pixelsOf(picture);
    if (!this.#encode) return;
    const { width, height, channels } = pixels;
    this.#note(name, { kind: "image", width, height, channels, png: this.#encode(pixels) });
  }

  histogram(name: string, values: ArrayLike<number>): void {
    expectArguments("histogram", [aText, numbers], [name, values]);
    this.#note(name, { kind: "histogram", histogram: histogramOf(values) });
  }
}

/** The bytes of pixels, row by row. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

export type Encoder = (pixels: Pixels) => Uint8Array;

const numbers = (value: unknown): string | undefined =>
  Array.isArray(value) || ArrayBuffer.isView(value) ? undefined : "give numbers in an array: await tensor.data()";

function pixelsOf({ shape, values }: Picture): Pixels {
  const [height, width, channels = 1] = Array.isArray(shape) ? (shape as readonly number[]) : [];
  const isShape =
    Array.isArray(shape) &&
    [2, 3].includes(shape.length) &&
    [height, width].every((size) => Number.isSafeInteger(size) && size! > 0) &&
    [1, 3, 4].includes(channels);
  if (!isShape)
    throw new ConfigError(
      "image",
      `its shape is ${described(shape)}${Array.isArray(shape) ? ` [${shape.join(", ")}]` : ""}`,
      "give [height, width], or [height, width, channels] with 1, 3 or 4 channels",
    );
  const size = height! * width! * channels;
  if (values?.length !== size)
    throw new ConfigError("image", `it has ${values?.length} values for ${size} places`, "make shape and values agree");
  const data =
    values instanceof Uint8Array
      ? values
      : Uint8ClampedArray.from({ length: size }, (_, i) => Math.round(values[i]! * 255));
  return { width: width!, height: height!, channels, data: new Uint8Array(data.buffer, data.byteOffset, size) };
}
