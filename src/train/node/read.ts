/** Functions that read a run's folder, also from another process. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError, printable } from "../../errors.ts";
import { readFileChecked } from "../../files/node/atomic.ts";
import { expectFolder, pathsIn, type RunConfig, type RunStatus, readConfig, readPointer } from "./layout.ts";

/** The contents of a run's folder. */
export interface RunReport {
  readonly folder: string;
  readonly config: RunConfig;
  /** The run's status. Its state is "interrupted" if the process that trained the run has ended without finishing it. */
  readonly status: RunStatus;
  /** The checkpoints, by ascending step. */
  readonly checkpoints: readonly { readonly step: number; readonly path: string }[];
  /** The steps of the last and the best checkpoint; absent if there is none. */
  readonly last?: number;
  readonly best?: number;
}

/**
 * Reads a run's folder, also while the run is being trained; `readMetrics` reads its numbers. Checkpoints are listed but not checked; they
 * are checked when they are used. Throws FileError if a file is missing, FormatError if one is damaged.
 */
export async function readRun(folder: string): Promise<RunReport> {
  expectFolder("readRun", folder);
  // Imported now: an import of Glissade does not need what reads and writes folders.
  const [{ decodeStatus }, { Checkpoints }, { stateOf }] = await Promise.all([
    import("./formats.ts"),
    import("./checkpoints.ts"),
    import("./run-folder.ts"),
  ]);
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

/** Returns the folders of runs in a folder, sorted by name: those that have a `config.json`. Throws ConfigError for a missing folder. */
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
