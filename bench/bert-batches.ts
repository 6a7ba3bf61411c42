/**
 * Writes what the recipe `bert-pretrain` trains on, for `peers/torch_bert.py`: `npm run bert-batches -- --out DIR --epochs 3`. Each epoch is a
 * file of int32 rows, little-endian, in the order in which the recipe sees them; `sizes.json` says what is in a row.
 */
import { mkdir, open, writeFile } from "node:fs/promises";
import path from "node:path";
import { Command } from "commander";
import "../src/index.ts";
import recipe from "../src/recipes/bert-pretrain.ts";
import { positiveInteger } from "./shared.ts";

interface Options {
  readonly out: string;
  readonly epochs: number;
  readonly config: string;
}

/** Returns the exit code. */
export async function main(): Promise<number> {
  const command = new Command("bert-batches")
    .requiredOption("--out <folder>", "where the files go")
    .option("--epochs <n>", "epochs", positiveInteger, 3)
    .option("--config <json>", "hyperparameters of the recipe", "{}")
    .parse();
  const { out, epochs, config } = command.opts<Options>();
  const { setup, hyperparameters } = await recipe.prepare({ ...(JSON.parse(config) as object), epochs });
  await mkdir(out, { recursive: true });
  const write = async (name: string, batches: AsyncIterable<unknown>): Promise<number> => {
    const file = await open(path.join(out, name), "w");
    let rows = 0;
    for await (const batch of batches) {
      const columns = await Promise.all((batch as { data(): Promise<Int32Array> }[]).map((column) => column.data()));
      const count = columns.at(-1)!.length;
      for (let i = 0; i < count; i++) {
        const row = columns.map((values) => {
          const width = values.length / count;
          return values.subarray(i * width, (i + 1) * width);
        });
        await file.write(Buffer.concat(row.map((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength))));
      }
      rows += count;
    }
    await file.close();
    return rows;
  };
  const train = setup.train as unknown as AsyncIterable<unknown>;
  const rows: number[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) rows.push(await write(`train-${epoch}.bin`, train));
  await write("validation.bin", setup.validation as unknown as AsyncIterable<unknown>);
  const { config: model } = setup.model as unknown as { readonly config: object };
  await writeFile(path.join(out, "sizes.json"), JSON.stringify({ hyperparameters, model, rows }, null, 2));
  console.log(`${out}: ${epochs} epochs of ${rows[0]} pairs`);
  return 0;
}
