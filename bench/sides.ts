/** Processes that take turns at training steps: how one is started, and how it is asked. */
import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import { createInterface, type Interface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { workloads } from "./ours.ts";
import type { Burst, Ready } from "./server.ts";

/** A framework, or a build of ours, that takes part. */
export interface Side {
  readonly name: string;
  readonly workloads: readonly string[];
  /** The process that serves a workload in the language of `server.ts`. */
  serve(workload: string, threads: number): ChildProcess;
}

/** Ours. `bundles` is the folder of its server. */
export function glissade(root: string, bundles: string, kernels: "on" | "off", name = "glissade"): Side {
  return {
    name,
    workloads: Object.keys(workloads),
    serve: (workload, threads) =>
      start(process.execPath, [path.join(bundles, "ours-server.mjs"), workload], root, {
        GLISSADE_THREADS: String(threads),
        GLISSADE_KERNELS: kernels,
      }),
  };
}

/** Variables of `env` that are undefined are not set. */
export function start(
  file: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string | undefined> = {},
): ChildProcess {
  return spawn(file, args, { cwd, env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
}

/** A server under way: one question, one answer. */
export class Conversation {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #complaints = "";

  constructor(side: Side, workload: string, threads: number) {
    this.#child = side.serve(workload, threads);
    const lines: Interface = createInterface({ input: this.#child.stdout! });
    this.#lines = lines[Symbol.asyncIterator]();
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#complaints = (this.#complaints + text).slice(-4000);
    });
    this.#child.on("error", (error) => {
      this.#complaints += error.message;
      lines.close();
    });
    this.#child.stdin!.on("error", () => {}); // it ended; the next answer says why
  }

  ready(): Promise<Ready> {
    return this.#answer();
  }

  /** A burst from fresh weights. */
  run(): Promise<Burst> {
    this.#child.stdin!.write("run\n");
    return this.#answer();
  }

  /** A burst of so many steps that goes on with the weights of the one before; of a server of ours. */
  next(steps: number): Promise<Burst> {
    this.#child.stdin!.write(`next ${steps}\n`);
    return this.#answer();
  }

  stop(): void {
    this.#child.kill();
  }

  async #answer<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (!done) return JSON.parse(value) as T;
    await pause(100); // the last of its standard error
    throw new Error(`it ended before it answered\n${this.#complaints.trimEnd()}`);
  }
}

/** One line on standard error that the next one replaces, where that is a terminal. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`);
}
