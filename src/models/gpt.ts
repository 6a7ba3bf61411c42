/**
 * GPT-2 (Radford, Wu, Child, Luan, Amodei and Sutskever 2019): a decoder that predicts the next token, with layer normalisation before each
 * sublayer. Names and layouts of the weights are those of Hugging Face's files, whose linear layers have weights [in, out].
 */
import { ConfigError } from "../errors.ts";
import { aFlag, aTensor, aWhole, expectArguments, optional, options as optionsOf } from "../graph/arguments.ts";
import * as functional from "../nn/functional.ts";
import type { Generator } from "../nn/generator.ts";
import { normal, zeros as zeroed } from "../nn/initializers.ts";
import { dropout, type Embedding, embedding } from "../nn/layers/basic.ts";
import { type LayerNorm, layerNorm } from "../nn/layers/normalization.ts";
import { type Module, method, module } from "../nn/module.ts";
import { parameter } from "../nn/parameters.ts";
import { arange, zeros } from "../tensor/create.ts";
import type { Parameter } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  type Architecture,
  activate,
  defineArchitecture,
  expectHeads,
  type Family,
  type HiddenActivation,
  kinds,
} from "./architecture.ts";
import { expectIds } from "./bert.ts";
import { type KeyValueCache, multiHead, multiHeadStep } from "./heads.ts";
import { aStateOf, hasAxes, type StepModel, type StepOutput } from "./step-model.ts";

/** GPT-2's configuration: the fields of Hugging Face's `GPT2Config` under their common names. The defaults are those of GPT-2 small. */
export interface Gpt2Config {
  /** The number of tokens. Default 50,257. */
  readonly vocabSize: number;
  /** The width of the hidden vectors (`n_embd`). Default 768. */
  readonly hiddenSize: number;
  /** The number of layers (`n_layer`). Default 12. */
  readonly numHiddenLayers: number;
  /** The number of attention heads of each layer (`n_head`), which divides `hiddenSize`. Default 12. */
  readonly numAttentionHeads: number;
  /** The width of the feed-forward layers (`n_inner`). Default 4 · hiddenSize. */
  readonly intermediateSize?: number;
  /** The most tokens of an input (`n_positions`). Default 1,024. */
  readonly maxPositionEmbeddings: number;
  /** Default "gelu_new". */
  readonly activationFunction: HiddenActivation;
  /** The rate of dropout on embeddings, in training. Default 0.1. */
  readonly embdPdrop: number;
  /** The rate of dropout on what each sublayer adds, in training. Default 0.1. */
  readonly residPdrop: number;
  /** The rate of dropout on attention weights, in training. Default 0.1. */
  readonly attnPdrop: number;
  /** Added to the variance in layer normalisations. Default 1e-5. */
  readonly layerNormEpsilon: number;
  /** The standard deviation of initial weights. Default 0.02. */
  readonly initializerRange: number;
  /** Whether scores are divided by √d, with d the width of a head. Default true. */
  readonly scaleAttnWeights: boolean;
  /** Whether the scores of layer i are divided by i + 1, too. Default false. */
  readonly scaleAttnByInverseLayerIdx: boolean;
  /** Whether the output uses the embedding's weights. Default true. */
  readonly tieWordEmbeddings: boolean;
  /** The id of `<|endoftext|>`, which begins and ends texts. Default 50,256, or the last id of a smaller vocabulary. */
  readonly bosTokenId?: number;
  readonly eosTokenId?: number;
}

const { aSize, aRate, aPositive, anId, anActivation } = kinds;

