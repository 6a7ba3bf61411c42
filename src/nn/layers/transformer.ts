/** The layers of a Transformer and stacks of them. Names and layouts of the parameters are PyTorch's, so PyTorch's checkpoints load unchanged. */
import { ConfigError } from "../../errors.ts";
import {
  aFlag,
  aNumber,
  aTensor,
  aWhole,
  expectArguments,
  expectOptions,
  type Kind,
  optional,
  options,
} from "../../graph/arguments.ts";
import type { Shape } from "../../graph/types.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as functional from "../functional.ts";
import { defaultGenerator, type Generator } from "../generator.ts";
import type { Initializer } from "../initializers.ts";
import { type Module, method, module } from "../module.ts";
import { type BiasOption, expectRate, expectSizes } from "../parameters.ts";
import {
  type AttentionMasks,
  expectTokens,
  type KeyValue,
  type MultiHeadAttention,
  maskKinds,
  multiHeadAttention,
} from "./attention.ts";
import { type Linear, linear } from "./basic.ts";
import { type LayerNorm, layerNorm } from "./normalization.ts";
import type { RotaryPositions } from "./positions.ts";

type Float<S extends Shape> = Tensor<S, "float32">;
type Sequences<B extends number, T extends number, E extends number> = Float<[B, T, E]>;

