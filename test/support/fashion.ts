/** A folder with pictures in the form of Fashion-MNIST, few and random. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { idx } from "./idx.ts";

/** Writes 64 images to train on and 32 to test on. Returns the folder. */
export async function writeFashion(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "glissade-fashion-"));
  for (const [part, count] of [
    ["train", 64],
    ["t10k", 32],
  ] as const) {
    const pixels = Uint8Array.from({ length: count * 784 }, (_, i) => (i * 7919) % 256);
    const labels = Uint8Array.from({ length: count }, (_, i) => i % 10);
    await writeFile(path.join(folder, `${part}-images-idx3-ubyte`), idx(8, [count, 28, 28], pixels));
    await writeFile(path.join(folder, `${part}-labels-idx1-ubyte`), idx(8, [count], labels));
  }
  return folder;
}
