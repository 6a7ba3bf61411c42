/** The description of a run in `config.json`: everything that defines the run. */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import { currentEngine } from "../../compile/runtime.ts";
import { Plateau } from "../../optim/schedules.ts";
import type { Parameter } from "../../tensor/state.ts";
import type { RunDescription } from "../checkpoint.ts";
import type { RunConfig } from "./layout.ts";

/** Options of `fit` that are not listed among the options in `config.json`. */
const passing: readonly string[] = ["signal", "onEvent", "hyperparameters", "runName", "resumeFromCheckpoint"];

const elements = (parameters: readonly Parameter[]): number => parameters.reduce((sum, { size }) => sum + size, 0);

/** Returns the description of a run. `given` are the options as the user gave them. */
export async function describeRun(
  { setup, options, steps }: RunDescription,
  given: { readonly [name: string]: unknown },
): Promise<RunConfig> {
  const { model, optimizer, schedule, batchSize, metrics } = setup;
  const all = model.parameters();
  const groups = optimizer.groups.length > 0 ? optimizer.groups : optimizer.allGroups;
  return {
    format: 1,
    name: (given.runName as string | undefined) ?? null,
    created: new Date().toISOString(),
    model: {
      kind: model.kind,
      parameters: elements(all),
      trainable: elements(all.filter(({ trainable }) => trainable)),
    },
    optimizer: {
      name: optimizer.name,
      learningRate: optimizer.learningRate,
      groups: groups.map(({ parameters, rateFactor, weightDecay, decoupled }) => ({
        parameters: elements(parameters),
        rateFactor,
        weightDecay,
        decoupled,
      })),
    },
    schedule: schedule === undefined ? null : schedule instanceof Plateau ? "plateau" : "function",
    batchSize,
    metrics: metrics.map(({ name }) => name),
    options: Object.fromEntries(Object.entries(given).filter(([name]) => !passing.includes(name))),
    hyperparameters: (given.hyperparameters as { readonly [name: string]: unknown } | undefined) ?? {},
    seed: options.seed ?? 0,
    steps: steps ?? null,
    versions: versions(),
    git: await gitRevision(),
    command: process.argv,
  };
}

function versions(): Record<string, string> {
  return {
    glissade: versionIn("../../../package.json"),
    onnxruntime: versionIn("onnxruntime-node/package.json"),
    node: process.versions.node,
    engine: currentEngine().name,
    platform: `${process.platform}-${process.arch}`,
  };
}

/** Returns the version in a manifest. A bundler may have left the manifest out. */
function versionIn(manifest: string): string {
  try {
    return (createRequire(import.meta.url ?? __filename)(manifest) as { version: string }).version;
  } catch {
    return "unknown";
  }
}

/** Returns the git revision of the working folder; null outside of a repository, or without git. */
async function gitRevision(): Promise<RunConfig["git"]> {
  const git = async (...words: string[]): Promise<string> =>
    (await promisify(execFile)("git", words, { timeout: 5000, maxBuffer: 2 ** 26 })).stdout.trim();
  try {
    const revision = await git("rev-parse", "HEAD");
    return { revision, isDirty: (await git("status", "--porcelain", "--untracked-files=no")) !== "" };
  } catch {
    return null;
  }
}
