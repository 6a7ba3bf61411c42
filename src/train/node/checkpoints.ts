/** Checkpoints on disk: written completely or not at all, and checked when they are read. */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { FormatError, printable } from "../../errors.ts";
import { explained, flushFolder, readFileChecked, writeFileAtomically } from "../../files/node/atomic.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { decodeSheet } from "./formats.ts";
import {
  type CheckpointSheet,
  type FileSeal,
  jsonOf,
  pathsIn,
  type RecordMark,
  type RunPaths,
  readPointer,
  stepOf,
} from "./layout.ts";

/** A checkpoint that was read from disk. */
export interface LoadedCheckpoint extends Checkpoint {
  readonly mark: RecordMark;
  readonly path: string;
}

const weightFiles = ["model.safetensors", "optimizer.safetensors"] as const;

const sealOf = (bytes: Uint8Array): FileSeal => ({
  bytes: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
});

/** The checkpoints of a run's folder. */
export class Checkpoints {
  readonly #paths: RunPaths;

  constructor(folder: string) {
    this.#paths = pathsIn(folder);
  }

  /** Makes the folder, and removes what a killed process has left there. Throws FileError when the folder cannot be made. */
  async open(): Promise<void> {
    const { checkpoints } = this.#paths;
    try {
      await mkdir(checkpoints, { recursive: true });
    } catch (cause) {
      throw explained("fit", `${printable(checkpoints)} cannot be made`, cause, {});
    }
    for (const name of await readdir(checkpoints))
      if (name.startsWith(temporary)) await rm(join(checkpoints, name), { recursive: true, force: true });
  }

