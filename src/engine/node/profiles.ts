/** The files into which ONNX Runtime writes how long each node took, in Chrome's tracing format. */
import { mkdirSync, readdirSync } from "node:fs";
import path from "node:path";

/** Gives each session of an engine its own prefix. ONNX Runtime adds only the time of day, so files with one prefix could collide. */
export class Profiles {
  readonly #prefix: string;
  readonly #used: string[] = [];

  /** @param prefix path without ending; the folder is made when it is missing */
  constructor(prefix: string) {
    this.#prefix = path.resolve(prefix);
    mkdirSync(path.dirname(this.#prefix), { recursive: true });
  }

  /** The next session's prefix. */
  next(): string {
    const prefix = `${this.#prefix}-${process.pid}-${this.#used.length + 1}`;
    this.#used.push(path.basename(prefix));
    return prefix;
  }

  /** Returns the paths of the files that exist. */
  files(): string[] {
    const folder = path.dirname(this.#prefix);
    return readdirSync(folder)
      .filter((name) => this.#used.some((used) => name.startsWith(`${used}_`)))
      .map((name) => path.join(folder, name));
  }
}
