/**
 * BERT (Devlin, Chang, Lee and Toutanova 2019): an encoder that reads a text in both directions, pre-trained to fill in masked tokens and to
 * tell whether one text follows another. Names and layouts of the weights are those of Hugging Face's files.
 */
import { ConfigError, ShapeError } from "../errors.ts";
import { aFlag, aTensor, expectArguments, optional, options as optionsOf } from "../graph/arguments.ts";
import { type Shape, showShape } from "../graph/types.ts";
import * as functional from "../nn/functional.ts";
import type { Generator } from "../nn/generator.ts";
import { normal, zeros as zeroed } from "../nn/initializers.ts";
import { dropout, type Embedding, embedding, type Linear, linear } from "../nn/layers/basic.ts";
import { type LayerNorm, layerNorm } from "../nn/layers/normalization.ts";
import { type Module, module } from "../nn/module.ts";
import { parameter } from "../nn/parameters.ts";
import { arange, zeros } from "../tensor/create.ts";
import type { Parameter } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  type Architecture,
  activate,
  defineArchitecture,
  expectHeads,
  expectLabels,
  type Family,
  type HiddenActivation,
  kinds,
} from "./architecture.ts";
import { multiHead } from "./heads.ts";

/** BERT's configuration: the fields of Hugging Face's `BertConfig`. The defaults are BERT base's. */
export interface BertConfig {
  /** The number of tokens. Default 30,522. */
  readonly vocabSize: number;
  /** The width of the hidden vectors, H. Default 768. */
  readonly hiddenSize: number;
  /** The number of layers, L. Default 12. */
  readonly numHiddenLayers: number;
  /** The number of attention heads of each layer, A, which divides `hiddenSize`. Default 12. */
  readonly numAttentionHeads: number;
  /** The width of the feed-forward layers, usually 4H. Default 3,072. */
  readonly intermediateSize: number;
  /** Default "gelu". */
  readonly hiddenAct: HiddenActivation;
  /** The rate of dropout on embeddings and on what each sublayer adds, in training. Default 0.1. */
  readonly hiddenDropoutProb: number;
  /** The rate of dropout on attention weights, in training. Default 0.1. */
  readonly attentionProbsDropoutProb: number;
  /** The most tokens of an input. Default 512. */
  readonly maxPositionEmbeddings: number;
  /** The number of segments. Default 2. */
  readonly typeVocabSize: number;
  /** The standard deviation of initial weights. Default 0.02. */
  readonly initializerRange: number;
  /** Added to the variance in layer normalisations. Default 1e-12. */
  readonly layerNormEps: number;
  /** The id of `[PAD]`, whose embedding begins as zeros. Default 0. */
  readonly padTokenId: number;
  /** The rate of dropout before a classifier, in training. Default: `hiddenDropoutProb`. */
  readonly classifierDropout?: number;
  /** Whether the masked-language-model head uses the embedding's weights. Default true. */
  readonly tieWordEmbeddings: boolean;
  /** The number of labels of a classifier. Default 2, or that of `id2label`. */
  readonly numLabels: number;
  /** The names of the labels. */
  readonly id2label?: readonly string[];
}

const { aSize, aRate, aPositive, anId, labels, anActivation } = kinds;

