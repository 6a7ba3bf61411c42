/** Recurrent language models (Mikolov et al. 2010; Zaremba et al. 2014), whose step `generate` decodes. */
import { ConfigError } from "../errors.ts";
import {
  aFlag,
  aNumber,
  anything,
  aTensor,
  aText,
  aWhole,
  expectArguments,
  options as optionsOf,
} from "../graph/arguments.ts";
import type { Shape } from "../graph/types.ts";
import * as functional from "../nn/functional.ts";
import { defaultGenerator, type Generator } from "../nn/generator.ts";
import { uniform, zeros } from "../nn/initializers.ts";
import { type Embedding, embedding, type Linear, linear } from "../nn/layers/basic.ts";
import {
  gru,
  lstm,
  type Recurrent,
  type RecurrentKind,
  type RecurrentLayer,
  type RecurrentOptions,
  rnn,
  type StateOf,
} from "../nn/layers/recurrent.ts";
import { type Module, method, module } from "../nn/module.ts";
import { expectRate, expectSizes, parameter } from "../nn/parameters.ts";
import type { Parameter } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aStateOf, mapState, type StepModel, type TokenIds } from "./step-model.ts";

/** The options of `recurrentLanguageModel`. */
export interface RecurrentLanguageModelOptions<K extends RecurrentKind = RecurrentKind> {
  /** The kind of recurrent layers. Default `"lstm"`. */
  readonly kind?: K;
  /** The width of a token's vector. Default: `hiddenSize`. */
  readonly embeddingSize?: number;
  /** The width of each recurrent layer. Default 256. */
  readonly hiddenSize?: number;
  /** The number of recurrent layers. Default 2. */
  readonly layers?: number;
  /** The rate of dropout on the tokens' vectors, between layers and before the head, in training. Default 0. */
  readonly dropout?: number;
  /**
   * Whether the head's weight is the table of the tokens' vectors (Press and Wolf 2017). If `hiddenSize` and `embeddingSize` differ, a linear
   * layer between them comes first. Default true.
   */
  readonly tied?: boolean;
  /** Draws the initial values and the masks of dropout. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/** The state of a language model: that of its recurrent layers with the batch first, each [batch, layers, hidden]. */
export type LanguageModelState<K extends RecurrentKind = RecurrentKind> = StateOf<K, [number, number, number]>;

/** What a recurrent language model returns. */
export interface LanguageModelOutput<B extends number, T extends number, K extends RecurrentKind> {
  /** What is expected after each token: [batch, time, vocabulary]. */
  readonly logits: Tensor<[B, T, number], "float32">;
  /** The state after the last token. */
  readonly state: LanguageModelState<K>;
}

/** The arguments of a language model besides its tokens. */
export interface LanguageModelInput<K extends RecurrentKind> {
  /** The state before the first token, such as the state after the batch before. Default zeros. */
  readonly state?: LanguageModelState<K>;
  /** The number of real tokens of each row, int32 [batch]; what follows them does not count. Default: all. */
  readonly lengths?: TokenIds;
}

/** A language model that `recurrentLanguageModel` makes. `generate` takes it as it is. */
export interface RecurrentLanguageModel<K extends RecurrentKind = RecurrentKind>
  extends Module,
    StepModel<LanguageModelState<K>> {
  /** Reads tokens [batch, time], and returns what is expected after each of them. */
  <B extends number, T extends number>(
    tokens: Tensor<[B, T], "int32">,
    input?: LanguageModelInput<K>,
  ): LanguageModelOutput<B, T, K>;
  readonly embedding: Embedding<number, number>;
  readonly recurrent: RecurrentLayer<K, number, number, number, number, true>;
  /** The layer between the recurrent layers and a tied head of another width. */
  readonly projection?: Linear<number, number>;
  readonly head: Module & {
    readonly weight: Parameter<[number, number], "float32">;
    readonly bias: Parameter<[number], "float32">;
  };
}

/** The layers of all kinds as if they were LSTMs: what differs between them, the parts of the state, is only passed on here. */
type AnyRecurrent = Recurrent<"lstm", number, number, number>;
const kinds: Readonly<
  Record<RecurrentKind, (inputs: number, hidden: number, options: RecurrentOptions) => AnyRecurrent>
> = { rnn: rnn as never, lstm: lstm as never, gru: gru as never };

/**
 * Makes a language model of recurrent layers: embedding, `layers` layers of an LSTM (or GRU, or plain RNN), head. Weights of the embedding
 * and of the head begin uniform in ±0.1. Train it with `crossEntropy(model(inputs).logits, targets)`; pass the state from batch to batch
 * for truncated back-propagation through time (see `carriedState`). Throws ConfigError for invalid sizes and rates.
 */
export function recurrentLanguageModel<const K extends RecurrentKind = "lstm">(
  vocabularySize: number,
  options: RecurrentLanguageModelOptions<K> = {},
): RecurrentLanguageModel<K> {
  const subject = "recurrentLanguageModel";
  const known = {
    kind: aText,
    embeddingSize: aWhole,
    hiddenSize: aWhole,
    layers: aWhole,
    dropout: aNumber,
    tied: aFlag,
  };
  expectArguments(subject, [aWhole, optionsOf({ ...known, generator: () => undefined })], [vocabularySize, options]);
  const { kind = "lstm", hiddenSize = 256, layers = 2, dropout: rate = 0, tied = true } = options;
  const { embeddingSize = hiddenSize, generator = defaultGenerator } = options;
  if (!Object.hasOwn(kinds, kind)) throw new ConfigError(subject, `the kind is ${kind}`, 'give "lstm", "gru" or "rnn"');
  expectSizes(subject, [vocabularySize, embeddingSize, hiddenSize, layers]);
  expectRate(rate);
  const table = embedding(vocabularySize, embeddingSize, { weight: uniform(0.1), generator });
  const recurrent = kinds[kind](embeddingSize, hiddenSize, { layers, dropout: rate, generator });
  const projection =
    tied && hiddenSize !== embeddingSize ? linear(hiddenSize, embeddingSize, { generator, bias: false }) : undefined;
  const weight = tied
    ? table.weight
    : parameter([vocabularySize, hiddenSize] as [number, number], uniform(0.1), generator);
  const bias = parameter([vocabularySize] as [number], zeros, generator);
  const head = module("Linear", { weight, bias }, (x: Tensor<[number, number], "float32">) =>
    functional.linear(x, weight, bias),
  );
  const dropped = <S extends Shape>(x: Tensor<S, "float32">): Tensor<S, "float32"> =>
    rate > 0 && self.training ? functional.dropout(x, rate, generator) : x;

  const aState = aStateOf(kind === "lstm" ? { h: 3, c: 3 } : { h: 3 });
  const swapped = (state: unknown): never => mapState(state, (part) => part.transpose(1, 0, 2) as Tensor) as never;
  const read = (tokens: Tensor<[number, number], "int32">, { state, lengths }: LanguageModelInput<K>) =>
    recurrent(dropped(table(tokens)), {
      ...(state && { state: swapped(state) }),
      ...(lengths && { lengths }),
    });
  const toLogits = (x: Tensor<[number, number], "float32">): Tensor<[number, number], "float32"> =>
    head(projection ? projection(dropped(x)) : dropped(x));

  const self: Module = module(
    "RecurrentLanguageModel",
    { embedding: table, recurrent, ...(projection && { projection }), head },
    (tokens: Tensor<[number, number], "int32">, input: LanguageModelInput<K> = {}) => {
      const [batch, time] = tokens.sizes();
      if (input.state !== undefined)
        expectArguments(subject, [anything, optionsOf({ state: aState, lengths: anything })], [tokens, input]);
      const { outputs, state } = read(tokens, input);
      // One long matrix: the head's product, and the loss over it, are of two axes.
      const logits = toLogits(outputs.reshape([batch * time, hiddenSize]));
      return { logits: logits.reshape([batch, time, vocabularySize]), state: swapped(state) };
    },
  );
  method(self, "startState", (batch: number) => swapped(recurrent.zeroState(batch)));
  method(self, "step", (tokens: TokenIds, state: LanguageModelState<K>) => {
    expectArguments(`${subject}.step`, [aTensor, aState], [tokens, state]);
    const next = recurrent.cell(table(tokens), swapped(state));
    return { logits: toLogits(next.output), state: swapped(next.state) };
  });
  method(
    self,
    "prefill",
    (tokens: Tensor<[number, number], "int32">, lengths: TokenIds, state: LanguageModelState<K>) => {
      expectArguments(`${subject}.prefill`, [aTensor, aTensor, aState], [tokens, lengths, state]);
      return swapped(read(tokens, { lengths, state }).state);
    },
  );
  return self as unknown as RecurrentLanguageModel<K>;
}
