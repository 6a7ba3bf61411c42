/** The public surface fits one screen, and nobody changes it by accident. */
import { expect, test } from "vitest";
import * as core from "../src/index.ts";
import * as node from "../src/node.ts";

test("what the core exports", () => {
  expect(Object.keys(core).sort().join(" ")).toMatchInlineSnapshot(
    `"ConfigError DTypeError DataError EngineError FormatError GlissadeError GraphError ShapeError Tensor activationCurve activations adadelta adagrad adam adamW amsgrad arange attentionOf avgPool1d avgPool2d balancedWeights batchNorm bert bertForMaskedLM bertForNextSentencePrediction bertForPreTraining bertForSequenceClassification bertForTokenClassification binaryCrossEntropy binaryCrossEntropyOfProbabilities bitsPerCharacter bleu broadcast buildVocabulary carriedState check classifyText clipByGlobalNorm clipByNorm clipByValue compile concat conv1d conv2d convTranspose1d convTranspose2d cosineDistance cosineSimilarity crossEntropy currentEngine dataset decodeIdx decodeOnnxWeights decodeSafetensors decodeTokenizer decodeWeights defaultGenerator defineOp defineOptimizer diagonalMatrix dropout editDistance einsum elmo elu ema embedding encodeSafetensors encodeTokenizer encodeWeights errorRate evaluate exportOnnx eye fillMask fit fitPreparation fitStandardizer flatten fromValues full functional geglu gelu generate globalNorm glu gpt2 gpt2LMHeadModel gradientAccumulator gradientCheck gradients groupNorm gru gruCell huber init klDivergence kneserNey languageModelBatches layerNorm lbfgs leakyRelu learnedPositions linear linspace lion loader lstm lstmCell maskTokens maxPool1d maxPool2d maxout meanAbsoluteError meanSquaredError metric mish module multiHeadAttention nadam negativeLogLikelihood nextSentencePairs observe ones outer packRows parameter parseCsv parseJsonLines perplexity plainEngine prelu preparation printGraph radam randomGenerator read recurrentLanguageModel reglu relu rmsNorm rmsprop rnn rnnCell rotaryPositions sampledCrossEntropy scalarMix scan schedule scheduledSampling seed selu seq2seq sequenceLengths sequenceMask sequences sequential sgd sigmoid silu singularValues sinusoidalPositions smoothL1 smoother softCrossEntropy softplus spectralEstimate stack standardizer state stream swiglu table tanh tensor toTensor tokenizers transformer transformerDecoder transformerDecoderLayer transformerEncoder transformerEncoderLayer useEngine validate vocabulary where zeros"`,
  );
});

test("what Node adds", () => {
  const added = Object.keys(node).filter((name) => !(name in core));
  expect(added.sort().join(" ")).toMatchInlineSnapshot(
    `"FileError decodeImage defineRecipe findRuns fitInWorker listImageFolder loadBrown loadCities loadCmudict loadFashionMnist loadIris loadMnist loadNumberWords loadPretrained loadTokenizer loadWeights nodeEngine readCsv readDocuments readIdx readImageFolder readJsonLines readMetrics readRun readTranslationPairs savePretrained saveTokenizer saveWeights streamCsv streamJsonLines writeFileAtomically"`,
  );
});

test("the methods of a tensor", () => {
  const methods = Object.getOwnPropertyNames(core.Tensor.prototype).filter((name) => name !== "constructor");
  expect(methods.sort().join(" ")).toMatchInlineSnapshot(
    `"abs acos acosh add all and any apply applyAll argmax argmin argsort array asin asinh atan atan2 atanh bitAnd bitNot bitOr bitXor cast cbrt ceil celu clip copySign cos cosh countNonZero cummax cummin cumprod cumsum current data degrees detach diagonal div dot dtype elu equal erf erfc exp exp2 expand expm1 flatten flip floor floorDivide fmax fmin fmod fraction gather gelu geluTanh glu greater greaterEqual halfErf hardShrink hardSigmoid hardSwish hardTanh heaviside hypot isFinite isInf isNaN item ldexp leakyRelu lerp less lessEqual log log10 log1p log2 logAddExp logAddExp2 logCumSumExp logSigmoid logSoftmax logSumExp logit mT maskedFill matmul max maximum mean min minimum mish mul nanToNum neg norm not notEqual oneHot or pad pick pow prelu prod quickGelu radians reciprocal relu relu6 remainder repeat reshape roll round rsqrt scalar scatter selu shape shiftLeft shiftRight sigmoid sign signBit silu sin sinc sinh size sizes slice softShrink softmax softmin softplus softsign sort split sqrt square squeeze std step sub sum sumTo swapAxes take tan tanh tanhShrink text threshold tile toString topK trace transpose tril triu trunc unsqueeze variance xor"`,
  );
});
