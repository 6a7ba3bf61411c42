/** Batches of examples that arrive one after the other, for example from a file that does not fit into memory. */
import { ConfigError, DataError } from "../errors.ts";
import { described, expectOptions } from "../graph/arguments.ts";
import { allocate, arrayTypes, type DType, type Shape, showShape, sizeOf, type Values } from "../graph/types.ts";
import { expectSeed, hostStream } from "../random/generator.ts";
import type { PhiloxStream } from "../random/stream.ts";
import { streams } from "../random/streams.ts";
import { adopt } from "../tensor/create.ts";
import { type Changes, changed } from "./changes.ts";
import type { Column } from "./dataset.ts";
import type { ExampleValues, LoaderState } from "./loader.ts";
import { drawIndex } from "./shuffle.ts";
import type { Batch } from "./tensors.ts";

/**
 * The shape and the dtype of one example in a column: `{ shape: [28, 28], dtype: "float32" }`. The shape is `[]` if the example is one
 * number.
 */
export interface ExampleType<S extends Shape = Shape, D extends DType = DType> {
  readonly shape: S;
  readonly dtype: D;
}

/** The columns of examples of these types. */
export type ColumnsOf<T extends readonly ExampleType[]> = {
  readonly [K in keyof T]: T[K] extends ExampleType<infer S, infer D> ? Column<readonly [number, ...S], D> : never;
};

/**
 * An item of a source: for each column the values of one example, or of several examples one after the other; a single number may be given
 * directly.
 */
export type StreamItem = readonly (number | ArrayLike<number>)[];

/** Begins an epoch. It must give the same items for the same epoch, so that a position in it can be found again. */
export type StreamSource = (epoch: number) => AsyncIterable<StreamItem> | Iterable<StreamItem>;

/** Options of `stream`. */
export interface StreamOptions<C extends readonly Column[] = readonly Column[], M extends readonly Column[] = C> {
  /** The number of examples in a batch, from 1 on. */
  readonly batchSize: number;
  /**
   * The number of examples that are held in a buffer, from which the next one is drawn at random. More examples mix better. Default 1: the
   * order of the source.
   */
  readonly shuffleBuffer?: number;
  /** The seed of draws and random changes. Default 0. */
  readonly seed?: number;
  /** Whether the last examples are left out if they do not fill a batch. Default false: the last batch is smaller. */
  readonly dropLast?: boolean;
  /** The number of batches that are read ahead. Default 2. */
  readonly prefetch?: number;
  /** Changes one example by writing into its arrays, with a stream of random numbers for each epoch and place in it. */
  readonly mapExample?: (example: ExampleValues<C>, random: PhiloxStream) => void;
  /** Returns the batch to yield, made from the columns of a batch, with a stream of random numbers for each epoch and batch. */
  readonly map?: (batch: C, random: PhiloxStream) => M;
}

/**
 * Gives the batches of one epoch in each iteration, and those of the next epoch in the next. A position is found again by rereading the
 * epoch up to it, which is exact also with shuffling.
 */
export class Stream<B> implements AsyncIterable<B> {
  readonly #types: readonly ExampleType[];
  readonly #sizes: readonly number[];
  readonly #source: StreamSource;
  readonly #options: Required<Pick<StreamOptions, "batchSize" | "shuffleBuffer" | "seed" | "dropLast" | "prefetch">>;
  readonly #changes: Changes;
  #next: LoaderState = { epoch: 0, batch: 0 };
  #resumed = false;

  /** Internal: use `stream`. */
  constructor(types: readonly ExampleType[], source: StreamSource, options: StreamOptions) {
    const { batchSize, shuffleBuffer = 1, seed = 0, dropLast = false, prefetch = 2, map, mapExample } = options;
    this.#types = types;
    this.#sizes = types.map(({ shape }) => sizeOf(shape));
    this.#source = source;
    this.#options = { batchSize, shuffleBuffer, seed, dropLast, prefetch };
    // The callers give the types; the stream passes columns of its types to these functions.
    this.#changes = { seed, map: map as Changes["map"], mapExample: mapExample as Changes["mapExample"] };
  }

  /** The number of examples in a batch; the last batch of an epoch may have fewer. */
  get batchSize(): number {
    return this.#options.batchSize;
  }

  /** Returns the position for a checkpoint. Inside a loop it is the position of the next batch. */
  state(): LoaderState {
    return this.#next;
  }