const family: Family<Gpt2Config> = {
  modelType: "gpt2",
  prefix: "transformer",
  fields: {
    vocabSize: { json: "vocab_size", kind: aSize, default: 50257 },
    hiddenSize: { json: "n_embd", aliases: ["hidden_size"], kind: aSize, default: 768 },
    numHiddenLayers: { json: "n_layer", aliases: ["num_hidden_layers"], kind: aSize, default: 12 },
    numAttentionHeads: { json: "n_head", aliases: ["num_attention_heads"], kind: aSize, default: 12 },
    intermediateSize: { json: "n_inner", kind: aSize, default: undefined },
    maxPositionEmbeddings: {
      json: "n_positions",
      aliases: ["max_position_embeddings", "n_ctx"],
      kind: aSize,
      default: 1024,
    },
    activationFunction: { json: "activation_function", kind: anActivation, default: "gelu_new" },
    embdPdrop: { json: "embd_pdrop", kind: aRate, default: 0.1 },
    residPdrop: { json: "resid_pdrop", kind: aRate, default: 0.1 },
    attnPdrop: { json: "attn_pdrop", kind: aRate, default: 0.1 },
    layerNormEpsilon: { json: "layer_norm_epsilon", kind: aPositive, default: 1e-5 },
    initializerRange: { json: "initializer_range", kind: aPositive, default: 0.02 },
    scaleAttnWeights: { json: "scale_attn_weights", kind: aFlag, default: true },
    scaleAttnByInverseLayerIdx: { json: "scale_attn_by_inverse_layer_idx", kind: aFlag, default: false },
    tieWordEmbeddings: { json: "tie_word_embeddings", kind: aFlag, default: true },
    bosTokenId: { json: "bos_token_id", kind: anId, default: undefined },
    eosTokenId: { json: "eos_token_id", kind: anId, default: undefined },
  },
  fixed: { add_cross_attention: [false] },
  expect({ hiddenSize, numAttentionHeads, vocabSize, bosTokenId, eosTokenId }) {
    expectHeads("gpt2", hiddenSize, numAttentionHeads);
    for (const [name, id] of Object.entries({ bosTokenId, eosTokenId }))
      if (id !== undefined && id >= vocabSize)
        throw new ConfigError("gpt2", `${name} is ${id} of ${vocabSize} tokens`, "give the id of a token");
  },
  sizesOf: ({ hiddenSize, intermediateSize = 4 * hiddenSize, numHiddenLayers, vocabSize, maxPositionEmbeddings }) => ({
    hiddenSize,
    intermediateSize,
    layers: numHiddenLayers,
    embeddings: vocabSize + maxPositionEmbeddings,
  }),
  // Old files hold the causal mask, which is no weight.
  rename: (name) => (/(^|\.)attn\.(masked_)?bias$/.test(name) ? undefined : name),
  isOptional: () => false,
};

type Ids<B extends number = number, T extends number = number> = Tensor<[B, T], "int32">;
type Hidden<B extends number = number, T extends number = number> = Tensor<[B, T, number], "float32">;
type Positions = Tensor<[number], "int32">;

/** The arguments of GPT-2 besides the ids of the tokens. */
export interface Gpt2Input<B extends number = number, T extends number = number> {
  /** True, or 1, for tokens; false, or 0, for padding, which no token attends to. Default: all are tokens. */
  readonly attentionMask?: Tensor<[B, T], "bool" | "int32">;
  /** The position of each token. Default 0, 1, 2, … */
  readonly positionIds?: Ids<B, T>;
  /** Whether the attention weights of each layer are returned. Default false. */
  readonly outputAttentions?: boolean;
  /** Whether the hidden vectors before the first layer and after each layer are returned. Default false. */
  readonly outputHiddenStates?: boolean;
}

/** What all results of GPT-2 may have, if it is asked for. */
export interface Gpt2Details<B extends number = number, T extends number = number> {
  /** The attention weights of each layer, [batch, heads, from token, to token]; undefined unless `outputAttentions` is true. */
  readonly attentions?: readonly Tensor<[B, number, T, T], "float32">[];
  /** The embeddings and the output of each layer, the last normalised; undefined unless `outputHiddenStates` is true. */
  readonly hiddenStates?: readonly Hidden<B, T>[];
}

/** The result of `gpt2`. */
export interface Gpt2Output<B extends number = number, T extends number = number> extends Gpt2Details<B, T> {
  /** The vector of each token, [batch, tokens, hiddenSize]. */
  readonly lastHiddenState: Hidden<B, T>;
}

/** The result of `gpt2LMHeadModel`. */
export interface Gpt2LMOutput<B extends number = number, T extends number = number> extends Gpt2Details<B, T> {
  /** The next token of each, [batch, tokens, vocabSize]. */
  readonly logits: Hidden<B, T>;
}

