/** A run's folder, read by somebody else. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError, printable } from "../../errors.ts";
import { readFileChecked } from "../../files/node/atomic.ts";
import { Checkpoints } from "./checkpoints.ts";
import {
  decodeStatus,
  expectFolder,
  pathsIn,
  type RunConfig,
  type RunStatus,
  readConfig,
  readPointer,
} from "./layout.ts";
import { stateOf } from "./run-folder.ts";

/** What a run's folder says of it. */
export interface RunReport {
  readonly folder: string;
  readonly config: RunConfig;
  /** Its state is "interrupted" where the process that trained it is no more. */
  readonly status: RunStatus;
  /** Rising. */
  readonly checkpoints: readonly { readonly step: number; readonly path: string }[];
  /** The steps of the last and the best checkpoint; absent where there is none. */
  readonly last?: number;
  readonly best?: number;
}

/**
 * Reads what a run's folder says of it, also while it is trained; `readMetrics` reads its numbers. The checkpoints themselves are looked at
 * when they are used. Throws FileError where a file is missing, FormatError where one is damaged.
 */
export async function readRun(folder: string): Promise<RunReport> {
  expectFolder("readRun", folder);
  const paths = pathsIn(folder);
  const config = await readConfig(folder);
  const status = decodeStatus(new TextDecoder().decode(await readFileChecked(paths.status)), paths.status);
  const steps = await new Checkpoints(folder).steps();
  const [last, best] = [await readPointer(paths.last), await readPointer(paths.best)];
  return {
    folder,
    config,
    status: { ...status, state: stateOf(status) },
    checkpoints: steps.map((step) => ({ step, path: paths.checkpoint(step) })),
    ...(last !== undefined && { last }),
    ...(best !== undefined && { best }),
  };
}

/** The folders of runs in a folder, by name: those that have a `config.json`. Throws ConfigError where there is no such folder. */
export async function findRuns(folder: string): Promise<string[]> {
  expectFolder("findRuns", folder);
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: unknown) => {
    throw new ConfigError(
      "findRuns",
      `there is no folder ${printable(folder)}`,
      "give the folder that runs are in",
      "",
      {
        cause,
      },
    );
  });
  const runs: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!entry.isDirectory()) continue;
    const inside = await readdir(join(folder, entry.name)).catch((): string[] => []);
    if (inside.includes("config.json")) runs.push(join(folder, entry.name));
  }
  return runs;
}
