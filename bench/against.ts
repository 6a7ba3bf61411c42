/** Compares training steps of this build with those of another, by turns: `npm run against -- main mlp --threads 1`. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import type { Burst } from "./server.ts";
import { median, positiveInteger } from "./shared.ts";
import { Conversation, glissade, progress, type Side } from "./sides.ts";

const run = promisify(execFile);

/** A build of Glissade. */
interface Build {
  /** The folder with `node.js`. */
  readonly distribution: string;
  /** The workloads for it, which speak its public API. */
  readonly workloads: string;
}

/** Bundles `bench/ours-server.ts` into a folder: its workloads from `workloads`, what they call `glissade` from `distribution`. */
export type BundleServer = (outdir: string, build: Build) => Promise<void>;

interface Options {
  /** Default: one and two, one after the other. */
  readonly threads?: number;
  readonly processes: number;
  readonly rounds: number;
}

/** What a burst should take: short, because the machine's speed drifts. */
const burstMilliseconds = 15;

/** What steps take before the first burst: V8 compiles our code while it runs. */
const warmUpMilliseconds = 1000;

/** But no burst has fewer steps. */
const fewestSteps = 4;

/** Runs the command line. `root` is the repository, `bundles` the folder of the servers. Returns the exit code. */
export async function main(root: string, bundles: string, bundleServer: BundleServer): Promise<number> {
  const program = new Command("npm run against --")
    .description(
      "Times training steps of this build against those of another. Bursts of both take turns; a ratio is of two neighbours, this build's " +
        "by the other's, and below 1 this build is faster. Medians of all pairs of processes, and in brackets their 95 % interval. " +
        "A build of a revision is kept.",
    )
    .argument("<build>", "a folder with another build (dist), or a revision, which is built: main, HEAD~3, efd7643")
    .argument("[workload...]", "which; default: all")
    .option("--threads <n>", "on how many threads; default: 1, then 2", positiveInteger)
    .option("--processes <n>", "how many processes of each, one pair after the other", positiveInteger, 8)
    .option("--rounds <n>", "how often each process has its turn", positiveInteger, 20)
    .showHelpAfterError();
  program.parse();
  const options = program.opts<Options>();
  const [wanted, ...chosen] = program.args as [string, ...string[]];
  const ours = glissade(root, bundles, "on", "this build");
  const unknown = chosen.filter((workload) => !ours.workloads.includes(workload));
  if (unknown.length > 0) {
    console.error(`There is no workload named ${unknown.join(", ")}. There are: ${ours.workloads.join(", ")}.`);
    return 2;
  }

  const cache = path.join(bundles, "builds");
  const build = await buildOf(wanted, root, cache);
  if (typeof build === "string") {
    console.error(build);
    return 2;
  }
  const otherBundles = path.join(cache, "server");
  await bundleServer(otherBundles, build);
  const other = glissade(root, otherBundles, "on", wanted);

  const [load] = os.loadavg();
  console.log(
    `${os.cpus()[0]?.model.trim()}, ${os.availableParallelism()} threads at once · Node ${process.versions.node}`,
  );
  if (load! > 0.5) console.log(`The machine is busy (load ${load!.toFixed(1)}): expect noise.`);
  console.log(`\n${row("workload", "threads", "this, ms", "other, ms", "ratio of time", "of processor time")}`);
  for (const workload of chosen.length > 0 ? chosen : ours.workloads)
    for (const threads of options.threads ? [options.threads] : [1, 2]) {
      const pairs = await compare(ours, other, workload, threads, options);
      const turns = pairs.flat();
      const time = ({ times }: Burst): number => median(times);
      const processor = (burst: Burst): number => burst.processor!;
      console.log(
        row(
          workload,
          String(threads),
          median(turns.map(([mine]) => time(mine))).toFixed(3),
          median(turns.map(([, theirs]) => time(theirs))).toFixed(3),
          ratio(pairs, time),
          ratio(pairs, processor),
        ),
      );
    }
  return 0;
}

/** Bursts of both sides that follow each other. */
type Turn = readonly [mine: Burst, theirs: Burst];

/** What a pair of processes did. */
type Pair = readonly Turn[];

