/**
 * Writes what a recipe trains on, for its twin in PyTorch: `npm run batches -- translate --out DIR --config '{"file":"pairs.tsv","epochs":3}'`.
 * `train-N.bin` are the batches of epoch N in the order in which the recipe sees them, `validation.bin` and `test.bin` those that it is judged
 * on: files that `peers/batches.py` reads. `sizes.json` has the hyperparameters, `tokenizer.json` the tokenizer.
 */
import { mkdir, open, writeFile } from "node:fs/promises";
import path from "node:path";
import { Argument, Command } from "commander";
import "../src/index.ts";
import { loadRecipe } from "../src/recipes/index.ts";
import { encodeTokenizer } from "../src/text/tokenizer.ts";

interface Options {
  readonly out: string;
  readonly config: string;
}

/** A batch's column, as tensors and views give it. */
interface ReadableColumn {
  readonly shape: readonly number[];
  data(): Promise<Int32Array>;
}

/** Returns the exit code. */
export async function main(): Promise<number> {
  const command = new Command("batches")
    .addArgument(new Argument("<recipe>", "a recipe of texts").choices(["bert-pretrain", "translate"]))
    .requiredOption("--out <folder>", "where the files go")
    .option("--config <json>", "hyperparameters of the recipe", "{}")
    .parse();
  const { out, config } = command.opts<Options>();
  const recipe = await loadRecipe(command.args[0] as "bert-pretrain" | "translate");
  const { setup, hyperparameters, test, prediction } = await recipe.prepare(JSON.parse(config) as object);
  const { epochs } = hyperparameters as unknown as { readonly epochs: number };
  await mkdir(out, { recursive: true });
  const write = async (name: string, batches: unknown): Promise<number> => {
    const file = await open(path.join(out, name), "w");
    let count = 0;
    for await (const batch of batches as AsyncIterable<readonly ReadableColumn[]>) {
      const header = [batch.length, ...batch.flatMap(({ shape }) => [shape.length, ...shape])];
      await file.write(new Uint8Array(Int32Array.from(header).buffer));
      for (const column of batch) {
        const { buffer, byteOffset, byteLength } = await column.data();
        await file.write(new Uint8Array(buffer, byteOffset, byteLength));
      }
      count++;
    }
    await file.close();
    return count;
  };
  const batches: number[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) batches.push(await write(`train-${epoch}.bin`, setup.train));
  await write("validation.bin", setup.validation);
  if (test) await write("test.bin", test);
  if (prediction.tokenizer) await writeFile(path.join(out, "tokenizer.json"), encodeTokenizer(prediction.tokenizer));
  const { config: model } = setup.model as unknown as { readonly config?: object };
  const vocabularySize = prediction.tokenizer?.size;
  await writeFile(
    path.join(out, "sizes.json"),
    JSON.stringify({ hyperparameters, vocabularySize, model, batches }, null, 2),
  );
  console.log(`${out}: ${epochs} epochs of ${batches[0]} batches`);
  return 0;
}