  /** Makes the next iteration start at `state`, possibly in the middle of an epoch. Throws ConfigError for an invalid position. */
  resume({ epoch, batch }: LoaderState): void {
    const isCount = (value: unknown, bound: number): boolean =>
      Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < bound;
    if (!isCount(epoch, streams.order.count) || !isCount(batch, 2 ** 31))
      throw new ConfigError(
        "resume",
        `epoch ${described(epoch)}, batch ${described(batch)}`,
        "resume with what state() of such a stream gave",
      );
    this.#next = { epoch, batch };
    this.#resumed = true;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<B, void, undefined> {
    if (this.#next.batch > 0 && !this.#resumed) this.#next = { epoch: this.#next.epoch + 1, batch: 0 };
    this.#resumed = false;
    const { epoch, batch } = this.#next;
    const ahead = this.#batches(epoch, batch);
    // The generator handles requests one after the other. These requests are pending; one more than `prefetch`, to know which batch is the
    // last.
    const pending: Promise<IteratorResult<readonly Column[], void>>[] = [];
    const ask = (): void => {
      const request = ahead.next();
      request.catch(() => {}); //  reported when its turn comes
      pending.push(request);
    };
    for (let i = 0; i < this.#options.prefetch + 1; i++) ask();
    try {
      let current = await pending.shift()!;
      for (let index = batch; !current.done; index++) {
        ask();
        const following = await pending.shift()!;
        this.#next = following.done ? { epoch: epoch + 1, batch: 0 } : { epoch, batch: index + 1 };
        yield current.value.map((column) => adopt(column, column.values)) as B;
        current = following;
      }
    } finally {
      await ahead.return();
    }
  }

  /**
   * Yields the batches of an epoch from `first` on. Earlier batches are assembled, because draws depend on them, but random changes are not
   * applied to them.
   */
  async *#batches(epoch: number, first: number): AsyncGenerator<readonly Column[], void, undefined> {
    const { batchSize, shuffleBuffer, dropLast, seed } = this.#options;
    const random = hostStream(seed, "order", epoch);
    const held = this.#arrays(shuffleBuffer > 1 ? shuffleBuffer : 0);
    let [batch, rows, count] = [0, 0, 0];
    let values = this.#arrays(batchSize);
    /** Completes the current batch; returns undefined for a batch before `first`. */
    const complete = (): readonly Column[] | undefined => {
      const place = { epoch, batch, begin: batch * batchSize };
      const columns = this.#types.map(({ shape, dtype }, i): Column => {
        const own = rows === batchSize ? values[i]! : values[i]!.slice(0, rows * this.#sizes[i]!);
        return { shape: [rows, ...shape], dtype, values: own };
      });
      rows = 0;
      if (batch++ < first) return undefined;
      values = this.#arrays(batchSize);
      return changed(columns, this.#changes, place);
    };
    const use = (from: readonly Values[], row: number): readonly Column[] | undefined => {
      this.#copy(from, row, values, rows);
      return ++rows === batchSize ? complete() : undefined;
    };
    for await (const [item, examples] of this.#items(epoch))
      for (let row = 0; row < examples; row++) {
        let full: readonly Column[] | undefined;
        if (shuffleBuffer === 1) full = use(item, row);
        else if (count < shuffleBuffer) this.#copy(item, row, held, count++);
        else {
          const chosen = drawIndex(count, random);
          full = use(held, chosen);
          this.#copy(item, row, held, chosen);
        }
        if (full) yield full;
      }
    for (; count > 0; count--) {
      const chosen = drawIndex(count, random);
      const full = use(held, chosen);
      this.#copy(held, count - 1, held, chosen);
      if (full) yield full;
    }
    if (batch === 0 && (rows === 0 || dropLast))
      throw new DataError(
        "stream",
        `the source gave ${rows === 0 ? "no examples" : `${rows} examples, and a batch has ${batchSize},`} in epoch ${epoch}`,
        "let it begin anew for each epoch: give a function that opens the file, not one opened before",
      );
    const last = rows > 0 && !dropLast ? complete() : undefined;
    if (last) yield last;
    if (first > 0 && first >= batch)
      throw new DataError(
        "stream",
        `epoch ${epoch} is to go on at batch ${first}, and the source gives ${batch}`,
        "resume with the source and the batch size that the state was saved with",
      );
  }

  /** Yields the items of the source, checked, with their number of examples. */
  async *#items(epoch: number): AsyncGenerator<readonly [readonly Values[], number], void, undefined> {
    const items: unknown = this.#source(epoch);
    const isIterable =
      typeof items === "object" && items !== null && (Symbol.asyncIterator in items || Symbol.iterator in items);
    if (!isIterable)
      throw new ConfigError(
        "stream",
        `the source returned ${described(items)}`,
        "return what can be iterated: async function* () { yield [inputs, label]; }",
      );
    let place = 0;
    for await (const item of items as AsyncIterable<unknown>) {
      const values = this.#valuesOf(item, place++);
      yield [values, values[0]!.length / this.#sizes[0]!];
    }
  }

  #copy(from: readonly Values[], row: number, to: readonly Values[], at: number): void {
    for (let i = 0; i < to.length; i++) {
      const size = this.#sizes[i]!;
      if (size === 1) to[i]![at] = from[i]![row]!;
      else to[i]!.set(from[i]!.subarray(row * size, (row + 1) * size), at * size);
    }
  }

  /** Returns the values of an item in arrays of the columns' dtypes. Throws DataError for an item that does not fit. */
  #valuesOf(item: unknown, place: number): readonly Values[] {
    if (!Array.isArray(item) || item.length !== this.#types.length)
      throw new DataError(
        "stream",
        `item ${place} is ${Array.isArray(item) ? `an array of ${item.length}` : described(item)}, and there are ${this.#types.length} columns`,
        "yield an array with the values of each column: [inputs, label]",
      );
    let examples: number | undefined;
    return this.#types.map(({ shape, dtype }, i) => {
      const given: unknown = typeof item[i] === "number" ? [item[i]] : item[i];
      const length = typeof given === "object" && given !== null ? (given as ArrayLike<number>).length : undefined;
      const count = length === undefined ? Number.NaN : length / this.#sizes[i]!;
      examples ??= count;
      if (!Number.isInteger(count) || count < 1 || count !== examples)
        throw new DataError(
          "stream",
          `item ${place}, column ${i}: ${length === undefined ? described(given) : `${length} values`}, and an example is ${dtype}${showShape(shape)}${count !== examples ? `, and column 0 has ${examples} of them` : ""}`,
          "yield the values of whole examples, as many of them in each column",
        );
      return asValues(given as ArrayLike<number>, dtype, `item ${place}, column ${i}`);
    });
  }

  #arrays(rows: number): Values[] {
    return this.#types.map(({ shape, dtype }) => allocate({ shape: [rows, ...shape], dtype }));
  }
}