const family: Family<BertConfig> = {
  modelType: "bert",
  prefix: "bert",
  fields: {
    vocabSize: { json: "vocab_size", kind: aSize, default: 30522 },
    hiddenSize: { json: "hidden_size", kind: aSize, default: 768 },
    numHiddenLayers: { json: "num_hidden_layers", kind: aSize, default: 12 },
    numAttentionHeads: { json: "num_attention_heads", kind: aSize, default: 12 },
    intermediateSize: { json: "intermediate_size", kind: aSize, default: 3072 },
    hiddenAct: { json: "hidden_act", kind: anActivation, default: "gelu" },
    hiddenDropoutProb: { json: "hidden_dropout_prob", kind: aRate, default: 0.1 },
    attentionProbsDropoutProb: { json: "attention_probs_dropout_prob", kind: aRate, default: 0.1 },
    maxPositionEmbeddings: { json: "max_position_embeddings", kind: aSize, default: 512 },
    typeVocabSize: { json: "type_vocab_size", kind: aSize, default: 2 },
    initializerRange: { json: "initializer_range", kind: aPositive, default: 0.02 },
    layerNormEps: { json: "layer_norm_eps", kind: aPositive, default: 1e-12 },
    padTokenId: { json: "pad_token_id", kind: anId, default: 0 },
    classifierDropout: { json: "classifier_dropout", kind: aRate, default: undefined },
    tieWordEmbeddings: { json: "tie_word_embeddings", kind: aFlag, default: true },
    numLabels: { json: "num_labels", kind: aSize, default: 2 },
    id2label: { json: "id2label", kind: labels, default: undefined },
  },
  fixed: {
    position_embedding_type: ["absolute"],
    is_decoder: [false],
    add_cross_attention: [false],
    chunk_size_feed_forward: [0],
  },
  expect({ hiddenSize, numAttentionHeads, vocabSize, padTokenId, ...rest }) {
    expectHeads("bert", hiddenSize, numAttentionHeads);
    expectLabels("bert", rest);
    if (padTokenId >= vocabSize)
      throw new ConfigError("bert", `padTokenId is ${padTokenId} of ${vocabSize} tokens`, "give the id of [PAD]");
  },
  sizesOf: ({ hiddenSize, intermediateSize, numHiddenLayers, vocabSize, maxPositionEmbeddings, typeVocabSize }) => ({
    hiddenSize,
    intermediateSize,
    layers: numHiddenLayers,
    embeddings: vocabSize + maxPositionEmbeddings + typeVocabSize,
  }),
  // TensorFlow's names for the scale and the shift, which the first files kept; and a buffer, which is no weight.
  rename: (name) =>
    name.endsWith("position_ids") ? undefined : name.replace(/\.gamma$/, ".weight").replace(/\.beta$/, ".bias"),
  isOptional: (name) => name.startsWith("pooler."),
};

type Ids<B extends number = number, T extends number = number> = Tensor<[B, T], "int32">;
type Hidden<B extends number = number, T extends number = number> = Tensor<[B, T, number], "float32">;

/** The arguments of BERT besides the ids of the tokens. */
export interface BertInput<B extends number = number, T extends number = number> {
  /** True, or 1, for tokens; false, or 0, for padding, which no token attends to: a tokenizer's `mask`. Default: all are tokens. */
  readonly attentionMask?: Tensor<[B, T], "bool" | "int32">;
  /** The segment of each token, 0 or 1: a tokenizer's `typeIds`. Default 0. */
  readonly tokenTypeIds?: Ids<B, T>;
  /** The position of each token. Default 0, 1, 2, … */
  readonly positionIds?: Ids<B, T>;
  /** Whether the attention weights of each layer are returned. Default false. */
  readonly outputAttentions?: boolean;
  /** Whether the hidden vectors before the first layer and after each layer are returned. Default false. */
  readonly outputHiddenStates?: boolean;
}

/** What all results of BERT may have, if it is asked for. */
export interface BertDetails<B extends number = number, T extends number = number> {
  /** The attention weights of each layer, [batch, heads, from token, to token]; undefined unless `outputAttentions` is true. */
  readonly attentions?: readonly Tensor<[B, number, T, T], "float32">[];
  /** The embeddings and the output of each layer; undefined unless `outputHiddenStates` is true. */
  readonly hiddenStates?: readonly Hidden<B, T>[];
}

/** The result of `bert`. */
export interface BertOutput<B extends number = number, T extends number = number> extends BertDetails<B, T> {
  /** The vector of each token, [batch, tokens, hiddenSize]. */
  readonly lastHiddenState: Hidden<B, T>;
  /** tanh of a linear layer of the first token's vector, [batch, hiddenSize]. */
  readonly poolerOutput: Tensor<[B, number], "float32">;
}

