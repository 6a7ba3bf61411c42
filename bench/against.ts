/** Compares training steps of this build with those of another, by turns: `npm run against -- main mlp --threads 1`. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import type { Burst } from "./server.ts";
import { median, positiveInteger, quantile } from "./shared.ts";
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

/** But no burst has fewer steps. */
const fewestSteps = 4;

/** Runs the command line. `root` is the repository, `bundles` the folder of the servers. Returns the exit code. */
export async function main(root: string, bundles: string, bundleServer: BundleServer): Promise<number> {
  const program = new Command("npm run against --")
    .description(
      "Times training steps of this build against those of another. Bursts of both take turns; a ratio is of two neighbours, this build's " +
        "by the other's, and below 1 this build is faster. Medians of the ratios, and in brackets their 95 % interval if turns do not " +
        "depend on each other. A build of a revision is kept.",
    )
    .argument("<build>", "a folder with another build (dist), or a revision, which is built: main, HEAD~3, efd7643")
    .argument("[workload...]", "which; default: all")
    .option("--threads <n>", "on how many threads; default: 1, then 2", positiveInteger)
    .option("--processes <n>", "how many processes of each, one pair after the other", positiveInteger, 3)
    .option("--rounds <n>", "how often each process has its turn", positiveInteger, 60)
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
      const turns = await compare(ours, other, workload, threads, options);
      const time = ({ times }: Burst): number => median(times);
      const processor = (burst: Burst): number => burst.processor!;
      console.log(
        row(
          workload,
          String(threads),
          median(turns.map(([mine]) => time(mine))).toFixed(3),
          median(turns.map(([, theirs]) => time(theirs))).toFixed(3),
          ratio(turns, time),
          ratio(turns, processor),
        ),
      );
    }
  return 0;
}

/** Bursts of both sides that follow each other. */
type Turn = readonly [mine: Burst, theirs: Burst];

async function compare(
  ours: Side,
  other: Side,
  workload: string,
  threads: number,
  { processes, rounds }: Options,
): Promise<Turn[]> {
  const turns: Turn[] = [];
  for (let pair = 0; pair < processes; pair++) {
    progress(`${workload}, ${threads} threads: pair ${pair + 1} of ${processes}`);
    const sides = [ours, other].map((side) => new Conversation(side, workload, threads));
    const [mine, theirs] = sides as [Conversation, Conversation];
    try {
      for (const side of sides) await side.ready();
      const { times } = await mine.next(fewestSteps);
      const steps = Math.max(fewestSteps, Math.ceil(burstMilliseconds / median(times)));
      for (let round = 0; round < rounds; round++) {
        // Each has the first turn as often as the other.
        const first = round % 2 === 0 ? await mine.next(steps) : undefined;
        const second = await theirs.next(steps);
        turns.push([first ?? (await mine.next(steps)), second]);
      }
    } finally {
      for (const side of sides) side.stop();
    }
  }
  progress("");
  return turns;
}

/** The median of the ratios of neighbours; in brackets its 95 % interval, if turns do not depend on each other. */
function ratio(turns: readonly Turn[], of: (burst: Burst) => number): string {
  const ratios = turns.map(([mine, theirs]) => of(mine) / of(theirs));
  const margin = 0.98 / Math.sqrt(ratios.length); //  of a binomial with probability ½: 1.96 · √(n / 4), as a share of n
  const [low, middle, high] = [-margin, 0, margin].map((from) =>
    quantile(ratios, Math.min(1, Math.max(0, 0.5 + from))).toFixed(3),
  );
  return `${middle} (${low}–${high})`;
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
      await run(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"], {
        cwd: made,
      });
      await rename(made, sources);
    } catch (error) {
      await rm(made, { recursive: true, force: true });
      const { stdout, message } = error as Error & { readonly stdout?: string };
      return `${wanted} could not be built: ${stdout || message}`;
    }
  }
  return { distribution: path.join(sources, "dist/node.js"), workloads: path.join(sources, "bench/ours.ts") };
}
