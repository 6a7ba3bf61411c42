/** The sentences of the Brown corpus as ELMo reads them: for the recipes that train it and that use it. */
import { type Sequences, sequences } from "../data/sequences.ts";
import { type Elmo, elmo } from "../models/elmo.ts";
import type { BrownDocument, BrownSentence } from "../text/node/brown.ts";
import { buildVocabulary, type Vocabulary } from "../text/vocabulary.ts";

/** What ELMo is made of: hyperparameters of the recipe `elmo`, which a run's folder keeps. */
export interface ElmoSizes {
  readonly input: "words" | "characters";
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly dropout: number;
}

const special = { unk: "<unk>", bos: "<s>", eos: "</s>" } as const;
/** So many characters of a word are read. */
const longestWord = 12;

/** Returns the sentences of documents. */
export const sentencesIn = (documents: readonly BrownDocument[]): BrownSentence[] =>
  documents.flatMap(({ sentences }) => sentences);

/** ELMo for a corpus, and its inputs for sentences of words. */
export interface ElmoOfCorpus {
  readonly model: Elmo;
  readonly vocabulary: Vocabulary;
  /** Returns the ids of words, with the tokens of the beginning and the end. */
  idsOf(words: readonly string[]): Int32Array;
  /** Returns the model's input for sentences: ids of words, or of their characters. Both have the beginning and the end. */
  inputOf(sentences: readonly (readonly string[])[]): Sequences;
}

/** Makes a new model. Its vocabularies follow from the sentences that it learns from, so they need not be saved. */
export function elmoOf(train: readonly BrownSentence[], sizes: ElmoSizes): ElmoOfCorpus {
  const { input, vocabularySize, hiddenSize, layers, dropout } = sizes;
  const vocabulary = buildVocabulary(
    train.map(({ words }) => words),
    { special, size: vocabularySize },
  );
  const characters = buildVocabulary(new Set(train.flatMap(({ words }) => words)), {
    special: { pad: "<pad>", ...special },
    minFrequency: 3,
  });
  const model = elmo(vocabulary.size, {
    hiddenSize,
    layers,
    dropout,
    ...(input === "characters" && { characters: characters.size }),
  });
  const idsOf = (words: readonly string[]): Int32Array => vocabulary.encode(words, { bos: true, eos: true });
  const lettersOf = (words: readonly string[]): Int32Array => {
    const ids = new Int32Array((words.length + 2) * longestWord);
    ids[0] = characters.idFor("bos")!;
    for (const [i, word] of words.entries())
      ids.set(characters.encode(word).subarray(0, longestWord), (i + 1) * longestWord);
    ids[(words.length + 1) * longestWord] = characters.idFor("eos")!;
    return ids;
  };
  return {
    model,
    vocabulary,
    idsOf,
    inputOf: (sentences) =>
      input === "words"
        ? sequences(sentences.map(idsOf))
        : (sequences(sentences.map(lettersOf), { step: [longestWord] }) as Sequences),
  };
}
