/** What tells a Transformer where a token is: positions that are added to its vector, and rotations of queries and keys. */
import { ConfigError, ShapeError } from "../../errors.ts";
import { aFlag, aNumber, aTensor, expectArguments, expectOptions, optional, options } from "../../graph/arguments.ts";
import { currentPath } from "../../graph/scope.ts";
import { type Shape, sameShape, showShape, showType } from "../../graph/types.ts";
import { arange, concat, fromValues, stack } from "../../tensor/create.ts";
import type { Parameter, State } from "../../tensor/state.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { sinusoidalTable } from "../attention.ts";
import type { Generator } from "../generator.ts";
import { type Initializer, normal } from "../initializers.ts";
import { type Module, module } from "../module.ts";
import { expectSizes, parameter, state } from "../parameters.ts";

type Float<S extends Shape> = Tensor<S, "float32">;

/** Adds a vector for its position to every token. */
export interface Positions<W extends number> extends Module {
  /**
   * Adds the positions 0, 1, … to x [batch, time, width]; with `start`, int32 [batch], each example's positions begin at its own start.
   * Throws ShapeError for a sequence longer than the table; a start that leads beyond it fails the run.
   */
  <B extends number, T extends number>(x: Float<[B, T, W]>, start?: Tensor<[NoInfer<B>], "int32">): Float<[B, T, W]>;
}

/** Positions with a learned vector each. */
export interface LearnedPositions<L extends number, W extends number> extends Positions<W> {
  readonly weight: Parameter<[L, W], "float32">;
}

/**
 * Makes sinusoidal positions (Vaswani et al. 2017) for sequences of up to `longest` tokens: `functional.sinusoidalTable`, added to x. They
 * have no parameters.
 */
export function sinusoidalPositions<const W extends number>(longest: number, width: W): Positions<W> {
  expectSizes("sinusoidalPositions", [longest, width]);
  const table = state(sinusoidalTable(longest, width), { name: "sinusoidal positions", persistent: false });
  return module("SinusoidalPositions", { table }, (x: Tensor, start?: Tensor) =>
    added("sinusoidalPositions", x, table as unknown as Tensor, start),
  ) as unknown as Positions<W>;
}

/** The options of `learnedPositions`. */
export interface LearnedPositionsOptions {
  /** How the vectors begin. Default: normal with deviation 0.02, as in BERT and GPT-2. */
  readonly weight?: Initializer;
  readonly generator?: Generator;
}

/** Makes learned positions for sequences of up to `longest` tokens, added to x, as in BERT and GPT-2. */
export function learnedPositions<const L extends number, const W extends number>(
  longest: L,
  width: W,
  options: LearnedPositionsOptions = {},
): LearnedPositions<L, W> {
  expectOptions("learnedPositions", options, ["weight", "generator"]);
  expectSizes("learnedPositions", [longest, width]);
  const weight = parameter([longest, width], options.weight ?? normal(0.02), options.generator);
  return module("LearnedPositions", { weight }, (x: Tensor, start?: Tensor) =>
    added("learnedPositions", x, weight as unknown as Tensor, start),
  ) as unknown as LearnedPositions<L, W>;
}

/** x [batch, time, width] with rows of a table [longest, width] added. */
function added(subject: string, x: Tensor, table: Tensor, start: Tensor | undefined): Tensor {
  expectArguments(subject, [aTensor, optional(aTensor)], [x, start]);
  const width = table.shape[1]!;
  if (x.shape.length !== 3 || x.shape[2] !== width)
    throw new ShapeError(subject, `x is ${showShape(x.shape)}`, `give [batch, time, ${width}]`, currentPath());
  return x.add(rowsAt(subject, table, x.shape[1]!, start, x.shape[0]!)) as Tensor;
}

/** Rows of a table, one for each step: [time, …]; or [batch, time, …] where each example begins at its own start. */
function rowsAt(subject: string, table: Tensor, time: number, start: Tensor | undefined, batch: number): Tensor {
  const longest = table.shape[0]!;
  if (time > longest)
    throw new ShapeError(
      subject,
      `a sequence of ${time} tokens, and positions for ${longest}`,
      "make the layer for longer sequences, or cut the sequence",
      currentPath(),
    );
  if (!start) return table.slice([0, time]) as Tensor;
  return table.take(placesFrom(subject, start, batch, time) as Tensor<Shape, "int32">) as Tensor;
}

