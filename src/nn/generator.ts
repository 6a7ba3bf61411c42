/** The generator behind initial weights and dropout masks. */

import { apply } from "../graph/apply.ts";
import type { Shape } from "../graph/types.ts";
import { randomBits } from "../ops/random.ts";
import { expectSeed, hostStream, initialState } from "../random/generator.ts";
import type { PhiloxStream } from "../random/philox.ts";
import { fromValues } from "../tensor/create.ts";
import { State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * A source of random numbers that depend on the seed, the stream and how many draws came before, and on nothing else: the
 * same bits on every engine. Numbers for JavaScript come from `host`, tensors from `uniform`.
 */
export class Generator {
  /** The position inside graphs: a variable, so that a compiled step moves it on. */
  readonly state: State<[4], "int32">;
  #host: PhiloxStream;
  readonly #stream: number;

  /** `seed` is a whole number from 0 to 2⁵³ − 1, `stream` a small whole number; different streams are independent. */
  constructor(seed: number, stream: number = 0) {
    expectSeed("Generator", seed);
    this.#stream = stream;
    this.#host = hostStream(seed, stream);
    this.state = new State({ shape: [4], dtype: "int32" }, initialState(seed, stream), {
      name: "generator",
      persistent: false,
    });
  }

  /** Starts again from a seed. */
  seed(seed: number): void {
    expectSeed("seed", seed);
    this.#host = hostStream(seed, this.#stream);
    this.state.write(initialState(seed, this.#stream));
  }

  /** Numbers on the JavaScript side. */
  get host(): PhiloxStream {
    return this.#host;
  }

  /** float32 uniform in [0, 1), new ones at every run. */
  uniform<const S extends Shape>(shape: readonly [...S]): Tensor<S, "float32"> {
    const bits = apply(randomBits, [this.state], { shape: [...shape], bits: 24 });
    this.state.assign(this.state.add(oneDraw));
    return bits.cast("float32").mul(2 ** -24) as Tensor<S, "float32">;
  }
}

const oneDraw = fromValues(Int32Array.of(0, 0, 0, 1), [4]);

/** The generator used wherever none is given. Its seed is 0 until `seed` changes it. */
export const defaultGenerator: Generator = new Generator(0);

/** Seeds the default generator: the same seed before a model is built gives the same model and the same training. */
export function seed(value: number): void {
  defaultGenerator.seed(value);
}