  /** Returns the steps of all checkpoints, in ascending order. */
  async steps(): Promise<number[]> {
    const names = await readdir(this.#paths.checkpoints).catch((): string[] => []);
    return names
      .map(stepOf)
      .filter((step) => step !== undefined)
      .sort((a, b) => a - b);
  }

  /**
   * Writes a checkpoint and returns its path. The files are written under a temporary name, flushed, and renamed; then the folder is
   * flushed, and `last`, and for the best also `best`, are written. Throws FileError on failure, and leaves everything else unchanged.
   */
  async save({ model, optimizer, trainer }: Checkpoint, mark: RecordMark, isBest: boolean): Promise<string> {
    const { checkpoints, last, best } = this.#paths;
    const target = this.#paths.checkpoint(trainer.step);
    const part = join(checkpoints, `${temporary}${trainer.step}-${randomBytes(6).toString("hex")}`);
    try {
      await mkdir(part);
      const files = { "model.safetensors": sealOf(model), "optimizer.safetensors": sealOf(optimizer) };
      await writeFlushed(join(part, "model.safetensors"), model);
      await writeFlushed(join(part, "optimizer.safetensors"), optimizer);
      await writeFlushed(join(part, "trainer.json"), sealedText({ format: 1, state: trainer, mark, files }));
      await flushFolder(part);
      await this.#replace(part, target);
    } catch (cause) {
      await rm(part, { recursive: true, force: true }).catch(() => {}); //  report the error that stopped the save, not this one
      throw explained("fit", `${printable(target)} cannot be written`, cause, {});
    }
    const name = `${basename(target)}\n`;
    await writeFileAtomically(last, name);
    if (isBest) await writeFileAtomically(best, name);
    return target;
  }

  /** Renames the new checkpoint to its place. Replaces one of the same step, from before the epoch's end or from discarded training. */
  async #replace(part: string, target: string): Promise<void> {
    const old = `${part}-old`;
    const wasThere = await rename(target, old).then(
      () => true,
      () => false,
    );
    await rename(part, target);
    await flushFolder(this.#paths.checkpoints);
    if (wasThere) await rm(old, { recursive: true, force: true });
  }

  /** Removes checkpoints up to the step `newest`, except for the `limit` newest ones and those that `last` and `best` name. */
  async prune(limit: number, newest: number): Promise<void> {
    const { checkpoints, last, best } = this.#paths;
    const steps = (await this.steps()).filter((step) => step <= newest);
    const kept = new Set([...steps.slice(-limit), await readPointer(last), await readPointer(best)]);
    for (const step of steps)
      if (!kept.has(step)) {
        // The folder is renamed first, so that a partly removed one is not taken for a checkpoint.
        const going = join(checkpoints, `${temporary}${step}-${randomBytes(6).toString("hex")}`);
        await rename(this.#paths.checkpoint(step), going);
        await rm(going, { recursive: true, force: true });
      }
  }

  /**
   * Returns the checkpoint that `last` names. If it is damaged, returns the newest undamaged one before it; `warn` is called for each
   * damaged one. Returns `undefined` if there are no checkpoints. Throws FormatError if all are damaged.
   */
  async last(warn: (message: string) => Promise<void>): Promise<LoadedCheckpoint | undefined> {
    const named = await readPointer(this.#paths.last).catch(async (error: unknown) => {
      await warn(`${reasonOf(error)}; the newest checkpoint is taken`);
      return undefined;
    });
    const steps = (await this.steps()).filter((step) => named === undefined || step <= named).reverse();
    if (named !== undefined && steps[0] !== named)
      await warn(`${this.#paths.checkpoint(named)}, the last checkpoint, is not there; an earlier one is looked for`);
    for (const step of steps) {
      try {
        return await loadCheckpoint(this.#paths.checkpoint(step));
      } catch (error) {
        await warn(`${reasonOf(error)}; the checkpoint before it is looked for`);
      }
    }
    if (steps.length === 0 && named === undefined) return undefined;
    throw new FormatError(
      this.#paths.checkpoints,
      "no checkpoint is whole",
      "restore the folder from a copy, or begin anew: overwriteOutputDir: true",
    );
  }

  /** Returns the model's weights from a checkpoint. Throws FileError or FormatError. */
  async modelAt(step: number): Promise<Uint8Array> {
    return (await loadCheckpoint(this.#paths.checkpoint(step))).model;
  }

  /** Removes all checkpoints. */
  async clear(): Promise<void> {
    await rm(this.#paths.last, { force: true });
    await rm(this.#paths.best, { force: true });
    for (const step of await this.steps()) await rm(this.#paths.checkpoint(step), { recursive: true, force: true });
  }
}

const temporary = ".writing-step-";

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message.replace(/\n\s*fix: .*/s, "").replaceAll("\n", " ") : String(error);

async function writeFlushed(path: string, bytes: Uint8Array | string): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Returns the text of `trainer.json`: the sheet, and the checksum of the sheet's text. */
function sealedText(sheet: CheckpointSheet): string {
  const text = jsonOf(sheet);
  return `{"sha256":"${sealOf(new TextEncoder().encode(text)).sha256}","sheet":${text}}\n`;
}

/** Reads `trainer.json`. Throws FormatError if it is damaged. */
export function decodeTrainer(text: string, source: string): CheckpointSheet {
  const found = /^\{"sha256":"([0-9a-f]{64})","sheet":(.*)\}\n$/s.exec(text);
  if (!found || sealOf(new TextEncoder().encode(found[2])).sha256 !== found[1])
    throw new FormatError(source, "is damaged: its checksum is another", "take another checkpoint");
  return decodeSheet(JSON.parse(found[2]!), source);
}

/** Reads the folder of a checkpoint. Throws FileError if a file is missing, FormatError if one is damaged. */
export async function loadCheckpoint(path: string): Promise<LoadedCheckpoint> {
  const trainer = join(path, "trainer.json");
  const sheet = decodeTrainer(new TextDecoder().decode(await readFileChecked(trainer)), trainer);
  const [model, optimizer] = await Promise.all(
    weightFiles.map(async (name) => {
      const file = join(path, name);
      const bytes = await readFileChecked(file);
      const { bytes: size, sha256 } = sealOf(bytes);
      const wanted = sheet.files[name];
      if (size !== wanted.bytes || sha256 !== wanted.sha256)
        throw new FormatError(
          file,
          size === wanted.bytes
            ? "is damaged: its checksum is another"
            : `has ${size} bytes, and ${wanted.bytes} were written`,
          "take another checkpoint",
        );
      return bytes;
    }),
  );
  return { model: model!, optimizer: optimizer!, trainer: sheet.state, mark: sheet.mark, path };
}
