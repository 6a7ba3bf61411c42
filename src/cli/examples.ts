/** Pictures of validation examples with what a network says of them. */
import type { Dataset } from "../data/dataset.ts";
import { toTensor } from "../data/tensors.ts";
import type { PreparedRecipe } from "../recipes/recipe.ts";
import { judgedOn, type Network } from "./network.ts";
import { besides, bold, drawBar, drawImage } from "./pictures.ts";

/** Examples that are looked at. */
const most = 2000;

/** A few images that the network gets right, and those it is most wrong about; nothing for data that are no grey images. */
export async function showExamples(prepared: PreparedRecipe, network: Network): Promise<void> {
  const { image } = prepared.prediction;
  const all = judgedOn(prepared);
  if (!image || (image.channels ?? 1) !== 1 || !all || network.task !== "classes") return;
  const data: Dataset = all.length > most ? all.take(Array.from({ length: most }, (_, i) => i)) : all;
  const [images, labels] = [data.columns[0]!, data.columns.at(-1)!.values];
  const answer = network.answer(...data.columns.slice(0, -1).map((column) => toTensor(column)));
  const probabilities = (await answer.array()) as number[][];
  const guesses = probabilities.map((row) => row.indexOf(Math.max(...row)));
  const wrong = [...guesses.keys()]
    .filter((i) => guesses[i] !== labels[i])
    .sort((a, b) => probabilities[b]![guesses[b]!]! - probabilities[a]![guesses[a]!]!);
  const right = [...guesses.keys()].filter((i) => guesses[i] === labels[i]);
  const size = image.width * image.height;
  const width = Math.max(...network.names.map((name) => name.length));
  const card = (i: number): string[] => {
    const [guess, label] = [guesses[i]!, labels[i]!];
    const nameOf = (k: number): string => network.names[k]!;
    const second = [...probabilities[i]!.keys()]
      .filter((k) => k !== guess)
      .sort((a, b) => probabilities[i]![b]! - probabilities[i]![a]!)[0]!;
    const verdict = guess === label ? `says ${nameOf(guess)}` : `says ${nameOf(guess)}, is ${nameOf(label)}`;
    const line = (k: number): string =>
      `${nameOf(k).padEnd(width)} ${drawBar(probabilities[i]![k]!, 12)} ${(100 * probabilities[i]![k]!).toFixed(1)}%`;
    const pixels = images.values.subarray(i * size, (i + 1) * size);
    return [verdict, line(guess), line(second), ...withoutMargins(drawImage(pixels, image.width))];
  };
  console.log(`\n${bold("Examples that it gets right")}\n`);
  console.log(besides(right.slice(0, 3).map(card)));
  if (wrong.length === 0) return;
  const of = all.length > most ? `the first ${most}` : labels.length.toLocaleString("en-US");
  console.log(`\n${bold(`The ${wrong.length} of ${of} that it gets wrong: the ones it is surest of`)}\n`);
  console.log(besides(wrong.slice(0, 3).map(card)));
}

/** Without the empty rows above and below. */
function withoutMargins(rows: readonly string[]): readonly string[] {
  const inked = [...rows.keys()].filter((i) => rows[i]!.trim() !== "");
  return rows.slice(inked[0] ?? 0, (inked.at(-1) ?? rows.length) + 1);
}