/** A layer with names as in files: a linear layer, dropout, addition, normalisation. */
interface AddAndNorm {
  readonly dense: Linear<number, number>;
  readonly LayerNorm: LayerNorm<number>;
}

/** The embeddings: token + position + segment (figure 2 of the paper), normalised. */
export interface BertEmbeddings extends Module {
  (ids: Ids, input: BertInput): Hidden;
  readonly word_embeddings: Embedding<number, number>;
  readonly position_embeddings: Embedding<number, number>;
  readonly token_type_embeddings: Embedding<number, number>;
  readonly LayerNorm: LayerNorm<number>;
}

/** One layer: attention, then feed-forward. */
export interface BertLayer extends Module {
  (
    h: Hidden,
    mask: Tensor<[number, 1, 1, number], "bool"> | undefined,
    needWeights: boolean,
  ): { readonly h: Hidden; readonly weights?: Tensor<[number, number, number, number], "float32"> };
  readonly attention: {
    readonly self: {
      readonly query: Linear<number, number>;
      readonly key: Linear<number, number>;
      readonly value: Linear<number, number>;
    };
    readonly output: AddAndNorm;
  };
  readonly intermediate: { readonly dense: Linear<number, number> };
  readonly output: AddAndNorm;
}

/** The body of BERT without a pooler. */
interface Body extends Module {
  (ids: Ids, input: BertInput): BertDetails & { readonly lastHiddenState: Hidden };
  readonly embeddings: BertEmbeddings;
  readonly encoder: { readonly layer: readonly BertLayer[] };
}

/** BERT without a head. */
export interface Bert extends Module {
  <B extends number, T extends number>(inputIds: Ids<B, T>, input?: BertInput<B, T>): BertOutput<B, T>;
  readonly embeddings: BertEmbeddings;
  readonly encoder: { readonly layer: readonly BertLayer[] };
  readonly pooler: { readonly dense: Linear<number, number> };
}

// The parts

/** Makes layers as BERT begins them: weights normal with deviation `initializerRange`, biases 0. */
function parts(config: BertConfig, generator: Generator) {
  const weight = normal(config.initializerRange);
  const { hiddenSize, layerNormEps: epsilon } = config;
  return {
    dense: (inputs: number, outputs: number) => linear(inputs, outputs, { weight, bias: zeroed, generator }),
    norm: () => layerNorm(hiddenSize, { epsilon }),
    drop: (rate: number = config.hiddenDropoutProb) => dropout(rate, { generator }),
    table: (count: number) => embedding(count, hiddenSize, { weight, generator }),
    /** The embeddings of tokens, with zeros for padding. */
    tokens: () => {
      const later = (shape: Shape, random: Generator["host"]) => {
        const draw = weight.later!(shape, random);
        return () => draw().fill(0, config.padTokenId * hiddenSize, (config.padTokenId + 1) * hiddenSize);
      };
      const withoutPadding = Object.assign((shape: Shape, random: Generator["host"]) => later(shape, random)(), {
        later,
      });
      return embedding(config.vocabSize, hiddenSize, { weight: withoutPadding, generator });
    },
  };
}

function bertEmbeddings(config: BertConfig, generator: Generator): BertEmbeddings {
  const { norm, drop, table, tokens } = parts(config, generator);
  const children = {
    word_embeddings: tokens(),
    position_embeddings: table(config.maxPositionEmbeddings),
    token_type_embeddings: table(config.typeVocabSize),
    LayerNorm: norm(),
    dropout: drop(),
  };
  return module("BertEmbeddings", children, (ids: Ids, { tokenTypeIds, positionIds }: BertInput): Hidden => {
    const [batch, time] = ids.sizes();
    const positions = positionIds ?? (arange(time).unsqueeze(0) as Ids);
    const segments = tokenTypeIds ?? zeros([batch, time], "int32");
    const sum = children
      .word_embeddings(ids)
      .add(children.token_type_embeddings(segments))
      .add(children.position_embeddings(positions));
    return children.dropout(children.LayerNorm(sum));
  });
}

