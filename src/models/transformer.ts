/**
 * The Transformer (Vaswani et al. 2017): an encoder reads the source, a decoder writes the target token by token. Embeddings of source and
 * target, and the layer before the softmax, share one matrix; positions are sines.
 */
import { ConfigError, ShapeError } from "../errors.ts";
import {
  aFlag,
  aNumber,
  aRecord,
  aTensor,
  aWhole,
  expectArguments,
  optional,
  options as optionsOf,
} from "../graph/arguments.ts";
import { currentPath } from "../graph/scope.ts";
import { type Shape, showType } from "../graph/types.ts";
import * as functional from "../nn/functional.ts";
import { defaultGenerator, type Generator } from "../nn/generator.ts";
import { normal, xavierUniform } from "../nn/initializers.ts";
import { type Embedding, embedding } from "../nn/layers/basic.ts";
import { sinusoidalPositions } from "../nn/layers/positions.ts";
import {
  type DecoderCache,
  type TransformerDecoder,
  type TransformerEncoder,
  transformerDecoder,
  transformerEncoder,
} from "../nn/layers/transformer.ts";
import { type Module, method, module } from "../nn/module.ts";
import { expectSizes } from "../nn/parameters.ts";
import { concat, full, zeros } from "../tensor/create.ts";
import { scan } from "../tensor/scan.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aStateOf, type StepModel, type TokenIds } from "./step-model.ts";

type Ids<B extends number = number, T extends number = number> = Tensor<readonly [B, T], "int32">;
type Floats = Tensor<[number, number, number], "float32">;