/** Returns values in an array of a dtype. Throws DataError for values that the dtype cannot hold. */
function asValues(given: ArrayLike<number>, dtype: DType, where: string): Values {
  if (given instanceof arrayTypes[dtype]) return given;
  const values = arrayTypes[dtype].from(given);
  for (let i = 0; i < values.length; i++) {
    const value: unknown = given[i];
    if (typeof value !== "number" || ((dtype === "int32" || dtype === "bool") && values[i] !== value))
      throw new DataError(
        "stream",
        `${where}: element ${i} is ${described(value)}, which is no ${dtype}`,
        "give numbers",
      );
  }
  return values;
}

/**
 * Makes batches of examples that arrive one after the other, one epoch in each iteration: `for await (const [x, y] of stream(types, source,
 * { batchSize: 32 }))`. The source is called for each epoch and gives items, each with the values of one example or of several:
 *
 *     const types = [{ shape: [4], dtype: "float32" }, { shape: [], dtype: "int32" }] as const;
 *     stream(types, async function* () { yield [[5.1, 3.5, 1.4, 0.2], 0]; }, { batchSize: 1 });
 *
 * It needs memory for a few batches and the shuffle buffer. `fit` accepts a stream like a loader. Throws ConfigError for wrong options;
 * while it is read, DataError for items that do not fit the types and for a source without examples, and the errors of the source.
 */
export function stream<const T extends readonly ExampleType[], const M extends readonly Column[] = ColumnsOf<T>>(
  types: T,
  source: StreamSource,
  options: StreamOptions<ColumnsOf<T>, M>,
): Stream<Batch<M>> {
  const isType = (type: unknown): boolean => {
    const { shape, dtype } = (type ?? {}) as Partial<ExampleType>;
    const isSize = (size: unknown): boolean => Number.isSafeInteger(size) && (size as number) > 0;
    return (
      Array.isArray(shape) &&
      shape.every(isSize) &&
      Object.hasOwn(arrayTypes, String(dtype)) &&
      typeof dtype === "string"
    );
  };
  if (!Array.isArray(types) || types.length === 0 || !types.every(isType))
    throw new ConfigError(
      "stream",
      `the types are ${described(types)}`,
      'give the type of one example for each column: [{ shape: [4], dtype: "float32" }, { shape: [], dtype: "int32" }]',
    );
  if (typeof source !== "function")
    throw new ConfigError(
      "stream",
      `the source is ${described(source)}`,
      "give a function that begins an epoch: async function* (epoch) { yield [inputs, label]; }",
    );
  if (options === undefined) throw new ConfigError("stream", "there are no options", "give { batchSize: 32 }");
  expectOptions("stream", options, optionNames);
  for (const [name, value, least] of [
    ["batchSize", options.batchSize, 1],
    ["shuffleBuffer", options.shuffleBuffer ?? 1, 1],
    ["prefetch", options.prefetch ?? 2, 0],
  ] as const)
    if (!Number.isSafeInteger(value) || value < least || value > 2 ** 31)
      throw new ConfigError("stream", `${name} is ${described(value)}`, `give a whole number from ${least} on`);
  expectSeed("stream", options.seed ?? 0);
  for (const name of ["map", "mapExample"] as const)
    if (options[name] !== undefined && typeof options[name] !== "function")
      throw new ConfigError("stream", `\`${name}\` is ${described(options[name])}`, "give a function");
  return new Stream<Batch<M>>(types, source, options as unknown as StreamOptions);
}

const optionNames = ["batchSize", "shuffleBuffer", "seed", "dropLast", "prefetch", "map", "mapExample"] as const;