function bertLayer(config: BertConfig, generator: Generator): BertLayer {
  const { hiddenSize, intermediateSize, numAttentionHeads, hiddenAct, attentionProbsDropoutProb } = config;
  const { dense, norm, drop } = parts(config, generator);
  const attention = {
    self: {
      query: dense(hiddenSize, hiddenSize),
      key: dense(hiddenSize, hiddenSize),
      value: dense(hiddenSize, hiddenSize),
    },
    output: { dense: dense(hiddenSize, hiddenSize), LayerNorm: norm(), dropout: drop() },
  };
  const intermediate = { dense: dense(hiddenSize, intermediateSize) };
  const output = { dense: dense(intermediateSize, hiddenSize), LayerNorm: norm(), dropout: drop() };
  const children = { attention, intermediate, output };
  const forward = (h: Hidden, mask?: Tensor, needWeights: boolean = false) => {
    const { query, key, value } = attention.self;
    const { y, weights } = multiHead(query(h), key(h), value(h), {
      heads: numAttentionHeads,
      mask,
      dropout: self.training ? attentionProbsDropoutProb : 0,
      generator,
      needWeights,
    });
    const a = attention.output.LayerNorm(h.add(attention.output.dropout(attention.output.dense(y))));
    const f = activate(hiddenAct, intermediate.dense(a));
    return { h: output.LayerNorm(a.add(output.dropout(output.dense(f)))), ...(weights && { weights }) };
  };
  const self = module("BertLayer", children, forward) as BertLayer;
  return self;
}

/** The modules of the body, by their names in files. */
function bodyParts(config: BertConfig, generator: Generator) {
  const embeddings = bertEmbeddings(config, generator);
  const encoder = { layer: Array.from({ length: config.numHiddenLayers }, () => bertLayer(config, generator)) };
  return { embeddings, encoder };
}

const inputKind = optionsOf({
  attentionMask: optional(aTensor),
  tokenTypeIds: optional(aTensor),
  positionIds: optional(aTensor),
  outputAttentions: aFlag,
  outputHiddenStates: aFlag,
});

function run(
  { embeddings, encoder }: Pick<Body, "embeddings" | "encoder">,
  config: BertConfig,
  ids: Ids,
  input: BertInput,
): BertDetails & { readonly lastHiddenState: Hidden } {
  expectArguments("bert", [aTensor, inputKind], [ids, input]);
  expectIds("bert", ids, config.maxPositionEmbeddings);
  const { attentionMask, outputAttentions = false, outputHiddenStates = false } = input;
  for (const [name, given] of Object.entries({ attentionMask, tokenTypeIds: input.tokenTypeIds }))
    if (given && `${given.shape}` !== `${ids.shape}`)
      throw new ShapeError(
        "bert",
        `the ids are ${showShape(ids.shape)}, ${name} is ${showShape(given.shape)}`,
        `give ${name} an element for each token`,
      );
  // [batch, heads, from, to]: each token attends to all tokens that are no padding.
  const mask = attentionMask?.cast("bool").unsqueeze(1).unsqueeze(1) as Tensor<[number, 1, 1, number], "bool">;
  let h = embeddings(ids, input);
  const hiddenStates = [h];
  const attentions: Tensor<[number, number, number, number], "float32">[] = [];
  for (const layer of encoder.layer) {
    const result = layer(h, mask, outputAttentions);
    h = result.h;
    hiddenStates.push(h);
    if (result.weights) attentions.push(result.weights);
  }
  return {
    lastHiddenState: h,
    ...(outputAttentions && { attentions }),
    ...(outputHiddenStates && { hiddenStates }),
  };
}

/** Throws ShapeError unless ids are [batch, tokens] with positions for all tokens. */
export function expectIds(subject: string, ids: Tensor, longest: number): void {
  if (ids.shape.length !== 2)
    throw new ShapeError(
      subject,
      `the ids of the tokens are ${showShape(ids.shape)}`,
      'give [batch, tokens]; for one text: tensor([ids], "int32")',
    );
  if (ids.shape[1]! > longest)
    throw new ShapeError(
      subject,
      `there are ${ids.shape[1]} tokens, and positions for ${longest}`,
      "cut the text: tokenizer.encode(text, { maxLength }), or raise maxPositionEmbeddings",
    );
}

