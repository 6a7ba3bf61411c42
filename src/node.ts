/** Glissade in Node: the core, files, data from packages, and the native engine as default. */
import { setDefaultEngine } from "./compile/runtime.ts";
import { nodeEngine } from "./engine/node/index.ts";
import { reportAtExit } from "./tensor/node/exit.ts";

export {
  type FashionMnist,
  type FashionMnistDataset,
  type FashionMnistOptions,
  loadFashionMnist,
} from "./data/node/fashion-mnist.ts";
export { readIdx } from "./data/node/idx.ts";
export {
  decodeImage,
  type ImageFiles,
  type ImageFolder,
  type ImageFolderOptions,
  type ImageOptions,
  listImageFolder,
  readImageFolder,
} from "./data/node/images.ts";
export { type Iris, type IrisDataset, loadIris } from "./data/node/iris.ts";
export { loadMnist, type MnistDataset, type MnistOptions } from "./data/node/mnist.ts";
export { type PartOptions, readCsv, readJsonLines, streamCsv, streamJsonLines } from "./data/node/tables.ts";
export type { Implementation } from "./engine/node/environment.ts";
export { type NodeEngine, type NodeEngineOptions, nodeEngine } from "./engine/node/index.ts";
export { FileError, type FileLocation, writeFileAtomically } from "./files/node/atomic.ts";
export { loadWeights, saveWeights } from "./files/node/model.ts";
export * from "./index.ts";
export {
  loadPretrained,
  type Pretrained,
  type SavePretrainedOptions,
  savePretrained,
} from "./models/node/pretrained.ts";
export type {
  GivenHyperparameters,
  HyperparameterDescription,
  HyperparameterSchema,
  HyperparameterSchemas,
  Hyperparameters,
} from "./recipes/hyperparameters.ts";
export {
  type Baseline,
  defineRecipe,
  type FittedValues,
  type Prediction,
  type PreparedRecipe,
  type Recipe,
  type RecipeDefinition,
  type RecipeOptions,
  type RecipeParts,
  type SetupContext,
  type TextGeneration,
  type TextTranslation,
} from "./recipes/recipe.ts";
export { type Brown, type BrownDocument, type BrownOptions, type BrownSentence, loadBrown } from "./text/node/brown.ts";
export { type CitiesOptions, type City, loadCities } from "./text/node/cities.ts";
export { type Cmudict, type CmudictOptions, loadCmudict, type PronouncedWord } from "./text/node/cmudict.ts";
export { readDocuments, type TextDocument } from "./text/node/documents.ts";
export {
  loadNumberWords,
  type NamedNumber,
  type NumberWords,
  type NumberWordsOptions,
} from "./text/node/number-words.ts";
export { loadTokenizer, saveTokenizer } from "./text/node/tokenizers.ts";
export { readTranslationPairs, type TranslationPair } from "./text/node/translation-pairs.ts";
export { fit } from "./train/node/fit.ts";
export { fitInWorker } from "./train/node/fit-in-worker.ts";
export { readMetrics } from "./train/node/layout.ts";
export type { RunOptions } from "./train/node/options.ts";
export { findRuns, readRun } from "./train/node/read.ts";
export type * from "./train/node/types.ts";

setDefaultEngine(() => nodeEngine());
reportAtExit();