/** The options of `transformer`. */
export interface TransformerModelOptions {
  /** Number of tokens of the vocabulary that source and target share, START, END and padding included. */
  readonly vocabularySize: number;
  /** The token that is the decoder's first input. */
  readonly startToken: number;
  /** The token that fills rows up to one length: nothing attends to it. Default 0. */
  readonly paddingToken?: number;
  /** Numbers in a token's vector, d_model. Default 512, the paper's. */
  readonly width?: number;
  /** Default 8, the paper's. */
  readonly heads?: number;
  /** Layers of the encoder, and of the decoder. Default 6, the paper's. */
  readonly layers?: number;
  /** Hidden units of each layer. Default 4 · width, the paper's. */
  readonly feedForwardSize?: number;
  /** The rate of dropout, in training. Default 0.1, the paper's. */
  readonly dropout?: number;
  /** Whether each part is normalised before it. Default true, which trains more easily; the paper's is false. */
  readonly normFirst?: boolean;
  /** The most tokens of a source or a target. Default 512. */
  readonly longest?: number;
  /** Draws initial values and masks of dropout. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/** What the decoder carries from step to step. The first axis of each tensor is the batch. */
export interface TransformerState<B extends number = number> {
  /** Keys and values of each layer: those of the target so far, and those of the source. */
  readonly caches: readonly DecoderCache<B>[];
  /** Which places of the source hold tokens, [batch, source]. */
  readonly sourceMask: Tensor<[B, number], "bool">;
  /** Where the next token of each target belongs, [batch]. */
  readonly positions: Tensor<[B], "int32">;
}

/** The Transformer. Made by `transformer`. */
export interface Transformer extends Module, StepModel<TransformerState> {
  /**
   * Computes the scores of all tokens of targets: source [batch, source], targets [batch, target] with END and padding, to logits [batch,
   * target, vocabulary]. The loss is `crossEntropy(model(source, targets), targets, { ignore: padding, labelSmoothing: 0.1 })`.
   */
  <B extends number, T extends number>(source: Ids<B, number>, targets: Ids<B, T>): Tensor<[B, T, number], "float32">;
  /** Reads sources, and returns the state in which a decoder begins that is to write up to `length` tokens (default `longest`). */
  encode<B extends number>(source: Ids<B, number>, length?: number): TransformerState<B>;
  /** The likeliest next token, `length` times, in one graph: int32 [batch, length]. `generate` has other ways, and ends at END. */
  greedy<B extends number>(source: Ids<B, number>, length: number): Tensor<[B, number], "int32">;
  readonly embedding: Embedding<number, number>;
  readonly encoder: TransformerEncoder<number>;
  readonly decoder: TransformerDecoder<number>;
  readonly startToken: number;
}

const optionKinds = {
  vocabularySize: aWhole,
  startToken: aWhole,
  paddingToken: aWhole,
  width: aWhole,
  heads: aWhole,
  layers: aWhole,
  feedForwardSize: aWhole,
  dropout: aNumber,
  normFirst: aFlag,
  longest: aWhole,
  generator: aRecord,
} as const;

/**
 * Makes a Transformer for token ids:
 *
 *     const model = transformer({ vocabularySize: 8000, startToken: 1, width: 256, heads: 4, layers: 3 });
 *     const loss = crossEntropy(model(source, targets), targets, { ignore: 0, labelSmoothing: 0.1 });
 *     const { sequences } = await generate(model, { state: model.encode(source, 60), bosTokenId: 1, eosTokenId: 2, numBeams: 4 });
 *
 * Throws ConfigError for sizes and options that do not fit together; when it is called, ShapeError for ids of a wrong shape and for
 * sequences that are too long.
 */
export function transformer(options: TransformerModelOptions): Transformer {
  const subject = "transformer";
  expectArguments(subject, [aRecord], [options]);
  expectArguments(subject, [optionsOf(optionKinds)], [options]);
  const { vocabularySize, startToken, paddingToken = 0, width = 512, heads = 8, layers = 6 } = options;
  const { dropout = 0.1, normFirst = true, longest = 512, generator = defaultGenerator } = options;
  expectSizes(subject, [vocabularySize, width, heads, layers, longest]);
  for (const [name, token] of Object.entries({ startToken, paddingToken }))
    if (!(token >= 0 && token < vocabularySize))
      throw new ConfigError(
        subject,
        `${name} is ${token}`,
        `give a token of the vocabulary, 0 to ${vocabularySize - 1}`,
      );
  const { feedForwardSize = 4 * width } = options;
  // As in nn.Transformer: both stacks end in a normalisation, and all their matrices begin by Xavier's rule.
  const stack = { layers, feedForwardSize, dropout, normFirst, norm: true, weight: xavierUniform, generator };
  const [encoder, decoder] = [
    transformerEncoder<number>(width, heads, stack),
    transformerDecoder<number>(width, heads, stack),
  ];
  // Vectors are multiplied by √width (section 3.4), after which their numbers are of the size of the positions'.
  const table = embedding<number, number>(vocabularySize, width, { weight: normal(width ** -0.5), generator });
  const positions = sinusoidalPositions<number>(longest, width);

  const embedded = (ids: Ids, start?: Tensor<[number], "int32">): Floats => {
    const x = positions(table(ids as Tensor<[number, number], "int32">).mul(Math.sqrt(width)), start);
    return self.training ? functional.dropout(x, dropout, generator) : x;
  };
  const scores = (h: Floats): Floats => h.matmul(table.weight.mT());
  const isToken = (ids: Ids): Tensor<[number, number], "bool"> =>
    ids.notEqual(paddingToken) as Tensor<[number, number], "bool">;
  const read = (source: Ids): { readonly memory: Floats; readonly sourceMask: Tensor<[number, number], "bool"> } => {
    const sourceMask = isToken(source);
    return { memory: encoder(embedded(source), { keyMask: sourceMask }), sourceMask };
  };

  const forward = (source: Ids, targets: Ids): Floats => {
    expectArguments(subject, [aTensor, aTensor], [source, targets]);
    expectIds(subject, "the source", source, longest);
    expectIds(subject, "the targets", targets, longest);
    const [batch, time] = targets.sizes();
    if (source.shape[0] !== batch)
      throw new ShapeError(
        subject,
        `${source.shape[0]} sources and ${batch} targets`,
        "give one target for each source",
        currentPath(),
      );
    if (time === 0) return zeros([batch, 0, vocabularySize]);
    const { memory, sourceMask } = read(source);
    const start = full([batch, 1], startToken, "int32") as Tensor;
    const before = (time > 1 ? concat([start, (targets as Tensor).slice(null, [0, time - 1])], 1) : start) as Ids;
    return scores(decoder(embedded(before), memory, { memoryKeyMask: sourceMask }));
  };
  const self: Module = module("Transformer", { embedding: table, positions, encoder, decoder }, forward);

  const encode = (source: Ids, length: number = longest): TransformerState => {
    expectArguments(`${subject}.encode`, [aTensor, optional(aWhole)], [source, length]);
    expectIds(`${subject}.encode`, "the source", source, longest);
    if (!(length >= 1 && length <= longest))
      throw new ConfigError(`${subject}.encode`, `the length is ${length}`, `give 1 to ${longest} tokens`);
    const { memory, sourceMask } = read(source);
    const caches = decoder.startCache(memory, length);
    return { caches, sourceMask, positions: zeros([source.sizes()[0]], "int32") };
  };
  const aState = aStateOf({ sourceMask: 2, positions: 1 }, ({ caches }) => Array.isArray(caches), ["caches"]);
  const step = (tokens: TokenIds, state: TransformerState) => {
    expectArguments(`${subject}.step`, [aTensor, aState], [tokens, state]);
    const { caches, sourceMask, positions: places } = state;
    const [batch] = tokens.sizes();
    const x = embedded(tokens.reshape([batch, 1]) as Ids, places);
    const { output, cache } = decoder.step(x, caches, places, { memoryKeyMask: sourceMask });
    const logits = scores(output).reshape([batch, vocabularySize]);
    return { logits, state: { caches: cache, sourceMask, positions: places.add(1) } };
  };
  method(self, "encode", encode);
  method(self, "step", step);
  method(self, "startState", () => {
    throw new ConfigError(
      subject,
      "a decoder begins with what the encoder has read",
      "give the state: generate(model, { state: model.encode(source, 60), … })",
    );
  });
  method(self, "greedy", (source: Ids, length: number) => {
    const [batch] = source.sizes();
    const begin = { token: full([batch], startToken, "int32") as TokenIds, state: encode(source, length) };
    // What does not change stays outside of the loop.
    const { caches, sourceMask, positions: first } = begin.state;
    const own = { token: begin.token, own: caches.map((each) => each.self), positions: first };
    const { outputs } = scan(
      (before: typeof own) => {
        const all = before.own.map((self, i) => ({ self, memory: caches[i]!.memory }));
        const { logits, state } = step(before.token, { caches: all, sourceMask, positions: before.positions });
        const best = logits.argmax(-1) as TokenIds;
        return [{ token: best, own: state.caches.map((each) => each.self), positions: state.positions }, best] as const;
      },
      { init: own, length },
    );
    return outputs.transpose(1, 0);
  });
  Object.defineProperty(self, "startToken", { value: startToken });
  return self as unknown as Transformer;
}

function expectIds(subject: string, what: string, ids: Tensor<Shape>, longest: number): void {
  if (ids.dtype !== "int32" || ids.shape.length !== 2)
    throw new ShapeError(subject, `${what} is ${showType(ids as Tensor)}`, "give int32 [batch, tokens]", currentPath());
  if (ids.shape[1]! > longest)
    throw new ShapeError(
      subject,
      `${what}: ${ids.shape[1]} tokens, and the model takes ${longest}`,
      "cut it, or make the model with a larger `longest`",
      currentPath(),
    );
}