function buildBody(config: BertConfig, generator: Generator): Body {
  const children = bodyParts(config, generator);
  return module("BertModel", children, (ids: Ids, input: BertInput = {}) => run(children, config, ids, input)) as Body;
}

function buildBert(config: BertConfig, generator: Generator): Bert {
  const pooler = { dense: parts(config, generator).dense(config.hiddenSize, config.hiddenSize) };
  const children = { ...bodyParts(config, generator), pooler };
  return module("BertModel", children, (ids: Ids, input: BertInput = {}): BertOutput => {
    const body = run(children, config, ids, input);
    return { ...body, poolerOutput: pooler.dense(firstToken(body.lastHiddenState)).tanh() };
  }) as Bert;
}

/** The vectors of the first token, `[CLS]`, which stand for the whole text: [batch, hiddenSize]. */
const firstToken = (h: Hidden): Tensor<[number, number], "float32"> =>
  h.slice(null, [0, 1]).squeeze(1) as Tensor<Shape, "float32"> as Tensor<[number, number], "float32">;

// The heads

/** The head that predicts masked tokens: a layer, and the embedding's weights as output (section 3.1 of the paper). */
interface PredictionHead extends Module {
  <L extends Shape>(h: Tensor<[...L, number], "float32">): Tensor<[...L, number], "float32">;
  readonly transform: AddAndNorm;
  readonly decoder: { readonly weight: Parameter<[number, number], "float32">; readonly bias: Parameter };
  /** One for each token. */
  readonly bias: Parameter<[number], "float32">;
}

function predictionHead(config: BertConfig, generator: Generator, words: BertEmbeddings): PredictionHead {
  const { dense, norm } = parts(config, generator);
  const { hiddenSize, vocabSize, hiddenAct, tieWordEmbeddings, initializerRange } = config;
  const transform = { dense: dense(hiddenSize, hiddenSize), LayerNorm: norm() };
  const bias = parameter([vocabSize], zeroed, generator);
  const weight = tieWordEmbeddings
    ? words.word_embeddings.weight
    : parameter([vocabSize, hiddenSize], normal(initializerRange), generator);
  const forward = (h: Hidden) =>
    functional.linear(transform.LayerNorm(activate(hiddenAct, transform.dense(h))), weight, bias);
  return module(
    "BertPredictionHead",
    { bias, transform, decoder: { weight, bias } },
    forward,
  ) as unknown as PredictionHead;
}

/** The input of models that predict masked tokens. */
export interface MaskedLMInput<B extends number = number, T extends number = number> extends BertInput<B, T> {
  /**
   * The positions of the tokens to predict, int32 [batch, n]: only their logits are computed, which saves most of the work of the head.
   * Default: all positions.
   */
  readonly predictionPositions?: Tensor<[B, number], "int32">;
}

/** The result of `bertForMaskedLM`. */
export interface MaskedLMOutput<B extends number = number, T extends number = number> extends BertDetails<B, T> {
  /** [batch, tokens, vocabSize]; with `predictionPositions` [batch, n, vocabSize]. */
  readonly logits: Tensor<[B, number, number], "float32">;
}

/** BERT with the head that predicts masked tokens. */
export interface BertForMaskedLM extends Module {
  <B extends number, T extends number>(inputIds: Ids<B, T>, input?: MaskedLMInput<B, T>): MaskedLMOutput<B, T>;
  readonly bert: Module & Pick<Bert, "embeddings" | "encoder">;
  readonly cls: { readonly predictions: PredictionHead };
}