/** A linear layer y = x·W + b with W [inputs, outputs], as OpenAI's code wrote it ("Conv1D"). */
interface Projection extends Module {
  <L extends readonly number[]>(x: Tensor<[...L, number], "float32">): Tensor<[...L, number], "float32">;
  readonly weight: Parameter<[number, number], "float32">;
  readonly bias: Parameter<[number], "float32">;
}

/** One layer: attention and feed-forward, each on the normalised vectors. */
export interface Gpt2Block extends Module {
  (
    h: Hidden,
    mask?: Tensor,
    needWeights?: boolean,
  ): { readonly h: Hidden; readonly weights?: Tensor<[number, number, number, number], "float32"> };
  /** The same for the next tokens of each sequence, whose first is at `positions`; `places` are those of all of them. */
  step(
    h: Hidden,
    cache: KeyValueCache,
    positions: Positions,
    places: Ids,
  ): { readonly h: Hidden; readonly cache: KeyValueCache };
  readonly ln_1: LayerNorm<number>;
  readonly attn: { readonly c_attn: Projection; readonly c_proj: Projection };
  readonly ln_2: LayerNorm<number>;
  readonly mlp: { readonly c_fc: Projection; readonly c_proj: Projection };
}

/** GPT-2 without a head. */
export interface Gpt2 extends Module {
  <B extends number, T extends number>(inputIds: Ids<B, T>, input?: Gpt2Input<B, T>): Gpt2Output<B, T>;
  /** The embeddings of tokens. */
  readonly wte: Embedding<number, number>;
  /** The embeddings of positions. */
  readonly wpe: Embedding<number, number>;
  readonly h: readonly Gpt2Block[];
  readonly ln_f: LayerNorm<number>;
  /** Returns an empty cache for up to `length` tokens of `batch` sequences. */
  startState(batch: number, length: number): Gpt2State;
  /** Reads the next tokens of each sequence, ids [batch, tokens]. */
  step(ids: Ids, state: Gpt2State): { readonly lastHiddenState: Hidden; readonly state: Gpt2State };
}

/** The state of decoding: the keys and values of all layers, and the position of each sequence's next token, [batch]. */
export interface Gpt2State {
  readonly cache: readonly KeyValueCache[];
  readonly positions: Positions;
}

/** GPT-2 as a language model. `generate(model, { prompt })` continues texts with it. */
export interface Gpt2LMHeadModel extends Module, Required<StepModel<Gpt2State>> {
  <B extends number, T extends number>(inputIds: Ids<B, T>, input?: Gpt2Input<B, T>): Gpt2LMOutput<B, T>;
  readonly transformer: Gpt2;
  readonly lm_head: Module & { readonly weight: Parameter<[number, number], "float32"> };
}

function projection(inputs: number, outputs: number, deviation: number, generator: Generator): Projection {
  const weight = parameter([inputs, outputs], normal(deviation), generator);
  const bias = parameter([outputs], zeroed, generator);
  const forward = (x: Hidden) => functional.linear(x, weight.mT(), bias);
  return module("Projection", { weight, bias }, forward) as unknown as Projection;
}