/** The positions of the tokens of each example: int32 [batch, time]. */
export function placesFrom(subject: string, start: Tensor, batch: number, time: number): Tensor {
  if (start.dtype !== "int32" || !sameShape(start.shape, [batch]))
    throw new ShapeError(subject, `the positions are ${showType(start)}`, `give int32[${batch}]`, currentPath());
  return start.reshape([batch, 1]).add(arange(time)) as Tensor;
}

/** Rotates queries and keys by angles that grow with their position, so that their product depends on their distance. */
export interface RotaryPositions extends Module {
  /**
   * Rotates x [batch, heads, time, size]. Without `start`, the first token is at position 0; `start`, int32 [batch], gives the position of
   * each example's first token.
   */
  <B extends number, H extends number, T extends number, S extends number>(
    x: Float<[B, H, T, S]>,
    start?: Tensor<[NoInfer<B>], "int32">,
  ): Float<[B, H, T, S]>;
}

/** The options of `rotaryPositions`. */
export interface RotaryOptions {
  /** Pair i of `size` numbers turns by position / base^(2i/size). Default 10000. */
  readonly base?: number;
  /**
   * Which numbers form a pair: neighbours, as in the paper and GPT-J (true), or number i and number i + size/2, as in GPT-NeoX and Llama
   * (false). Default false.
   */
  readonly interleaved?: boolean;
}

/**
 * Makes rotary positions (Su et al. 2021) for sequences of up to `longest` tokens and heads of `size` numbers. Give them to
 * `multiHeadAttention` as the option `rotary`. They have no parameters. Throws ConfigError for an odd size.
 */
export function rotaryPositions(longest: number, size: number, given: RotaryOptions = {}): RotaryPositions {
  expectArguments(
    "rotaryPositions",
    [() => undefined, () => undefined, options({ base: aNumber, interleaved: aFlag })],
    [longest, size, given],
  );
  expectSizes("rotaryPositions", [longest, size]);
  const { base = 10000, interleaved = false } = given;
  if (size % 2 !== 0)
    throw new ConfigError("rotaryPositions", `heads of ${size} numbers, which do not form pairs`, "give an even size");
  if (!(base > 0 && Number.isFinite(base)))
    throw new ConfigError("rotaryPositions", `the base is ${base}`, "give a number above 0");
  const half = size / 2;
  const angles = Float64Array.from(
    { length: longest * half },
    (_, i) => Math.floor(i / half) / base ** ((2 * (i % half)) / size),
  );
  const table = (name: string, f: (angle: number) => number): State =>
    state(fromValues(Float32Array.from(angles, f), [longest, half]), { name, persistent: false }) as unknown as State;
  const [cosines, sines] = [table("rotary cosines", Math.cos), table("rotary sines", Math.sin)];
  return module("RotaryPositions", { cosines, sines }, (x: Tensor, start?: Tensor) => {
    expectArguments("rotaryPositions", [aTensor, optional(aTensor)], [x, start]);
    const [batch, heads, time] = x.shape;
    if (x.shape.length !== 4 || x.shape[3] !== size)
      throw new ShapeError(
        "rotaryPositions",
        `x is ${showShape(x.shape)}`,
        `give [batch, heads, time, ${size}]`,
        currentPath(),
      );
    const [cos, sin] = [cosines, sines].map((rows) => {
      const at = rowsAt("rotaryPositions", rows as unknown as Tensor, time!, start, batch!);
      return start ? at.reshape([batch!, 1, time!, half]) : at;
    }) as [Tensor, Tensor];
    const pairs = [batch!, heads!, time!, half, 2];
    const [a, b] = (
      interleaved
        ? x
            .reshape(pairs)
            .split([1, 1])
            .map((part) => part.squeeze(-1))
        : x.split([half, half])
    ) as [Tensor, Tensor];
    const [c, d] = [a.mul(cos).sub(b.mul(sin)), a.mul(sin).add(b.mul(cos))] as [Tensor, Tensor];
    return interleaved ? stack([c, d], -1).reshape(x.shape) : concat([c, d], -1);
  }) as unknown as RotaryPositions;
}