/** The result of `bertForPreTraining`. */
export interface PreTrainingOutput<B extends number = number, T extends number = number> extends BertDetails<B, T> {
  /** [batch, tokens, vocabSize]; with `predictionPositions` [batch, n, vocabSize]. */
  readonly predictionLogits: Tensor<[B, number, number], "float32">;
  /** [batch, 2]: class 0 says that the second text follows the first, class 1 that it does not. */
  readonly seqRelationshipLogits: Tensor<[B, 2], "float32">;
}

/** BERT with the two heads of its pre-training. */
export interface BertForPreTraining extends Module {
  <B extends number, T extends number>(inputIds: Ids<B, T>, input?: MaskedLMInput<B, T>): PreTrainingOutput<B, T>;
  readonly bert: Bert;
  readonly cls: { readonly predictions: PredictionHead; readonly seq_relationship: Linear<number, number> };
}

/** The result of `bertForNextSentencePrediction`. */
export interface NextSentenceOutput<B extends number = number, T extends number = number> extends BertDetails<B, T> {
  /** [batch, 2]: class 0 says that the second text follows the first, class 1 that it does not. */
  readonly logits: Tensor<[B, 2], "float32">;
}

/** BERT with the head that says whether the second text follows the first. */
export interface BertForNextSentencePrediction extends Module {
  <B extends number, T extends number>(inputIds: Ids<B, T>, input?: BertInput<B, T>): NextSentenceOutput<B, T>;
  readonly bert: Bert;
  readonly cls: { readonly seq_relationship: Linear<number, number> };
}

/** The result of `bertForSequenceClassification`. */
export interface SequenceClassifierOutput<B extends number = number, T extends number = number>
  extends BertDetails<B, T> {
  /** [batch, numLabels]. */
  readonly logits: Tensor<[B, number], "float32">;
}

/** BERT with a classifier of texts, or of pairs of texts. */
export interface BertForSequenceClassification extends Module {
  <B extends number, T extends number>(inputIds: Ids<B, T>, input?: BertInput<B, T>): SequenceClassifierOutput<B, T>;
  readonly bert: Bert;
  readonly classifier: Linear<number, number>;
}

/** The result of `bertForTokenClassification`. */
export interface TokenClassifierOutput<B extends number = number, T extends number = number> extends BertDetails<B, T> {
  /** [batch, tokens, numLabels]. */
  readonly logits: Tensor<[B, T, number], "float32">;
}

/** BERT with a classifier of each token. */
export interface BertForTokenClassification extends Module {
  <B extends number, T extends number>(inputIds: Ids<B, T>, input?: BertInput<B, T>): TokenClassifierOutput<B, T>;
  readonly bert: Module & Pick<Bert, "embeddings" | "encoder">;
  readonly classifier: Linear<number, number>;
}

/** The vectors at some positions of each row: [batch, n, width]. */
function at(h: Hidden, positions: Ids | undefined): Hidden {
  if (!positions) return h;
  const [batch, , width] = h.sizes();
  const [rows, count] = positions.sizes();
  if (rows !== batch)
    throw new ShapeError(
      "bert",
      `predictionPositions are ${showShape(positions.shape)} for a batch of ${batch}`,
      "give [batch, n]: n positions of each row",
    );
  return h.gather(positions.unsqueeze(2).expand([batch, count, width]), 1) as Hidden;
}

/**
 * Makes BERT without a head: `bert({ numHiddenLayers: 4, hiddenSize: 256, … })`, with BERT base's configuration where none is given. It maps
 * ids [batch, tokens] to `{ lastHiddenState, poolerOutput }`. Throws ConfigError for a configuration that is wrong; when it is called,
 * ShapeError for ids that are not [batch, tokens] and for more tokens than positions.
 */
export const bert: Architecture<BertConfig, Bert> = defineArchitecture("BertModel", family, buildBert);