function block(config: Gpt2Config, layer: number, generator: Generator): Gpt2Block {
  const {
    hiddenSize,
    intermediateSize = 4 * hiddenSize,
    numHiddenLayers,
    numAttentionHeads,
    initializerRange,
  } = config;
  const { layerNormEpsilon: epsilon, activationFunction, scaleAttnWeights, scaleAttnByInverseLayerIdx } = config;
  // What is added to the residual stream begins smaller, by one over the root of the number of additions (section 2.3).
  const intoStream = initializerRange / Math.sqrt(2 * numHiddenLayers);
  const project = (inputs: number, outputs: number, deviation: number = initializerRange) =>
    projection(inputs, outputs, deviation, generator);
  const drop = (rate: number) => dropout(rate, { generator });
  const ln_1 = layerNorm(hiddenSize, { epsilon });
  const attn = {
    c_attn: project(hiddenSize, 3 * hiddenSize),
    c_proj: project(hiddenSize, hiddenSize, intoStream),
    resid_dropout: drop(config.residPdrop),
  };
  const ln_2 = layerNorm(hiddenSize, { epsilon });
  const mlp = {
    c_fc: project(hiddenSize, intermediateSize),
    c_proj: project(intermediateSize, hiddenSize, intoStream),
    dropout: drop(config.residPdrop),
  };
  const heads = {
    heads: numAttentionHeads,
    scale:
      (scaleAttnWeights ? 1 / Math.sqrt(hiddenSize / numAttentionHeads) : 1) /
      (scaleAttnByInverseLayerIdx ? layer + 1 : 1),
  };
  const queryKeyValue = (h: Hidden) =>
    attn.c_attn(ln_1(h)).split([hiddenSize, hiddenSize, hiddenSize]) as unknown as [Hidden, Hidden, Hidden];
  /** Adds what attention gives, and then what the feed-forward layer gives. */
  const added = (h: Hidden, y: Hidden): Hidden => {
    const a = h.add(attn.resid_dropout(attn.c_proj(y)));
    return a.add(mlp.dropout(mlp.c_proj(activate(activationFunction, mlp.c_fc(ln_2(a))))));
  };
  const forward = (h: Hidden, mask?: Tensor, needWeights: boolean = false) => {
    const { y, weights } = multiHead(...queryKeyValue(h), {
      ...heads,
      mask,
      causal: true,
      dropout: self.training ? config.attnPdrop : 0,
      generator,
      needWeights,
    });
    return { h: added(h, y), ...(weights && { weights }) };
  };
  const self = module("Gpt2Block", { ln_1, attn, ln_2, mlp }, forward) as unknown as Gpt2Block;
  method(self, "step", (h: Hidden, cache: KeyValueCache, positions: Positions, places: Ids) => {
    const { y, cache: next } = multiHeadStep(...queryKeyValue(h), cache, positions, places, heads);
    return { h: added(h, y), cache: next };
  });
  return self;
}

const inputKind = optionsOf({
  attentionMask: optional(aTensor),
  positionIds: optional(aTensor),
  outputAttentions: aFlag,
  outputHiddenStates: aFlag,
});

function buildGpt2(config: Gpt2Config, generator: Generator): Gpt2 {
  const { vocabSize, hiddenSize, maxPositionEmbeddings, numHiddenLayers, initializerRange } = config;
  const weight = normal(initializerRange);
  const children = {
    wte: embedding(vocabSize, hiddenSize, { weight, generator }),
    wpe: embedding(maxPositionEmbeddings, hiddenSize, { weight, generator }),
    drop: dropout(config.embdPdrop, { generator }),
    h: Array.from({ length: numHiddenLayers }, (_, i) => block(config, i, generator)),
    ln_f: layerNorm(hiddenSize, { epsilon: config.layerNormEpsilon }),
  };
  const { wte, wpe, drop, h: blocks, ln_f } = children;
  const forward = (ids: Ids, input: Gpt2Input = {}): Gpt2Output => {
    expectArguments("gpt2", [aTensor, inputKind], [ids, input]);
    expectIds("gpt2", ids, maxPositionEmbeddings);
    const { attentionMask, positionIds, outputAttentions = false, outputHiddenStates = false } = input;
    const [, time] = ids.sizes();
    let h = drop(wte(ids).add(wpe(positionIds ?? (arange(time).unsqueeze(0) as Ids))));
    const mask = attentionMask?.cast("bool").unsqueeze(1).unsqueeze(1) as Tensor | undefined;
    const hiddenStates = [h];
    const attentions: Tensor<[number, number, number, number], "float32">[] = [];
    for (const each of blocks) {
      const result = each(h, mask, outputAttentions);
      h = result.h;
      hiddenStates.push(h);
      if (result.weights) attentions.push(result.weights);
    }
    const lastHiddenState = ln_f(h);
    hiddenStates[hiddenStates.length - 1] = lastHiddenState;
    return {
      lastHiddenState,
      ...(outputAttentions && { attentions }),
      ...(outputHiddenStates && { hiddenStates }),
    };
  };
  const self = module("Gpt2Model", children, forward) as unknown as Gpt2;
  method(self, "startState", (batch: number, length: number): Gpt2State => {
    expectArguments("startState", [aWhole, aWhole], [batch, length]);
    if (length > maxPositionEmbeddings)
      throw new ConfigError(
        "gpt2",
        `${length} tokens are to be generated or read, and there are positions for ${maxPositionEmbeddings}`,
        "give a shorter prompt, or a smaller maxNewTokens",
      );
    const { numAttentionHeads: heads } = config;
    const empty = zeros([batch, heads, Math.max(1, length), hiddenSize / heads]);
    return { cache: blocks.map(() => ({ key: empty, value: empty })), positions: zeros([batch], "int32") };
  });
  const aState = aStateOf({ positions: 1 }, isWhole, ["cache"]);
  function isWhole({ cache }: Readonly<Record<string, unknown>>): boolean {
    const isOfLayer = (each: KeyValueCache): boolean => hasAxes(each?.key, 4) && hasAxes(each.value, 4);
    return Array.isArray(cache) && cache.length === numHiddenLayers && cache.every(isOfLayer);
  }
  method(self, "step", (ids: Ids, state: Gpt2State) => {
    expectArguments("gpt2.step", [aTensor, aState], [ids, state]);
    expectIds("gpt2.step", ids, maxPositionEmbeddings);
    const { cache, positions } = state;
    const [batch, time] = ids.sizes();
    const places = positions.reshape([batch, 1]).add(arange(time)) as Ids;
    let h: Hidden = wte(ids).add(wpe(places));
    const next = blocks.map((each, i) => {
      const result = each.step(h, cache[i]!, positions, places);
      h = result.h;
      return result.cache;
    });
    return { lastHiddenState: ln_f(h), state: { cache: next, positions: positions.add(time) } };
  });
  return self;
}

