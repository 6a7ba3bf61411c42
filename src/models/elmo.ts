/** ELMo: vectors of words in their sentence, from the layers of a language model that reads in both directions (Peters et al. 2018). */
import { ConfigError } from "../errors.ts";
import { aNumber, aTensor, aWhole, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import * as functional from "../nn/functional.ts";
import { defaultGenerator, type Generator } from "../nn/generator.ts";
import { uniform, zeros as zerosAtFirst } from "../nn/initializers.ts";
import { embedding, linear } from "../nn/layers/basic.ts";
import { conv1d } from "../nn/layers/convolution.ts";
import { type Lstm, lstm } from "../nn/layers/recurrent.ts";
import { crossEntropy } from "../nn/losses.ts";
import { type Module, method, module } from "../nn/module.ts";
import { expectRate, expectSizes, parameter } from "../nn/parameters.ts";
import { arange, concat } from "../tensor/create.ts";
import type { Parameter } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { sampledCrossEntropy } from "./sampled-softmax.ts";

type Float3 = Tensor<[number, number, number], "float32">;
type Ids = Tensor<[number, number], "int32">;
type Lengths = Tensor<[number], "int32">;

/** Options of `elmo`. */
export interface ElmoOptions {
  /** The width of each direction; a contextual vector has twice as many numbers. Default 128. */
  readonly hiddenSize?: number;
  /** Recurrent layers in each direction. Default 2. */
  readonly layers?: number;
  /** The rate of dropout on the inputs of each layer, in training. Default 0.1. */
  readonly dropout?: number;
  /** The number of different characters, for a model whose words are characters. Default: words are ids. */
  readonly characters?: number;
  /** The width of a character's vector. Default 16. */
  readonly characterSize?: number;
  /** The filters over characters: how many of each width. Default 32 of 1, 32 of 2, 64 of 3 and 64 of 4 characters. */
  readonly filters?: readonly (readonly [width: number, count: number])[];
  /** Draws the initial values and the masks of dropout. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/** The input of ELMo: word ids [sentences, time], or ids of characters [sentences, time, characters], of which 0 is padding. */
export type ElmoInput = Tensor<[number, number], "int32"> | Tensor<[number, number, number], "int32">;

/** Options of the loss of ELMo's language model. */
export interface ElmoLossOptions {
  /** How many tokens each is compared with, as in `sampledCrossEntropy`. Default: the whole vocabulary. */
  readonly samples?: number;
}

/** A language model in both directions that `elmo` makes. */
export interface Elmo extends Module {
  /**
   * Returns the layers of vectors of sentences: the words themselves (twice, side by side) and each recurrent layer's forward and backward
   * output, each [sentences, time, 2 · hiddenSize]. `lengths`, int32 [sentences], says how many words are real.
   */
  (words: ElmoInput, lengths: Lengths): readonly Float3[];
  /**
   * Returns the loss of the language model: each word is predicted from the words before it and, apart from that, from the words behind it,
   * by one softmax for both directions; the mean of all these cross-entropies. `targets` are the ids of the words [sentences, time].
   */
  loss(words: ElmoInput, targets: Ids, lengths: Lengths, options?: ElmoLossOptions): Tensor<[], "float32">;
  readonly hiddenSize: number;
  readonly layerCount: number;
}

/** Words out of characters: convolutions of several widths, the largest value of each filter, a linear layer. */
function characterEncoder(
  characters: number,
  outputs: number,
  characterSize: number,
  filters: readonly (readonly [number, number])[],
  generator: Generator,
): Module & ((words: Tensor<[number, number, number], "int32">) => Float3) {
  const table = embedding(characters, characterSize, { generator });
  const convolutions = filters.map(([width, count]) =>
    conv1d(characterSize, count, width, { padding: width - 1, generator }),
  );
  const total = filters.reduce((sum, [, count]) => sum + count, 0);
  const projection = linear(total, outputs, { generator });
  return module(
    "CharacterEncoder",
    { embedding: table, convolutions, projection },
    (words: Tensor<[number, number, number], "int32">): Float3 => {
      const [batch, time, letters] = words.sizes();
      const flat = words.reshape([batch * time, letters]);
      const isReal = flat
        .notEqual(0)
        .cast("float32")
        .reshape([batch * time, letters, 1]);
      const x = table(flat).mul(isReal).transpose(0, 2, 1);
      const found = convolutions.map(
        (convolution) => convolution(x).relu().max(2) as Tensor<[number, number], "float32">,
      );
      const joined = concat(found, 1) as Tensor<[number, number], "float32">;
      return projection(joined).reshape([batch, time, outputs]);
    },
  );
}

/**
 * Makes ELMo's language model for a vocabulary of words: the words' vectors, from a table or from their characters; for each direction its
 * own LSTM layers, with a connection around each layer but the first; one softmax for both directions. Throws ConfigError for invalid
 * sizes and rates.
 */
export function elmo(vocabularySize: number, options: ElmoOptions = {}): Elmo {
  const numbers = { hiddenSize: aWhole, layers: aWhole, dropout: aNumber, characters: aWhole, characterSize: aWhole };
  const others = { filters: () => undefined, generator: () => undefined };
  expectArguments("elmo", [aWhole, optionsOf({ ...numbers, ...others })], [vocabularySize, options]);
  const { hiddenSize = 128, layers = 2, dropout: rate = 0.1, characters, characterSize = 16 } = options;
  const {
    filters = [
      [1, 32],
      [2, 32],
      [3, 64],
      [4, 64],
    ],
    generator = defaultGenerator,
  } = options;
  expectSizes("elmo", [
    vocabularySize,
    hiddenSize,
    layers,
    characterSize,
    ...(characters === undefined ? [] : [characters]),
  ]);
  expectRate(rate);
  const words =
    characters === undefined
      ? embedding(vocabularySize, hiddenSize, { weight: uniform(0.1), generator })
      : characterEncoder(characters, hiddenSize, characterSize, filters, generator);
  const stack = (): Lstm<number, number>[] =>
    Array.from({ length: layers }, () => lstm(hiddenSize, hiddenSize, { generator }) as Lstm<number, number>);
  const [forward, backward] = [stack(), stack()];
  const weight = parameter([vocabularySize, hiddenSize] as [number, number], uniform(0.1), generator);
  const bias = parameter([vocabularySize] as [number], zerosAtFirst, generator);
  const softmax = module("Softmax", { weight, bias }, (x: Tensor<[number, number], "float32">) =>
    functional.linear(x, weight, bias),
  );
  const dropped = (x: Float3): Float3 => (rate > 0 && self.training ? functional.dropout(x, rate, generator) : x);

  /** The outputs of one direction's layers, as they are read from the first word to the last. */
  const read = (own: readonly Lstm<number, number>[], x: Float3, lengths: Lengths, isBackward: boolean): Float3[] => {
    const [, time] = x.sizes();
    const places = arange(time).reshape([1, time]);
    const isReal = places.less(lengths.reshape([lengths.sizes()[0], 1]));
    const turned = (each: Float3): Float3 => (isBackward ? (each.flip(1) as Float3) : each);
    // Padding, which is behind the sentence, comes first when it is read from the end.
    const mask = isBackward ? isReal.flip(1) : isReal;
    const outputs: Float3[] = [];
    let h = turned(x);
    for (const [i, layer] of own.entries()) {
      const y = layer(dropped(h), { mask: mask as Tensor<[number, number], "bool"> }).outputs;
      h = i === 0 ? y : y.add(h);
      outputs.push(turned(h));
    }
    return outputs;
  };
  const vectorsOf = (input: ElmoInput): Float3 => (words as (x: ElmoInput) => Float3)(input);
  const both = (x: Float3, lengths: Lengths): readonly [Float3[], Float3[]] => [
    read(forward, x, lengths, false),
    read(backward, x, lengths, true),
  ];

  const self: Module = module(
    "Elmo",
    { words, forward, backward, softmax },
    (input: ElmoInput, lengths: Lengths): readonly Float3[] => {
      expectArguments("elmo", [aTensor, aTensor], [input, lengths]);
      const x = vectorsOf(input);
      const [before, behind] = both(x, lengths);
      return [concat([x, x], 2) as Float3, ...before.map((each, i) => concat([each, behind[i]!], 2) as Float3)];
    },
  );
  method(
    self,
    "loss",
    (input: ElmoInput, targets: Ids, lengths: Lengths, { samples }: ElmoLossOptions = {}): Tensor<[], "float32"> => {
      const [batch, time] = targets.sizes();
      if (time < 2)
        throw new ConfigError("elmo", "the sentences have one word", "give two words at least, such as the ends");
      const [before, behind] = both(vectorsOf(input), lengths);
      // What is read up to word t predicts word t + 1; what is read from the end down to word t + 1 predicts word t.
      const x = concat([before.at(-1)!.slice(null, [0, time - 1]), behind.at(-1)!.slice(null, [1, time])], 0) as Float3;
      const rows = 2 * batch * (time - 1);
      const labels = concat([targets.slice(null, [1, time]), targets.slice(null, [0, time - 1])], 0).reshape([rows]);
      const known = arange(time - 1)
        .reshape([1, time - 1])
        .add(1)
        .less(lengths.reshape([batch, 1]))
        .cast("float32");
      const counts = concat([known, known], 0).reshape([rows]) as Tensor<[number], "float32">;
      const flat = dropped(x).reshape([rows, hiddenSize]);
      const classes = labels as Tensor<[number], "int32">;
      if (samples !== undefined)
        return sampledCrossEntropy(flat, weight, bias, classes, counts, { samples, generator });
      const losses = crossEntropy(softmax(flat), classes, { reduction: "none" });
      return losses.mul(counts).sum().div(counts.sum().maximum(1));
    },
  );
  Object.defineProperty(self, "hiddenSize", { value: hiddenSize });
  Object.defineProperty(self, "layerCount", { value: layers + 1 });
  return self as unknown as Elmo;
}

/** A layer that mixes the layers of vectors of a language model. Made by `scalarMix`. */
export interface ScalarMix extends Module {
  /** Returns γ · Σ sⱼ · layerⱼ, with s the softmax of `weight`. */
  (layers: readonly Float3[]): Float3;
  readonly weight: Parameter<[number], "float32">;
  readonly gamma: Parameter<[1], "float32">;
}

/**
 * Makes a layer that learns how much of each of `count` layers a task needs: a weighted sum, whose weights are a softmax, times a number γ.
 * It begins with equal weights and γ = 1. Throws ConfigError for a count below 1.
 */
export function scalarMix(count: number): ScalarMix {
  expectArguments("scalarMix", [aWhole], [count]);
  expectSizes("scalarMix", [count]);
  const weight = parameter([count] as [number], zerosAtFirst);
  const gamma = parameter([1], (shape) => new Float32Array(shape[0]!).fill(1));
  return module("ScalarMix", { weight, gamma }, (layers: readonly Float3[]): Float3 => {
    if (layers.length !== count)
      throw new ConfigError("scalarMix", `it got ${layers.length} layers`, `give ${count}, as many as it was made for`);
    const shares = weight.softmax();
    const sum = layers
      .map((layer, i) => layer.mul(shares.slice([i, i + 1]).reshape([1, 1, 1])) as Float3)
      .reduce((all, each) => all.add(each));
    return sum.mul(gamma.reshape([1, 1, 1]));
  });
}