/** Makes BERT with the two heads of its pre-training: masked tokens, and whether the second text follows the first. */
export const bertForPreTraining: Architecture<BertConfig, BertForPreTraining> = defineArchitecture(
  "BertForPreTraining",
  family,
  (config, generator): BertForPreTraining => {
    const body = buildBert(config, generator);
    const predictions = predictionHead(config, generator, body.embeddings);
    const cls = { predictions, seq_relationship: parts(config, generator).dense(config.hiddenSize, 2) };
    const forward = (ids: Ids, { predictionPositions, ...input }: MaskedLMInput = {}) => {
      const { lastHiddenState, poolerOutput, ...details } = body(ids, input);
      return {
        predictionLogits: predictions(at(lastHiddenState, predictionPositions)),
        seqRelationshipLogits: cls.seq_relationship(poolerOutput),
        ...details,
      };
    };
    return module("BertForPreTraining", { bert: body, cls }, forward) as unknown as BertForPreTraining;
  },
);

/** Makes BERT with the head that predicts masked tokens. */
export const bertForMaskedLM: Architecture<BertConfig, BertForMaskedLM> = defineArchitecture(
  "BertForMaskedLM",
  family,
  (config, generator): BertForMaskedLM => {
    const body = buildBody(config, generator);
    const cls = { predictions: predictionHead(config, generator, body.embeddings) };
    const forward = (ids: Ids, { predictionPositions, ...input }: MaskedLMInput = {}) => {
      const { lastHiddenState, ...details } = body(ids, input);
      return { logits: cls.predictions(at(lastHiddenState, predictionPositions)), ...details };
    };
    return module("BertForMaskedLM", { bert: body, cls }, forward) as unknown as BertForMaskedLM;
  },
);

/** Makes BERT with the head that says whether the second text follows the first. */
export const bertForNextSentencePrediction: Architecture<BertConfig, BertForNextSentencePrediction> =
  defineArchitecture("BertForNextSentencePrediction", family, (config, generator): BertForNextSentencePrediction => {
    const body = buildBert(config, generator);
    const cls = { seq_relationship: parts(config, generator).dense(config.hiddenSize, 2) };
    const forward = (ids: Ids, input: BertInput = {}) => {
      const { lastHiddenState: _, poolerOutput, ...details } = body(ids, input);
      return { logits: cls.seq_relationship(poolerOutput), ...details };
    };
    const children = { bert: body, cls };
    return module("BertForNextSentencePrediction", children, forward) as unknown as BertForNextSentencePrediction;
  });

/** Makes BERT with a classifier of texts, or of pairs of texts, on the pooler's output: `bertForSequenceClassification({ numLabels: 3 })`. */
export const bertForSequenceClassification: Architecture<BertConfig, BertForSequenceClassification> =
  defineArchitecture("BertForSequenceClassification", family, (config, generator): BertForSequenceClassification => {
    const body = buildBert(config, generator);
    const { dense, drop } = parts(config, generator);
    const children = {
      bert: body,
      dropout: drop(config.classifierDropout ?? config.hiddenDropoutProb),
      classifier: dense(config.hiddenSize, config.numLabels),
    };
    const forward = (ids: Ids, input: BertInput = {}) => {
      const { lastHiddenState: _, poolerOutput, ...details } = body(ids, input);
      return { logits: children.classifier(children.dropout(poolerOutput)), ...details };
    };
    return module("BertForSequenceClassification", children, forward) as unknown as BertForSequenceClassification;
  });

/** Makes BERT with a classifier of each token: for names of persons and places, or parts of speech. */
export const bertForTokenClassification: Architecture<BertConfig, BertForTokenClassification> = defineArchitecture(
  "BertForTokenClassification",
  family,
  (config, generator): BertForTokenClassification => {
    const body = buildBody(config, generator);
    const { dense, drop } = parts(config, generator);
    const children = {
      bert: body,
      dropout: drop(config.classifierDropout ?? config.hiddenDropoutProb),
      classifier: dense(config.hiddenSize, config.numLabels),
    };
    const forward = (ids: Ids, input: BertInput = {}) => {
      const { lastHiddenState, ...details } = body(ids, input);
      return { logits: children.classifier(children.dropout(lastHiddenState)), ...details };
    };
    return module("BertForTokenClassification", children, forward) as unknown as BertForTokenClassification;
  },
);
