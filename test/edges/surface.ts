/** The names of the public surface: methods of tensors and functions. */
import * as glissade from "../../src/index.ts";

const functions = Object.entries(glissade).flatMap(([name, value]) =>
  typeof value === "function" && /^[a-z]/.test(name) ? [name] : [],
);
const methods = Object.getOwnPropertyNames(glissade.Tensor.prototype);

export const publicNames: readonly string[] = [
  ...new Set([...methods, ...functions, ...Object.keys(glissade.functional)]),
];

const named = (names: string, reason: string): [string, string][] => names.split(" ").map((name) => [name, reason]);

/** Names that the sweep leaves out, with what they are. */
export const notOfElements: ReadonlyMap<string, string> = new Map([
  ...named(
    "constructor shape sizes dtype size current data array item text toString apply applyAll scalar",
    "what a tensor is",
  ),
  ...named("gradients compile evaluate read currentEngine useEngine plainEngine printGraph defineOp", "the graph"),
  ...named(
    "dataset fitStandardizer standardizer loader toTensor smoother exportOnnx decodeIdx balancedWeights",
    "data and files",
  ),
  ...named(
    "sequences sequenceLengths sequenceMask parseCsv parseJsonLines fitPreparation preparation table stream",
    "data",
  ),
  ...named("decodeSafetensors encodeSafetensors decodeWeights encodeWeights", "files"),
  ...named("decodeOnnxWeights fit validate", "files and the loop"),
  ...named("generate recurrentLanguageModel carriedState elmo scalarMix sampledCrossEntropy", "language models"),
  ...named("scheduledSampling", "a rate that falls with the updates"),
  ...named(
    "bert bertForPreTraining bertForMaskedLM bertForNextSentencePrediction bertForSequenceClassification bertForTokenClassification gpt2 gpt2LMHeadModel seq2seq",
    "models, which are compared with PyTorch's",
  ),
  ...named("fillMask classifyText attentionOf", "what models say about texts"),
  ...named(
    "bleu editDistance errorRate languageModelBatches maskTokens nextSentencePairs bitsPerCharacter kneserNey perplexity decodeTokenizer encodeTokenizer buildVocabulary vocabulary",
    "texts",
  ),
  ...named(
    "rnn lstm gru rnnCell lstmCell gruCell rnnEquations lstmEquations gruEquations",
    "recurrent layers, which are compared with PyTorch's",
  ),
  ...named(
    "attention attentionEquation attentionWeights sinusoidalTable multiHeadAttention transformerEncoderLayer transformerDecoderLayer transformerEncoder transformerDecoder transformer learnedPositions sinusoidalPositions rotaryPositions",
    "attention, which is compared with PyTorch's",
  ),
  ...named("gradientCheck observe spectralEstimate activationCurve", "diagnosis"),
  ...named("seed randomGenerator module parameter state fromValues tensor zeros dropout", "values and random numbers"),
  ...named(
    "avgPool1d avgPool2d conv1d conv2d convTranspose1d convTranspose2d maxPool1d maxPool2d batchNorm groupNorm rmsNorm linear embedding maxout sequential",
    "layers, whose functions are swept",
  ),
  ...named(
    "adadelta adagrad rmsprop adam adamW amsgrad nadam radam lbfgs lion sgd defineOptimizer gradientAccumulator ema",
    "optimizers",
  ),
]);