/** The options of `transformerEncoderLayer` and `transformerDecoderLayer`. */
export interface TransformerLayerOptions {
  /** The number of hidden units of the feed-forward part. Default 4 · width, as in the paper. */
  readonly feedForwardSize?: number;
  /** The rate of dropout, in training: on the attention's weights, on what each part gives, and on the hidden units. Default 0.1. */
  readonly dropout?: number;
  /** The rate on the attention's weights alone. Default that of `dropout`. */
  readonly attentionDropout?: number;
  /** The nonlinearity of the hidden units. Default `"relu"`, as in the paper and in PyTorch. */
  readonly activation?: TransformerActivation;
  /**
   * Whether each part is normalised before it, x + f(norm x), instead of after it, norm(x + f x). Deep networks train more easily so (Xiong
   * et al. 2020). Default false, as in the paper and in PyTorch.
   */
  readonly normFirst?: boolean;
  /** Added to the variance by layer normalisation. Default 1e-5. */
  readonly epsilon?: number;
  /** Rotates queries and keys of self-attention by their positions. Default none. */
  readonly rotary?: RotaryPositions;
  /** How all weights but those of normalisation begin. Default as in PyTorch. */
  readonly weight?: Initializer;
  /** How the biases begin, or `false` for none. Default as in PyTorch. */
  readonly bias?: BiasOption;
  /** Draws the initial values and the masks of dropout. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/** The nonlinearity of a Transformer's hidden units. */
export type TransformerActivation = "relu" | "gelu";

/** The options of `transformerEncoder` and `transformerDecoder`. */
export interface TransformerStackOptions extends TransformerLayerOptions {
  /** The number of layers. Default 6. */
  readonly layers?: number;
  /** Whether a layer normalisation follows the last layer, as `norm`. Default that of `normFirst`. PyTorch's `nn.Transformer` has one always. */
  readonly norm?: boolean;
}

/** What a Transformer layer has in both kinds. */
interface LayerParts<E extends number> extends Module {
  readonly self_attn: MultiHeadAttention<E>;
  readonly linear1: Linear<E, number, boolean>;
  readonly linear2: Linear<number, E, boolean>;
  readonly norm1: LayerNorm<E>;
  readonly norm2: LayerNorm<E>;
}

/** One layer of an encoder: self-attention and a feed-forward part, each added to what came in, and normalised. */
export interface TransformerEncoderLayer<E extends number> extends LayerParts<E> {
  <B extends number, T extends number>(x: Sequences<B, T, E>, masks?: AttentionMasks<NoInfer<B>>): Sequences<B, T, E>;
  /** The same, with the weights of each head, [batch, heads, queries, keys]. */
  withWeights<B extends number, T extends number>(
    x: Sequences<B, T, E>,
    masks?: AttentionMasks<NoInfer<B>>,
  ): { readonly output: Sequences<B, T, E>; readonly weights: Float<[B, number, T, T]> };
  /** Returns an empty cache for sequences of up to `longest` tokens. */
  zeroCache<B extends number>(batch: B, longest: number): KeyValue<B>;
  /** Computes the layer for the next tokens of each sequence, under a causal mask: see `step` of `multiHeadAttention`. */
  step<B extends number, T extends number>(
    x: Sequences<B, T, E>,
    cache: KeyValue<NoInfer<B>>,
    positions: Tensor<[NoInfer<B>], "int32">,
    masks?: Pick<AttentionMasks<NoInfer<B>>, "keyMask">,
  ): { readonly output: Sequences<B, T, E>; readonly cache: KeyValue<B> };
}

/** The masks of a decoder layer: those of `multiHeadAttention` for self-attention, and two for the memory. */
export interface DecoderMasks<B extends number = number> extends AttentionMasks<B> {
  /** Whether each token attends only to itself and those before. Default true, unlike PyTorch. */
  readonly causal?: boolean;
  /** Where a token may attend to the memory: true where it may, in the shapes of `mask`. */
  readonly memoryMask?: Tensor<Shape, "bool">;
  /** Which parts of the memory are tokens and not padding: true where one is a token. Bool [batch, memory]. */
  readonly memoryKeyMask?: Tensor<[B, number], "bool">;
}

/** What a decoder layer keeps from step to step: its own keys and values so far, and those of the memory. */
export interface DecoderCache<B extends number = number> {
  readonly self: KeyValue<B>;
  readonly memory: KeyValue<B>;
}

/** One layer of a decoder: self-attention, attention to the encoder's outputs (the memory), and a feed-forward part. */
export interface TransformerDecoderLayer<E extends number> extends LayerParts<E> {
  <B extends number, T extends number>(
    x: Sequences<B, T, E>,
    memory: Sequences<NoInfer<B>, number, E>,
    masks?: DecoderMasks<NoInfer<B>>,
  ): Sequences<B, T, E>;
  /** The same, with the weights of each head to the tokens, and to the memory. */
  withWeights<B extends number, T extends number>(
    x: Sequences<B, T, E>,
    memory: Sequences<NoInfer<B>, number, E>,
    masks?: DecoderMasks<NoInfer<B>>,
  ): {
    readonly output: Sequences<B, T, E>;
    readonly weights: Float<[B, number, T, T]>;
    readonly memoryWeights: Float<[B, number, T, number]>;
  };
  /** Returns the cache before the first token, for sequences of up to `longest` tokens: zeros, and the memory's keys and values. */
  startCache<B extends number>(memory: Sequences<B, number, E>, longest: number): DecoderCache<B>;
  /** Computes the layer for the next tokens of each sequence: see `step` of `multiHeadAttention`. */
  step<B extends number, T extends number>(
    x: Sequences<B, T, E>,
    cache: DecoderCache<NoInfer<B>>,
    positions: Tensor<[NoInfer<B>], "int32">,
    masks?: Pick<DecoderMasks<NoInfer<B>>, "memoryKeyMask">,
  ): { readonly output: Sequences<B, T, E>; readonly cache: DecoderCache<B> };
  readonly multihead_attn: MultiHeadAttention<E>;
  readonly norm3: LayerNorm<E>;
}

type Attend = MultiHeadAttention<number>;
type Masks = AttentionMasks<number>;
type Any = Sequences<number, number, number>;

const layerOptions = [
  "feedForwardSize",
  "dropout",
  "attentionDropout",
  "activation",
  "normFirst",
  "epsilon",
  "rotary",
  "weight",
  "bias",
  "generator",
] as const;

const anActivation: Kind = (value) => (value === "relu" || value === "gelu" ? undefined : 'give "relu" or "gelu"');

const decoderMaskKinds = { ...maskKinds, memoryMask: aTensor, memoryKeyMask: aTensor };
const aCache: Kind = (value) => {
  const { self, memory } = (value ?? {}) as Readonly<Record<string, unknown>>;
  return self && memory ? undefined : "give { self, memory }, as startCache returns";
};

/** The parts that both kinds of layers have, and how they are put together. */
function partsOf(subject: string, width: number, heads: number, given: TransformerLayerOptions, norms: number) {
  expectArguments(subject, [aWhole, aWhole], [width, heads]);
  const { feedForwardSize = 4 * width, dropout: rate = 0.1, activation = "relu", normFirst = false } = given;
  const { attentionDropout = rate, generator = defaultGenerator, epsilon, rotary, weight, bias } = given;
  const kinds = options({
    feedForwardSize: aWhole,
    dropout: aNumber,
    attentionDropout: aNumber,
    activation: anActivation,
    normFirst: aFlag,
  });
  const read = { feedForwardSize, dropout: rate, attentionDropout, activation, normFirst };
  expectArguments(subject, [aWhole, aWhole, kinds], [width, heads, read]);
  expectSizes(subject, [width, heads, feedForwardSize]);
  expectRate(rate);
  const values = { ...(weight && { weight }), ...(bias !== undefined && { bias }), generator };
  const attention = (extra: { readonly rotary?: RotaryPositions }): Attend =>
    multiHeadAttention<number>(width, heads, { dropout: attentionDropout, ...values, ...extra });
  const self_attn = attention(rotary ? { rotary } : {});
  const dense = (from: number, to: number): Linear<number, number> => linear(from, to, values) as never;
  const [linear1, linear2] = [dense(width, feedForwardSize), dense(feedForwardSize, width)];
  const norm = Array.from({ length: norms }, () => layerNorm<number>(width, epsilon === undefined ? {} : { epsilon }));
  const named = Object.fromEntries(norm.map((each, i) => [`norm${i + 1}`, each]));

  /** What a layer computes, given whether it is in training. */
  const inMode = (training: boolean) => {
    const dropped = (x: Any): Any => (training ? functional.dropout(x, rate, generator) : x);
    const feedForward = (x: Any): Any => {
      const hidden = linear1(x);
      return linear2(dropped(activation === "relu" ? hidden.relu() : hidden.gelu()));
    };
    /** Adds what a part gives to x, and normalises: before the part, or after the sum. */
    const sublayer = (x: Any, at: number, part: (x: Any) => Any): Any =>
      normFirst ? x.add(dropped(part(norm[at]!(x)))) : norm[at]!(x.add(dropped(part(x))));
    return { feedForward, sublayer };
  };
  return { attention, self_attn, linear1, linear2, named, inMode };
}

/**
 * Makes a layer of a Transformer's encoder (Vaswani et al. 2017): attention of `heads` heads, and two linear layers with a nonlinearity
 * between them. x is [batch, time, width]. With `causal: true` it is a layer of a language model. Throws ConfigError for invalid options.
 */
export function transformerEncoderLayer<const E extends number>(
  width: E,
  heads: number,
  given: TransformerLayerOptions = {},
): TransformerEncoderLayer<E> {
  const subject = "transformerEncoderLayer";
  expectOptions(subject, given, layerOptions);
  const { self_attn, linear1, linear2, named, inMode } = partsOf(subject, width, heads, given, 2);
  const run = (x: Any, attend: (x: Any) => Any): Any => {
    expectArguments(subject, [aTensor], [x]);
    expectTokens(subject, "x is", x as Tensor, width);
    const { feedForward, sublayer } = inMode(self.training);
    return sublayer(sublayer(x, 0, attend), 1, feedForward);
  };
  const children = { self_attn, linear1, linear2, ...named };
  const self: Module = module("TransformerEncoderLayer", children, (x: Any, masks?: Masks) =>
    run(x, (h) => self_attn(h, masks)),
  );
  method(self, "withWeights", (x: Any, masks?: Masks) => {
    let weights: Tensor | undefined;
    const output = run(x, (h) => {
      const attended = self_attn.withWeights(h, masks);
      weights = attended.weights as Tensor;
      return attended.output;
    });
    return { output, weights };
  });
  method(self, "zeroCache", (batch: number, longest: number) => self_attn.zeroCache(batch, longest));
  method(self, "step", (x: Any, cache: KeyValue, positions: Tensor<[number], "int32">, masks?: Masks) => {
    let next: KeyValue | undefined;
    const output = run(x, (h) => {
      const attended = self_attn.step(h, cache, positions, masks);
      next = attended.cache;
      return attended.output;
    });
    return { output, cache: next };
  });
  return self as TransformerEncoderLayer<E>;
}

/**
 * Makes a layer of a Transformer's decoder (Vaswani et al. 2017): causal self-attention, attention to the encoder's outputs (the memory),
 * and a feed-forward part. x is [batch, time, width], the memory [batch, memory, width]. Throws ConfigError for invalid options.
 */
export function transformerDecoderLayer<const E extends number>(
  width: E,
  heads: number,
  given: TransformerLayerOptions = {},
): TransformerDecoderLayer<E> {
  const subject = "transformerDecoderLayer";
  expectOptions(subject, given, layerOptions);
  const { attention, self_attn, linear1, linear2, named, inMode } = partsOf(subject, width, heads, given, 3);
  const multihead_attn = attention({});
  const run = (x: Any, attend: (x: Any) => Any, attendToMemory: (x: Any) => Any): Any => {
    expectArguments(subject, [aTensor], [x]);
    expectTokens(subject, "x is", x as Tensor, width);
    const { feedForward, sublayer } = inMode(self.training);
    return sublayer(sublayer(sublayer(x, 0, attend), 1, attendToMemory), 2, feedForward);
  };
  const masksOf = (given: DecoderMasks = {}): readonly [Masks, Masks] => {
    expectArguments(subject, [optional(options(decoderMaskKinds))], [given]);
    const { memoryMask, memoryKeyMask, causal = true, ...own } = given;
    const ofMemory = { ...(memoryMask && { mask: memoryMask }), ...(memoryKeyMask && { keyMask: memoryKeyMask }) };
    return [{ ...own, causal }, ofMemory];
  };
  const children = { self_attn, multihead_attn, linear1, linear2, ...named };
  const self: Module = module("TransformerDecoderLayer", children, (x: Any, memory: Any, masks?: DecoderMasks) => {
    expectArguments(subject, [aTensor, aTensor], [x, memory]);
    const [own, ofMemory] = masksOf(masks);
    return run(
      x,
      (h) => self_attn(h, own),
      (h) => multihead_attn(h, { key: memory, ...ofMemory }),
    );
  });
  method(self, "withWeights", (x: Any, memory: Any, masks?: DecoderMasks) => {
    expectArguments(subject, [aTensor, aTensor], [x, memory]);
    const [own, ofMemory] = masksOf(masks);
    const found: Tensor[] = [];
    const keep = ({ output, weights }: { readonly output: Any; readonly weights: unknown }): Any => {
      found.push(weights as Tensor);
      return output;
    };
    const output = run(
      x,
      (h) => keep(self_attn.withWeights(h, own)),
      (h) => keep(multihead_attn.withWeights(h, { key: memory, ...ofMemory })),
    );
    return { output, weights: found[0], memoryWeights: found[1] };
  });
  method(self, "startCache", (memory: Any, longest: number) => {
    expectArguments(`${subject}.startCache`, [aTensor], [memory]);
    expectTokens(subject, "the memory is", memory as Tensor, width);
    return { self: self_attn.zeroCache(memory.shape[0]!, longest), memory: multihead_attn.keyValue(memory) };
  });
  method(
    self,
    "step",
    (x: Any, cache: DecoderCache, positions: Tensor<[number], "int32">, masks: DecoderMasks = {}) => {
      expectArguments(
        `${subject}.step`,
        [aTensor, aCache, aTensor, optional(options({ memoryKeyMask: aTensor }))],
        [x, cache, positions, masks],
      );
      let next: KeyValue | undefined;
      const output = run(
        x,
        (h) => {
          const attended = self_attn.step(h, cache.self, positions);
          next = attended.cache;
          return attended.output;
        },
        (h) => multihead_attn.attendTo(h, cache.memory, masksOf(masks)[1]),
      );
      return { output, cache: { self: next, memory: cache.memory } };
    },
  );
  return self as TransformerDecoderLayer<E>;
}

/** Layers of an encoder, one after the other. */
export interface TransformerEncoder<E extends number> extends Module {
  <B extends number, T extends number>(x: Sequences<B, T, E>, masks?: AttentionMasks<NoInfer<B>>): Sequences<B, T, E>;
  /** The same, with the weights of each layer, [batch, heads, queries, keys]. */
  withWeights<B extends number, T extends number>(
    x: Sequences<B, T, E>,
    masks?: AttentionMasks<NoInfer<B>>,
  ): { readonly output: Sequences<B, T, E>; readonly weights: readonly Float<[B, number, T, T]>[] };
  /** Returns an empty cache of each layer, for sequences of up to `longest` tokens. */
  zeroCache<B extends number>(batch: B, longest: number): readonly KeyValue<B>[];
  /** Computes the next tokens of each sequence, under a causal mask: see `step` of `multiHeadAttention`. */
  step<B extends number, T extends number>(
    x: Sequences<B, T, E>,
    cache: readonly KeyValue<NoInfer<B>>[],
    positions: Tensor<[NoInfer<B>], "int32">,
    masks?: Pick<AttentionMasks<NoInfer<B>>, "keyMask">,
  ): { readonly output: Sequences<B, T, E>; readonly cache: readonly KeyValue<B>[] };
  readonly layers: readonly TransformerEncoderLayer<E>[];
  /** Undefined without a last normalisation. */
  readonly norm: LayerNorm<E> | undefined;
}

/** Layers of a decoder, one after the other. */
export interface TransformerDecoder<E extends number> extends Module {
  <B extends number, T extends number>(
    x: Sequences<B, T, E>,
    memory: Sequences<NoInfer<B>, number, E>,
    masks?: DecoderMasks<NoInfer<B>>,
  ): Sequences<B, T, E>;
  /** The same, with the weights of each layer to the tokens, and to the memory. */
  withWeights<B extends number, T extends number>(
    x: Sequences<B, T, E>,
    memory: Sequences<NoInfer<B>, number, E>,
    masks?: DecoderMasks<NoInfer<B>>,
  ): {
    readonly output: Sequences<B, T, E>;
    readonly weights: readonly Float<[B, number, T, T]>[];
    readonly memoryWeights: readonly Float<[B, number, T, number]>[];
  };
  /** Returns the cache of each layer before the first token, for sequences of up to `longest` tokens. */
  startCache<B extends number>(memory: Sequences<B, number, E>, longest: number): readonly DecoderCache<B>[];
  /** Computes the next tokens of each sequence: see `step` of `multiHeadAttention`. */
  step<B extends number, T extends number>(
    x: Sequences<B, T, E>,
    cache: readonly DecoderCache<NoInfer<B>>[],
    positions: Tensor<[NoInfer<B>], "int32">,
    masks?: Pick<DecoderMasks<NoInfer<B>>, "memoryKeyMask">,
  ): { readonly output: Sequences<B, T, E>; readonly cache: readonly DecoderCache<B>[] };
  readonly layers: readonly TransformerDecoderLayer<E>[];
  /** Undefined without a last normalisation. */
  readonly norm: LayerNorm<E> | undefined;
}

/** The layers of a stack, and its last normalisation, if any. */
function stackOf<Layer extends Module>(
  subject: string,
  given: TransformerStackOptions,
  width: number,
  make: (options: TransformerLayerOptions) => Layer,
) {
  expectOptions(subject, given, [...layerOptions, "layers", "norm"]);
  const { layers: count = 6, norm: hasNorm = given.normFirst ?? false, ...ofLayers } = given;
  expectArguments(
    subject,
    [aWhole, options({ layers: aWhole, norm: aFlag })],
    [width, { layers: count, norm: hasNorm }],
  );
  expectSizes(subject, [width, count]);
  const layers = Array.from({ length: count }, () => make(ofLayers));
  const norm = hasNorm
    ? layerNorm<number>(width, given.epsilon === undefined ? {} : { epsilon: given.epsilon })
    : undefined;
  const expectCaches = (caches: unknown): void => {
    if (!Array.isArray(caches) || caches.length !== count)
      throw new ConfigError(
        `${subject}.step`,
        `${Array.isArray(caches) ? `${caches.length} caches` : "no array of caches"} for ${count} layers`,
        "give the caches that came back from the step before",
      );
  };
  return {
    layers,
    children: { layers, ...(norm && { norm }) },
    last: (x: Any): Any => (norm ? norm(x) : x),
    expectCaches,
  };
}

/**
 * Makes the encoder of a Transformer (Vaswani et al. 2017): `layers` layers of `transformerEncoderLayer`. The parameters are those of
 * PyTorch's `nn.TransformerEncoder`. With `causal: true` it is the body of a language model.
 */
export function transformerEncoder<const E extends number>(
  width: E,
  heads: number,
  given: TransformerStackOptions = {},
): TransformerEncoder<E> {
  const { layers, children, last, expectCaches } = stackOf("transformerEncoder", given, width, (options) =>
    transformerEncoderLayer<number>(width, heads, options),
  );
  const self: Module = module("TransformerEncoder", children, (x: Any, masks?: Masks) =>
    last(layers.reduce((h, layer) => layer(h, masks), x)),
  );
  method(self, "withWeights", (x: Any, masks?: Masks) => {
    const weights: unknown[] = [];
    const output = layers.reduce((h, layer) => {
      const ran = layer.withWeights(h, masks);
      weights.push(ran.weights);
      return ran.output;
    }, x);
    return { output: last(output), weights };
  });
  method(self, "zeroCache", (batch: number, longest: number) => layers.map((layer) => layer.zeroCache(batch, longest)));
  method(self, "step", (x: Any, caches: readonly KeyValue[], positions: Tensor<[number], "int32">, masks?: Masks) => {
    expectCaches(caches);
    const cache: KeyValue[] = [];
    const output = layers.reduce((h, layer, i) => {
      const ran = layer.step(h, caches[i]!, positions, masks);
      cache.push(ran.cache);
      return ran.output;
    }, x);
    return { output: last(output), cache };
  });
  return self as TransformerEncoder<E>;
}

/**
 * Makes the decoder of a Transformer (Vaswani et al. 2017): `layers` layers of `transformerDecoderLayer`, which attend to the encoder's
 * outputs. The parameters are those of PyTorch's `nn.TransformerDecoder`.
 */
export function transformerDecoder<const E extends number>(
  width: E,
  heads: number,
  given: TransformerStackOptions = {},
): TransformerDecoder<E> {
  const { layers, children, last, expectCaches } = stackOf("transformerDecoder", given, width, (options) =>
    transformerDecoderLayer<number>(width, heads, options),
  );
  const self: Module = module("TransformerDecoder", children, (x: Any, memory: Any, masks?: DecoderMasks) =>
    last(layers.reduce((h, layer) => layer(h, memory, masks), x)),
  );
  method(self, "withWeights", (x: Any, memory: Any, masks?: DecoderMasks) => {
    expectArguments("transformerDecoder", [aTensor, aTensor], [x, memory]);
    const [weights, memoryWeights]: [unknown[], unknown[]] = [[], []];
    const output = layers.reduce((h, layer) => {
      const ran = layer.withWeights(h, memory, masks);
      weights.push(ran.weights);
      memoryWeights.push(ran.memoryWeights);
      return ran.output;
    }, x);
    return { output: last(output), weights, memoryWeights };
  });
  method(self, "startCache", (memory: Any, longest: number) =>
    layers.map((layer) => layer.startCache(memory, longest)),
  );
  method(
    self,
    "step",
    (x: Any, caches: readonly DecoderCache[], positions: Tensor<[number], "int32">, masks?: DecoderMasks) => {
      expectCaches(caches);
      const cache: DecoderCache[] = [];
      const output = layers.reduce((h, layer, i) => {
        const ran = layer.step(h, caches[i]!, positions, masks);
        cache.push(ran.cache);
        return ran.output;
      }, x);
      return { output: last(output), cache };
    },
  );
  return self as TransformerDecoder<E>;
}