/** Makes GPT-2 without a head: it maps ids [batch, tokens] to `{ lastHiddenState }`. Throws as `gpt2LMHeadModel` does. */
export const gpt2: Architecture<Gpt2Config, Gpt2> = defineArchitecture("GPT2Model", family, buildGpt2);

/**
 * Makes GPT-2 as a language model, with the embedding's weights as output: `gpt2LMHeadModel({ numHiddenLayers: 4, hiddenSize: 256, … })`,
 * with GPT-2 small's configuration where none is given. It maps ids [batch, tokens] to `{ logits }`. Throws ConfigError for a configuration
 * that is wrong; when it is called, ShapeError for ids that are not [batch, tokens] and for more tokens than positions.
 */
export const gpt2LMHeadModel: Architecture<Gpt2Config, Gpt2LMHeadModel> = defineArchitecture(
  "GPT2LMHeadModel",
  family,
  (config, generator): Gpt2LMHeadModel => {
    const transformer = buildGpt2(config, generator);
    const { vocabSize, hiddenSize, initializerRange, tieWordEmbeddings } = config;
    const weight = tieWordEmbeddings
      ? transformer.wte.weight
      : parameter([vocabSize, hiddenSize], normal(initializerRange), generator);
    const lm_head = module("OutputEmbedding", { weight }, (h: Hidden) => functional.linear(h, weight));
    const forward = (ids: Ids, input: Gpt2Input = {}) => {
      const { lastHiddenState, ...details } = transformer(ids, input);
      return { logits: lm_head(lastHiddenState), ...details };
    };
    const self = module("Gpt2LMHeadModel", { transformer, lm_head }, forward) as unknown as Gpt2LMHeadModel;
    method(self, "startState", transformer.startState);
    method(self, "step", (tokens: Positions, state: Gpt2State): StepOutput<Gpt2State> => {
      expectArguments("gpt2LMHeadModel.step", [aTensor], [tokens]);
      const { lastHiddenState, state: next } = transformer.step(tokens.unsqueeze(1), state);
      return { logits: lm_head(lastHiddenState).squeeze(1) as StepOutput<Gpt2State>["logits"], state: next };
    });
    // What is written behind the real tokens of a row is overwritten before any token attends to it.
    method(self, "prefill", (tokens: Ids, lengths: Positions, state: Gpt2State): Gpt2State => {
      expectArguments("gpt2LMHeadModel.prefill", [aTensor, aTensor], [tokens, lengths]);
      const { cache } = transformer.step(tokens, state).state;
      return { cache, positions: state.positions.add(lengths) };
    });
    return self;
  },
);
