/**
 * BLEU of a twin's translations, by the measure that `translate` uses: `npm run bleu -- DIR OUTPUT`. DIR is what `npm run batches -- translate`
 * wrote; OUTPUT has the twin's token ids, a JSON list for each line of its test batches, in their order.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { Command } from "commander";
import { bleu, loadTokenizer } from "glissade";

/** Returns the exit code. */
export async function main(): Promise<number> {
  const command = new Command("bleu").argument("<folder>").argument("<output>").parse();
  const [folder, output] = command.args as [string, string];
  const tokenizer = await loadTokenizer(path.join(folder, "tokenizer.json"));
  const lines = (await readFile(output, "utf8")).trimEnd().split("\n");
  const pairs = lines.map((line) => JSON.parse(line) as { readonly output: number[]; readonly target: number[] });
  const [translations, references] = (["output", "target"] as const).map((side) =>
    pairs.map((pair) => tokenizer.decode(pair[side])),
  ) as [string[], string[]];
  const { score } = bleu(translations, references);
  console.log(`BLEU ${score.toFixed(2)} of ${pairs.length} translations`);
  for (let i = 0; i < 10; i++) console.log(`${references[i]}\n  ${translations[i]}`);
  return 0;
}
