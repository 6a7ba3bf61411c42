/** Types that public functions mention: for signatures of your own, and for the compiler where it writes declarations of your code. */
export type { HasStates, ReadOf } from "./compile/evaluate.ts";
export type { BatchSource } from "./data/batches.ts";
export type { CsvOptions } from "./data/csv.ts";
export type { AnyCount, Column } from "./data/dataset.ts";
export type { IdxContent } from "./data/idx.ts";
export type { ArrayOf, ExampleValues, Loader, LoaderOptions, LoaderState } from "./data/loader.ts";
export type { StratifyByName, StratifyOptions } from "./data/parts.ts";
export type { Origin } from "./data/places.ts";
export type { Missing, PreparationOptions, PreparationState, Prepared } from "./data/preparation.ts";
export type { SampleOptions } from "./data/sampling.ts";
export type { Sequences, SequencesOptions } from "./data/sequences.ts";
export type { RandomBits } from "./data/shuffle.ts";
export type { StandardizeOptions, StandardStatistics } from "./data/standardize.ts";
export type { ColumnsOf, ExampleType, StreamItem, StreamOptions, StreamSource } from "./data/stream.ts";
export type { Cell, ColumnKind, TableOptions, TableSchema } from "./data/table.ts";
export type { Batch } from "./data/tensors.ts";
export type { BaselineOptions, BaselineReport, WithoutInputs } from "./doctor/baseline.ts";
export type { ColumnStatistics } from "./doctor/column-statistics.ts";
export type { ColumnReport, DataReport } from "./doctor/data.ts";
export type { ClassCount, Finding } from "./doctor/findings.ts";
export type { CheckedElement, GradientCheckOptions, GradientReport } from "./doctor/gradient-check.ts";
export type { GradientsOptions, GradientsReport } from "./doctor/gradients.ts";
export type { InitialLossOptions, InitialLossReport } from "./doctor/initial-loss.ts";
export type { LearningRateOptions, LearningRateReport, RatePoint } from "./doctor/learning-rate.ts";
export type { ObserveOptions, OutputReport, ParameterReport } from "./doctor/lens.ts";
export type { Influences, MixingOptions, MixingReport, Pair } from "./doctor/mixing.ts";
export type { OverfitOptions, OverfitReport } from "./doctor/overfit.ts";
export type { OnStep, SeedOption, Skipped, Verdict } from "./doctor/report.ts";
export type { RunsTest } from "./doctor/runs.ts";
export type { SpectralEstimate } from "./doctor/spectral.ts";
export type { InPlace, KeptProgram, Program, ProgramStore } from "./engine/engine.ts";
export type { DynamicAxes } from "./files/dynamic-axes.ts";
export type { ExportOptions } from "./files/export.ts";
export type { NamedValues, SafetensorsContent } from "./files/safetensors.ts";
export type { HasNamedStates, LoadOptions, LoadReport, Saved } from "./files/weights.ts";
export type { Body } from "./graph/body.ts";
export type { ArgumentSource, HostSource, Node, Source, StateSource, StoredValues, Value } from "./graph/node.ts";
export type {
  AnyOp,
  Constant,
  Data,
  Differentiation,
  IndexBound,
  IndexWords,
  Lowering,
  OnnxAttribute,
  OnnxGraph,
  OnnxSubgraph,
  OnnxTensorType,
  OnnxType,
  OnnxValue,
  Plateaus,
  PullBack,
  Sample,
  Sampler,
  SeveralOp,
  SingleOp,
} from "./graph/op.ts";
export type {
  Agree,
  AnySizes,
  Broadcast,
  BroadcastsInto,
  Diagonal,
  Element,
  Flattened,
  Inserted,
  Is,
  IsOne,
  Lead,
  Matches,
  MatmulMessage,
  NestedArray,
  NestedValue,
  Reduced,
  Replaced,
  Reshaped,
  ShapeMismatch,
  Sliced,
  Squeezed,
  Swapped,
  Tail,
  Together,
  Transposed,
  Under,
} from "./graph/shape-types.ts";
export type { Filling, Hole, Port, Target } from "./graph/target.ts";
export type { TensorType, Values } from "./graph/types.ts";
export type {
  AnyKernelOp,
  GuardOp,
  Kernel,
  KernelLimits,
  KernelOp,
  KernelValue,
  KernelWriter,
  Layout,
  LengthsOp,
  Operation,
  Part,
  RandomOp,
} from "./kernel/kernel.ts";
export type {
  AddedLayout,
  ProductForm,
  ProductLimits,
  ProductOp,
  ProductSizes,
} from "./kernel/product.ts";
export type { AttentionKind, AttentionScore } from "./models/alignment.ts";
export type {
  Architecture,
  ConfigField,
  ConfigFields,
  ConfigJson,
  Family,
  HiddenActivation,
  ModelOptions,
  PretrainedModel,
} from "./models/architecture.ts";
export type {
  Bert,
  BertConfig,
  BertDetails,
  BertEmbeddings,
  BertForMaskedLM,
  BertForNextSentencePrediction,
  BertForPreTraining,
  BertForSequenceClassification,
  BertForTokenClassification,
  BertInput,
  BertLayer,
  BertOutput,
  MaskedLMInput,
  MaskedLMOutput,
  NextSentenceOutput,
  PreTrainingOutput,
  SequenceClassifierOutput,
  TokenClassifierOutput,
} from "./models/bert.ts";
export type { ElmoInput, ElmoLossOptions, ElmoOptions, ScalarMix } from "./models/elmo.ts";
export type { Generated, Generation } from "./models/generate.ts";
export type {
  Gpt2,
  Gpt2Block,
  Gpt2Config,
  Gpt2Details,
  Gpt2Input,
  Gpt2LMHeadModel,
  Gpt2LMOutput,
  Gpt2Output,
  Gpt2State,
} from "./models/gpt.ts";
export type { KeyValueCache } from "./models/heads.ts";
export type {
  LanguageModelInput,
  LanguageModelOutput,
  LanguageModelState,
  RecurrentLanguageModelOptions,
} from "./models/language-model.ts";
export type {
  AttentiveModel,
  FilledMask,
  FillMaskOptions,
  Labelled,
  MaskedLanguageModel,
  TextAttention,
  TextClassifier,
  TextOrPair,
} from "./models/pipelines.ts";
export type { LoadedModel, PretrainedOptions } from "./models/pretrained.ts";
export type { SampledCrossEntropyOptions } from "./models/sampled-softmax.ts";
export type {
  ScheduledSampling,
  ScheduledSamplingOptions,
  Seq2SeqInput,
  Seq2SeqOptions,
  Seq2SeqState,
  Seq2SeqStep,
} from "./models/seq2seq.ts";
export type { StepOutput, TokenIds } from "./models/step-model.ts";
export type { TransformerState } from "./models/transformer.ts";
export type { AttentionOptions, ScoreOptions } from "./nn/attention.ts";
export type { CellWeights, RecurrentActivation } from "./nn/cells.ts";
export type { NormalOptions, UniformOptions } from "./nn/generator.ts";
export type {
  AttentionInput,
  AttentionMasks,
  KeyValue,
  MultiHeadAttentionOptions,
} from "./nn/layers/attention.ts";
export type { Convolution, ConvolutionOptions, Pool, TransposedConvolutionOptions } from "./nn/layers/convolution.ts";
export type {
  BatchNorm,
  BatchNormOptions,
  GroupNorm,
  LayerNorm,
  OverChannels,
  RmsNorm,
} from "./nn/layers/normalization.ts";
export type {
  LearnedPositions,
  LearnedPositionsOptions,
  Positions,
  RotaryOptions,
  RotaryPositions,
} from "./nn/layers/positions.ts";
export type {
  CellOptions,
  Recurrent,
  RecurrentInput,
  RecurrentKind,
  RecurrentLayer,
  RecurrentOf,
  RecurrentOptions,
  RecurrentResult,
  RnnCellOptions,
  RnnOptions,
  SingleSteps,
  StateOf,
  StepResult,
} from "./nn/layers/recurrent.ts";
export type {
  DecoderCache,
  DecoderMasks,
  TransformerActivation,
  TransformerLayerOptions,
  TransformerStackOptions,
} from "./nn/layers/transformer.ts";
export type { Child, Children, NamedStatesOptions } from "./nn/module.ts";
export type { BiasOf, BiasOption, HasBias } from "./nn/parameters.ts";
export type { AdadeltaOptions, AdagradOptions, RmspropOptions } from "./optim/adagrad.ts";
export type { AdamOptions, NadamOptions } from "./optim/adam.ts";
export type { Ema, EmaOptions } from "./optim/ema.ts";
export type { Lbfgs, LbfgsMemory, LbfgsOptions, LbfgsReport } from "./optim/lbfgs.ts";
export type { LionOptions } from "./optim/lion.ts";
export type {
  ApplyOptions,
  At,
  Defaults,
  Method,
  MinimizeOptions,
  OptimizerGroup,
  OptimizerOptions,
  Parameters,
  SlotStart,
  Slots,
  Trainable,
} from "./optim/optimizer.ts";
export type { SgdOptions } from "./optim/sgd.ts";
export type { Key } from "./random/philox.ts";
export type { PhiloxStream } from "./random/stream.ts";
export type { Steps, Waiting } from "./task.ts";
export type {
  AveragePoolOptions,
  ConvolveOptions,
  Padding,
  PerAxis,
  PoolOptions,
  TransposedOptions,
  WindowOptions,
} from "./tensor/convolution.ts";
export type { EinsumShape } from "./tensor/einsum.ts";
export type { Methods, PairMethod } from "./tensor/methods.ts";
export type { PadOptions } from "./tensor/padding.ts";
export type { ReducedAxes } from "./tensor/reductions.ts";
export type { Run } from "./tensor/run.ts";
export type { ScanOptions, SliceOf, StackOf } from "./tensor/scan.ts";
export type { Change, StateOptions, Version } from "./tensor/state.ts";
export type { Storage } from "./tensor/storage.ts";
export type { Range, Scalar } from "./tensor/tensor.ts";
export type { IsTree, Tree } from "./tensor/tree.ts";
export type { Bleu, BleuOptions } from "./text/bleu.ts";
export type { ErrorRate, Symbols } from "./text/edit-distance.ts";
export type { LanguageModelBatch, LanguageModelOptions, PackOptions } from "./text/language-model.ts";
export type { MaskOptions, SentencePair, SentencePairOptions } from "./text/masking.ts";
export type { KneserNeyModel, KneserNeyOptions } from "./text/ngram.ts";
export type { BertOptions, FileContent, TiktokenOptions } from "./text/read.ts";
export type { Truncation } from "./text/template.ts";
export type {
  DecodeOptions,
  DecodeTokenizerOptions,
  EncodedBatch,
  EncodeOptions,
  Encoding,
  SpecialIds,
  Tokenizer,
} from "./text/tokenizer.ts";
export type { AddedToken, TokenizerComponent, TokenizerJson } from "./text/tokenizer-json.ts";
export type {
  TrainBpeOptions,
  TrainCharacterLevelOptions,
  TrainTokenizerOptions,
  TrainWordLevelOptions,
  TrainWordPieceOptions,
} from "./text/train.ts";
export type {
  BuildVocabularyOptions,
  SpecialTokens,
  Vocabulary,
  VocabularyContent,
  VocabularyOptions,
} from "./text/vocabulary.ts";
export type { CarriedStateOptions } from "./train/carried.ts";
export type {
  CheckpointEvent,
  EndEvent,
  EndReason,
  EpochEvent,
  EvaluationEvent,
  EvaluationReport,
  LogEvent,
  ProgressEvent,
  StartEvent,
  TrainingPlace,
  WarningEvent,
} from "./train/events.ts";
export type { ValidateOptions } from "./train/fit.ts";
export type {
  ClassMetricOptions,
  EditDistanceOptions,
  F1Options,
  HostCount,
  HostMetric,
  Measured,
  Metric,
  MetricBase,
  MetricValue,
  SummedMetric,
  Sums,
} from "./train/metrics.ts";
export type { Picture, Recorder } from "./train/notes.ts";
export type { Strategy } from "./train/options.ts";
export type { TrainingData } from "./train/setup.ts";