async function compare(
  ours: Side,
  other: Side,
  workload: string,
  threads: number,
  { processes, rounds }: Options,
): Promise<Pair[]> {
  const pairs: Pair[] = [];
  while (pairs.length < processes) {
    progress(`${workload}, ${threads} threads: pair ${pairs.length + 1} of ${processes}`);
    const sides = [ours, other].map((side) => new Conversation(side, workload, threads));
    const [mine, theirs] = sides as [Conversation, Conversation];
    try {
      for (const side of sides) await side.ready();
      const once = median((await mine.next(fewestSteps)).times);
      const steps = Math.max(fewestSteps, Math.ceil(burstMilliseconds / once));
      for (const side of sides) await side.next(Math.ceil(warmUpMilliseconds / once));
      const turns: Turn[] = [];
      while (turns.length < rounds) {
        // Each has the first turn as often as the other.
        const first = turns.length % 2 === 0 ? await mine.next(steps) : undefined;
        const second = await theirs.next(steps);
        turns.push([first ?? (await mine.next(steps)), second]);
      }
      pairs.push(turns);
    } finally {
      for (const side of sides) side.stop();
    }
  }
  progress("");
  return pairs;
}

/**
 * The median of the pairs' ratios, each of which is the median of its turns'; in brackets its 95 % interval. Turns of one pair are no
 * measure of that: where memory lies makes one process slower than another for as long as it lives.
 */
function ratio(pairs: readonly Pair[], of: (burst: Burst) => number): string {
  const ratios = pairs.map((turns) => median(turns.map(([mine, theirs]) => of(mine) / of(theirs))));
  const sorted = ratios.toSorted((a, b) => a - b);
  // How many of n pairs are below the true median follows a binomial with probability ½: of the least and the largest as many are left
  // out as keep 95 % inside.
  const n = ratios.length;
  let rank = 0;
  for (let term = 2 ** -n, below = term; 2 * below <= 0.05; below += term) term *= (n - rank) / ++rank;
  const outside = Math.max(0, rank - 1);
  const [low, high] = [sorted[outside]!, sorted.at(-1 - outside)!];
  return `${median(ratios).toFixed(3)} (${low.toFixed(3)}–${high.toFixed(3)})`;
}

function row(...cells: readonly string[]): string {
  const widths = [-12, 7, 10, 10, 22, 22];
  return cells.map((cell, i) => (widths[i]! < 0 ? cell.padEnd(-widths[i]!) : cell.padStart(widths[i]!))).join("  ");
}

/** A folder's build, or that of a revision, made where it has not been before; or what is wrong with it. */
async function buildOf(wanted: string, root: string, cache: string): Promise<Build | string> {
  const folder = path.resolve(root, wanted);
  if (existsSync(path.join(folder, "node.js")))
    return { distribution: path.join(folder, "node.js"), workloads: path.join(root, "bench/ours.ts") };
  let commit: string;
  try {
    const { stdout } = await run("git", ["rev-parse", "--verify", `${wanted}^{commit}`], { cwd: root });
    commit = stdout.trim();
  } catch {
    return `${wanted} is neither a folder with a build, such as dist, nor a revision of this repository.`;
  }
  // Inside node_modules, so that its imports find the packages of this checkout.
  const sources = path.join(cache, commit);
  if (!existsSync(sources)) {
    console.log(`${wanted} is being built …`);
    await mkdir(cache, { recursive: true });
    const made = await mkdtemp(path.join(cache, "new-"));
    try {
      await run("sh", ["-c", `git archive "$1" | tar -x -C "$2"`, "sh", commit, made], { cwd: root });
      // Older revisions have no script that builds them.
      const builder = existsSync(path.join(made, "build.mjs"))
        ? ["build.mjs"]
        : [path.join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"];
      await run(process.execPath, builder, { cwd: made });
      await rename(made, sources);
    } catch (error) {
      await rm(made, { recursive: true, force: true });
      const { stdout, message } = error as Error & { readonly stdout?: string };
      return `${wanted} could not be built: ${stdout || message}`;
    }
  }
  return { distribution: path.join(sources, "dist/node.js"), workloads: path.join(sources, "bench/ours.ts") };
}
