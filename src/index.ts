/** Glissade's public surface. Everything here runs in Node and in the browser; `glissade` in Node adds files and the engine. */
import "./tensor/checked.ts";
import { setDefaultEngine } from "./compile/runtime.ts";
import { plainEngine } from "./engine/plain.ts";

export { gradients } from "./autodiff/gradients.ts";
export { type Compiled, type CompileOptions, compile } from "./compile/compile.ts";
export { evaluate, read } from "./compile/evaluate.ts";
export { currentEngine, useEngine } from "./compile/runtime.ts";
export { printGraph } from "./compile/text.ts";
export { parseCsv } from "./data/csv.ts";
export { type Dataset, dataset } from "./data/dataset.ts";
export { decodeIdx } from "./data/idx.ts";
export { parseJsonLines } from "./data/json-lines.ts";
export { fitPreparation, type Preparation, preparation } from "./data/preparation.ts";
export { balancedWeights } from "./data/sampling.ts";
export { sequenceLengths, sequenceMask, sequences } from "./data/sequences.ts";
export { fitStandardizer, type Standardizer, standardizer } from "./data/standardize.ts";
export { type Stream, stream } from "./data/stream.ts";
export { type Table, table } from "./data/table.ts";
export { loader, toTensor } from "./data/tensors.ts";
export * as check from "./doctor/checks.ts";
export { gradientCheck } from "./doctor/gradient-check.ts";
export { type LensReport, type Observation, observe } from "./doctor/lens.ts";
export { spectralEstimate } from "./doctor/spectral.ts";
export type { Engine, EngineBuffer, Session } from "./engine/engine.ts";
export { plainEngine } from "./engine/plain.ts";
export {
  ConfigError,
  DataError,
  DTypeError,
  EngineError,
  FormatError,
  GlissadeError,
  GraphError,
  ShapeError,
} from "./errors.ts";
export { exportOnnx } from "./files/export.ts";
export { decodeOnnxWeights } from "./files/onnx-weights.ts";
export { decodeSafetensors, encodeSafetensors } from "./files/safetensors.ts";
export { decodeWeights, encodeWeights } from "./files/weights.ts";
export { defineOp, type Op } from "./graph/op.ts";
export type { Named } from "./graph/shape-types.ts";
export type { DType, Shape } from "./graph/types.ts";
export {
  bert,
  bertForMaskedLM,
  bertForNextSentencePrediction,
  bertForPreTraining,
  bertForSequenceClassification,
  bertForTokenClassification,
} from "./models/bert.ts";
export { type Elmo, elmo, scalarMix } from "./models/elmo.ts";
export { type GenerateOptions, generate } from "./models/generate.ts";
export { gpt2, gpt2LMHeadModel } from "./models/gpt.ts";
export { type RecurrentLanguageModel, recurrentLanguageModel } from "./models/language-model.ts";
export { attentionOf, classifyText, fillMask } from "./models/pipelines.ts";
export { sampledCrossEntropy } from "./models/sampled-softmax.ts";
export { type Seq2Seq, scheduledSampling, seq2seq } from "./models/seq2seq.ts";
export type { StepModel } from "./models/step-model.ts";
export { type Transformer, type TransformerModelOptions, transformer } from "./models/transformer.ts";
export type { HiddenState, LstmState } from "./nn/cells.ts";
export * as functional from "./nn/functional.ts";
export { defaultGenerator, type Generator, randomGenerator, seed } from "./nn/generator.ts";
export * as init from "./nn/initializers.ts";
export * from "./nn/layers/activations.ts";
export { type MultiHeadAttention, multiHeadAttention } from "./nn/layers/attention.ts";
export * from "./nn/layers/basic.ts";
export {
  avgPool1d,
  avgPool2d,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
  maxPool1d,
  maxPool2d,
} from "./nn/layers/convolution.ts";
export { batchNorm, groupNorm, layerNorm, rmsNorm } from "./nn/layers/normalization.ts";
export { learnedPositions, rotaryPositions, sinusoidalPositions } from "./nn/layers/positions.ts";
export {
  type Gru,
  gru,
  gruCell,
  type Lstm,
  lstm,
  lstmCell,
  type RecurrentCell,
  type Rnn,
  rnn,
  rnnCell,
} from "./nn/layers/recurrent.ts";
export {
  type TransformerDecoder,
  type TransformerDecoderLayer,
  type TransformerEncoder,
  type TransformerEncoderLayer,
  transformerDecoder,
  transformerDecoderLayer,
  transformerEncoder,
  transformerEncoderLayer,
} from "./nn/layers/transformer.ts";
export * from "./nn/losses.ts";
export { type Module, module } from "./nn/module.ts";
export { parameter, state } from "./nn/parameters.ts";
export { type GradientAccumulator, gradientAccumulator } from "./optim/accumulate.ts";
export { adadelta, adagrad, rmsprop } from "./optim/adagrad.ts";
export { adam, adamW, amsgrad, nadam, radam } from "./optim/adam.ts";
export { clipByGlobalNorm, clipByNorm, clipByValue, globalNorm } from "./optim/clipping.ts";
export { ema } from "./optim/ema.ts";
export { lbfgs } from "./optim/lbfgs.ts";
export { lion } from "./optim/lion.ts";
export {
  type At,
  type Defaults,
  defineOptimizer,
  type MinimizeOptions,
  type Optimizer,
  type OptimizerOptions,
  type ParameterGroup,
  type Rule,
  type SlotStart,
  type Slots,
  type Trainable,
} from "./optim/optimizer.ts";
export * as schedule from "./optim/schedules.ts";
export { sgd } from "./optim/sgd.ts";
export {
  arange,
  broadcast,
  concat,
  fromValues,
  full,
  linspace,
  ones,
  stack,
  tensor,
  where,
  zeros,
} from "./tensor/create.ts";
export { einsum } from "./tensor/einsum.ts";
export { diagonalMatrix, eye, outer, singularValues } from "./tensor/matrices.ts";
export { scan } from "./tensor/scan.ts";
export type { Parameter, State } from "./tensor/state.ts";
export { Tensor } from "./tensor/tensor.ts";
export { bleu } from "./text/bleu.ts";
export { editDistance, errorRate } from "./text/edit-distance.ts";
export { languageModelBatches, packRows } from "./text/language-model.ts";
export { maskTokens, nextSentencePairs } from "./text/masking.ts";
export { bitsPerCharacter, kneserNey, perplexity } from "./text/ngram.ts";
export { decodeTokenizer, encodeTokenizer } from "./text/tokenizer.ts";
export * as tokenizers from "./text/tokenizers.ts";
export { buildVocabulary, vocabulary } from "./text/vocabulary.ts";
export { type CarriedState, carriedState } from "./train/carried.ts";
export type { TrainingEvent } from "./train/events.ts";
export { type FitResult, fit, validate } from "./train/fit.ts";
export { smoother } from "./train/history.ts";
export * as metric from "./train/metrics.ts";
export type { FitOptions } from "./train/options.ts";
export type { TrainingSetup } from "./train/setup.ts";
export type * from "./types.ts";

setDefaultEngine(plainEngine);
