/** Small texts in files, as recipes read them. */
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

const animals = ["cat", "dog", "hen", "fox", "owl", "cow"];
const places = ["mat", "hill", "roof", "road", "field", "barn"];

/** Sentences about one animal and one place. */
function storyOf(i: number): string[] {
  const [animal, place] = [animals[i % 6]!, places[(i * 5 + 1) % 6]!];
  return Array.from({ length: 6 }, (_, k) => {
    const verb = ["sat", "slept", "ran", "waited", "ate", "played"][(k + i) % 6]!;
    return k % 2 === 0 ? `The ${animal} ${verb} on the ${place}.` : `Then the ${animal} ${verb} near the ${place}.`;
  });
}

/** Writes a folder of eight stories, each a text file. Returns its path. */
export async function writeStories(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "glissade-stories-"));
  await mkdir(path.join(folder, "more"));
  for (let i = 0; i < 8; i++)
    await writeFile(path.join(folder, i < 4 ? `${i}.txt` : `more/${i}.txt`), `${storyOf(i).join("\n")}\n`);
  return folder;
}

/** Writes a text file of stories. Returns its path. */
export async function writeStory(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "glissade-story-"));
  const file = path.join(folder, "story.txt");
  await writeFile(file, `${Array.from({ length: 24 }, (_, i) => storyOf(i).join("\n")).join("\n")}\n`);
  return file;
}

/** Writes a CSV file with the columns review and score. Returns its path. */
export async function writeReviews(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "glissade-reviews-"));
  const file = path.join(folder, "reviews.csv");
  const rows = Array.from({ length: 40 }, (_, i) => {
    const isGreat = i % 2 === 0;
    return `"The ${animals[i % 6]}, ${isGreat ? "a fine one," : "a bad one,"} was ${isGreat ? "lovely" : "awful"}",${isGreat ? "great" : "other"}`;
  });
  await writeFile(file, `review,score\n${rows.join("\n")}\n`);
  return file;
}

/** Writes a file of 72 sentence pairs: English, a tab, French. Returns its path. */
export async function writePairs(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "glissade-pairs-"));
  const file = path.join(folder, "pairs.tsv");
  const french = ["Le chat", "Le chien", "La poule", "Le renard", "Le hibou", "La vache"];
  const sur = ["le tapis", "la colline", "le toit", "la route", "le champ", "la grange"];
  const lines = animals.flatMap((animal, i) =>
    places.flatMap((place, k) => [
      `The ${animal} sleeps on the ${place}.\t${french[i]} dort sur ${sur[k]}.`,
      `The ${animal} eats near the ${place}.\t${french[i]} mange près de ${sur[k]}.`,
    ]),
  );
  await writeFile(file, `${lines.join("\n")}\n`);
  return file;
}

/** Hyperparameters of a translator that is made and trained in a moment. */
export const tinyTranslation = {
  vocabularySize: 320,
  width: 16,
  heads: 2,
  layers: 1,
  maxLength: 40,
  validationPairs: 6,
  testPairs: 6,
} as const;

/** Hyperparameters of models that are made and trained in a moment. */
export const tinyBert = { layers: 1, hiddenSize: 16, heads: 2, length: 24, vocabularySize: 120 } as const;
