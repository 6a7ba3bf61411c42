/** Compiled programs in files, for later processes. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { cpus, homedir } from "node:os";
import path from "node:path";
import { deserialize, serialize } from "node:v8";
import type { KeptProgram, ProgramStore } from "../engine.ts";
import { requirePackage } from "./packages.ts";

/** The hash of the source files, which differs for any two builds of this package; `build.mjs` defines it. Undefined where the source files themselves run. */
declare const GLISSADE_BUILD: string | undefined;

/** The most bytes of all files together, unless another limit is given. */
const usualLimit = 256 * 2 ** 20;
/**
 * Where there are more, those used least recently are deleted until this share of the limit is left. A process looks once it has written the
 * rest of the limit, and at its first file.
 */
const shareLeft = 0.75;
/** Larger programs are not kept. */
const mostBytesOfOne = 64 * 2 ** 20;
const ending = ".program";

/** Returns the folder `glissade` in the system's folder for caches; undefined where a home folder is not known. */
function usualFolder(): string | undefined {
  const { XDG_CACHE_HOME: xdg, LOCALAPPDATA: local } = process.env;
  if (process.platform === "win32") return local ? path.join(local, "glissade", "cache") : undefined;
  if (process.platform !== "darwin" && xdg && path.isAbsolute(xdg)) return path.join(xdg, "glissade");
  const caches = process.platform === "darwin" ? ["Library", "Caches"] : [".cache"];
  try {
    return path.join(homedir(), ...caches, "glissade");
  } catch {
    return undefined; //  the user has no home folder, as in some containers
  }
}

/** What the first processor can do, where the system says so: programs may depend on it. */
function processorFlags(): string {
  try {
    return /^flags\s*:.*$/m.exec(readFileSync("/proc/cpuinfo", "latin1"))?.[0] ?? "";
  } catch {
    return "";
  }
}

/**
 * Returns the store in a folder, or in the usual one. Returns undefined for `false`, and where nothing says which build of this package
 * runs: another build may lower the same graph to another program.
 */
export function programsIn(folder: string | false | undefined, engine: string): ProgramStore | undefined {
  const where = folder === undefined ? usualFolder() : folder;
  if (!where || typeof GLISSADE_BUILD === "undefined") return undefined;
  return new ProgramFolder(path.resolve(where), GLISSADE_BUILD, engine);
}

const ortVersion = (): string => (requirePackage("onnxruntime-node/package.json") as { version: string }).version;

const digest = (content: string | Uint8Array): Buffer => createHash("sha256").update(content).digest();

/** Makes a folder and those above it. (With `recursive`, Node's own function never returns for a path such as /proc/a/b.) */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(path.dirname(folder));
  mkdirSync(folder, { mode: 0o700 });
}

/** A file holds the SHA-256 of the rest, and then the program as V8 writes it. */
const digestBytes = 32;

export class ProgramFolder implements ProgramStore {
  readonly fewestNodes = 40;
  readonly #folder: string;
  readonly #build: string;
  readonly #engine: string;
  readonly #limit: number;
  #origin: string | undefined;
  /** How many bytes this process may write before the files are looked at again. */
  #unwatched = 0;
  /** Ends when the files have been looked at for the last time. */
  #shrunk: Promise<void> = Promise.resolve();

  constructor(folder: string, build: string, engine: string, limit: number = usualLimit) {
    this.#folder = folder;
    this.#build = build;
    this.#engine = engine;
    this.#limit = limit;
  }

  get(key: string): KeptProgram | undefined {
    try {
      const file = this.#fileOf(key);
      if (!this.#isOurs()) return undefined;
      const bytes = readFileSync(file);
      const content = bytes.subarray(digestBytes);
      if (!digest(content).equals(bytes.subarray(0, digestBytes))) return undefined;
      const now = new Date();
      utimes(file, now, now).catch(() => {}); //  it counts as used, unless the folder is read-only
      return deserialize(content) as KeptProgram;
    } catch {
      return undefined; //  there is none, or it cannot be read
    }
  }

  put(key: string, program: KeptProgram): void {
    try {
      const content = serialize(program);
      if (content.length > mostBytesOfOne) return;
      makeFolder(this.#folder);
      if (!this.#isOurs()) return;
      const file = this.#fileOf(key);
      this.#write(file, Buffer.concat([digest(content), content])).catch(() => {});
    } catch {
      // The folder cannot be made: no program is kept.
    }
  }

  delete(key: string): void {
    rm(this.#fileOf(key), { force: true }).catch(() => {});
  }

  /** Whether nobody else can have written the files: a program holds addresses and sizes that are not checked again. */
  #isOurs(): boolean {
    const { uid, mode } = statSync(this.#folder);
    return process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0);
  }

  /** The name says all that a program depends on: the key, the builds of this package, of ONNX Runtime and of V8, and the processor. */
  #fileOf(key: string): string {
    const { platform, arch, versions } = process;
    this.#origin ??= JSON.stringify([
      this.#build,
      ortVersion(),
      this.#engine,
      platform,
      arch,
      cpus()[0]?.model,
      processorFlags(),
      versions.v8,
    ]);
    return path.join(this.#folder, digest(`${this.#origin}\n${key}`).toString("hex") + ending);
  }

  /** Writes a file whole or not at all, and deletes others if they have become too many. */
  async #write(file: string, bytes: Uint8Array): Promise<void> {
    const temporary = `${file}.${process.pid}.${performance.now()}.tmp`;
    try {
      await writeFile(temporary, bytes, { mode: 0o600 });
      await rename(temporary, file);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    this.#unwatched -= bytes.length;
    if (this.#unwatched >= 0) return;
    this.#unwatched = (1 - shareLeft) * this.#limit;
    this.#shrunk = this.#shrunk.then(() => this.#shrink(file));
    await this.#shrunk;
  }

  /** If the files are too many, deletes those used least recently, except for the one just written. */
  async #shrink(written: string): Promise<void> {
    const files: { readonly file: string; readonly size: number; readonly used: number }[] = [];
    let bytes = 0;
    for (const name of await readdir(this.#folder)) {
      if (!name.includes(ending)) continue;
      const file = path.join(this.#folder, name);
      const found = await stat(file).catch(() => undefined); //  another process may have deleted it
      if (!found) continue;
      files.push({ file, size: found.size, used: found.mtimeMs });
      bytes += found.size;
    }
    if (bytes <= this.#limit) return;
    for (const { file, size } of files.sort((a, b) => a.used - b.used)) {
      if (bytes <= shareLeft * this.#limit) return;
      if (file === written) continue;
      await rm(file, { force: true });
      bytes -= size;
    }
  }
}
