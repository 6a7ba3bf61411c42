/** How long tokenizers take to be trained on the Brown corpus, and how many tokens they make in a second, in processor time. `npm run text` */
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { type BrownDocument, buildVocabulary, kneserNey, loadBrown, type Tokenizer, tokenizers } from "glissade";
import { median } from "./shared.ts";

const sentencesOf = (part: readonly BrownDocument[]): (readonly string[])[] =>
  part.flatMap(({ sentences }) => sentences.map(({ words }) => words));

function seconds<T>(run: () => T): readonly [seconds: number, result: T] {
  const before = process.cpuUsage();
  const result = run();
  const { user, system } = process.cpuUsage(before);
  return [(user + system) / 1e6, result];
}

export async function main(): Promise<number> {
  const { documents, train, test } = await loadBrown();
  const texts = sentencesOf(documents).map((words) => words.join(" "));

  const makers: Readonly<Record<string, () => Tokenizer>> = {
    "byte-level pairs, 8,000": () => tokenizers.trainBpe(texts),
    "pairs of characters, 8,000": () => tokenizers.trainBpe(texts, { byteLevel: false }),
    "WordPiece, 8,000": () => tokenizers.trainWordPiece(texts),
    "words, 20,000": () => tokenizers.trainWordLevel(texts, { vocabularySize: 20_000 }),
    characters: () => tokenizers.trainCharacterLevel(texts),
  };

  for (const [name, make] of Object.entries(makers)) {
    const tokenizer = make();
    const training = median([0, 1, 2].map(() => seconds(make)[0]));
    let tokens = 0;
    const encode = (): void => {
      tokens = 0;
      for (const text of texts) tokens += tokenizer.encode(text).ids.length;
    };
    const [first] = seconds(encode);
    const again = median([0, 1, 2].map(() => seconds(encode)[0]));
    const library = new Library(tokenizer.toJSON(), { unk_token: tokenizer.toJSON().model.unk_token });
    const some = texts.filter((_, i) => i % 20 === 0);
    let theirs = 0;
    const [time] = seconds(() => {
      for (const text of some) theirs += library.encode(text).ids.length;
    });
    const millions = (count: number, each: number): string => (count / each / 1e6).toFixed(2);
    console.log(
      `${name}: trained in ${training.toFixed(2)} s; ${tokens} tokens, ${millions(tokens, first)} million a second at first, ` +
        `${millions(tokens, again)} again; @huggingface/tokenizers ${millions(theirs, time)}`,
    );
  }

  const special = { unk: "<unk>", eos: "</s>" };
  const vocabulary = buildVocabulary(sentencesOf(train), { special, size: 10_000 });
  const ids = (part: readonly BrownDocument[]): Int32Array[] =>
    sentencesOf(part).map((words) => vocabulary.encode(words, { eos: true }));
  for (const order of [1, 2, 3]) {
    const [time, model] = seconds(() => kneserNey(ids(train), { vocabularySize: vocabulary.size, order }));
    console.log(
      `Kneser–Ney of order ${order}, 10,000 words: perplexity ${model.perplexity(ids(test)).toFixed(1)}, made in ${time.toFixed(1)} s`,
    );
  }
  return 0;
}
