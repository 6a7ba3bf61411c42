/** Event files for TensorBoard in a run's folder. */
import { readdir, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { AppendFile } from "../../files/node/append.ts";
import type { EpochEvent, EvaluationEvent, LogEvent } from "../events.ts";
import { type Summary, summaryRecord, versionRecord } from "../tensorboard.ts";

const prefix = "events.out.tfevents.";

/** The event files of a run: a new one for each process. Those of earlier processes are truncated to the place where training continues. */
export class EventFiles {
  readonly #folder: string;
  readonly #name: string;
  /** The lengths of the files of earlier processes, in bytes. */
  readonly #earlier: Readonly<Record<string, number>>;
  #file: AppendFile | undefined;

  private constructor(folder: string, name: string, earlier: Readonly<Record<string, number>>) {
    this.#folder = folder;
    this.#name = name;
    this.#earlier = earlier;
  }

  /** Truncates files to the given lengths, and removes event files without a given length. Throws FileError. */
  static async open(folder: string, lengths: Readonly<Record<string, number>>): Promise<EventFiles> {
    const kept: Record<string, number> = {};
    for (const name of await readdir(folder)) {
      if (!name.startsWith(prefix)) continue;
      const path = join(folder, name);
      const length = lengths[name];
      if (length === undefined) await rm(path, { force: true });
      else {
        kept[name] = Math.min(length, (await stat(path)).size);
        await (await AppendFile.open(path, kept[name])).close();
      }
    }
    const seconds = Math.floor(Date.now() / 1000);
    const number = String(Object.keys(kept).length).padStart(4, "0");
    const host = hostname()
      .replaceAll(/[^\w.-]/g, "_")
      .slice(0, 100);
    return new EventFiles(folder, `${prefix}${seconds}.${number}.${host}`, kept);
  }

  /** The length of each file, in bytes. */
  get lengths(): Readonly<Record<string, number>> {
    return this.#file ? { ...this.#earlier, [this.#name]: this.#file.length } : this.#earlier;
  }

  /** Records an event. Returns a promise if data is written immediately. */
  record(event: LogEvent | EvaluationEvent | EpochEvent, time: number): Promise<void> | undefined {
    const summaries = new Map<string, Summary>();
    for (const [tag, value] of scalarsOf(event)) summaries.set(tag, { kind: "scalar", value });
    return this.write(time, event.step, summaries);
  }

  write(time: number, step: number, summaries: ReadonlyMap<string, Summary>): Promise<void> | undefined {
    if (!this.#file) return this.#begin(time).then((file) => file.append(summaryRecord(time, step, summaries)));
    return this.#file.append(summaryRecord(time, step, summaries));
  }

  async #begin(time: number): Promise<AppendFile> {
    this.#file = await AppendFile.open(join(this.#folder, this.#name), 0);
    await this.#file.append(versionRecord(time));
    return this.#file;
  }

  async sync(): Promise<void> {
    await this.#file?.sync();
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

/** Returns the numbers of an event that TensorBoard shows. */
function scalarsOf(event: LogEvent | EvaluationEvent | EpochEvent): ReadonlyMap<string, number> {
  switch (event.type) {
    case "log": {
      const { loss, learningRate, gradientNorm, examplesPerSecond } = event;
      return new Map([
        ["train/loss", loss],
        ["train/learningRate", learningRate],
        ...(gradientNorm === undefined ? [] : [["train/gradientNorm", gradientNorm] as const]),
        ["train/examplesPerSecond", examplesPerSecond],
      ]);
    }
    case "evaluation": {
      const numbers = Object.entries(event.metrics).filter(
        (entry): entry is [string, number] => typeof entry[1] === "number",
      );
      return new Map([
        ["validation/loss", event.loss],
        ...numbers.map(([name, value]) => [`validation/${name}`, value] as const),
      ]);
    }
    case "epoch":
      return new Map([["epoch/loss", event.loss]]);
  }
}
